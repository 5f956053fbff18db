"""Intrinsic dimension, by scikit-dimension: the only module that imports it."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from layerwise._util.silence import silenced
from layerwise.errors import RequestError
from layerwise.geometry.compiled import check_settings
from layerwise.geometry.rows import RowArray, finite
from layerwise.wording import Message


def two_nn() -> Callable[[RowArray], float]:
    """Return a function that estimates the intrinsic dimension of rows (n, d).

    TwoNN (Facco et al. 2017): μ = r₂ / r₁, the ratio of a row's distances to its first two neighbours, is Pareto
    with the dimension d as its exponent, P(μ' ≤ μ) = 1 - μ⁻ᵈ. d is the slope through 0 of -log(1 - i / n) over
    log μ₍ᵢ₎, for the n rows sorted by μ, without the tenth that has the largest μ. Equal rows count once. NaN for fewer
    than 20 different rows, a single column, or a value that isn't finite.

    scikit-dimension is imported at the first call, which takes seconds.

    Raises:
        RequestError: scikit-dimension isn't installed, or numba has a settings file in the current folder.
    """
    check_settings("intrinsic_dimension")
    if find_spec("skdim") is None:
        raise _not_installed()
    return _dimension


def _dimension(x: RowArray) -> float:
    if not finite(x) or x.shape[1] < 2:
        return math.nan
    different = np.unique(np.asarray(x, np.float64), axis=0)
    if len(different) < 20:
        return math.nan
    with silenced():  # warnings of numba and of old NumPy names; tests check the result
        return float(_estimator().fit(different).dimension_)


def _estimator() -> Any:
    try:
        with silenced():  # importing it makes Python ignore all later warnings of the process
            from skdim.id import TwoNN
    except ImportError:
        raise _not_installed() from None
    return TwoNN()


def _not_installed() -> RequestError:
    return RequestError(Message("note.needs.dimension", pip="pip install 'layerwise[dimension]'"))
