"""Features of pairs of texts: their cosine, and their difference and product per dimension."""

import numpy as np

from layerwise.mixes import within_float32
from layerwise.states import F32


def pair_features(a: F32, b: F32) -> F32:
    """Return the features of pairs of vectors, float32 of shape (n, 2 * width + 1): [cos(a, b), |a − b|, a · b].

    The difference and the product are those of InferSent (Conneau et al. 2017); swapping the two vectors
    changes no feature. The cosine with a vector of zeros is 0.

    Args:
        a, b: the vectors of the first and of the second texts, float32 (n, width) each.
    """
    width = a.shape[1]
    out = np.empty((len(a), 2 * width + 1), np.float32)
    product = out[:, width + 1 :]
    with within_float32():
        np.multiply(a, b, out=product)
        np.abs(np.subtract(a, b, out=out[:, 1 : width + 1]), out=out[:, 1 : width + 1])
        norms = np.sqrt((a**2).sum(axis=1, dtype=np.float64) * (b**2).sum(axis=1, dtype=np.float64))
    dots = product.sum(axis=1, dtype=np.float64)
    out[:, 0] = np.divide(dots, norms, out=np.zeros_like(norms), where=norms > 0)
    return out


def halves(values: F32) -> F32:
    """Return the features of pairs whose two vectors are consecutive rows of `values` (2n, width)."""
    return pair_features(values[0::2], values[1::2])
