"""Recall of a search: how many of the nearest rows an inexact search finds; over rows that come in blocks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32, I64

NEAREST = 10
_MOST = 4  # candidates for each of the nearest rows, of which all are sorted


@dataclass(frozen=True, slots=True)
class Recall:
    """The mean share of the `k` nearest rows of a query that a search finds.

    Attributes:
        score: between 0 and 1.
        k: the number of nearest rows.
        queries: the number of queries, which are rows themselves and don't find themselves.
        rows: the number of rows that were searched.
    """

    score: float
    k: int
    queries: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return {"score": self.score, "k": self.k, "queries": self.queries, "rows": self.rows}


class NearestRows:
    """The k nearest rows of each query, by dot product; of equally near ones the first. Memory is that of a block."""

    def __init__(self, queries: F32, numbers: I64, k: int) -> None:
        """Begin without rows.

        Args:
            queries: (q, d).
            numbers: the number of each query among the rows (q,), which it doesn't find.
            k: how many rows to keep.
        """
        self._queries, self._numbers, self._k = queries, numbers, k
        self._rows = np.full((len(queries), k), np.iinfo(np.int64).max)
        self._similarity = np.full((len(queries), k), -np.inf, np.float32)

    def add(self, first: int, block: F32) -> None:
        """Compare the queries with the rows `first` … of a block (n, d)."""
        similar = self._queries @ block.T
        inside = np.flatnonzero((self._numbers >= first) & (self._numbers < first + len(block)))
        similar[inside, self._numbers[inside] - first] = -np.inf
        query, place = np.nonzero(self._candidates(similar))
        queries = np.concatenate([np.repeat(np.arange(len(similar)), self._k), query])
        rows = np.concatenate([self._rows.ravel(), place + first])
        similarity = np.concatenate([self._similarity.ravel(), similar[query, place]])
        order = np.lexsort((rows, -similarity, queries))
        starts = np.searchsorted(queries[order], np.arange(len(similar)))
        chosen = order[starts[:, None] + np.arange(self._k)]
        self._rows, self._similarity = rows[chosen], similarity[chosen]

    def _candidates(self, similar: F32) -> NDArray[np.bool_]:
        """Return which rows of a block could be among the k nearest of each query, (q, n): few, but for ties."""
        larger: NDArray[np.bool_] = similar > self._similarity[:, -1:]
        if similar.shape[1] > self._k and larger.sum() > _MOST * self._k * len(similar):
            of_block = np.partition(similar, -self._k, axis=1)[:, -self._k, None]
            larger &= similar >= of_block
        return larger

    @property
    def rows(self) -> I64:
        """The numbers of the nearest rows, nearest first, (q, k)."""
        return self._rows


def recall_of(exact: I64, approximate: I64, rows: int) -> Recall:
    """Return the recall of a search that gave the rows `approximate` where `exact` are the nearest, both (q, k)."""
    hits = (exact[:, :, None] == approximate[:, None, :]).any(axis=2)
    return Recall(float(hits.mean()), exact.shape[1], len(exact), rows)
