"""Retrieval among pairs of texts, such as translations: how often is the partner of a text its nearest neighbour?"""

import sys
from collections.abc import Iterator

import numpy as np

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import column_values, is_paired
from layerwise.errors import RequestError
from layerwise.geometry.rows import SAME, RowArray, finite, unit_rows
from layerwise.states import Layered
from layerwise.wording import Message

DIRECTIONS = ("ab", "ba", "ab_centred", "ba_centred")
# Cosines in memory at once (32 MiB).
_CELLS = 1 << 22
SOURCE = Message("source.retrieval")


def accuracy(a: RowArray, b: RowArray, *, centred: bool = False) -> tuple[float, float]:
    """Return the share of rows whose partner is the nearest row by cosine: of a among b, of b among a.

    Row i of a (n, d) and of b are partners. Where the partner is one of k equally near rows, a row counts 1/k,
    so that n equal rows give 1/n. NaN for a value that isn't finite, a row of zeros, or a single pair.
    Centred as in Libovický et al. (2020), who subtract the mean of each language.

    Args:
        a, b: the two sides.
        centred: subtract the mean of each side first.
    """
    if not (finite(a) and finite(b)) or len(a) < 2:
        return float("nan"), float("nan")
    if centred:
        a, b = (np.asarray(x, np.float64) - np.asarray(x, np.float64).mean(axis=0) for x in (a, b))
    first, second = unit_rows(a), unit_rows(b)
    if first is None or second is None:
        return float("nan"), float("nan")
    return _hits(first, second), _hits(second, first)


def _hits(unit: RowArray, other: RowArray) -> float:
    """Return the share of rows of length 1 whose partner is the nearest of the others; computed in blocks."""
    hits, step = np.empty(len(unit)), max(1, _CELLS // len(unit))
    for begin in range(0, len(unit), step):
        cosines = unit[begin : begin + step] @ other.T
        nearest = cosines >= cosines.max(axis=1, keepdims=True) - SAME
        numbers = np.arange(len(cosines))
        hits[begin : begin + step] = nearest[numbers, begin + numbers] / nearest.sum(axis=1)
    return float(hits.mean())


def pair_rows(dataset: Layered, column: str, sides: str | None = None) -> tuple[I64, int]:
    """Return the rows of the pairs that a column defines, int64 (n, 2), and how many texts have no partner.

    Two rows with the same value are a pair. `part` of a dataset of pairs pairs the two texts of each record. A value
    that fewer or more than two rows have gives no pair, nor do two rows of the same side.

    Args:
        dataset: rows that are texts.
        column: the column whose value the two texts of a pair share.
        sides: a column of two values, such as languages: the first in sorted order is a. When left
            out, the earlier row of a pair is a.

    Raises:
        RequestError: rows that aren't texts, no such column, no pair, or more than two sides.
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
        return np.arange(dataset.rows).reshape(-1, 2), 0
    rows: dict[str, tuple[int, ...]] = {}
    valued = 0
    for row, value in enumerate(_values(dataset, column)):
        if value:
            valued += 1
            # Three rows are enough to know that the value gives no pair.
            rows[value] = (*rows.get(value, ())[:2], row)
    pairs: list[tuple[int, ...]] = [same for same in rows.values() if len(same) == 2]
    del rows
    if sides is not None:
        # Equal strings share one object, which saves memory.
        pairs = _sided(pairs, list(map(sys.intern, _values(dataset, sides))), sides)
    if not pairs:
        raise RequestError(
            f"no value of column {column!r} is shared by exactly two texts; name the column that two texts of a pair share"
        )
    return np.array(pairs, np.int64), valued - 2 * len(pairs)


def _sided(pairs: list[tuple[int, ...]], side: list[str], column: str) -> list[tuple[int, ...]]:
    side_values = sorted({side[row] for pair in pairs for row in pair if side[row]})
    if len(side_values) != 2:
        listed = ", ".join(side_values[:5]) or "none"
        raise RequestError(
            f"column {column!r} must have two values, one per side of a pair, and has {len(side_values)}: {listed:.60}"
        )
    ordered = [tuple(sorted(pair, key=lambda row: side[row])) for pair in pairs]
    return [pair for pair in ordered if [side[row] for row in pair] == side_values]


def _values(dataset: Layered, column: str) -> Iterator[str]:
    """Yield the value of a column for each row as a string, empty where it is missing."""
    exists = False
    for part in dataset.parts():
        values, in_part = column_values(part, column)
        exists |= in_part
        yield from ("" if value is None else str(value) for value in values)
    if not exists:
        names = dict.fromkeys([*dataset.index.column_names, *dataset.texts.column_names])
        raise RequestError(f"there is no column {column!r} in the dataset; there are {', '.join(names)}")
