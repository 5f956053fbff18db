"""Links whose probability is above a threshold in both directions (Dou and Neubig 2021), with a scaled temperature.

Awesome-align takes the softmax of dot products, whose scale differs from layer to layer and from model to model, so that
no threshold fits all of them. Here it is the softmax of cosines divided by a temperature, which is a fixed share of the
standard deviation of all cosines of the sentence pair at that layer.
"""

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32

THRESHOLD = 0.001  # of awesome-align
SHARE = 0.01  # of the standard deviation; chosen on the two sets of docs/reference/alignment.md


def softmax(similarity: F32) -> NDArray[np.bool_]:
    """Return the links above the threshold in both directions: bool (layers, m, n)."""
    if not similarity.size:
        return np.zeros(similarity.shape, bool)
    spread = similarity.std(axis=(1, 2), keepdims=True, dtype=np.float64)
    scaled = similarity / np.where(spread > 0, SHARE * spread, 1)
    links: NDArray[np.bool_] = (_shares(scaled, 2) > THRESHOLD) & (_shares(scaled, 1) > THRESHOLD)
    return links


def _shares(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    exponentials = np.exp(values - values.max(axis=axis, keepdims=True))
    shares: NDArray[np.float64] = exponentials / exponentials.sum(axis=axis, keepdims=True)
    return shares
