"""Intervals of scores, and of differences of scores, that stay within the range of the metric.

A t interval is symmetric, so that of a score near 1 goes beyond it. The intervals of scores are therefore:

- of metrics with two bounds (accuracy, F1, AUC, correlations): over samples of rows that of Wilson (1927), on the scale from 0
  to 1, for the number of independent rows that would vary as much (Dean and Pagano 2015), which is no greater than that of the
  rows. Retraining adds to each side by the root of the sum of squares (Zou and Donner 2008), up to the bound.
- of R², which is at most 1: symmetric for the logarithm of 1 - R².
- of a score at a bound that no row varies: Wilson's for the number of units, because rows can't show errors that didn't
  occur.

A difference has a t interval, with its degrees of freedom from the units that differ. Two candidates that differ in a few
rows have few of them, and t then says nothing, though all other rows say that the difference is small. There the half width
is that of Wilson's form, √(q² · variance + q⁴ · c²): q is the normal quantile, and c what one unit can change. No interval is
given where it would be wider than ±0.5.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from layerwise.array_types import F64
from layerwise.labels import metrics
from layerwise.labels.intervals import Ends, wilson

WIDEST = 0.5  # half an interval; a wider one, from a few units that count, says nothing and is left out
SAME = 1e-12  # scores are of the order of 1: smaller differences are rounding


@dataclass(frozen=True, slots=True)
class ScoreError:
    """The standard errors of a score: over samples of rows, and over retraining; and its units.

    `quantile` is that of t for the upper end of an interval, `most` the largest number of independent rows, `units` the number
    of units.
    """

    sampling: float
    retraining: float
    quantile: float
    most: float
    units: int


def score_ends(score: float, error: ScoreError, metric: str) -> Ends:
    """Return the ends of the interval of a score, within the range of its metric."""
    half = error.quantile * float(np.hypot(error.sampling, error.retraining))
    if not half <= WIDEST:
        return None, None
    low, high = metrics.bounds(metric)
    if not np.isfinite(low):
        distance = high - score
        factor = float(np.exp(half / distance)) if distance > SAME else 1.0
        return high - distance * factor, high - distance / factor
    size = high - low
    share = min(1.0, max(0.0, (score - low) / size))
    ends = _share_ends(share, error.sampling / size, error)
    retraining = error.quantile * error.retraining / size
    below, above = (float(np.hypot(share - end, retraining)) for end in ends)
    return low + max(0.0, share - below) * size, low + min(1.0, share + above) * size


def certain_ends(score: float, metric: str, units: int) -> Ends:
    """Return the ends of the interval of a score that no unit varies: Wilson's at a bound of the metric, else the score."""
    return score_ends(score, ScoreError(0.0, 0.0, 0.0, units, units), metric)


def _share_ends(share: float, sampling: float, error: ScoreError) -> tuple[float, float]:
    """Return the ends of the interval of a share over samples of rows; `sampling` is its standard error."""
    variance = share * (1 - share)
    if sampling > SAME and variance > SAME:
        return wilson(share, min(error.most, variance / sampling**2), error.quantile)
    if variance > SAME or error.units < 2:
        return share, share
    return wilson(round(share), error.units)


def difference_halves(error: F64, degrees: F64, tail: F64 | float, change: float) -> F64:
    """Return half the width (…) of the intervals of differences; NaN where they would say nothing.

    Args:
        error: standard errors (…).
        degrees: degrees of freedom (…) of t.
        tail: the probability (…) beyond one end.
        change: how much one unit can change a score, or NaN where unknown.
    """
    half = -special.stdtrit(degrees, tail) * error
    quantile = -special.ndtri(tail)
    sparse = quantile * np.sqrt(error**2 + (quantile * change) ** 2)
    # Without an error t gives no width: rows that agree can't show differences that didn't occur.
    half = np.where(error > SAME, np.fmin(half, sparse), sparse)
    result: F64 = np.where(half <= WIDEST, half, np.nan)
    return result


def clipped_difference(low: F64 | float, high: F64 | float, metric: str) -> tuple[F64, F64]:
    """Return ends (…) of intervals of differences within the range that differences have; this can't lose coverage."""
    lowest, highest = metrics.bounds(metric)
    return np.maximum(low, lowest - highest), np.minimum(high, highest - lowest)
