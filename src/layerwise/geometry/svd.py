"""Singular value decomposition, also of matrices for which LAPACK's divide and conquer doesn't converge."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from layerwise.array_types import F64


def svd(matrix: NDArray[Any], *, full_matrices: bool = True) -> tuple[F64, F64, F64]:
    """Return U, the singular values in descending order, and Vᵀ, of a matrix of finite numbers.

    numpy's divide and conquer (gesdd) fails for some matrices whose rank is far below their size; the slower QR iteration
    (gesvd) takes over then.
    """
    try:
        u, sizes, vt = np.linalg.svd(matrix, full_matrices=full_matrices)
    except np.linalg.LinAlgError:
        u, sizes, vt = linalg.svd(matrix, full_matrices=full_matrices, lapack_driver="gesvd")
    return u, sizes, vt


def singular_values(matrix: NDArray[Any]) -> F64:
    """Return the singular values of a matrix of finite numbers in descending order, as `svd`."""
    try:
        sizes: F64 = np.linalg.svd(matrix, compute_uv=False)
    except np.linalg.LinAlgError:
        sizes = linalg.svd(matrix, compute_uv=False, lapack_driver="gesvd")
    return sizes
