"""Intervals of scores and tests of differences, for cross-validation and for one fixed test set.

The scores of cross-validation share training rows, so a plain t interval is too narrow and would claim differences
that don't exist; Nadeau and Bengio ("Inference for the Generalization Error", Machine Learning 52, 2003) increase
its variance. On a fixed test set, units (texts or groups) are resampled with replacement, with the same draws for
all candidates. Where many pairs are compared, p-values are adjusted by Holm (1979), or by the bootstrap distribution
of the largest statistic (Westfall and Young 1993, single step; Romano and Wolf 2005).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from layerwise.array_types import F64
from layerwise.labels.intervals import resample

Metric = Callable[[F64], F64]
# Scores are of the order of 1: smaller differences are rounding.
_SAME = 1e-12
# Resampled counts of at most this many unit × draw cells are held at once (32 MiB).
_CELLS = 1 << 22


def corrected_error(scores: npt.ArrayLike, n_train: float, n_test: float) -> float:
    """Return the Nadeau-Bengio standard error of the mean of `scores` (J,); NaN where J < 2.

    The square root of s² (1/J + n_test / n_train), with s² the unbiased variance.
    """
    values = np.asarray(scores, np.float64)
    if len(values) < 2:
        return math.nan
    if np.ptp(values) <= _SAME:
        return 0.0
    return float(np.sqrt(values.var(ddof=1) * (1 / len(values) + n_test / n_train)))


def corrected_interval(
    scores: npt.ArrayLike, n_train: float, n_test: float, level: float = 0.95
) -> tuple[float, float, float]:
    """Return mean, lower and upper end of the Nadeau-Bengio corrected t interval.

    Args:
        scores: one score, or one paired difference, per outer fold of every repeat: (J,).
        n_train: how many rows (or units) a fold trains on, on average.
        n_test: how many rows (or units) a fold scores, on average.
        level: the coverage.

    With a single score both ends are NaN. If all scores are equal both ends are the mean.
    """
    values = np.asarray(scores, np.float64)
    mean = float(values.mean()) if len(values) else math.nan
    half = corrected_error(values, n_train, n_test)
    if half:
        half *= float(special.stdtrit(len(values) - 1, (1 + level) / 2))
    return mean, mean - half, mean + half


def corrected_test(differences: npt.ArrayLike, n_train: float, n_test: float) -> float:
    """Return the two-sided p-value that paired `differences` (J,) have mean 0 (corrected t, J - 1 degrees).

    Differences that are all 0 give 1; all equal but not 0 give 0; fewer than two give NaN.
    """
    values = np.asarray(differences, np.float64)
    error = corrected_error(values, n_train, n_test)
    if error == 0:
        return 1.0 if abs(values.mean()) <= _SAME else 0.0
    if math.isnan(error):
        return math.nan
    return float(2 * special.stdtr(len(values) - 1, -abs(values.mean()) / error))


def paired_tests(scores: F64, n_train: float, n_test: float) -> F64:
    """Return p-values (C, C) of all pairs of candidates, corrected t, Holm over all pairs; 1 on the diagonal.

    `scores` (C, J) has a row per candidate, a column per outer fold, the same folds for all.
    """
    rows, columns = np.triu_indices(len(scores), 1)
    pairs = zip(rows, columns, strict=True)
    return _square(
        len(scores), holm([corrected_test(scores[i] - scores[j], n_train, n_test) for i, j in pairs])
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the same order; NaN stays NaN and isn't counted."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(value) for value in adjusted]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Scores of C candidates on one test set, and on resamples of its units.

    `scores`, `low`, `high` are (C,), `samples` (draws, C); `level` is the coverage of percentile intervals.
    A draw on which a metric isn't defined (NaN) is ignored.
    """

    scores: F64
    low: F64
    high: F64
    samples: F64
    level: float

    def difference(self, first: int, second: int) -> tuple[float, float, float]:
        """Return score `first` minus score `second`, and its percentile interval."""
        low, high = _percentiles(self.samples[:, first] - self.samples[:, second], self.level)
        return float(self.scores[first] - self.scores[second]), float(low), float(high)

    def error(self, first: int, second: int) -> float:
        """Return the standard error of the difference of two scores."""
        return float(np.nanstd(self.samples[:, first] - self.samples[:, second]))


