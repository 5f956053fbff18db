"""Intrinsic dimension, by scikit-dimension: the one place that knows it."""

import math
import warnings
from collections.abc import Callable

import numpy as np

from layerwise.look.geometry import Rows, finite

PIP = "pip install 'layerwise[dimension]'"


def two_nn() -> Callable[[Rows], float] | None:
    """Return what gives the intrinsic dimension of rows (n, d), or `None` where scikit-dimension isn't installed.

    TwoNN (Facco et al. 2017): by the ratios of the distances to the first two neighbours. Equal rows count once.
    NaN for fewer than 20 rows that differ, a single column, or a value that isn't finite.
    """
    try:
        from skdim.id import TwoNN
    except ImportError:
        return None

    def dimension(x: Rows) -> float:
        if not finite(x) or x.shape[1] < 2:
            return math.nan
        different = np.unique(np.asarray(x, np.float64), axis=0)
        if len(different) < 20:
            return math.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba and old NumPy names; what it gives is checked by tests
            return float(TwoNN().fit(different).dimension_)

    return dimension
