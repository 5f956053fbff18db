"""Rows of vectors before they are measured: centred, standardised, or at length 1.

Rows are x, float32 or float64 (n, d); results are float64. Nothing overflows or warns, whatever x holds.
"""

import math

import numpy as np
import numpy.typing as npt

from layerwise.array_types import F64

RowArray = npt.NDArray[np.float32] | F64
# Relative rounding error of a float64 product of a few thousand rows.
SAME = 1e-12


def finite(x: RowArray) -> bool:
    """Return whether x isn't empty and holds only finite numbers."""
    return x.size > 0 and bool(np.isfinite(x).all())


def centred(x: RowArray) -> tuple[F64, float]:
    """Return finite x with columns of mean 0, float64 (n, d), and the length below which a vector is rounding error.

    The unit is the largest absolute value, so that no square overflows. Columns whose only variance is
    rounding of x's type become 0. The length is the Frobenius norm of the other columns before centring, times the
    relative rounding error.
    """
    values = np.asarray(x, np.float64) / (float(np.abs(x).max()) or 1.0)
    rounding = max(float(np.finfo(x.dtype).eps), SAME)
    lengths = row_lengths(values.T)
    values -= values.mean(axis=0)
    flat = row_lengths(values.T) <= rounding * lengths
    values[:, flat] = 0
    return values, rounding * float(np.linalg.norm(lengths[~flat]))


def standardise(x: RowArray) -> F64:
    """Return x with columns of mean 0 and standard deviation 1, float64 (n, d); constant columns are 0.

    (x - mean) / √(Σ(x - mean)² / n), column by column: the z-scores by which Timkey and van Schijndel (2021) remove
    the effect of rogue dimensions. All NaN where any value of x isn't finite.
    """
    if not finite(x):
        return np.full(x.shape, np.nan)
    values, _ = centred(x)
    deviation = row_lengths(values.T) / math.sqrt(len(x))
    standardised: F64 = np.divide(values, deviation, out=values, where=deviation > 0)
    return standardised


def unit_rows(x: RowArray) -> F64 | None:
    """Return rows divided by their lengths, float64 (n, d); `None` where a row is 0 or a value isn't finite."""
    if not finite(x):
        return None
    # Scaled by the largest number first: the squares of very large or small numbers aren't finite, or are 0.
    largest = np.abs(x).max(axis=1, keepdims=True).astype(np.float64)
    if not largest.all():
        return None
    values: F64 = np.asarray(x, np.float64) / largest
    values /= row_lengths(values)[:, None]
    return values


def row_lengths(rows: F64) -> F64:
    """Return the Euclidean length of each row, (n,)."""
    lengths: F64 = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    return lengths
