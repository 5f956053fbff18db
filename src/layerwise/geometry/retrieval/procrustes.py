"""Retrieval after an orthogonal map from one side to the other, fitted on other pairs (Schönemann 1966; Xing et al. 2015)."""

import numpy as np

from layerwise.array_types import F64, I64
from layerwise.geometry.retrieval.hits import hits
from layerwise.geometry.rows import unit_rows
from layerwise.geometry.svd import svd

FOLDS = 5


def procrustes_hits(a: F64, b: F64, seed: int = 0) -> tuple[F64, F64]:
    """Return the hits of a among b and of b among a, (n,) each.

    Each fifth of the pairs is mapped by what the other four fifths give: their means are subtracted, and W = U Vᵀ with
    U S Vᵀ = Aᵀ B is the rotation (or reflection) that brings their rows closest. All rows are candidates. NaN for fewer
    than two pairs.

    Args:
        a, b: float64 (n, d), rows of length 1; row i of both are partners.
        seed: the seed of the folds.
    """
    forward, backward = np.full(len(a), np.nan), np.full(len(a), np.nan)
    for held_out in folds(len(a), seed):
        kept = np.setdiff1d(np.arange(len(a)), held_out)
        first, second = a - a[kept].mean(axis=0), b - b[kept].mean(axis=0)
        u, _, vt = svd(first[kept].T @ second[kept])
        forward[held_out] = _hits_of(first @ (u @ vt), second, held_out)
        backward[held_out] = _hits_of(second @ (u @ vt).T, first, held_out)
    return forward, backward


def folds(count: int, seed: int) -> list[I64]:
    """Return the numbers of the rows of each fold, in order; none for fewer than two rows."""
    if count < 2:
        return []
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(fold) for fold in np.array_split(order, min(FOLDS, count))]


def _hits_of(queries: F64, candidates: F64, chosen: I64) -> F64:
    """Return the hits of some queries among all candidates."""
    first, second = unit_rows(queries), unit_rows(candidates)
    if first is None or second is None:
        return np.full(len(chosen), np.nan)
    others = np.setdiff1d(np.arange(len(candidates)), chosen)
    # Partners have the same place: the chosen rows come first, and the other candidates after them.
    return hits(first[chosen], second[np.concatenate([chosen, others])])
