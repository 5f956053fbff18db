"""Attacks on vectors: find the tokens that a vector was made of, by one search in the table of token embeddings.

The table is part of the model, so an attacker has it. Two attacks, both simple, so that what they recover is a lower
bound of what the vectors give away:

- untrained: centre the vectors and the table, and take the nearest entries by cosine;
- trained: map vectors to entries by a ridge regression first, fitted on other texts whose tokens are known.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from layerwise._util.threads import spread
from layerwise.array_types import F32, F64, I64

_ROWS, _ENTRIES = 512, 1 << 12  # rows and entries whose cosines are in memory at once (8 MiB per thread)
_RIDGE = 200  # rows for which the penalty equals the mean variance of a direction


@dataclass(frozen=True, slots=True, eq=False)
class TokenSets:
    """The distinct tokens of each row: row i has `ids[begins[i] : begins[i + 1]]`, int64."""

    ids: I64
    begins: I64

    @classmethod
    def of(cls, rows: I64, ids: I64, count: int) -> "TokenSets":
        """Return the sets of `count` rows from pairs of a row and a token, int64 (m,) each."""
        pairs = np.unique(np.stack([rows, ids]), axis=1)
        begins = np.searchsorted(pairs[0], np.arange(count + 1))
        return cls(pairs[1], begins.astype(np.int64))

    @property
    def counts(self) -> I64:
        """The number of tokens of each row, int64 (n,)."""
        return np.diff(self.begins)

    @property
    def row_of_id(self) -> I64:
        """The row of each of `ids`, int64 (m,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def keep(self, is_kept: NDArray[np.bool_]) -> "TokenSets":
        """Return the same rows with some of their tokens, chosen by a mask of `ids`, bool (m,)."""
        return TokenSets.of(self.row_of_id[is_kept], self.ids[is_kept], len(self.counts))

    def take(self, rows: I64) -> "TokenSets":
        """Return some rows, by ascending numbers."""
        mask = np.isin(self.row_of_id, rows)
        return TokenSets.of(np.searchsorted(rows, self.row_of_id[mask]), self.ids[mask], len(rows))


def centred_table(table: F32) -> F32:
    """Return the entries of a table minus their mean, at length 1, float32 (V, d); an entry equal to the mean stays 0."""
    entries: F32 = table - table.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.sqrt(np.einsum("vd,vd->v", entries, entries))
    entries /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return entries


def recovered(queries: F32, entries: F32, tokens_of_rows: TokenSets, excluded: I64 | None = None) -> F64:
    """Return the share of each row's k tokens that are among the k entries nearest to it; NaN for a row without any.

    Args:
        queries: what is looked for, float32 (n, d); a row that is 0, or not finite, finds nothing.
        entries: of length 1, float32 (V, d).
        tokens_of_rows: the tokens of each row.
        excluded: entries that are never an answer.
    """
    usable = np.isfinite(queries).all(axis=1) & queries.any(axis=1)
    counts, shares = tokens_of_rows.counts, np.where(tokens_of_rows.counts > 0, 0.0, np.nan)
    order = np.flatnonzero(usable & (counts > 0))
    order = order[np.argsort(counts[order], kind="stable")]
    blocks = [order[begin : begin + _ROWS] for begin in range(0, len(order), _ROWS)]

    def search(rows: I64) -> F64:
        nearest = _nearest(queries[rows], entries, int(counts[rows].max()), excluded)
        return _shares(nearest, tokens_of_rows, rows)

    for rows, shares_of_block in zip(blocks, spread(search, blocks), strict=True):
        shares[rows] = shares_of_block
    return shares


def _shares(nearest: I64, tokens_of_rows: TokenSets, rows: I64) -> F64:
    """Return the share of the k tokens of each of `rows` among the first k of its `nearest`, float64 (n,)."""
    counts = tokens_of_rows.counts[rows]
    place = np.repeat(np.arange(len(rows)), counts)
    rank = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    tokens = tokens_of_rows.ids[tokens_of_rows.begins[rows][place] + rank]
    is_answer = np.arange(nearest.shape[1]) < counts[place, None]
    is_hit = ((nearest[place] == tokens[:, None]) & is_answer).any(axis=1)
    return np.bincount(place, weights=is_hit, minlength=len(rows)) / counts


def _nearest(queries: F32, entries: F32, most: int, excluded: I64 | None) -> I64:
    """Return the numbers of the `most` nearest entries of each query, the nearest first, int64 (n, most)."""
    best = np.zeros((len(queries), 0), np.float32)
    numbers = np.zeros((len(queries), 0), np.int64)
    for begin in range(0, len(entries), _ENTRIES):
        cosines = queries @ entries[begin : begin + _ENTRIES].T
        if excluded is not None:
            cosines[:, excluded[(excluded >= begin) & (excluded < begin + _ENTRIES)] - begin] = -np.inf
        places = _highest(cosines, most)
        best = np.hstack([best, np.take_along_axis(cosines, places, 1)])
        numbers = np.hstack([numbers, places + begin])
    order = np.argsort(-best, axis=1, kind="stable")[:, :most]
    nearest: I64 = np.take_along_axis(numbers, order, 1)
    return nearest


def _highest(values: F32, most: int) -> I64:
    """Return the places of the `most` highest values of each row, in any order, int64 (n, most)."""
    most = min(most, values.shape[1])
    places: I64 = (
        values.argmax(axis=1)[:, None]
        if most == 1
        else np.argpartition(values, values.shape[1] - most, axis=1)[:, -most:]
    )
    return places


def trained_queries(x: F32, goals: F32, fit: I64, test: I64) -> F32:
    """Return what a ridge regression makes of the rows `test`, fitted to `goals` (n, d) on the rows `fit`.

    The penalty pulls towards the vectors themselves, scaled as fits best, where they have the width of the table: with
    few rows the attack is the untrained one, with many it is a free map. It weighs as much as `_RIDGE` rows.
    """
    mean, goal_mean = x[fit].mean(axis=0, dtype=np.float64), goals[fit].mean(axis=0, dtype=np.float64)
    features, aims = x[fit] - mean, goals[fit] - goal_mean
    square = features.T @ features
    power = float(np.trace(square))
    if not np.isfinite(power) or power == 0:
        return np.zeros((len(test), goals.shape[1]), np.float32)
    scale = float((features * aims).sum()) / power if features.shape[1] == aims.shape[1] else 0.0
    rest = aims - scale * features if scale else aims
    penalty = power / len(square) * _RIDGE / len(fit)
    weights = np.linalg.solve(square + penalty * np.eye(len(square)), features.T @ rest)
    others = x[test] - mean
    queries: F32 = (others @ weights + (scale * others if scale else 0.0)).astype(np.float32)
    return queries


def guessed_classes(x: F32, classes: I64, fit: I64, test: I64) -> I64:
    """Return the class of each row `test` by a ridge regression to one indicator per class, fitted on the rows `fit`."""
    count = int(classes.max()) + 1
    mean = x[fit].mean(axis=0, dtype=np.float64)
    spread = x[fit].std(axis=0, dtype=np.float64)
    features, others = ((x[rows] - mean) / np.where(spread > 0, spread, np.inf) for rows in (fit, test))
    aims = np.eye(count)[classes[fit]]
    square = features.T @ features + _RIDGE * np.eye(x.shape[1])
    scores = others @ np.linalg.solve(square, features.T @ (aims - aims.mean(axis=0))) + aims.mean(axis=0)
    guesses: I64 = scores.argmax(axis=1)
    return guesses


def clustered_interval(shares: F64, docs: I64) -> tuple[float, float, float]:
    """Return the mean of shares and its 95% interval: Wilson's, for as many rows as their texts are worth.

    Rows of one text depend on each other. So the variance is that between texts, of a ratio of sums, and n the number of
    independent rows with that variance (Korn and Graubard 1998), at most the number of rows; where all shares are
    0, or all 1, it is the number of texts.

    Args:
        shares: one per row, in [0, 1], without NaN.
        docs: the text of each row, int64 (n,).
    """
    texts, of_text = np.unique(docs, return_inverse=True)
    if len(texts) < 2:
        return (float(shares.mean()) if len(shares) else float("nan")), float("nan"), float("nan")
    mean = float(shares.mean())
    off = np.bincount(of_text, weights=shares - mean)
    variance = len(texts) / (len(texts) - 1) * float(off @ off) / len(shares) ** 2
    n = min(float(len(shares)), mean * (1 - mean) / variance) if variance > 0 else float(len(texts))
    z = float(stats.norm.ppf(0.975))
    middle = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n)))
    return mean, max(0.0, middle - half), min(1.0, middle + half)
