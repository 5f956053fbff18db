"""Comparison of all candidates with the best one, and intervals of scores, from influence values.

The best candidate is picked on the rows that score it, so its lead over the others is larger than the true one. p-values
and intervals allow for that: the difference of the best from a candidate is judged by the distribution of the largest
difference of any pair, among all candidates that are at least as close to the best (step-down). Sources: Newman 1939 and
Keuls 1952 for ranges; the distribution of the maximum of correlated differences by Gaussian draws with the estimated
covariance (Chernozhukov, Chetverikov and Kato 2013); steps as in Romano and Wolf 2005. If the picked candidate is one of
the truly best ones, a false claim needs the range of these to exceed its quantile, so its chance is at most .05;
otherwise simulation gives no more (`tests/probing/test_comparison.py`).

With few units (documents, groups) the draws say too little: the estimated covariance has a rank of few, in which all
candidates look alike. There p is Bonferroni's bound, and no less than that of the exact sign test of the units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from layerwise.array_types import F32, F64
from layerwise.labels import metrics
from layerwise.probing.bounded import (
    SAME,
    ScoreError,
    clipped_difference,
    difference_halves,
    score_ends,
)
from layerwise.probing.influence import Influence
from layerwise.results import Estimate

LEVEL = 0.95
# Weight of the covariance between inner fits for the variance that retraining adds, as a + b / repeats: the folds change
# with each repeat, the rows don't. From simulation with five outer and three inner folds, where labels at random need
# most (docs/explanation/probe.md).
_OF_ROWS, _OF_FOLDS = 0.85, 0.35
_DRAWS = 20_000
_BLOCK = 1_000  # draws whose differences fit in the cache
_FEW = 4.0  # degrees of freedom below which p is Bonferroni's bound alone
_OF_NUMBERS = ("r2", "pearson", "spearman")  # their rows vary freely, and no row is just right or wrong


@dataclass(frozen=True, slots=True, eq=False)
class CandidateComparison:
    """Comparison of all C candidates with the one that scores highest.

    `scores` (C,); `p` (C,) adjusted p-values of the difference from the best, 1 for the best itself; `error` (C,)
    standard error of the difference; `low` and `high` (C,) ends of the 95% interval of the best score minus the
    candidate's, which hold for all candidates at once, whichever is picked as the best; NaN where they would say nothing.
    `low` isn't below 0 if p is below .05, and isn't above 0 if it isn't.
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


