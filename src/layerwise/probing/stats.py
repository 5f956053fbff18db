"""Scores of several candidates on one fixed test set: a paired bootstrap of its units (texts or groups)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layerwise.array_types import F64
from layerwise.labels.intervals import resample

Metric = Callable[[F64], F64]
# Resampled counts of at most this many unit × draw cells are held at once (32 MiB).
_CELLS = 1 << 22


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


def unit_sums(values: F64, units: npt.NDArray[np.int64]) -> F64:
    """Return sums (C, units, k) of `values` (C, rows, k) over rows of the same unit; `units` (rows,) numbers them."""
    _, unit_index = np.unique(units, return_inverse=True)
    order = np.argsort(unit_index, kind="stable")
    starts = np.flatnonzero(np.diff(unit_index[order], prepend=-1))
    ordered = values[:, order]
    return ordered if len(starts) == len(units) else np.add.reduceat(ordered, starts, axis=1)


def _percentiles(samples: F64, level: float) -> F64:
    """Return lower and upper percentile over the draws: (2, ...)."""
    tail = (1 - level) / 2
    quantile = np.nanquantile if np.isnan(samples).any() else np.quantile
    result: F64 = np.asarray(quantile(samples, [tail, 1 - tail], axis=0))
    return result
