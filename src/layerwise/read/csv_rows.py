"""Rows of CSV, in csv's strict mode: a fault is reported with the line on which its cell opens."""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from layerwise.read.lines import LONGEST, Line
from layerwise.read.record import Skipped, quoted, shown

_LONGEST_CELL = (1 << 31) - 1
_REREAD = 1 << 28  # characters of a file that may be read twice
_QUOTED_CELL = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')


class Row(NamedTuple):
    """The cells of a record, and the line where it starts."""

    line: int
    cells: list[str]


class RereadLines:
    """Lines that can be put back, to be read again in another way."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._waiting: list[Line] = []
        self._budget = _REREAD

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        return self._waiting.pop() if self._waiting else next(self._lines)

    @property
    def may_reread(self) -> bool:
        """Whether lines may still be read twice; after too many it is `False`, so that the time is bounded."""
        return self._budget > 0

    def put_back(self, lines: Sequence[Line]) -> None:
        """Put lines back before the others."""
        self._budget -= sum(len(line.text) for line in lines)
        self._waiting += reversed(lines)


def csv_rows(source: str, lines: RereadLines, separator: str, *, again: bool) -> Iterator[Row | Skipped]:
    """Yield the rows of a file without empty lines, faulty ones as `Skipped`.

    Args:
        source: the name of the file for messages.
        lines: its lines.
        separator: the character between cells.
        again: after a faulty cell, go on with the line below the one on which the cell opens; otherwise with the line
            below the last that was read.
    """
    # The limit applies to the whole process; raising it harms no other reader.
    csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
    feed = _RowFeed(lines)
    cells = csv.reader(feed, delimiter=separator, strict=True)
    while True:
        feed.begin()
        try:
            row = next(cells)
        except StopIteration:
            return
        except csv.Error as error:
            yield _faulty(source, feed, separator, str(error), lines if again else None)
            continue
        if feed.wrong is not None:
            yield Skipped(source, feed.first, feed.wrong)
        elif row:
            yield Row(feed.first, row)


class _RowFeed:
    """Gives lines to the csv module; keeps the lines of its current row."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self.lines: list[Line] = []
        self._size = 0
        self._undecoded: Line | None = None
        self.too_long = False

    def begin(self) -> None:
        """Start a new row."""
        self.lines, self._size, self.too_long = [], 0, False
        self._undecoded = None

    @property
    def first(self) -> int:
        """The number of the line where the row begins."""
        return self.lines[0].number if self.lines else 0

    @property
    def wrong(self) -> str | None:
        """What is wrong in the first line that couldn't be decoded."""
        line = self._undecoded
        if line is None or line.number == self.first:
            return None if line is None else line.wrong
        return f"line {line.number}: {line.wrong}"

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._size > LONGEST:
            self.too_long = True
            raise StopIteration
        line = next(self._lines)
        self.lines.append(line)
        self._size += len(line.text)
        if line.wrong is not None and self._undecoded is None:
            self._undecoded = line
        return line.text


def _faulty(source: str, feed: _RowFeed, separator: str, error: str, lines: RereadLines | None) -> Skipped:
    text = "".join(line.text for line in feed.lines)
    start, end = _fault(text, separator)
    opening, last = text.count("\n", 0, start), feed.lines[-1].number
    rest = feed.lines[opening + 1 :]
    if feed.wrong is not None:
        why = feed.wrong
    elif feed.too_long:
        why = f"a quoted cell isn't closed within {LONGEST:,} characters; close it, or double its quote"
    elif end is None:
        why = f"a quoted cell isn't closed up to the last line, {last}; close it, or double its quote"
    elif start < end:
        what = quoted(shown(text[end : end + 20]))
        advice = "close the cell, or double the quotes in it"
        if text[end - 2 : end - 1] == "\\":
            advice = 'double the quotes in it, which have backslashes before them (R: qmethod="double")'
        why = (
            f"a quoted cell opens here, and after its closing quote, on line {last}, comes {what} where a separator or "
            f"the end of the line is needed; {advice}"
        )
    else:
        why = f"broken CSV ({error.split(' - ')[0]}); quote the cell"
    if lines is not None:
        lines.put_back(rest)  # at most once more for each line: none of them but the last opens a quoted cell
    return Skipped(source, feed.lines[opening].number, why)


def _fault(text: str, separator: str) -> tuple[int, int | None]:
    """Return where the faulty cell of a row begins, and the end of its quoted part (`None`: it isn't closed)."""
    plain = re.compile(rf"[^{re.escape(separator)}\r\n]*+")
    ends = f"{separator}\r\n"
    position = 0
    while position < len(text):
        if text[position] == '"':
            cell = _QUOTED_CELL.match(text, position)
            if cell is None:
                return position, None
            end = cell.end()
            if end < len(text) and text[end] not in ends:
                return position, end
        else:
            end = plain.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        if text[end : end + 1] == "\r" and text[end + 1 : end + 2] not in ("\n", ""):
            return end, end  # a lone carriage return
        position = end + 1
    return 0, 0
