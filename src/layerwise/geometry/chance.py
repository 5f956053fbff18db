"""What measures of similarity give for unrelated layers: the floor above which a number means something.

Unrelated layers have the same rows as the given ones, but in random order, so that no row of one belongs to the row of
the other. The expected value under all orders is exact for CKA (Kazi-Aoual et al. 1995), RSA and neighbours; for
canonical correlations it is the limit of large matrices (Wachter 1980); for Procrustes one order is drawn.
"""

from collections.abc import Sequence

import numpy as np

from layerwise.array_types import F64, I64
from layerwise.geometry.svd import singular_values

_NODES = 400  # of the quadrature; its error is below 1e-4


def cka(traces: F64, rows: int) -> F64:
    """Return the expected linear CKA of all pairs of unrelated layers, (L, L): tr(K) tr(M) / ((n - 1) ‖K‖ ‖M‖).

    Args:
        traces: (L,), the trace of each centred Gram matrix divided by its Frobenius norm.
        rows: n.
    """
    product: F64 = np.outer(traces, traces) / (rows - 1)
    return np.minimum(product, 1.0)


def correlations(ranks: Sequence[int], rows: int) -> F64:
    """Return the expected mean canonical correlation of all pairs of unrelated layers, (L, L).

    Args:
        ranks: the number of directions of each layer.
        rows: n.
    """
    return np.array([[mean_correlation(p, q, rows) for q in ranks] for p in ranks], np.float64)


def mean_correlation(p: int, q: int, rows: int) -> float:
    """Return the expected mean of the min(p, q) canonical correlations of unrelated layers (Wachter 1980).

    With m = n - 1, a = p / m and b = q / m (p ≤ q), squared correlations have the density
    √((λ₊ - λ)(λ - λ₋)) / (2π a λ (1 - λ)) between λ± = (√(a(1 - b)) ± √(b(1 - a)))². p + q - m of the correlations are
    1 whatever the data; all of them where q = m.
    """
    few, many, m = min(p, q), max(p, q), rows - 1
    if many >= m:
        return 1.0
    a, b = few / m, many / m
    roots = np.sqrt(a * (1 - b)), np.sqrt(b * (1 - a))
    low, high = (roots[0] - roots[1]) ** 2, (roots[0] + roots[1]) ** 2
    middle, half = (low + high) / 2, (high - low) / 2
    angles = (np.arange(_NODES) + 0.5) * np.pi / _NODES
    squares = middle + half * np.cos(angles)
    density = (half * np.sin(angles)) ** 2 / (2 * np.pi * a * squares * (1 - squares))
    forced = max(0.0, (a + b - 1) / a)
    return float(min(1.0, (density * np.sqrt(squares)).sum() * np.pi / _NODES + forced))


def procrustes(layers: Sequence[F64], order: I64) -> F64:
    """Return about the squared Procrustes distance of all pairs of unrelated layers, (L, L).

    Each layer is compared with itself in another order of rows: s = 1 - d² / 2. A pair gets √(s s'), which is within
    0.1 of d² for layers of a transformer.

    Args:
        layers: centred rows (n, d) of Frobenius norm 1.
        order: int64 (n,), a random order of rows.
    """
    similar = [float(singular_values(x.T @ x[order]).sum()) for x in layers]
    roots = np.sqrt(np.clip(similar, 0, 1))
    distances: F64 = 2 - 2 * np.outer(roots, roots)
    return distances
