"""How well a linear classifier tells the side of a text, such as its language, at each layer."""

import numpy as np

from layerwise.array_types import F64, I64
from layerwise.geometry.retrieval.procrustes import folds
from layerwise.geometry.rows import RowArray, finite

_ALPHA = 1.0  # of ridge, per row of standardised numbers: a thousandth of their variance for 1,000 rows


def side_hits(x: RowArray, sides: I64, groups: I64, seed: int = 0) -> F64:
    """Return whether the side of each row is predicted by a classifier of other rows: float64 (n,).

    Ridge regression to a number per side, in five folds; the texts of a pair are in the same fold. NaN where a value
    isn't finite, or there are fewer than two groups.

    Args:
        x: (n, d).
        sides: the number of the side of each row, (n,).
        groups: the number of the pair of each row, (n,).
        seed: the seed of the folds.
    """
    out = np.full(len(x), np.nan)
    names, group = np.unique(groups, return_inverse=True)
    if not finite(x):
        return out
    values = np.asarray(x, np.float64)
    targets = np.eye(int(sides.max()) + 1)[sides]
    for held_out in folds(len(names), seed):
        tested = np.isin(group, held_out)
        scores = _fitted(values[~tested], targets[~tested], values[tested])
        out[tested] = scores.argmax(axis=1) == sides[tested]
    return out


def _fitted(x: F64, targets: F64, tested: F64) -> F64:
    """Return the predictions (t, sides) for `tested`, of a ridge regression on standardised columns."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    z, centre = (x - mean) / scale, targets.mean(axis=0)
    weights = np.linalg.solve(z.T @ z + _ALPHA * np.eye(z.shape[1]), z.T @ (targets - centre))
    predictions: F64 = (tested - mean) / scale @ weights + centre
    return predictions
