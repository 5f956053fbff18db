"""Which rows have their partner as the best candidate; scores of candidates are computed in blocks."""

from collections.abc import Callable

import numpy as np

from layerwise.array_types import F64
from layerwise.geometry.rows import SAME

# Scores in memory at once (32 MiB).
_CELLS = 1 << 22
QueryScore = Callable[[F64, int], F64]
"""From the cosines of some queries with all candidates (q, n), and the number of the first query, to scores (q, n)."""


def cosine(cosines: F64, begin: int) -> F64:
    """Return the cosines themselves."""
    return cosines


def hits(queries: F64, candidates: F64, score: QueryScore = cosine) -> F64:
    """Return for each query whether its partner has the highest score: float64 (n,), 1/k where k rows share the highest.

    Row i of both, float64 (n, d) with rows of length 1, are partners.
    """
    out, step = np.empty(len(queries)), max(1, _CELLS // len(candidates))
    for begin in range(0, len(queries), step):
        scores = score(queries[begin : begin + step] @ candidates.T, begin)
        best = scores >= scores.max(axis=1, keepdims=True) - SAME
        numbers = np.arange(len(scores))
        out[begin : begin + step] = best[numbers, begin + numbers] / best.sum(axis=1)
    return out


def mean_of_nearest(queries: F64, candidates: F64, neighbours: int) -> F64:
    """Return the mean cosine of each query with its nearest candidates: float64 (n,)."""
    out, step = np.empty(len(queries)), max(1, _CELLS // len(candidates))
    for begin in range(0, len(queries), step):
        out[begin : begin + step] = top(queries[begin : begin + step] @ candidates.T, neighbours).mean(axis=1)
    return out


def top(cosines: F64, neighbours: int) -> F64:
    """Return the highest numbers of each row, in any order: (q, neighbours), or all where there are fewer."""
    count = min(neighbours, cosines.shape[1])
    highest: F64 = np.partition(cosines, cosines.shape[1] - count, axis=1)[:, -count:]
    return highest
