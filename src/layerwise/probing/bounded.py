"""Intervals of scores, and of differences of scores, that stay within the range of the metric.

A t interval is symmetric, so that of a score near 1 goes beyond it. The intervals of scores are therefore:

- of metrics with two bounds (accuracy, F1, AUC, correlations): that of Wilson (1927), on the scale from 0 to 1, for the
  number of independent rows that would vary as much (Dean and Pagano 2015), which is no greater than that of the rows.
- of R², which is at most 1: symmetric for the logarithm of 1 - R².
- of a score at a bound that no row varies: Wilson's for the number of units, because rows can't show errors that didn't
  occur.

A difference has a t interval, with its degrees of freedom from the units that differ. Two candidates that differ in a few
rows have few of them, and t then says nothing, though all other rows say that the difference is small. There the half width
is that of Wilson's form, √(q² · variance + q⁴ · c²): q is the normal quantile, and c what one unit can change. No interval is
given where it would be wider than ±0.5.
"""

import numpy as np
from scipy import special

from layerwise.array_types import F64
from layerwise.labels import metrics
from layerwise.labels.intervals import Ends, wilson

WIDEST = 0.5  # half an interval; a wider one, from a few units that count, says nothing and is left out
SAME = 1e-12  # scores are of the order of 1: smaller differences are rounding


def score_ends(score: float, error: float, quantile: float, metric: str, most: float) -> Ends:
    """Return the ends of the interval of a score.

    Args:
        score: the score.
        error: its standard error.
        quantile: the quantile of t for the upper end.
        metric: the metric, whose range bounds the ends.
        most: the largest number of independent rows.
    """
    half = quantile * error
    if not half <= WIDEST:
        return None, None
    low, high = metrics.bounds(metric)
    if not np.isfinite(low):
        distance = high - score
        factor = float(np.exp(half / distance)) if distance > SAME else 1.0
        return high - distance * factor, high - distance / factor
    share, error = (score - low) / (high - low), error / (high - low)
    variance = share * (1 - share)
    if error <= SAME or variance <= SAME:
        return score - half, score + half
    ends = wilson(share, min(most, variance / error**2), quantile)
    return low + ends[0] * (high - low), low + ends[1] * (high - low)


def certain_ends(score: float, metric: str, units: int) -> Ends:
    """Return the ends of the interval of a score that no unit varies: Wilson's at a bound of the metric, else the score."""
    low, high = metrics.bounds(metric)
    at_bound = min(abs(score - low), abs(high - score)) <= SAME
    if not at_bound or not np.isfinite(low) or units < 2:
        return score, score
    ends = wilson(round((score - low) / (high - low)), units)
    return low + ends[0] * (high - low), low + ends[1] * (high - low)


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
