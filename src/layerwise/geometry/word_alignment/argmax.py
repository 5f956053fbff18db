"""Links between tokens that are each other's most similar token (argmax of Jalili Sabet et al. 2020)."""

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32


def directions(similarity: F32) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the links from each token of a to its nearest of b, and from b to a: bool (layers, m, n) each.

    Of equally near tokens the first is taken. `similarity` is float32 (layers, m, n).
    """
    forward = np.zeros(similarity.shape, bool)
    backward = np.zeros(similarity.shape, bool)
    if similarity.size:
        np.put_along_axis(forward, similarity.argmax(axis=2)[:, :, None], True, axis=2)
        np.put_along_axis(backward, similarity.argmax(axis=1)[:, None, :], True, axis=1)
    return forward, backward


def argmax(similarity: F32) -> NDArray[np.bool_]:
    """Return the links that both directions have: bool (layers, m, n)."""
    forward, backward = directions(similarity)
    return forward & backward
