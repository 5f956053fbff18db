"""Intervals of measures that are computed on a sample of texts: the delete-a-group jackknife.

Rows of one text depend on each other, so a formula for independent rows would give intervals that are too short.
Whole groups of texts are left out instead, one after the other, and the spread of the results gives the interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F64, I64
from layerwise.geometry.analysis import Measured

GROUPS = 10
FEW = 5  # groups for slow measures
RowMask = NDArray[np.bool_] | None
"""Mask of the rows that are kept; `None` keeps all."""


def cut(docs: I64, seed: int, groups: int = GROUPS) -> list[NDArray[np.bool_]]:
    """Return for each of `groups` random groups of texts the rows that stay without it: bool (n,) each.

    Fewer where there are fewer texts than groups; none where there is one text.
    """
    names, text = np.unique(docs, return_inverse=True)
    groups = min(groups, len(names))
    if groups < 2:
        return []
    # The remainders are shuffled, and not drawn, so that the sizes of groups differ by one text at most.
    part = np.random.default_rng(seed).permutation(np.arange(len(names)) % groups)[text]
    return [part != number for number in range(groups)]


def interval(value: Any, without: Sequence[Any], share: float) -> tuple[F64, F64]:
    """Return the ends of the 95% interval of a value, or of each of many, by the jackknife (Kott 2001).

    Variance (G - 1) / G Σ(v_g - mean)² · (1 - share), t with G - 1 degrees of freedom: v_g is the value without
    group g. `share` is the share of the dataset's rows in the sample: the interval is of the value of the whole dataset,
    measured on equally many rows. Valid for means, ratios and similar statistics; NaN where a v_g isn't defined.

    Args:
        value: a number or an array.
        without: the value without each group, one entry per group.
        share: the share of the dataset's rows in the sample, in (0, 1).
    """
    each = np.asarray(without, np.float64)
    count = len(each)
    spread = np.sqrt((count - 1) / count * ((each - each.mean(axis=0)) ** 2).sum(axis=0) * (1 - share))
    half = stats.t.ppf(0.975, count - 1) * spread
    return np.asarray(value) - half, np.asarray(value) + half


@dataclass(frozen=True, slots=True, eq=False)
class Jackknife:
    """Compute a measure on all rows and, if they are a sample, once more without each group of texts.

    Attributes:
        folds: masks of the rows that stay, one per group; empty where the rows are the whole dataset.
        share: the share of the dataset's rows that were sampled.
    """

    folds: Sequence[NDArray[np.bool_]]
    share: float

    @classmethod
    def of(cls, docs: I64, seed: int, share: float, groups: int = GROUPS) -> "Jackknife":
        """Return the repeats for rows whose texts are `docs`, int64 (n,)."""
        return cls(cut(docs, seed, groups) if share < 1 else (), share)

    def take(self, values: Callable[[RowMask], Any], track: Tracker = SILENT, **fields: Any) -> Measured:
        """Return `values(None)`, computed on all rows, with an interval from `values(mask)` for each fold."""
        folds = self.folds
        names = ("on all rows", *(f"repeat {n + 1} of {len(folds)}" for n in range(len(folds))))
        steps = track.each((None, *folds), names if folds else [""])
        estimate = np.asarray(values(next(steps)[0]), np.float64)
        if not folds:
            return Measured(estimate, **fields)
        low, high = interval(estimate, [values(keep) for keep, _ in steps], self.share)
        return Measured(estimate, low=low, high=high, **fields)
