"""Nearest rows by cosine, block by block, so that memory doesn't grow with the number of rows squared."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32, I64
from layerwise.states import Layered

# Cosines in memory at once (64 MiB).
_CELLS = 1 << 24


def units(x: F32) -> F32:
    """Return rows at length 1, float32 (n, d); rows of zeros, or with values that aren't finite, are 0."""
    values = np.where(np.isfinite(x).all(axis=1, keepdims=True), x, 0).astype(np.float32)
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0)
    np.divide(values, largest, out=values, where=largest > 0)
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values))[:, None]
    np.divide(values, lengths, out=values, where=lengths > 0)
    return values


def nearest(x: F32, k: int) -> tuple[I64, F32]:
    """Return for each row of x (n, d) the k nearest others, nearest first: numbers and cosines, (n, k) each.

    Of equally near rows the first come first. k is at most n - 1.
    """
    unit, count = units(x), len(x)
    k = min(k, count - 1)
    rows, cosines = np.empty((count, k), np.int64), np.empty((count, k), np.float32)
    step = max(1, _CELLS // max(count, 1))
    for begin in range(0, count, step):
        similar = unit[begin : begin + step] @ unit.T
        numbers = np.arange(len(similar))
        similar[numbers, begin + numbers] = -np.inf
        rows[begin : begin + step], cosines[begin : begin + step] = _top(similar, k)
    return rows, cosines


def nearest_to(dataset: Layered, layer: str, row: int, k: int) -> tuple[I64, F32]:
    """Return the k rows nearest to a row of a layer, over the whole dataset, without itself and special tokens.

    The layer is read block by block; only one block is in memory at a time.
    """
    vector = units(dataset.layer(layer, rows=[row]))[0]
    rows, cosines = np.empty(0, np.int64), np.empty(0, np.float32)
    for begin, block, out in _blocks(dataset, layer):
        similar = units(block) @ vector
        similar[out] = -np.inf
        if begin <= row < begin + len(similar):
            similar[row - begin] = -np.inf
        best, largest = _top(similar[None], min(k, len(similar)))
        rows, cosines = np.append(rows, best[0] + begin), np.append(cosines, largest[0])
        order = np.lexsort((rows, -cosines))[:k]
        rows, cosines = rows[order], cosines[order]
    valid = np.isfinite(cosines)
    return rows[valid], cosines[valid]


def _blocks(dataset: Layered, layer: str) -> Iterator[tuple[int, F32, Any]]:
    """Yield the number of a block's first row, the block, and which of its rows are special tokens."""
    begin, step = 0, max(1, _CELLS // dataset.width)
    for part in dataset.parts():
        special = part.index["special"].to_numpy() if part.level == "token" else np.zeros(part.rows, bool)
        for start in range(0, part.rows, step):
            rows = slice(start, start + step)
            yield begin + start, part.layer(layer, rows=rows), special[rows]
        begin += part.rows


def largest_mask(cosines: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """Return a mask of the k largest of each row of cosines, 1 <= k <= columns; of equal ones the first are taken."""
    # A stable sort of all would take ten times as long.
    last = np.partition(cosines, -k, axis=1)[:, -k, None]
    larger, tied = cosines > last, cosines == last
    room = k - larger.sum(axis=1, keepdims=True)
    mask: NDArray[np.bool_] = larger | (tied & (np.cumsum(tied, axis=1) <= room))
    return mask


def _top(cosines: NDArray[np.float32], k: int) -> tuple[I64, F32]:
    """Return the k largest of each row of cosines, the largest first; of equal ones the first comes first."""
    if not k:
        return np.empty((len(cosines), 0), np.int64), np.empty((len(cosines), 0), np.float32)
    places = np.nonzero(largest_mask(cosines, k))[1].reshape(len(cosines), k)
    values = np.take_along_axis(cosines, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(values, order, axis=1)
