"""The options of a reader, and the checks that they fit the format and each other."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerwise.arguments import argument
from layerwise.choices import whole_number
from layerwise.errors import RequestError
from layerwise.example import DOCUMENT, clean
from layerwise.options import ReadOptions, check_types
from layerwise.read.documents import DocumentNeed, no_documents
from layerwise.read.record import listed

_WITH_HEADER = ("jsonl", "json", "parquet", "arrow", "hf", "python")
_WITHOUT_COLUMNS = ("txt", "docs")
_FOLDER = "folder"  # the column of the format docs
_TABLES = ("csv", "tsv")


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """The options of `open_corpus`.

    Attributes:
        text: the column of the text, `text` when neither this nor `words` is given. Two names, or a string with
            a comma that is no column's name, make every record a pair: two consecutive texts, each with the name of
            its column as `part`; with `join`, names of columns whose texts become one.
        words: the column of the words, for pre-split input: lists, printed lists, or words between blanks.
        id: the column of the texts' own ids.
        columns: the names of the columns, for CoNLL and for CSV and TSV without a header.
        encoding: the encoding of all files of text.
        skip_bad: skip bad records, and list them in `skipped`.
        limit: the largest number of records to read.
        separator: the character between the cells of a CSV file.
        na: cells of CSV and TSV that say that a value is missing; they are read as empty cells.
        sentence_id: the column that numbers the sentences of a source with a word per row.
        join: the string between the texts of several columns, which it makes one text of; empty ones are left out.
        classes: the names of integer classes, in order. The column is the only one that holds them, or the one with
            a usual name; otherwise it is named before the first: `COL=a,b,c`.
        document: the column of the documents that texts are part of; it is carried as `document`.
        pair_encoding: `joint` where the two texts of a record become one example.
        need: why the texts of a document are read together; `None` where each record is read by itself.
        quote: whether errors, and `skipped`, may quote the contents of the files.
    """

    text: str | tuple[str, ...] | None = None
    words: str | None = None
    id: str | None = None
    columns: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    skip_bad: bool = False
    limit: int | None = None
    separator: str | None = None
    na: tuple[str, ...] = ()
    sentence_id: str | None = None
    join: str | None = None
    classes: tuple[str, ...] | None = None
    document: str | None = None
    pair_encoding: str | None = None
    need: DocumentNeed | None = None
    quote: bool = True

    @property
    def document_column(self) -> str | None:
        """The column of documents where there is or must be one: the one that is named, or `document`."""
        return self.document or (DOCUMENT if self.need is not None else None)

    @classmethod
    def of(
        cls,
        text: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        separator: str | None = None,
        na: Sequence[str] | None = (),
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> "ReaderOptions":
        """Return the options as a user gives them: with lists, and names in one string with commas.

        Raises:
            RequestError: a value of another type, or `columns` that can't be the names of columns.
        """
        lists = {"text": text, "columns": columns, "separator": separator, "na": na or (), "classes": classes}
        check_types(ReadOptions, {**options, **lists})
        return cls(
            text=text if text is None or isinstance(text, str) else tuple(text),
            columns=column_names(columns),
            separator=separator_of(separator),
            na=(na,) if isinstance(na, str) else tuple(na or ()),
            classes=tuple(classes.split(",") if isinstance(classes, str) else classes) if classes else None,
            **options,
        )


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


def separator_of(separator: str | None) -> str | None:
    """Return the separator that the option `separator` gives; a shell passes a tab as `\\t`."""
    return "\t" if separator in (r"\t", "tab") else separator


def joined_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns whose texts are joined.

    Raises:
        RequestError: fewer than two names, an empty one, or a name given twice.
    """
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise RequestError(
            f"{argument('join')} joins two or more different columns, and {argument('text')} names {','.join(names)!r}; name "
            "them, such as title,description"
        )
    return tuple(names)


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
            f"{argument('text')} needs one column, or two for pairs of texts, and {text!r} names {len(names)}; "
            f"{argument('join')} makes one text of several columns"
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
    for name in ("text", "words", "id", "sentence_id", "document"):
        if getattr(options, name) == "":
            raise RequestError(f"{argument(name)} is empty; name a column, or leave it out")
    _check_columns(options, format)
    if options.join is not None:
        _check_join(options)
    elif isinstance(options.text, tuple):
        pair_names(options.text)
    if options.pair_encoding == "joint":
        _check_joint(options)
    if options.text and options.words:
        text = options.text if isinstance(options.text, str) else ",".join(options.text)
        raise RequestError(
            f"{argument('text', text)} and {argument('words', options.words)} exclude each other; "
            "name a column of raw text or one of words"
        )
    if options.text and options.sentence_id:
        raise RequestError(
            f"{argument('text')} and {argument('sentence_id', options.sentence_id)} exclude each other: a sentence "
            f"consists of words; name their column with {argument('words')}"
        )
    _check_separator(options.separator)
    if options.limit is not None:
        whole_number("limit", options.limit, 1)
    check_encoding(options.encoding)


