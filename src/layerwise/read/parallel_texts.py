"""Parallel texts: sentence pairs of two files of lines, of one with `|||` between the sides, or of two columns of a table."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError, SourceError
from layerwise.example import clean
from layerwise.read.corpus import read_fields
from layerwise.read.endings import has_known_ending, is_text
from layerwise.read.files import find_files
from layerwise.read.lines import read_lines, without_end
from layerwise.read.options import check_encoding
from layerwise.read.record import listed, shown
from layerwise.texts import listed as listed_texts
from layerwise.word_split import split_words

SEPARATOR = "|||"
Sentence = str | tuple[str, ...]
"""Raw text, or words."""
_Placed = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class SentencePair:
    """A sentence of each side, and where they stand, for messages."""

    a: Sentence
    b: Sentence
    place: str


class ParallelTexts:
    """Sentence pairs that can be read more than once, one at a time."""

    def __init__(self, read: Callable[[], Iterator[tuple[str, Any, Any]]], *, raw: bool) -> None:
        self._read, self._raw = read, raw

    def __iter__(self) -> Iterator[SentencePair]:
        for place, a, b in self._read():
            yield SentencePair(self._sentence(a, place, "a"), self._sentence(b, place, "b"), place)

    def _sentence(self, text: Any, place: str, side: str) -> Sentence:
        if isinstance(text, str):
            return clean(text) if self._raw else tuple(clean(text).split())
        if not isinstance(text, list | tuple) or not all(isinstance(word, str) for word in text):
            raise SourceError(f"{place}: side {side} is {shown(text)}; give a string, or a list of words")
        if self._raw:
            raise RequestError(
                f"{argument('raw', True)} splits strings, and side {side} of {place} is a list of words; leave it out"
            )
        return tuple(map(clean, text))


def open_parallel(
    a: Any,
    b: Any = None,
    *,
    text: str | Sequence[str] | None = None,
    encoding: str = "utf-8",
    raw: bool = False,
) -> ParallelTexts:
    """Return parallel texts.

    Args:
        a, b: the names of two files with a sentence per line, or two lists of strings or of lists of words. Without b, a
            is one file, or a list of strings, with `|||` between the sides of each line; or a table.
        text: the two columns of a table that hold the sides.
        encoding: the encoding of files.
        raw: keep lines as strings, instead of splitting them into words at blanks.

    Raises:
        RequestError: arguments that don't fit each other.
        SourceError: a file that can't be read, or a line without its two sides (while iterating).
    """
    check_encoding(encoding)
    if text is not None:
        return ParallelTexts(_table_reader(a, b, text, encoding), raw=raw)
    if b is not None:
        first, second = _line_reader(a, encoding), _line_reader(b, encoding)
        return ParallelTexts(lambda: _zipped(first(), second(), (_name(a, "a"), _name(b, "b"))), raw=raw)
    lines = _line_reader(a, encoding)
    return ParallelTexts(lambda: map(_cut, lines()), raw=raw)


def counted(texts: ParallelTexts) -> int:
    """Return the number of sentence pairs, after reading all of them once, so that a bad line is found before the work.

    Raises:
        SourceError: a bad line, files of different lengths, or no sentence pair.
    """
    total = sum(1 for _ in texts)
    if not total:
        raise SourceError("there is no sentence pair; give texts with at least one line")
    return total


def word_count(sentence: Sentence) -> int:
    """Return the number of words of a sentence; of raw text those of `split_words`."""
    return len(split_words(sentence)) if isinstance(sentence, str) else len(sentence)


def _name(source: Any, side: str) -> str:
    return str(source) if isinstance(source, str | Path) else f"the {type(source).__name__} {side}"


def _line_reader(source: Any, encoding: str) -> Callable[[], Iterable[_Placed]]:
    """Return a function that reads the lines of a file or a list, each with its place; input that can be read once is kept."""
    if not isinstance(source, str | Path):
        texts = listed_texts(source)
        return lambda: ((f"text {number}", text) for number, text in enumerate(texts))
    if has_known_ending(str(source)) and not is_text(str(source)):
        raise RequestError(
            f"{source} isn't a file of lines; name its two columns with {argument('text', 'a,b')}, as in "
            f"{argument('text')} english,german"
        )
    _, files = find_files(source, "txt")

    def lines() -> Iterator[_Placed]:
        for file in files:
            file.done = 0
            for line in read_lines(file, encoding):
                place = f"{file.label}, line {line.number}"
                if line.wrong is not None:
                    raise SourceError(f"{place}: {line.wrong}")
                yield place, without_end(line.text)

    if any(file.once for file in files):
        kept = list(lines())
        return lambda: kept
    return lines


def _table_reader(
    a: Any, b: Any, text: str | Sequence[str], encoding: str
) -> Callable[[], Iterator[tuple[str, Any, Any]]]:
    names = text.split(",") if isinstance(text, str) else list(text)
    if b is not None:
        raise RequestError(
            f"{argument('text')} names two columns of one file, and there are two files; leave one out"
        )
    if len(names) != 2 or names[0] == names[1]:
        raise RequestError(
            f"{argument('text')} {','.join(names)!r} doesn't name two columns; give both, such as a,b"
        )

    def rows() -> Iterator[tuple[str, Any, Any]]:
        for place, fields in read_fields(a, encoding=encoding):
            for name in names:
                if name not in fields:
                    raise SourceError(f"{place}: there is no column {name!r}; there are {listed(fields)}")
            yield place, fields[names[0]], fields[names[1]]

    return rows


def _zipped(
    first: Iterable[_Placed], second: Iterable[_Placed], names: tuple[str, str]
) -> Iterator[tuple[str, Any, Any]]:
    number = 0
    both = zip_longest(first, second)
    for number, (line_a, line_b) in enumerate(both, 1):
        if line_a is None or line_b is None:
            longer, shorter = names if line_b is None else names[::-1]
            total = number + sum(1 for _ in both)
            raise SourceError(
                f"{longer} has {total:,} lines and {shorter} {number - 1:,}; line n of one file must be the translation of "
                "line n of the other"
            )
        yield line_a[0], line_a[1], line_b[1]


def _cut(line: _Placed) -> tuple[str, Any, Any]:
    place, text = line
    if isinstance(text, list | tuple) and len(text) == 2:
        return place, text[0], text[1]
    if not isinstance(text, str):
        raise SourceError(
            f"{place} is {shown(text)}; give a string with {SEPARATOR} between its two sides, or a pair of sides"
        )
    sides = text.split(SEPARATOR)
    if len(sides) != 2:
        raise SourceError(
            f"{place} has {SEPARATOR} {len(sides) - 1} times, and needs it once, between the two sides; correct it, "
            f"or give two files, or the two columns of a table with {argument('text', 'a,b')}"
        )
    return place, sides[0], sides[1]
