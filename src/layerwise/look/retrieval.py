"""Retrieval among pairs of texts, such as translations: is a text's partner the nearest of all?"""

import numpy as np

from layerwise.errors import RequestError
from layerwise.learn.labels import column_values, is_paired
from layerwise.look.geometry import I64, SAME, Rows, finite, unit_rows
from layerwise.states import Layered

WAYS = ("ab", "ba", "ab_centred", "ba_centred")
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
    cosines = first @ second.T
    return _hits(cosines), _hits(cosines.T)


def _hits(cosines: Rows) -> float:
    nearest = cosines >= cosines.max(axis=1, keepdims=True) - SAME
    own = np.arange(len(cosines))
    return float((nearest[own, own] / nearest.sum(axis=1)).mean())


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
    values = _values(dataset, column)
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        if value:
            rows.setdefault(value, []).append(row)
    pairs = [tuple(found) for found in rows.values() if len(found) == 2]
    if sides is not None:
        pairs = _sided(pairs, _values(dataset, sides), sides)
    if not pairs:
        raise RequestError(
            f"no value of column {column!r} is shared by exactly two texts; name the column that joins pairs"
        )
    return np.array(pairs, np.int64), sum(map(bool, values)) - 2 * len(pairs)


def _sided(pairs: list[tuple[int, ...]], side: list[str], column: str) -> list[tuple[int, ...]]:
    known = sorted({side[row] for pair in pairs for row in pair if side[row]})
    if len(known) != 2:
        shown = ", ".join(known[:5]) or "none"
        raise RequestError(
            f"column {column!r} must tell two sides of pairs apart, and has {len(known)}: {shown:.60}"
        )
    ordered = [tuple(sorted(pair, key=lambda row: side[row])) for pair in pairs]
    return [pair for pair in ordered if [side[row] for row in pair] == known]


def _values(dataset: Layered, column: str) -> list[str]:
    """What a column says of each row; nothing where it says nothing."""
    found: list[str] = []
    known = False
    for part in dataset.parts():
        values, there = column_values(part, column)
        known |= there
        found += ["" if value is None else str(value) for value in values]
    if not known:
        names = dict.fromkeys([*dataset.index.column_names, *dataset.texts.column_names])
        raise RequestError(f"there is no column {column!r} in the dataset; there are {', '.join(names)}")
    return found
