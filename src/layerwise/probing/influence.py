"""Influence values: what each row adds to the score of a candidate, over its own sampling and over retraining.

A score is a function f of sums of row counts (`Scorer.counts`). To first order it changes by the gradient of f times the
change of the sums, so the sum of squared influence values estimates its variance: Hampel, "The influence curve and its
role in robust estimation", JASA 69, 1974; for cross-validation Bayle et al., "Cross-validation confidence intervals for
test error", NeurIPS 2020. They hold the training sets fixed. What other training sets would change is seen in the inner
folds, where a row is predicted by several classifiers, each trained on other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from layerwise.array_types import F32, F64, I64
from layerwise.labels.scorers import Predicted, Scorer
from layerwise.probing.design import Design
from layerwise.probing.stats import unit_sums

_STEP = 1e-4  # of central differences, relative to the sums
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class CandidatePredictions:
    """Predictions of one candidate or baseline.

    Attributes:
        predicted: for each outer fit, the predictions of its test rows; only of the first outer fits where shorter.
        held_out: for each outer fit of the first repeat, the predictions of the rows that each inner fit holds out;
            empty where unknown.
    """

    predicted: Sequence[Predicted]
    held_out: Sequence[Sequence[Predicted]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """Influence values of n rows on the scores of C candidates.

    Attributes:
        scores: (C,), the mean over outer fits.
        values: (C, n), float64; their sum over the rows of a unit is what the unit adds to the score.
        retrained: (C, folds, n), float32, the same by the inner fits of each outer fit of the first repeat; NaN in rows
            that they don't hold out.
        units: (n,), the unit of each row: rows of one unit are never on both sides of a split.
        repeats: of the cross-validation.
        metric: what the scores are; its range bounds their intervals.
    """

    scores: F64
    values: F64
    retrained: F32
    units: I64
    repeats: int = 1
    metric: str = "accuracy"

    def sampling_covariance(self) -> F64:
        """Return the covariance (C, C) of the scores over samples of units, with the training sets held fixed."""
        sums = unit_sums(self.values[..., None], self.units)[..., 0]
        count = sums.shape[1]
        if count < 2:
            return np.full((len(sums), len(sums)), np.nan)
        sums = sums - sums.mean(axis=1, keepdims=True)
        covariance: F64 = sums @ sums.T * (count / (count - 1))
        return covariance

    def retraining_covariance(self) -> F64:
        """Return the sum over units (C, C) of the covariances between inner fits of what a unit adds."""
        candidates, folds, _ = self.retrained.shape
        if folds < 3:
            return np.zeros((candidates, candidates))
        flat = self.retrained.reshape(candidates * folds, -1, 1).astype(np.float64)
        sums = unit_sums(flat, self.units).reshape(candidates, folds, -1)
        is_held_out = ~np.isnan(sums).any(axis=0)
        counts = is_held_out.sum(axis=0)
        sums = np.where(is_held_out, sums, 0.0)
        means = sums.sum(axis=1) / np.maximum(counts, 1)
        deviations = np.where(is_held_out, sums - means[:, None], 0.0) / np.sqrt(np.maximum(counts - 1, 1))
        by_candidate = deviations.reshape(candidates, -1)
        covariance: F64 = by_candidate @ by_candidate.T
        return covariance

    def degrees(self, values: F64, *, evenly: bool = False) -> F64:
        """Return degrees of freedom (…) for the variance of sums of influence values (…, n) over units.

        The effective number of units, (Σ m)² / Σ m² with m the variance of a unit's sum, minus 1: rows on which two
        candidates agree don't count, and a few large units count as few. m is (1 - r) Σ v² + r (Σ |v|)² over the rows of
        a unit, with the correlation r of its rows that gives the observed sum of squares of all units. With `evenly` all
        rows whose value isn't 0 count alike: a few wrong rows among right ones are then as many as all rows. Source: Kish's
        effective sample size; Carter, Schnepel and Steigerwald, "Asymptotic behavior of a t-test robust to cluster
        heterogeneity", 2017.
        """
        flat = values.reshape(-1, values.shape[-1])
        parts = np.stack([flat**2, np.abs(flat), flat], axis=2)
        by_unit = unit_sums(parts, self.units)
        apart, alike, observed = by_unit[..., 0], by_unit[..., 1] ** 2, by_unit[..., 2] ** 2
        excess, most = (part.sum(axis=1) - apart.sum(axis=1) for part in (observed, alike))
        correlation = np.divide(
            excess, most, out=np.zeros_like(most), where=most > _ROUNDING * alike.sum(axis=1)
        )
        correlation = np.clip(correlation, 0.0, 1.0)[:, None]
        if evenly:
            counted = flat != 0
            counted |= ~counted.any(axis=1, keepdims=True)  # of a score that no row varies all rows count
            apart = unit_sums(counted.astype(np.float64)[..., None], self.units)[..., 0]
            alike = apart**2
        sums = (1 - correlation) * apart + correlation * alike
        total, squared = sums.sum(axis=1), (sums**2).sum(axis=1)
        effective = np.divide(total**2, squared, out=np.ones_like(total), where=squared > 0)
        degrees: F64 = np.maximum(effective - 1, 1.0).reshape(values.shape[:-1])
        return degrees

    def largest_change(self) -> float:
        """Return how much the answers of one unit can change a score: of accuracy the largest share of rows; NaN if unknown.

        What a row adds to another metric depends on the other rows.
        """
        if self.metric != "accuracy":
            return float("nan")
        return float(np.unique(self.units, return_counts=True)[1].max()) / len(self.units)

    def least_tail(self) -> float:
        """Return the least p (one side) that units can give: that of a sign test in which all of them agree.

        Units count by their rows (Kish's effective number), so of a few large ones and many small ones only the large
        ones count. It is 0.5 ** units, and with fewer than six units above .025.
        """
        sizes = np.unique(self.units, return_counts=True)[1].astype(np.float64)
        effective = float(sizes.sum() ** 2 / (sizes**2).sum())
        return max(float(0.5**effective), float(np.finfo(np.float64).tiny))


def influence(
    scorer: Scorer, design: Design, groups: I64, predictions: Sequence[CandidatePredictions], folds: F64
) -> Influence:
    """Return the influence values of the scored rows.

    Args:
        scorer: counts rows and scores sums of counts.
        design: the outer fits.
        groups: the group of each row of the design.
        predictions: the C candidates.
        folds: the scores (C,) of the candidates, means over their outer fits.
    """
    rows = design.outers[0].test if design.fixed else np.arange(len(groups))
    first = () if design.fixed else [outer for outer in design.outers if outer.repeat == 0]
    values = np.zeros((len(predictions), len(groups)))
    retrained = np.full((len(predictions), len(first), len(groups)), np.nan, np.float32)
    for index, candidate in enumerate(predictions):
        outers = design.outers[: len(candidate.predicted)]
        counts = np.concatenate(
            [scorer.counts(p, o.test) for p, o in zip(candidate.predicted, outers, strict=True)]
        )
        slope = gradient(scorer.of_sums, counts.sum(axis=0), np.abs(counts).sum(axis=0))
        tested = np.concatenate([outer.test for outer in outers])
        values[index] = np.bincount(tested, counts @ slope, len(groups))
        repeats = 1 + outers[-1].repeat
        if not candidate.held_out:
            retrained[index] = 0.0
        for fold, outer in enumerate(first if candidate.held_out else ()):
            for (_, held_out), predicted in zip(outer.inner, candidate.held_out[fold], strict=True):
                retrained[index, fold, held_out] = repeats * (scorer.counts(predicted, held_out) @ slope)
    repeats = 1 + max(design.outers[len(p.predicted) - 1].repeat for p in predictions)
    return Influence(folds, values[:, rows], retrained[:, :, rows], groups[rows], repeats, scorer.metric)


def gradient(metric: Callable[[F64], F64], sums: F64, magnitudes: F64) -> F64:
    """Return the gradient (k,) of a metric at `sums` (k,), by central differences.

    `magnitudes` (k,) are the sums of absolute counts, which scale the steps; where one is 0, the gradient is 0.
    """
    steps = _STEP * np.diag(magnitudes)
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = metric(sums + steps) - metric(sums - steps)
    slope: F64 = np.divide(rise, 2 * _STEP * magnitudes, out=np.zeros(len(sums)), where=magnitudes > 0)
    return np.nan_to_num(slope, nan=0.0)
