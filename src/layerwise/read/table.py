"""CSV and TSV: cells stay strings; the first line names the columns unless `--columns` does.

CSV is quoted as usual, and a quoted cell may span lines. TSV has no quotes: cells are split at tabs,
records at line ends. Blank lines are skipped.
"""

import csv
from collections.abc import Iterator
from typing import Any, NamedTuple

from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.read.files import File
from layerwise.read.lines import Line, read_lines, without_end
from layerwise.read.reader import Reader
from layerwise.read.record import Columns, Record, Skipped, listed, quoted

_LONGEST_CELL = (1 << 31) - 1


class Row(NamedTuple):
    """The cells of a record, and the line where it starts."""

    line: int
    cells: list[str]


class TsvReader(Reader):
    """One record per line, split at tabs."""

    def check(self, file: File) -> None:
        """Check the header."""
        self._names(file, self.rows(file))
        file.done = 0

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per row that isn't blank."""
        rows = self.rows(file)
        names = self._names(file, rows)
        for row in rows:
            if isinstance(row, Skipped):
                yield row
            elif len(row.cells) == len(names):
                yield Record(row.line, self._fields(names, row.cells))
            elif "".join(row.cells).strip() or len(row.cells) > 1:
                why = f"{len(row.cells)} cells where there are {len(names)} columns"
                yield Skipped(file.label, row.line, f"{why} ({quoted(listed(names))}); mend the row")

    def rows(self, file: File) -> Iterator[Row | Skipped]:
        """Yield the rows of a file, header included, without empty lines."""
        for line in read_lines(file, self.options.encoding):
            text = without_end(line.text)
            if line.wrong is not None:
                yield Skipped(file.label, line.number, line.wrong)
            elif text:
                yield Row(line.number, text.split("\t"))

    def _names(self, file: File, rows: Iterator[Row | Skipped]) -> tuple[str, ...]:
        names = self.options.columns or self._header(file, rows)
        self.agree(file, Columns(names, frozenset(names)))
        return names

    def _header(self, file: File, rows: Iterator[Row | Skipped]) -> tuple[str, ...]:
        row = next(rows, None)
        if row is None:
            raise SourceError(
                f"{file.label} is empty; its first line must name the columns, or {argument('columns')}"
            )
        if isinstance(row, Skipped):
            raise SourceError(f"{file.label}, line {row.line}: {row.why}")
        duplicates = sorted({name for name in row.cells if row.cells.count(name) > 1})
        if duplicates:
            raise SourceError(
                f"{file.label}, line {row.line}: the header names {quoted(listed(duplicates))} twice; rename one, "
                f"or give {argument('columns')} when the file has no header"
            )
        return tuple(row.cells)

    def _fields(self, names: tuple[str, ...], cells: list[str]) -> dict[str, Any]:
        fields: dict[str, Any] = dict(zip(names, cells, strict=True))
        if self.words is not None:
            fields[self.words] = fields[self.words].split()
        return fields


class CsvReader(TsvReader):
    """A record per row of comma-separated cells."""

    def rows(self, file: File) -> Iterator[Row | Skipped]:
        """Yield the rows of a file, header included, without empty lines."""
        # The limit applies to the whole process; raising it harms no other reader.
        csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
        feed = _LineFeed(read_lines(file, self.options.encoding))
        cells = csv.reader(feed)
        while True:
            feed.begin()
            try:
                row = next(cells)
            except StopIteration:
                return
            except csv.Error as error:
                why = str(error).split(" - ")[0]
                yield Skipped(file.label, feed.first, f"broken CSV ({why}); quote the cell")
                continue
            if row and feed.over:
                why = f"a quoted cell isn't closed up to the last line, {feed.last}"
                yield Skipped(file.label, feed.first, f"{why}; close it, or double its quote")
            elif feed.wrong is not None:
                yield Skipped(file.label, feed.first, feed.wrong)
            elif row:
                yield Row(feed.first, row)


class _LineFeed:
    """Gives lines to the csv module; remembers where its current row began and what was wrong in it."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self.first = self.last = 0
        self.over = False
        self.wrong: str | None = None

    def begin(self) -> None:
        """Start a new row."""
        self.first, self.wrong = self.last + 1, None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.over:
            raise StopIteration
        line = next(self._lines, None)
        if line is None:
            # One more empty line: it becomes part of a row only inside an open quote.
            self.over = True
            return ""
        self.last = line.number
        if line.wrong is not None and self.wrong is None:
            self.wrong = f"line {line.number}: {line.wrong}" if line.number != self.first else line.wrong
        return line.text