def paired_bootstrap(
    counts: npt.NDArray[np.float64 | np.int64],
    metric: Metric,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Bootstrap:
    """Return scores with percentile intervals, from units drawn with replacement, the same for all candidates.

    Args:
        counts: (C, units, k), the counts that each unit adds to k sums per candidate, such as correct and total.
        metric: maps sums (..., k) to scores (...), such as `metrics.accuracy_of_counts`.
        draws: number of resamples.
        seed: seed of the resamples.
        level: the coverage.
    """
    candidates, units, k = counts.shape
    flat = np.ascontiguousarray(counts.transpose(1, 0, 2), dtype=np.float64).reshape(units, candidates * k)
    rng = np.random.default_rng(seed)
    samples = np.empty((draws, candidates))
    step = max(1, _CELLS // units)
    for at in range(0, draws, step):
        size = min(step, draws - at)
        samples[at : at + size] = metric((resample(rng, size, units) @ flat).reshape(size, candidates, k))
    low, high = _percentiles(samples, level)
    return Bootstrap(metric(counts.sum(axis=1, dtype=np.float64)), low, high, samples, level)


def max_statistic(samples: F64, scores: F64) -> F64:
    """Return p-values (C, C) of all pairs, adjusted over all pairs by the bootstrap's maximum statistic.

    The paired differences of `samples` (draws, C) are centred at those of `scores` (C,) and divided by their
    standard deviation; a pair's p is (1 + draws whose largest statistic of any pair is at least the pair's own)
    / (1 + draws). Candidates that never differ have p = 1 and are left out of the maximum. 1 on the diagonal.
    """
    ordered, observed = _largest(samples, scores)
    upper = observed[np.triu_indices(len(scores), 1)]
    reached = len(ordered) - np.searchsorted(ordered, upper, side="left")
    return _square(len(scores), (1 + reached) / (1 + len(ordered)))


def max_critical(samples: F64, scores: F64, level: float = 0.95) -> float:
    """Return how many standard errors make intervals that hold for all pairs of candidates at once.

    This is the quantile of the maximum that `max_statistic` compares with. So a pair whose interval includes 0 has
    no p below 1 - `level`, up to one draw.
    """
    ordered, _ = _largest(samples, scores)
    return float(np.quantile(ordered, level, method="higher")) if len(ordered) else math.nan


def bonferroni_critical(candidates: int, folds: int, level: float = 0.95) -> float:
    """Return how many corrected standard errors make intervals that hold for all pairs of candidates at once.

    The critical value of a t with `folds` - 1 degrees at (1 - `level`) / pairs, as in Holm's first step: if no
    pair differs significantly, all of these intervals include 0.
    """
    pairs = candidates * (candidates - 1) // 2
    if folds < 2 or not pairs:
        return math.nan
    return float(special.stdtrit(folds - 1, 1 - (1 - level) / pairs / 2))


def _largest(samples: F64, scores: F64) -> tuple[F64, F64]:
    """Return the largest statistic of any pair in each draw, ascending, and the statistics of all pairs (C, C)."""
    samples = samples[~np.isnan(samples).any(axis=1)]
    count = len(scores)
    largest, observed = np.zeros(len(samples)), np.zeros((count, count))
    for i in range(count - 1):
        gaps = samples[:, i, None] - samples[:, i + 1 :]
        differences = np.abs(scores[i] - scores[i + 1 :])
        spread = gaps.std(axis=0) if len(gaps) else np.zeros(len(differences))
        varies = spread > _SAME
        observed[i, i + 1 :] = np.where(differences > _SAME, np.inf, 0.0)
        observed[i, i + 1 :][varies] = differences[varies] / spread[varies]
        if varies.any():
            centred = np.abs(gaps - (scores[i] - scores[i + 1 :]))[:, varies]
            np.maximum(largest, (centred / spread[varies]).max(axis=1), out=largest)
    return np.sort(largest), observed


def unit_sums(values: F64, units: npt.NDArray[np.int64]) -> F64:
    """Return sums (C, units, k) of `values` (C, rows, k) over rows of the same unit; `units` (rows,) numbers them."""
    _, unit_index = np.unique(units, return_inverse=True)
    order = np.argsort(unit_index, kind="stable")
    starts = np.flatnonzero(np.diff(unit_index[order], prepend=-1))
    return np.add.reduceat(values[:, order], starts, axis=1)


def _percentiles(samples: F64, level: float) -> F64:
    """Return lower and upper percentile over the draws: (2, ...)."""
    tail = (1 - level) / 2
    quantile = np.nanquantile if np.isnan(samples).any() else np.quantile
    result: F64 = np.asarray(quantile(samples, [tail, 1 - tail], axis=0))
    return result


def _square(count: int, upper: npt.ArrayLike) -> F64:
    """Return the symmetric matrix with `upper` above its diagonal, row by row, and ones on it."""
    matrix = np.ones((count, count))
    above = np.triu_indices(count, 1)
    matrix[above] = upper
    matrix.T[above] = upper
    return matrix
