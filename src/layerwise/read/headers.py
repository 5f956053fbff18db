"""Columns of CSV and TSV without a name: row names, as R and pandas write them, and empty cells of the header."""

import re
from collections.abc import Sequence

from layerwise.read.csv_rows import Row

ROW = "row"
_NAME = re.compile(r"[^\W\d][\w.-]{,39}")


def complete(header: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all columns: without a name, the first is called `row`, and another `column_2`."""
    names: list[str] = []
    for number, name in enumerate(header, 1):
        new = name if name.strip() else unused(f"column_{number}" if number > 1 else ROW, header)
        names.append(new)
    return tuple(names)


def are_names(header: Sequence[str]) -> bool:
    """Return whether a first line looks like names of columns, a word without blanks in each cell, and not like a record."""
    return all(_NAME.fullmatch(name) for name in header)


def unused(name: str, names: Sequence[str]) -> str:
    """Return a name for a new column, with `_` behind it as long as another has it."""
    while name in names:
        name += "_"
    return name


def are_row_names(rows: Sequence[Row], width: int) -> bool:
    """Return whether the first cells of the first rows are row names, for which the header of `width` cells has no name.

    All rows have one cell more, and their first cells are different integers; a single one is 0 or 1.
    """
    names = [row.cells[0] for row in rows if len(row.cells) == width + 1]
    if len(names) != len(rows) or not all(name.isascii() and name.isdecimal() for name in names):
        return False
    return names[0] in ("0", "1") if len(names) == 1 else len(set(names)) == len(names) > 0
