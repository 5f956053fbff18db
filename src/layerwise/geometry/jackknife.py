"""Intervals of what is measured on a sample of texts: the delete-a-group jackknife."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from layerwise._util.progress import SILENT, Tracker
from layerwise.geometry.analysis import Measured
from layerwise.states import I64

F64 = NDArray[np.float64]
GROUPS = 10
FEW = 5  # for what takes long
Keep = NDArray[np.bool_] | None
"""Which rows stay; all for `None`."""


def cut(docs: I64, seed: int, groups: int = GROUPS) -> list[NDArray[np.bool_]]:
    """Return which rows stay when one of so many random groups of texts goes: bool (n,) for each.

    Fewer where there are fewer texts than groups; none where there is one text.
    """
    names, own = np.unique(docs, return_inverse=True)
    groups = min(groups, len(names))
    if groups < 2:
        return []
    part = np.random.default_rng(seed).permutation(np.arange(len(names)) % groups)[own]
    return [part != number for number in range(groups)]


def interval(value: Any, without: Sequence[Any], share: float) -> tuple[F64, F64]:
    """Return the ends of the 95% interval of a value, or of each of many, by the jackknife (Kott 2001).

    Variance (G - 1) / G Σ(v_g - mean)² · (1 - share), t with G - 1 degrees of freedom: v_g is the value without
    group g, and `share` is that of all rows that were looked at, so that an interval is of the value that the
    whole dataset has, at as many rows. For means, ratios and their kin; where v_g isn't defined, NaN.

    Args:
        value: a number or an array.
        without: the same without each group.
        share: in (0, 1).
    """
    each = np.asarray(without, np.float64)
    count = len(each)
    spread = np.sqrt((count - 1) / count * ((each - each.mean(axis=0)) ** 2).sum(axis=0) * (1 - share))
    half = stats.t.ppf(0.975, count - 1) * spread
    return np.asarray(value) - half, np.asarray(value) + half


@dataclass(frozen=True, slots=True, eq=False)
class Repeated:
    """Takes a measure on all rows, and where they are a sample, once without each group of texts.

    Attributes:
        folds: the rows that stay, one mask for each group; none where all there is was looked at.
        share: which share of what there is was looked at.
    """

    folds: Sequence[NDArray[np.bool_]]
    share: float

    @classmethod
    def of(cls, docs: I64, seed: int, share: float, groups: int = GROUPS) -> "Repeated":
        """Return it for rows of these texts."""
        return cls(cut(docs, seed, groups) if share < 1 else (), share)

    def take(self, values: Callable[[Keep], Any], track: Tracker = SILENT, **about: Any) -> Measured:
        """Return what `values` gives of all rows, and of those that a mask keeps for the interval."""
        folds = self.folds
        names = ("on all rows", *(f"repeat {n + 1} of {len(folds)}" for n in range(len(folds))))
        steps = track.each((None, *folds), names if folds else [""])
        found = np.asarray(values(next(steps)[0]), np.float64)
        if not folds:
            return Measured(found, **about)
        low, high = interval(found, [values(keep) for keep, _ in steps], self.share)
        return Measured(found, low=low, high=high, **about)
