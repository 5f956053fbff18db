"""Rows of TSV, which is written in two ways.

With quotes, as pandas, Excel and R write it: a cell with a tab, a line end or a quote in it is quoted, and its quotes are
doubled. Without quotes: cells are split at tabs, and a quote is a character as any other. Each cell tells by itself which
of them it is, so that a row reads the same whatever stands in other rows.
"""

import csv
import re
from collections.abc import Iterator
from itertools import islice

from layerwise.read.csv_rows import RereadLines, Row, csv_rows
from layerwise.read.lines import Line, without_end
from layerwise.read.record import Skipped

_LOOK_AHEAD = 1_000  # lines of a quoted cell
_QUOTED = re.compile(r'"(?:[^"]++|"")*+"', re.S)


def tsv_rows(source: str, lines: RereadLines, width: int | None, *, again: bool) -> Iterator[Row | Skipped]:
    """Yield the rows of a file without empty lines, faulty ones as `Skipped`.

    Args:
        source: the name of the file for messages.
        lines: its lines.
        width: the number of columns; by default that of the first row.
        again: see `csv_rows`.
    """
    for line in lines:
        text = without_end(line.text)
        if line.wrong is not None:
            yield Skipped(source, line.number, line.wrong)
            continue
        if not text:
            continue
        cells = text.split("\t")
        if width is None and all(_is_quoted(cell) for cell in cells):
            # A header with quotes around all names: R, and other writers that quote every string.
            lines.put_back([line])
            yield from csv_rows(source, lines, "\t", again=again)
            return
        width = width or len(cells)
        if '"' not in text:
            yield Row(line.number, cells)
            continue
        joined = _joined(line, lines, width) if lines.may_reread and any(map(_is_open, cells)) else None
        yield Row(line.number, joined or [_unquoted(cell) for cell in cells])


def _is_quoted(cell: str) -> bool:
    return len(cell) > 2 and _QUOTED.fullmatch(cell) is not None


def _is_open(cell: str) -> bool:
    """Return whether a cell begins with a quote that isn't closed in it."""
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _unquoted(cell: str) -> str:
    """Return a cell without quotes if its quotes are doubled, or if it is empty but for them; else as it is."""
    if cell.startswith('"') and (cell == '""' or ('""' in cell[1:-1] and _is_quoted(cell))):
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