def compare(influence: Influence, seed: int = 0, draws: int = _DRAWS) -> CandidateComparison:
    """Compare all candidates with the best one; `seed` and `draws` are those of the Gaussian draws."""
    scores = influence.scores
    best = int(scores.argmax())
    covariance = _covariance(influence)
    if len(scores) < 2 or not np.isfinite(covariance).all():
        undefined = np.full(len(scores), np.nan)
        undefined[best] = 0.0
        return CandidateComparison(scores, np.ones(len(scores)), undefined, undefined, undefined)
    variance = covariance.diagonal() + covariance[best, best] - 2 * covariance[best]
    error = np.sqrt(np.where(variance > SAME**2, variance, 0.0))
    gaps = scores[best] - scores
    degrees = influence.degrees(influence.values[best] - influence.values)
    is_few = (degrees < _FEW) | (error == 0)  # all draws of a difference without an error are 0
    least = influence.least_tail()
    statistics = _normal_scores(gaps, error, degrees, least)
    order = _by_statistic(statistics, best)
    largest = largest_differences(covariance, order, seed, draws)
    p = np.ones(len(scores))
    p[order] = step_down(statistics[order], largest, is_few[order])
    critical = _critical(largest[-1], len(scores) * (len(scores) - 1) // 2)[is_few.astype(int)]
    half = difference_halves(error, degrees, critical, influence.largest_change())
    half[critical < least] = np.nan
    half[best] = 0.0
    low, high = clipped_difference(gaps - half, gaps + half, influence.metric)
    is_sure = p < 1 - LEVEL
    low = np.where((is_sure & (low < 0)) | (~is_sure & (low > 0)), 0.0, low)
    return CandidateComparison(scores, p, error, low, high)


def _critical(largest: F32 | F64, differences: int) -> F64:
    """Return the tail (one side) of an interval that holds for several differences at once: by draws, and by Bonferroni.

    `largest` (draws,) are the largest standardised differences of Gaussian draws.
    """
    return np.array([special.ndtr(-np.quantile(largest, LEVEL)), (1 - LEVEL) / (2 * differences)])


def _normal_scores(gaps: F64, error: F64, degrees: F64, least: float) -> F64:
    """Return the normal quantiles (C,) of the same two-sided p as the t statistics `gaps / error`; no tail is below `least`."""
    t = np.divide(gaps, error, out=np.where(gaps > SAME, np.inf, 0.0), where=error > 0)
    tail = np.maximum(special.stdtr(degrees, -t), least)
    quantiles: F64 = -special.ndtri(tail)
    return quantiles


def _by_statistic(statistics: F64, best: int) -> list[int]:
    """Return the positions of all candidates: the best, then the others from the smallest statistic to the largest."""
    order = np.argsort(statistics, kind="stable").tolist()
    return [best, *(index for index in order if index != best)]


def largest_differences(covariance: F64, order: list[int], seed: int, count: int = _DRAWS) -> F32:
    """Return, for `count` Gaussian draws, the largest standardised difference among the first k candidates of `order`.

    Returns:
        float32 (C, draws): row k - 1 is that of the first k candidates, so row 0 is 0. Pairs that never differ don't count.
    """
    values, vectors = np.linalg.eigh(covariance[np.ix_(order, order)])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    draws = (root @ np.random.default_rng(seed).standard_normal((len(order), count))).astype(np.float32)
    square = root @ root.T
    variance = np.add.outer(square.diagonal(), square.diagonal()) - 2 * square
    differs = variance > np.maximum(SAME * square.diagonal(), SAME**2)[:, None]
    weights = np.divide(1.0, np.sqrt(np.maximum(variance, 0.0)), out=np.zeros_like(variance), where=differs)
    weights = weights.astype(np.float32)
    largest = np.zeros((len(order), count), np.float32)
    for at in range(0, count, _BLOCK):
        block, out = draws[:, at : at + _BLOCK], largest[:, at : at + _BLOCK]
        for k in range(1, len(order)):
            gaps = block[:k] - block[k]
            np.abs(gaps, out=gaps)
            gaps *= weights[k, :k, None]
            np.maximum(out[k - 1], gaps.max(axis=0), out=out[k])
    return largest


def step_down(statistics: F64, largest: F32 | F64, is_few: NDArray[np.bool_] | None = None) -> F64:
    """Return adjusted p-values (C,) of ascending statistics (C,), the first of which is the best's own.

    The p of candidate k is the share of draws whose largest difference among the first k + 1 candidates reaches its
    statistic, or Bonferroni's bound for their pairs, whichever is less, but no less than the p of a later candidate.
    Where `is_few` (C,) holds, it is the bound.
    """
    count, draws = largest.shape
    p = np.ones(count)
    for k in range(1, count):
        share = (1 + (largest[k] >= statistics[k]).sum()) / (1 + draws)
        bound = k * (k + 1) * special.ndtr(-statistics[k])  # (k + 1) k / 2 pairs, two tails
        share = 1.0 if is_few is not None and is_few[k] else share
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

    def reversed(self) -> Lead:
        """Return how far the baseline scores above the candidate."""
        return replace(self, difference=-self.difference, low=-self.high, high=-self.low)


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
    values, vectors = np.linalg.eigh(covariance)
    draws = np.random.default_rng(seed).standard_normal((len(error), _DRAWS))
    draws = (vectors * np.sqrt(np.maximum(values, 0.0))) @ draws
    varies = error > SAME
    largest = np.abs(draws[varies] / error[varies, None]).max(axis=0, initial=0.0)
    degrees = influence.degrees(influence.values[positions[best]] - influence.values[baseline])
    is_few = degrees < _FEW or not varies[best]
    critical = float(_critical(largest, len(positions))[int(is_few)])
    half = float(difference_halves(error[best], degrees, critical, influence.largest_change()))
    if critical < influence.least_tail():
        half = np.nan
    low, high = clipped_difference(gap - half, gap + half, influence.metric)
    return Lead(float(scores[best]), floor, gap, float(low), float(high))


def estimates(influence: Influence) -> list[Estimate]:
    """Return each candidate's score with its 95% interval.

    It is for the mean score of heads that are trained on as many rows as the outer fits, over samples of rows; without
    retraining (a test set) for the score of this head, over test sets. It lies within the range of the metric, see `bounded`.
    """
    scores, metric = influence.scores.tolist(), influence.metric
    sampling = np.sqrt(influence.sampling_covariance().diagonal())
    retraining = retraining_weight(influence.repeats) * influence.retraining_covariance().diagonal()
    quantiles = _score_quantiles(influence, sampling)
    units = len(np.unique(influence.units))
    most = np.inf if metric in _OF_NUMBERS else len(influence.units)
    errors = zip(sampling.tolist(), np.sqrt(retraining).tolist(), quantiles.tolist(), strict=True)
    ends = [
        score_ends(score, ScoreError(*error, most, units), metric)
        for score, error in zip(scores, errors, strict=True)
    ]
    return [Estimate(score, low, high) for score, (low, high) in zip(scores, ends, strict=True)]


def _score_quantiles(influence: Influence, sampling: F64) -> F64:
    """Return the quantile (C,) of t for the upper ends of the intervals of scores.

    The degrees of freedom are the effective number of units minus 1. Of a metric of right and wrong rows all rows count
    alike, since Wilson's interval allows for their skew, and there are no more than independent rows. `sampling` (C,) are the
    standard errors over samples of rows.
    """
    if influence.metric in _OF_NUMBERS:
        degrees = influence.degrees(influence.values)
    else:
        low, high = metrics.bounds(influence.metric)
        share = (influence.scores - low) / (high - low)
        variance = (sampling / (high - low)) ** 2
        varies = variance > SAME**2
        independent = np.divide(share * (1 - share), variance, out=np.full(len(share), np.inf), where=varies)
        degrees = np.minimum(influence.degrees(influence.values, evenly=True), independent - 1)
    quantiles: F64 = special.stdtrit(np.maximum(degrees, 1.0), (1 + LEVEL) / 2)
    return quantiles
