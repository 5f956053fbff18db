"""Rows of TSV, which is written in several ways.

Without quotes: cells are split at tabs, and a quote is a character as any other. With quotes: a cell with a tab, a line end
or a quote in it is quoted, and its quotes are doubled (pandas, polars); cells with a comma are quoted too (Excel's "Text
(Tab delimited)"); or all strings are (R). A cell whose quotes are doubled, or that holds a tab or a line end, tells by itself
that it is quoted. For the others the whole file decides: quotes are taken off where they follow one of these rules without
an exception, and are text otherwise.
"""

import csv
import re
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import NamedTuple

from layerwise.read.csv_rows import RereadLines, Row, csv_rows
from layerwise.read.lines import Line, without_end
from layerwise.read.record import Skipped

_LOOK_AHEAD = 1_000  # lines of a quoted cell
_LONGEST_SCAN = 1 << 28  # characters of a file that decide about its quotes
_QUOTED = re.compile(r'"(?:[^"]++|"")*+"', re.S)


class Quotes(NamedTuple):
    """The numbers of the columns whose quotes are taken off, and why: `""` if no cell depends on it.

    `some`: each cell with a comma or a quote has quotes around it, and no other; `all`: all cells of a column have.
    """

    columns: Collection[int] = ()
    why: str = ""


def tsv_rows(
    source: str,
    lines: RereadLines,
    width: int | None,
    quotes: Quotes,
    kept: Callable[[int], None],
    *,
    again: bool,
) -> Iterator[Row | Skipped]:
    """Yield the rows of a file without empty lines, faulty ones as `Skipped`.

    Args:
        source: the name of the file for messages.
        lines: its lines.
        width: the number of columns; by default that of the first row.
        quotes: the columns whose cells have quotes that aren't text.
        kept: called with the line of each row where the quotes around a cell are text.
        again: see `csv_rows`.
    """
    if width is None and _has_quoted_header(lines):
        yield from csv_rows(source, lines, "\t", again=again)
        return
    for line, cells, is_joined in _split(lines, width):
        if line.wrong is not None:
            yield Skipped(source, line.number, line.wrong)
        elif is_joined or '"' not in line.text:
            yield Row(line.number, cells)
        else:
            columns = quotes.columns
            texts = [_unquoted(cell, number in columns) for number, cell in enumerate(cells)]
            if any(text is cell and _is_quoted(cell) for text, cell in zip(texts, cells, strict=True)):
                kept(line.number)
            yield Row(line.number, texts)


def quotes_of(lines: RereadLines, width: int | None) -> Quotes:
    """Return which quotes of a file aren't text, as its rows show (at most `_LONGEST_SCAN` characters of them).

    In all columns, if each cell with a comma or a quote has quotes around it, and no other cell has; else in the columns
    whose cells all have quotes around them, if they are at least two. In none, if a quote stands elsewhere in a cell.
    """
    if width is None and _has_quoted_header(lines):
        return Quotes()
    evidence: _Evidence | None = None
    characters = 0
    for line, cells, is_joined in _split(lines, width):
        evidence = evidence or _Evidence(len(cells))
        characters += len(line.text)
        if line.wrong is not None or is_joined or len(cells) != evidence.width:
            continue
        evidence.add(cells)
        if evidence.is_settled or characters > _LONGEST_SCAN:
            break
    return Quotes() if evidence is None else evidence.quotes()


class _Evidence:
    """Counts, for each column, cells with quotes around them and without."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._quoted = [0] * width
        self._needless = [0] * width  # quoted cells without a comma or a quote
        self._bare = [0] * width
        self._commas = [0] * width  # bare cells with a comma
        self._undoubled = 0  # cells that don't tell by themselves that they are quoted
        self._is_broken = False  # a quote stands elsewhere than around a cell, or doubled in one

    def add(self, cells: list[str]) -> None:
        """Count the cells of a row."""
        for number, cell in enumerate(cells):
            if not cell or cell == '""':
                continue
            if '"' not in cell:
                self._bare[number] += 1
                self._commas[number] += "," in cell
            elif _is_quoted(cell):
                has_quotes = '"' in cell[1:-1]
                self._quoted[number] += 1
                self._needless[number] += not has_quotes and "," not in cell
                self._undoubled += not has_quotes
            else:
                self._is_broken = True

    @property
    def _all_quoted(self) -> list[int]:
        return [n for n in range(self.width) if self._quoted[n] >= 2 and not self._bare[n]]

    @property
    def _is_excel(self) -> bool:
        rest = set(range(self.width)).difference(self._all_quoted)
        return not any(self._commas[n] or self._needless[n] for n in rest)

    @property
    def is_settled(self) -> bool:
        """Whether no further row can make quotes be taken off."""
        return self._is_broken or (all(self._bare) and any(map(max, self._commas, self._needless)))

    def quotes(self) -> Quotes:
        """Return the columns whose quotes aren't text."""
        if self._is_broken or not self._undoubled:
            return Quotes()
        if self._is_excel and not any(self._needless):
            return Quotes(range(self.width), "some")
        columns = range(self.width) if self._is_excel else self._all_quoted
        return Quotes(columns, "all") if columns else Quotes()


def _has_quoted_header(lines: RereadLines) -> bool:
    """Return whether all names of the first row have quotes: R, and other writers that quote every string."""
    passed: list[Line] = []
    for line in lines:
        passed.append(line)
        if without_end(line.text):
            break
    lines.put_back(passed)
    if not passed or passed[-1].wrong is not None:
        return False
    cells = without_end(passed[-1].text).split("\t")
    return any(map(_is_quoted, cells)) and all(cell == '""' or _is_quoted(cell) for cell in cells)


def _split(lines: RereadLines, width: int | None) -> Iterator[tuple[Line, list[str], bool]]:
    """Yield each row's first line, its cells, and whether they were joined of several lines and have no quotes."""
    for line in lines:
        text = without_end(line.text)
        cells = text.split("\t")
        if line.wrong is not None:
            yield line, cells, False
        elif text:
            width = width or len(cells)
            may_be_open = '"' in text and lines.may_reread and any(map(_is_open, cells))
            joined = _joined(line, lines, width) if may_be_open else None
            yield line, joined or cells, joined is not None


def _is_quoted(cell: str) -> bool:
    return len(cell) > 2 and cell.startswith('"') and _QUOTED.fullmatch(cell) is not None


def _is_open(cell: str) -> bool:
    """Return whether a cell begins with a quote that isn't closed in it."""
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _unquoted(cell: str, in_quotes: bool) -> str:
    """Return a cell without quotes if the column has them, its own are doubled, or it is empty but for them."""
    if cell.startswith('"') and (cell == '""' or ((in_quotes or '""' in cell[1:-1]) and _is_quoted(cell))):
        return cell[1:-1].replace('""', '"')
    return cell


def _joined(first: Line, lines: RereadLines, width: int) -> list[str] | None:
    """Return the cells of a row with tabs or line ends in quotes; `None` if it isn't such a row.

    It is one if it has the right number of cells with quotes, and one of its lines has another number without.
    """
    physical = [first]

    def feed() -> Iterator[str]:
        yield first.text
        for line in islice(lines, _LOOK_AHEAD):
            physical.append(line)
            if line.wrong is not None:
                return
            yield line.text

    try:
        cells = next(csv.reader(feed(), delimiter="\t", strict=True))
    except (csv.Error, StopIteration):
        cells = []
    if len(cells) == width and any(line.text.count("\t") + 1 != width for line in physical):
        return cells
    lines.put_back(physical[1:])
    return None
