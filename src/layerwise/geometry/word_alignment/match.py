"""Maximum-weight matching: each token of the shorter side has one link, and all links together the largest similarity."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from layerwise.array_types import F32


def match(similarity: F32) -> NDArray[np.bool_]:
    """Return the links of the best matching (Hungarian algorithm): bool (layers, m, n), min(m, n) links in each layer."""
    links = np.zeros(similarity.shape, bool)
    for of_layer, matrix in zip(links, similarity, strict=True):
        of_layer[linear_sum_assignment(matrix, maximize=True)] = True
    return links
