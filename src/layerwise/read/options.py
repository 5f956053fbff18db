"""The options of a reader, and the checks that they fit the format and each other."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.example import clean

_WITH_HEADER = ("jsonl", "parquet")
_WITHOUT_COLUMNS = ("txt", "docs")


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """The options of `open_corpus`; a string `text` with a comma may name two columns."""

    text: str | tuple[str, ...] | None = None
    words: str | None = None
    id: str | None = None
    columns: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    skip_bad: bool = False
    limit: int | None = None
    quote: bool = True


def column_names(columns: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Return the names that the option `columns` gives; a single string is split at its commas.

    Raises:
        RequestError: no name, an empty name, or a name given twice.
    """
    if columns is None:
        return None
    names = tuple(columns.split(",") if isinstance(columns, str) else columns)
    if not names or not all(names):
        raise RequestError(
            f"{argument('columns', ','.join(names))} has an empty name; give one name per column"
        )
    for name in names:
        if names.count(name) > 1:
            raise RequestError(
                f"{argument('columns')} names {name!r} twice; give every column a different name"
            )
    return names


def pair_names(names: Sequence[str]) -> tuple[str, str]:
    """Return the columns of the two texts of a record.

    Raises:
        RequestError: more or fewer than two names, an empty one, or the same name twice.
    """
    text = ",".join(map(str, names))
    if not all(names):
        raise RequestError(f"{argument('text', text)} has an empty name; name one column, or two such as a,b")
    if len(names) != 2:
        raise RequestError(
            f"{argument('text')} needs one column, or two for pairs of texts, and {text!r} names {len(names)}"
        )
    first, second = names
    if clean(first) == clean(second):
        raise RequestError(f"{argument('text', text)} names {first!r} twice; a pair needs two columns")
    return first, second


def check_options(options: ReaderOptions, format: str) -> None:
    """Reject options that contradict each other or the format.

    Raises:
        RequestError: with the names of the options, and what to leave out.
    """
    for name in ("text", "words", "id"):
        if getattr(options, name) == "":
            raise RequestError(f"{argument(name)} is empty; name a column, or leave it out")
    _check_columns(options, format)
    if isinstance(options.text, tuple):
        pair_names(options.text)
    if options.text and options.words:
        text = options.text if isinstance(options.text, str) else ",".join(options.text)
        raise RequestError(
            f"{argument('text', text)} and {argument('words', options.words)} exclude each other: "
            "name a column of raw text or one of words"
        )
    if options.limit is not None and options.limit < 1:
        raise RequestError(f"{argument('limit', options.limit)} leaves nothing to read; give 1 or more")
    _check_encoding(options.encoding)


def _check_columns(options: ReaderOptions, format: str) -> None:
    used = [name for name in ("text", "words", "id", "columns") if getattr(options, name) is not None]
    if format in _WITHOUT_COLUMNS:
        refused, why = used, "it has no columns"
    elif format in _WITH_HEADER:
        refused, why = [name for name in used if name == "columns"], "its columns have names already"
    elif format == "conll":
        refused, why = (
            [name for name in used if name in ("text", "id")],
            "its columns hold one value per word",
        )
    else:
        return
    if refused:
        raise RequestError(f"{argument(refused[0])} doesn't fit format {format!r}: {why}; leave it out")


def _check_encoding(encoding: str) -> None:
    try:
        codec = line_codec(encoding)
        letter, end = "a".encode(codec), "\n".encode(codec)
        # False for punycode and unicode_escape, whose bytes can't be split into lines.
        fits = "a\n".encode(codec) == letter + end and len(letter) == len(end)
    except (LookupError, ValueError):
        fits = False
    if not fits:
        raise RequestError(
            f"{argument('encoding', encoding)} is no encoding of text files; "
            "take for example utf-8, utf-16, latin-1, cp1252, gb18030 or shift_jis"
        )


def line_codec(encoding: str, start: bytes = b"") -> str:
    """Return the codec that decodes single lines of a file whose first bytes are `start`.

    Raises:
        LookupError: for an unknown encoding.
    """
    name = codecs.lookup(encoding).name
    if name == "utf-8-sig":
        return "utf-8"
    if name == "utf-16":
        return "utf-16-be" if start.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    if name == "utf-32":
        return "utf-32-be" if start.startswith(codecs.BOM_UTF32_BE) else "utf-32-le"
    return name
