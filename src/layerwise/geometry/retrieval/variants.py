"""The variants of retrieval by name: the hits of both directions of a language pair, from the vectors of its two sides."""

from collections.abc import Callable, Mapping

import numpy as np

from layerwise.array_types import F64
from layerwise.geometry.retrieval.csls import csls_hits
from layerwise.geometry.retrieval.hits import hits
from layerwise.geometry.retrieval.margin import margin_hits
from layerwise.geometry.retrieval.procrustes import procrustes_hits
from layerwise.geometry.rows import RowArray, finite, unit_rows

BothHits = tuple[F64, F64]


def _both(of: Callable[[F64, F64], F64]) -> Callable[[F64, F64], BothHits]:
    return lambda a, b: (of(a, b), of(b, a))


# From rows of length 1, and whether the mean of each side is subtracted before.
_VARIANTS: Mapping[str, tuple[Callable[[F64, F64], BothHits], bool]] = {
    "cosine": (_both(hits), False),
    "centred": (_both(hits), True),
    "csls": (_both(csls_hits), False),
    "margin": (_both(margin_hits), False),
    "procrustes": (procrustes_hits, False),
}
VARIANTS = tuple(_VARIANTS)


def variant_hits(name: str, a: RowArray, b: RowArray) -> BothHits:
    """Return which rows find their partner: of a among b, and of b among a, float64 (n,) each.

    Row i of a (n, d) and of b are partners. A row counts 1/k where its partner is one of k best. NaN for a value that
    isn't finite, a row of zeros, or a single pair. `centred` subtracts the mean of each side (Libovický et al. 2020).
    """
    of, is_centred = _VARIANTS[name]
    undefined = np.full(len(a), np.nan)
    if not (finite(a) and finite(b)) or len(a) < 2:
        return undefined, undefined
    if is_centred:
        a, b = (np.asarray(x, np.float64) - np.asarray(x, np.float64).mean(axis=0) for x in (a, b))
    first, second = unit_rows(a), unit_rows(b)
    if first is None or second is None:
        return undefined, undefined
    return of(first, second)