def _check_join(options: ReaderOptions) -> None:
    names = (options.text or "").split(",") if not isinstance(options.text, tuple) else options.text
    joined_names(names)
    if any("," in name for name in names):
        raise RequestError(
            f"{argument('join')} needs columns without commas in their names; rename {listed(names)}"
        )


def _check_joint(options: ReaderOptions) -> None:
    other = next(
        (name for name in ("words", "join", "sentence_id") if getattr(options, name) is not None), None
    )
    if other is not None:
        raise RequestError(
            f"{argument('pair_encoding', 'joint')} is for the two texts of a record, and {argument(other)} makes another thing "
            "of it; leave one of them out"
        )
    if options.text is None or (isinstance(options.text, str) and "," not in options.text):
        raise not_two(options.text)


def not_two(text: str | None) -> RequestError:
    """Return the error that texts are to be encoded as pairs, and records have one text, in the column `text`."""
    got = f"{argument('text', text)} is one column" if text else f"{argument('text')} isn't given"
    return RequestError(
        f"{argument('pair_encoding', 'joint')} needs the two columns of a pair, and {got}; name them in {argument('text', 'a,b')}"
    )


def _check_separator(separator: str | None) -> None:
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise RequestError(
            f"{argument('separator', separator)} is no separator of cells; give one character, such as ';' or '\\t' (a tab)"
        )


def _check_columns(options: ReaderOptions, format: str) -> None:
    if options.separator is not None and format != "csv":
        raise RequestError(
            f"{argument('separator')} doesn't fit format {format!r}: only CSV has separators to choose; "
            f"leave it out, or give {argument('format', 'csv')}"
        )
    if options.na and format not in _TABLES:
        raise RequestError(
            f"{argument('na')} doesn't fit format {format!r}: only cells of CSV and TSV can't say that they are missing; "
            "leave it out"
        )
    names = ("text", "words", "id", "columns", "sentence_id", "join", "classes")
    used = [name for name in names if getattr(options, name) is not None]
    if options.document is not None and not (format == "docs" and options.document == _FOLDER):
        used.append("document")
    if format in _WITHOUT_COLUMNS:
        if options.need is not None and (options.document is None or "document" in used):
            raise no_documents(options.need, f"format {format!r} has no column of documents")
        refused, why = used, "it has no columns"
    elif format in _WITH_HEADER:
        refused, why = [name for name in used if name == "columns"], "its columns have names already"
    elif format == "fasta":
        refused = [name for name in used if name in ("columns", "sentence_id")]
        why = "its columns are id, description, sequence, and the fields of headers"
    elif format == "conll":
        refused, why = (
            [name for name in used if name in ("text", "id", "sentence_id", "join")],
            "its columns hold one value per word",
        )
    else:
        return
    if refused:
        raise RequestError(f"{argument(refused[0])} doesn't fit format {format!r}: {why}; leave it out")


def check_encoding(encoding: str) -> None:
    """Check that this is an encoding of text files.

    Raises:
        RequestError: it isn't.
    """
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
            "give for example utf-8, utf-16, latin-1, cp1252, gb18030 or shift_jis"
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
