"""How well a layer separates classes: as a whole, and dimension by dimension.

Rows are x, float32 or float64 (n, d). Undefined numbers are NaN, undefined lists are empty.
"""

from dataclasses import dataclass

import numpy as np

from layerwise.array_types import F64, I64
from layerwise.geometry.label_groups import Labels, groups_of, mean_of, sums_of
from layerwise.geometry.rows import SAME, RowArray, finite, standardise


@dataclass(frozen=True, slots=True)
class RankedDimensions:
    """Dimensions (k,), the one that separates classes best first, with their F (k,) and eta² (k,)."""

    dimensions: I64
    f: F64
    eta2: F64


def class_separation(x: RowArray, labels: Labels) -> float:
    """Return the share of the scatter of x (n, d) that lies between classes, in [0, 1].

    The trace of between-class scatter over that of total scatter, columns standardised: the mean of eta² over
    dimensions that vary. C random classes give about (C - 1) / (n - 1). NaN with one class.

    Args:
        x: (n, d).
        labels: (n,), classes.
    """
    shares = _eta2(x, labels)[0]
    return mean_of(shares[~np.isnan(shares)])


def ranked_dimensions(x: RowArray, labels: Labels, top: int = 10) -> RankedDimensions:
    """Return the dimensions that separate classes best, by one-way analysis of variance (Fisher 1925).

    F = (eta² / (C - 1)) / ((1 - eta²) / (n - C)), infinite where a dimension is constant within classes.
    Dimensions that don't vary at all are left out.

    Args:
        x: (n, d).
        labels: (n,), C classes.
        top: dimensions to return.
    """
    shares, classes = _eta2(x, labels)
    varying = np.flatnonzero(~np.isnan(shares)) if len(x) > classes else np.empty(0, np.int64)
    order = varying[np.argsort(-shares[varying], kind="stable")][:top]
    eta2 = shares[order]
    ratio = np.divide(eta2, 1 - eta2, out=np.full(len(eta2), np.inf), where=1 - eta2 > SAME)
    return RankedDimensions(order, ratio * (len(x) - classes) / max(1, classes - 1), eta2)


def _eta2(x: RowArray, labels: Labels) -> tuple[F64, int]:
    """Return the share of each dimension's scatter between classes, (d,), NaN where undefined; and how many classes."""
    groups, values = groups_of(labels, len(x)), standardise(x)
    classes = len(groups.counts)
    if classes < 2 or not finite(values):
        return np.full(x.shape[1], np.nan), classes
    means = sums_of(values[groups.order], groups) / groups.counts[:, None]
    shares: F64 = np.minimum((means**2 * groups.counts[:, None]).sum(axis=0) / len(x), 1)
    shares[~values.any(axis=0)] = np.nan
    return shares, classes
