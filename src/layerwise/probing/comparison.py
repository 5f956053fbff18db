"""Comparison of all candidates with the best one, and intervals of scores, from influence values.

The best candidate is picked on the rows that score it, so its lead over the others is larger than the true one. p-values
and intervals allow for that: the difference of the best from a candidate is judged by the distribution of the largest
difference of any pair, among all candidates that are at least as close to the best (step-down). Sources: Newman 1939 and
Keuls 1952 for ranges; the distribution of the maximum of correlated differences by Gaussian draws with the estimated
covariance (Chernozhukov, Chetverikov and Kato 2013); steps as in Romano and Wolf 2005. If the picked candidate is one of
the truly best ones, a false claim needs the range of these to exceed its quantile, so its chance is at most .05;
otherwise simulation gives no more (`tests/probing/test_comparison.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from layerwise.array_types import F64
from layerwise.labels.intervals import wilson
from layerwise.probing.influence import Influence
from layerwise.results import Estimate

LEVEL = 0.95
# Weight of the covariance between inner fits for the variance that retraining adds, as a + b / repeats: the folds change
# with each repeat, the rows don't. From simulation with five outer and three inner folds, where labels at random need
# most (docs/probe.md).
_OF_ROWS, _OF_FOLDS = 0.85, 0.35
_DRAWS = 20_000
_WIDEST = 0.5  # half an interval; a wider one, from a few units that count, says nothing and is left out
_SAME = 1e-12  # scores are of the order of 1: smaller differences are rounding


@dataclass(frozen=True, slots=True, eq=False)
class CandidateComparison:
    """Comparison of all C candidates with the one that scores highest.

    `scores` (C,); `p` (C,) adjusted p-values of the difference from the best, 1 for the best itself; `error` (C,)
    standard error of the difference; `low` and `high` (C,) ends of the 95% interval of the best score minus the
    candidate's, which hold for all candidates at once, whichever is picked as the best; NaN where they would say nothing.
    If p is below .05, `low` isn't below 0.
    """

    scores: F64
    p: F64
    error: F64
    low: F64
    high: F64

    @property
    def best(self) -> int:
        """Position of the candidate with the highest score; the first one if several are equal."""
        return int(self.scores.argmax())

    @property
    def differs(self) -> bool:
        """Whether any candidate differs significantly from the best (adjusted p below 0.05)."""
        return bool((self.p < 1 - LEVEL).any())


def retraining_weight(repeats: int) -> float:
    """Return the weight of the covariance between inner fits, with so many repeats of the cross-validation."""
    return _OF_ROWS + _OF_FOLDS / repeats


def _covariance(influence: Influence) -> F64:
    """Return the covariance (C, C) of the scores over samples of rows, retraining included."""
    covariance: F64 = (
        influence.sampling_covariance()
        + retraining_weight(influence.repeats) * influence.retraining_covariance()
    )
    return covariance


def compare(influence: Influence, seed: int = 0) -> CandidateComparison:
    """Compare all candidates with the best one; `seed` is that of the Gaussian draws."""
    scores = influence.scores
    best = int(scores.argmax())
    covariance = _covariance(influence)
    if len(scores) < 2 or not np.isfinite(covariance).all():
        undefined = np.full(len(scores), np.nan)
        undefined[best] = 0.0
        return CandidateComparison(scores, np.ones(len(scores)), undefined, undefined, undefined)
    variance = covariance.diagonal() + covariance[best, best] - 2 * covariance[best]
    error = np.sqrt(np.where(variance > _SAME**2, variance, 0.0))
    gaps = scores[best] - scores
    degrees = influence.degrees(influence.values[best] - influence.values)
    statistics = _normal_scores(gaps, error, degrees)
    order = _by_statistic(statistics, best)
    largest = largest_differences(covariance, order, seed)
    p = np.ones(len(scores))
    p[order] = step_down(statistics[order], largest)
    critical = special.ndtr(-np.quantile(largest[-1], LEVEL))
    half = -special.stdtrit(degrees, critical) * error
    half[half > _WIDEST] = np.nan
    low = np.where((p < 1 - LEVEL) & (gaps - half < 0), 0.0, gaps - half)
    return CandidateComparison(scores, p, error, low, gaps + half)


def _normal_scores(gaps: F64, error: F64, degrees: F64) -> F64:
    """Return the normal quantiles (C,) of the same two-sided p as the t statistics `gaps / error`."""
    t = np.divide(gaps, error, out=np.where(gaps > _SAME, np.inf, 0.0), where=error > 0)
    tail = np.maximum(special.stdtr(degrees, -t), np.finfo(np.float64).tiny)
    quantiles: F64 = -special.ndtri(tail)
    return quantiles


def _by_statistic(statistics: F64, best: int) -> list[int]:
    """Return the positions of all candidates: the best, then the others from the smallest statistic to the largest."""
    order = np.argsort(statistics, kind="stable").tolist()
    return [best, *(index for index in order if index != best)]


def largest_differences(covariance: F64, order: list[int], seed: int) -> F64:
    """Return, for Gaussian draws, the largest standardised difference among the first k candidates of `order`.

    Returns:
        (C, draws): row k - 1 is that of the first k candidates, so row 0 is 0. Pairs that never differ don't count.
    """
    count = len(order)
    values, vectors = np.linalg.eigh(covariance[np.ix_(order, order)])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    draws = root @ np.random.default_rng(seed).standard_normal((count, _DRAWS))
    square = root @ root.T
    largest = np.zeros((count, _DRAWS))
    for k in range(1, count):
        variance = square.diagonal()[:k] + square[k, k] - 2 * square[k, :k]
        differs = variance > max(_SAME * square[k, k], _SAME**2)
        largest[k] = largest[k - 1]
        if differs.any():
            gaps = np.abs(draws[:k][differs] - draws[k]) / np.sqrt(variance[differs])[:, None]
            np.maximum(largest[k], gaps.max(axis=0), out=largest[k])
    return largest


def step_down(statistics: F64, largest: F64) -> F64:
    """Return adjusted p-values (C,) of ascending statistics (C,), the first of which is the best's own.

    The p of candidate k is the share of draws whose largest difference among the first k + 1 candidates reaches its
    statistic, or Bonferroni's bound for their pairs, whichever is less, but no less than the p of a later candidate.
    """
    count, draws = largest.shape
    p = np.ones(count)
    for k in range(1, count):
        share = (1 + (largest[k] >= statistics[k]).sum()) / (1 + draws)
        bound = k * (k + 1) * special.ndtr(-statistics[k])  # (k + 1) k / 2 pairs, two tails
        p[k] = min(share, bound) if statistics[k] > 0 else 1.0
    p[1:] = np.maximum.accumulate(p[1:][::-1])[::-1]
    return p


@dataclass(frozen=True, slots=True)
class Lead:
    """How far the best candidate scores above a baseline.

    `difference` is `score`, that of the candidate, minus `baseline`; `low` and `high` are the ends of its 95% interval,
    which holds for all candidates at once, so it allows for the choice of the best; NaN where unknown.
    """

    score: float
    baseline: float
    difference: float
    low: float
    high: float


def lead(influence: Influence, candidates: Sequence[int], baseline: int, seed: int = 0) -> Lead:
    """Return the lead of the best of some candidates over a baseline, both by their positions in `influence`.

    The rows are paired. The interval takes the quantile of the largest standardised difference of any candidate.
    """
    positions = np.array(candidates)
    scores = influence.scores[positions]
    best = int(scores.argmax())
    gap, floor = float(scores[best] - influence.scores[baseline]), float(influence.scores[baseline])
    covariance = _covariance(influence)
    if not np.isfinite(covariance).all():
        return Lead(float(scores[best]), floor, gap, np.nan, np.nan)
    contrast = np.eye(len(covariance))[positions] - np.eye(len(covariance))[baseline]
    covariance = contrast @ covariance @ contrast.T
    error = np.sqrt(np.maximum(covariance.diagonal(), 0.0))
    if error[best] <= _SAME:
        return Lead(float(scores[best]), floor, gap, gap, gap)
    values, vectors = np.linalg.eigh(covariance)
    draws = np.random.default_rng(seed).standard_normal((len(error), _DRAWS))
    draws = (vectors * np.sqrt(np.maximum(values, 0.0))) @ draws
    varies = error > _SAME
    largest = np.abs(draws[varies] / error[varies, None]).max(axis=0)
    critical = special.ndtr(-np.quantile(largest, LEVEL))
    degrees = influence.degrees(influence.values[positions[best]] - influence.values[baseline])
    half = float(-special.stdtrit(degrees, critical) * error[best])
    return Lead(float(scores[best]), floor, gap, gap - half, gap + half)


def estimates(influence: Influence) -> list[Estimate]:
    """Return each candidate's score with its 95% interval.

    It is for the mean score of heads that are trained on as many rows as the outer fits, over samples of rows; without
    retraining (a test set) for the score of this head, over test sets.
    """
    variance = _covariance(influence).diagonal()
    degrees = influence.degrees(influence.values)
    half = -special.stdtrit(degrees, (1 - LEVEL) / 2) * np.sqrt(variance)
    units = len(np.unique(influence.units))
    return [
        _estimate(float(score), float(width), units)
        for score, width in zip(influence.scores, half, strict=True)
    ]


def _estimate(score: float, half: float, units: int) -> Estimate:
    if not half <= _WIDEST:
        return Estimate(score, None, None)
    if half <= _SAME and min(abs(score), abs(1 - score)) <= _SAME and units > 1:
        low, high = wilson(round(score), units)
        return Estimate(score, low, high)
    return Estimate(score, score - half, score + half)
