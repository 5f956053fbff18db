"""Argmax, and then once more among the tokens that are still free (itermax of Jalili Sabet et al. 2020, simalign 0.4).

In the second round, the similarity is (1 + cosine) / 2, times 0.9 where one of the two tokens is linked already, and pairs
of two linked tokens are left out.
"""

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32
from layerwise.geometry.word_alignment.argmax import argmax

_LINKED_BEFORE = np.float32(0.9)
_SHORTEST = 3  # tokens of the shorter side; with fewer there is no second round


def itermax(similarity: F32) -> NDArray[np.bool_]:
    """Return the links of both rounds: bool (layers, m, n)."""
    links = argmax(similarity)
    if min(similarity.shape[1:]) < _SHORTEST:
        return links
    free_a: NDArray[np.bool_] = np.asarray(~links.any(axis=2, keepdims=True))
    free_b: NDArray[np.bool_] = np.asarray(~links.any(axis=1, keepdims=True))
    allowed = (free_a | free_b) & free_a.any(axis=1, keepdims=True) & free_b.any(axis=2, keepdims=True)
    weights = np.where(free_a & free_b, np.float32(1), _LINKED_BEFORE) * allowed
    more: NDArray[np.bool_] = links | (argmax((1 + similarity) / 2 * weights) & allowed)
    return more
