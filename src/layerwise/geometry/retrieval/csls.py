"""Cross-domain similarity local scaling (Conneau et al. 2018): candidates that are near everything count less."""

from layerwise.array_types import F64
from layerwise.geometry.retrieval.hits import hits, mean_of_nearest

NEIGHBOURS = 10


def csls_hits(queries: F64, candidates: F64) -> F64:
    """Return the hits by 2 cos(x, y) − r(x) − r(y), (n,); r is the mean cosine with the 10 nearest rows of the other side.

    r(x) is the same for all candidates of x, so it is left out. Rows are of length 1.
    """
    near = mean_of_nearest(candidates, queries, NEIGHBOURS)
    return hits(queries, candidates, lambda cosines, begin: 2 * cosines - near)
