"""Which rows are translations of each other: pairs of sides, such as languages, that columns of a dataset define."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import column_values, is_paired, trimmed
from layerwise.errors import RequestError
from layerwise.states import Layered

_MANY = 10  # two sides each: those of five languages
_FEW = 4  # pairs, for which there is no advice


@dataclass(frozen=True, slots=True, eq=False)
class SidePair:
    """Two sides, and the rows of the texts that are translations of each other.

    Attributes:
        a, b: the names of the sides.
        rows: int64 (n, 2), the row of side a and that of side b.
    """

    a: str
    b: str
    rows: I64

    @property
    def directions(self) -> tuple[str, str]:
        """The names of the directions: from a to b, and from b to a."""
        return f"{self.a}>{self.b}", f"{self.b}>{self.a}"

    def take(self, chosen: I64) -> "SidePair":
        """Return some of the pairs."""
        return SidePair(self.a, self.b, self.rows[chosen])


def side_pairs(dataset: Layered, column: str, sides: str | None = None) -> tuple[list[SidePair], int]:
    """Return the pairs of each two sides, and how many texts have no partner.

    Rows with the same value are translations of each other. `part` of a dataset of pairs pairs the two texts of each
    record. A text has no partner where no other side has its value, or where its side has the value twice.

    Args:
        dataset: rows that are texts.
        column: the column whose value translations share.
        sides: a column with the side of each text, such as its language; two sides are a and b in sorted order. When
            left out, a value that exactly two rows have is a pair, and the earlier row is side a.

    Raises:
        RequestError: rows that aren't texts, no such column, no pair, a single side, or many sides that share few pairs.
    """
    if dataset.level != "text":
        raise RequestError(
            f"{argument('pairs')} needs rows that are texts, and these are of level {dataset.level!r}; "
            f"derive texts with `pool` and {argument('level', 'text')}"
        )
    if column == "part" and is_paired(dataset):
        if sides is not None:
            raise RequestError(
                f"{argument('sides', sides)} can't be combined with {argument('pairs', 'part')}, "
                "which defines the sides itself; leave it out"
            )
        rows = np.arange(dataset.rows).reshape(-1, 2)
        first, second = dict.fromkeys(_values(dataset, column))
        return [SidePair(first, second, rows)], 0
    values = list(map(sys.intern, _values(dataset, column)))
    valued = sum(map(bool, values))
    pairs = _unsided(values) if sides is None else _sided(values, _values(dataset, sides), sides)
    if not pairs:
        raise RequestError(
            f"no value of column {column!r} is shared by exactly two texts; name the column that two texts of a pair share"
        )
    if sides is not None:
        _check_shared(pairs, column, sides)
    return pairs, valued - len(np.unique(np.concatenate([pair.rows.ravel() for pair in pairs])))


def _check_shared(pairs: Sequence[SidePair], column: str, sides: str) -> None:
    """Raise RequestError for many sides, no two of which share more than a few pairs: the columns may be exchanged."""
    most = max(len(pair.rows) for pair in pairs)
    if len(pairs) > _MANY and most < _FEW:
        names = {name for pair in pairs for name in (pair.a, pair.b)}
        raise RequestError(
            f"column {sides!r} of {argument('sides', sides)} has {len(names):,} values, and no two of them share more than "
            f"{most} values of {argument('pairs', column)}; name a column of a few sides, such as the language, or "
            "exchange the two"
        )


def _unsided(values: Sequence[str]) -> list[SidePair]:
    rows: dict[str, tuple[int, ...]] = {}
    for row, value in enumerate(values):
        if value:
            # Three rows are enough to know that the value gives no pair.
            rows[value] = (*rows.get(value, ())[:2], row)
    pairs = [same for same in rows.values() if len(same) == 2]
    return [SidePair("a", "b", np.array(pairs, np.int64))] if pairs else []


def _sided(values: Sequence[str], side: Iterator[str], column: str) -> list[SidePair]:
    rows: dict[str, dict[str, int]] = {}
    repeated: set[tuple[str, str]] = set()
    for row, (value, name) in enumerate(zip(values, map(sys.intern, side), strict=True)):
        if value and name:
            if name in rows.setdefault(value, {}):
                repeated.add((value, name))
            rows[value][name] = row
    names = sorted({name for of_value in rows.values() for name in of_value})
    if len(names) < 2:
        listed = ", ".join(names) or "none"
        raise RequestError(
            f"column {column!r} must have two values or more, one per side, and has {len(names)}: {listed:.60}; "
            "name another column"
        )
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for value, of_value in rows.items():
        unique = sorted(name for name in of_value if (value, name) not in repeated)
        for a, b in combinations(unique, 2):
            pairs.setdefault((a, b), []).append((of_value[a], of_value[b]))
    return [SidePair(a, b, np.array(pairs[a, b], np.int64)) for a, b in sorted(pairs)]


def _values(dataset: Layered, column: str) -> Iterator[str]:
    """Yield the value of a column for each row as text, trimmed, and empty where it is missing."""
    exists = False
    for part in dataset.parts():
        values, in_part = column_values(part, column)
        exists |= in_part
        yield from map(trimmed, values)
    if not exists:
        names = dict.fromkeys([*dataset.index.column_names, *dataset.texts.column_names])
        raise RequestError(f"there is no column {column!r} in the dataset; there are {', '.join(names)}")
