"""Retrieval among pairs of texts, such as translations: is a text's partner the nearest of all?"""

import sys
from collections.abc import Iterator

import numpy as np

from layerwise.columns import column_values, is_paired
from layerwise.errors import RequestError
from layerwise.geometry.shape import I64, SAME, Rows, finite, unit_rows
from layerwise.states import Layered

WAYS = ("ab", "ba", "ab_centred", "ba_centred")
# Cosines that are held at once (32 MiB).
_CELLS = 1 << 22
SOURCE = "nearest by cosine; centred per side as in Libovický et al. 2020"


def accuracy(a: Rows, b: Rows, *, centred: bool = False) -> tuple[float, float]:
    """Return which share of rows has its partner as the nearest by cosine: of a among b, of b among a.

    Row i of a (n, d) and of b are partners. Of k equally near rows, the partner among them, a row counts 1/k,
    so that rows that are all alike give 1/n. NaN for a value that isn't finite, a row of zeros, or one pair.
    Centred as in Libovický et al. (2020), who take the mean of each language off.

    Args:
        a, b: the two sides.
        centred: take the mean of each side off first.
    """
    if not (finite(a) and finite(b)) or len(a) < 2:
        return float("nan"), float("nan")
    if centred:
        a, b = (np.asarray(x, np.float64) - np.asarray(x, np.float64).mean(axis=0) for x in (a, b))
    first, second = unit_rows(a), unit_rows(b)
    if first is None or second is None:
        return float("nan"), float("nan")
    return _hits(first, second), _hits(second, first)


def _hits(unit: Rows, other: Rows) -> float:
    """Which share of rows of length 1 has its partner as the nearest of the others, in blocks."""
    found, step = np.empty(len(unit)), max(1, _CELLS // len(unit))
    for begin in range(0, len(unit), step):
        cosines = unit[begin : begin + step] @ other.T
        nearest = cosines >= cosines.max(axis=1, keepdims=True) - SAME
        own = np.arange(len(cosines))
        found[begin : begin + step] = nearest[own, begin + own] / nearest.sum(axis=1)
    return float(found.mean())


def pair_rows(dataset: Layered, column: str, sides: str | None = None) -> tuple[I64, int]:
    """Return the rows of the pairs that a column joins, int64 (n, 2), and how many texts have no partner.

    Two rows with one value are a pair. `part` of a dataset of pairs joins the two texts of each record. Values
    that fewer or more than two rows have join nothing, nor do two rows of one side.

    Args:
        dataset: rows that are texts.
        column: what the two texts of a pair have in common.
        sides: a column of two values, such as languages: the first in the order of the alphabet is a. When left
            out, the earlier row of a pair is a.

    Raises:
        RequestError: rows that aren't texts, no such column, no pair, or more than two sides.
    """
    if dataset.level != "text":
        raise RequestError(
            f"--pairs needs rows that are texts, and these are of level {dataset.level!r}; "
            "derive texts with `layerwise pool --level text`"
        )
    if column == "part" and is_paired(dataset):
        if sides is not None:
            raise RequestError(
                f"--sides {sides!r} doesn't go with --pairs part, which tells the sides itself; leave it out"
            )
        return np.arange(dataset.rows).reshape(-1, 2), 0
    rows: dict[str, tuple[int, ...]] = {}
    told = 0
    for row, value in enumerate(_values(dataset, column)):
        if value:
            told += 1
            rows[value] = (*rows.get(value, ())[:2], row)  # three rows are no pair, and more aren't either
    pairs: list[tuple[int, ...]] = [found for found in rows.values() if len(found) == 2]
    del rows
    if sides is not None:
        # One string for all rows that say the same.
        pairs = _sided(pairs, list(map(sys.intern, _values(dataset, sides))), sides)
    if not pairs:
        raise RequestError(
            f"no value of column {column!r} is shared by exactly two texts; name the column that joins pairs"
        )
    return np.array(pairs, np.int64), told - 2 * len(pairs)


def _sided(pairs: list[tuple[int, ...]], side: list[str], column: str) -> list[tuple[int, ...]]:
    known = sorted({side[row] for pair in pairs for row in pair if side[row]})
    if len(known) != 2:
        shown = ", ".join(known[:5]) or "none"
        raise RequestError(
            f"column {column!r} must tell two sides of pairs apart, and has {len(known)}: {shown:.60}"
        )
    ordered = [tuple(sorted(pair, key=lambda row: side[row])) for pair in pairs]
    return [pair for pair in ordered if [side[row] for row in pair] == known]


def _values(dataset: Layered, column: str) -> Iterator[str]:
    """Yield what a column says of each row; nothing where it says nothing."""
    known = False
    for part in dataset.parts():
        values, there = column_values(part, column)
        known |= there
        yield from ("" if value is None else str(value) for value in values)
    if not known:
        names = dict.fromkeys([*dataset.index.column_names, *dataset.texts.column_names])
        raise RequestError(f"there is no column {column!r} in the dataset; there are {', '.join(names)}")
