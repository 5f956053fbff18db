"""Scores of ranks as means over rows: the area under the ROC curve, and Spearman's correlation.

Such a score isn't a function of sums over rows. Its value for a row here is the score plus the row's influence on it, so
the mean of the values is the score, and their spread gives its sampling error.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from layerwise.array_types import F64, I64


def auc_values(scores: NDArray[Any], gold: I64) -> F64:
    """Return the values (m,) whose mean is the area under the ROC curve, of each class against the rest, on average.

    A class that all rows or no rows have is left out; if none is left, all values are 0.5.

    Args:
        scores: (K, m), of each class.
        gold: class numbers (m,).

    Source: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", 1988.
    """
    values = [_auc_values(row, gold == number) for number, row in enumerate(scores)]
    defined = [row for row in values if row is not None]
    return np.mean(defined, axis=0) if defined else np.full(len(gold), 0.5)


def _auc_values(scores: NDArray[Any], is_positive: NDArray[np.bool_]) -> F64 | None:
    positives, count = int(is_positive.sum()), len(scores)
    if positives in (0, count):
        return None
    below = rankdata(scores)  # within the other side: the rank among all rows minus that within the own side
    below[is_positive] -= rankdata(scores[is_positive])
    below[~is_positive] -= rankdata(scores[~is_positive])
    shares = np.where(is_positive, below / (count - positives), 1 - below / positives)
    area = float(shares[is_positive].mean())
    values: F64 = area + (shares - area) * np.where(
        is_positive, count / positives, count / (count - positives)
    )
    return values


def spearman_values(a: NDArray[Any], b: NDArray[Any]) -> F64:
    """Return the values (m,) whose mean is Spearman's correlation of `a` and `b` (m,); 0 where either is constant.

    The correlation is that of the shares of rows below; each row's influence on the shares of the others is counted.
    """
    ranks = [(rankdata(side) - 0.5) / len(side) for side in (a, b)]
    variances = [float(rank.var()) for rank in ranks]
    if min(variances) <= 0:
        return np.zeros(len(a))
    (first, second), (first_variance, second_variance) = ranks, variances
    product = float((first * second).mean())
    shared = first * second + _mean_above(a, second) + _mean_above(b, first) - 3 * product
    score = (product - 0.25) / (first_variance * second_variance) ** 0.5
    values: F64 = score + shared / (first_variance * second_variance) ** 0.5
    for side, rank, variance in zip((a, b), ranks, variances, strict=True):
        square = rank**2 + 2 * _mean_above(side, rank) - 3 * float((rank**2).mean())
        values -= score / 2 * square / variance
    return values


def _mean_above(side: NDArray[Any], values: F64) -> F64:
    """Return for each row (m,) the sum of `values` of the rows above it, and half of those equal to it, over m."""
    names, index = np.unique(side, return_inverse=True)
    sums = np.bincount(index, weights=values, minlength=len(names))
    above = sums.sum() - np.cumsum(sums) + sums / 2
    means: F64 = above[index] / len(values)
    return means
