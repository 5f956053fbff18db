"""The margin ratio (Artetxe and Schwenk 2019) with 4 neighbours: 1 − the accuracy is the error of LASER's xsim."""

import numpy as np

from layerwise.array_types import F64
from layerwise.geometry.retrieval.hits import hits, mean_of_nearest, top

NEIGHBOURS = 4


def margin_hits(queries: F64, candidates: F64) -> F64:
    """Return the hits by cos(x, y) / ((r(x) + r(y)) / 2) among the 4 nearest candidates of each query, (n,).

    r is the mean cosine with the 4 nearest rows of the other side. Rows are of length 1.
    """
    of_queries = mean_of_nearest(queries, candidates, NEIGHBOURS)
    of_candidates = mean_of_nearest(candidates, queries, NEIGHBOURS)

    def ratio(cosines: F64, begin: int) -> F64:
        near = cosines >= top(cosines, NEIGHBOURS).min(axis=1, keepdims=True)
        means = (of_queries[begin : begin + len(cosines), None] + of_candidates) / 2
        ratios: F64 = np.divide(cosines, means, out=np.zeros_like(cosines), where=means != 0)
        return np.where(near, ratios, -np.inf)

    return hits(queries, candidates, ratio)
