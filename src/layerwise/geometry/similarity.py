"""Similarity of two layers on the same rows: seven measures, each for two layers or for all pairs of layers.

Layers are x (n, d1) and y (n, d2), float32 or float64. Computation is in float64; only the ranks of RSA are stored as
float32. For all pairs of layers, `prepare` runs once per layer and only `compare` once per pair; otherwise each
decomposition would be repeated for every pair. The result is NaN for a layer that holds a value that isn't finite,
whose only variance is rounding error, or that has fewer than 4 rows.

CKA, RSA, Procrustes and neighbours weigh dimensions by their variance, so that a single rogue one may dominate (Timkey
and van Schijndel 2021); pass `standardise(x)` to give all dimensions equal weight. SVCCA and PWCCA hardly depend on
variance, and report high similarity for any layers where n is near d; use several times more rows than dimensions.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from layerwise.array_types import F32, F64, I64
from layerwise.geometry import chance
from layerwise.geometry.layer_pairs import Measure, check_rows
from layerwise.geometry.neighbours import largest_mask
from layerwise.geometry.rows import RowArray, centred, finite, unit_rows
from layerwise.geometry.svd import singular_values, svd
from layerwise.wording import Message

P = TypeVar("P")
# Cosines and correlations are rounded to this many decimals before comparison, so that equal rows tie.
_DECIMALS = 12
_SAME = 1e-12
# Cells of a rows × rows matrix in memory at once (32 MiB).
_CELLS = 1 << 22
# Products summed in float32; the sums of blocks are added in float64.
_BLOCK = 1 << 16


def linear_cka(x: RowArray, y: RowArray) -> float:
    """Return linear centred kernel alignment, in [0, 1] (Kornblith et al. 2019).

    ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖), Frobenius norms, columns centred. Invariant to rotation, scaling and
    shift of a layer. Biased upwards unless n is far above d: unrelated layers give nearly 1 (see `debiased_cka`).
    """
    return _both(_aligned, _cka, x, y)


def debiased_cka(x: RowArray, y: RowArray) -> float:
    """Return linear CKA by unbiased HSIC, in [-1, 1], about 0 for unrelated layers for any n and d.

    HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)), each by the unbiased estimate of Song et al. (2012), as Nguyen et al.
    (2021) and Murphy et al. (2024) use it. With columns centred and k, l the squared lengths of rows, the estimate
    times n (n - 3) is ‖XᵀY‖² - n/(n - 2) k·l + Σk Σl / ((n - 1)(n - 2)), which needs no matrix of rows × rows.
    NaN where all rows have the same distance from each other.
    """
    return _both(_unbiased, _unbiased_cka, x, y)


def svcca(x: RowArray, y: RowArray, kept: float = 0.99) -> float:
    """Return the mean canonical correlation of the main directions of two layers, in [0, 1] (Raghu et al. 2017).

    From each centred layer the fewest singular directions are kept whose squared singular values sum to a share
    `kept` of its variance (the authors' code sums the values themselves, and keeps more). The mean is over as many
    correlations as the smaller side has directions. Always 1 where both sides keep n - 1.
    """
    return _both(partial(_directions, kept=kept), _mean_correlation, x, y)


def pwcca(x: RowArray, y: RowArray) -> float:
    """Return the projection-weighted mean canonical correlation, in [0, 1] (Morcos et al. 2018).

    Σ α_i ρ_i / Σ α_i over as many correlations ρ as the smaller side has directions. x gives the weights: α_i is
    Σ_j |h_i · x_j|, h_i the canonical variate of x with length 1 and x_j its centred columns; pwcca(y, x) differs.
    Directions that are rounding error of x's type are left out. Always 1 where both sides have n - 1 directions.
    """
    return _both(_directions, _weighted_correlation, x, y)


def rsa(x: RowArray, y: RowArray) -> float:
    """Return representational similarity, in [-1, 1] (Kriegeskorte et al. 2008).

    Spearman's correlation over all n (n - 1) / 2 pairs of rows of their dissimilarities in x and in y: 1 minus
    Pearson's correlation of the two rows. Values within 1e-12 are ties and get their mean rank. NaN where a row is constant,
    or all pairs tie.
    """
    return _both(_dissimilarities, _rank_correlation, x, y)


def procrustes(x: RowArray, y: RowArray) -> float:
    """Return the squared orthogonal Procrustes distance, in [0, 2] (Schönemann 1966; Ding et al. 2021).

    d² = min ‖X - YQ‖² over orthogonal Q = 2 - 2 ‖XᵀY‖_* (nuclear norm) of centred layers of Frobenius norm 1.
    Ding et al. report the square. Near 0 its rounding error is 1e-16, that of its root 1e-8; only the root obeys the
    triangle inequality. Invariant to rotation, scaling and shift of a layer.
    """
    return _both(_of_norm_1, _procrustes, x, y)


def neighbour_overlap(x: RowArray, y: RowArray, k: int = 10) -> float:
    """Return the mean share of a row's k nearest neighbours that two layers have in common, in [0, 1].

    Nearest by plain cosine (Huh et al. 2024, mutual nearest neighbours). By chance it is k / (n - 1). Among
    rows within 1e-12 of the k-th cosine the first are taken, in both layers, so that equal rows raise the overlap.
    NaN where k isn't in 1 … n - 1, or a row is 0.
    """
    return _both(partial(_neighbours, k=k), _shared, x, y)


class _Unbiased(NamedTuple):
    """Centred rows (n, d) of Frobenius norm 1, squared lengths of rows (n,), and `_hsic` with itself."""

    rows: F64
    squares: F64
    with_itself: float


class _Directions(NamedTuple):
    """An orthonormal basis (n, r) of centred columns, and these columns in it (r, d)."""

    basis: F64
    columns: F64


def _both(
    prepare: Callable[[RowArray], P | None],
    compare: Callable[[P | None, P | None], float],
    x: RowArray,
    y: RowArray,
) -> float:
    check_rows([x, y])
    return compare(prepare(x), prepare(y))


def _defined(compare: Callable[[P, P], float]) -> Callable[[P | None, P | None], float]:
    @wraps(compare)
    def compared(first: P | None, second: P | None) -> float:
        return math.nan if first is None or second is None else compare(first, second)

    return compared


def _varying(x: RowArray) -> tuple[F64, float] | None:
    """Return centred rows (n, d) and the length below which a vector is rounding error; `None` if undefined."""
    if len(x) < 4 or not finite(x):
        return None
    values, rounding = centred(x)
    return (values, rounding) if values.any() else None


def _of_norm_1(x: RowArray) -> F64 | None:
    varying = _varying(x)
    return None if varying is None else np.divide(varying[0], np.linalg.norm(varying[0]))


def _aligned(x: RowArray) -> F64 | None:
    """Return centred rows (n, d), scaled so that ‖XᵀX‖ = 1."""
    rows = _of_norm_1(x)
    return None if rows is None else np.divide(rows, math.sqrt(np.linalg.norm(rows.T @ rows)))


@_defined
def _cka(x: F64, y: F64) -> float:
    return min(float(np.linalg.norm(x.T @ y)) ** 2, 1.0)


def _unbiased(x: RowArray) -> _Unbiased | None:
    rows = _of_norm_1(x)
    if rows is None:
        return None
    squares = np.einsum("nd,nd->n", rows, rows)
    with_itself = _hsic(rows, squares, rows, squares)
    return _Unbiased(rows, squares, with_itself) if with_itself > _SAME * float(squares @ squares) else None


def _hsic(x: F64, k: F64, y: F64, m: F64) -> float:
    """Return n (n - 3) times the unbiased HSIC of centred rows of norm 1, whose squared lengths k, m sum to 1."""
    n = len(x)
    cross = float(np.linalg.norm(x.T @ y)) ** 2
    return cross - n / (n - 2) * float(k @ m) + 1 / ((n - 1) * (n - 2))


@_defined
def _unbiased_cka(x: _Unbiased, y: _Unbiased) -> float:
    value = _hsic(x.rows, x.squares, y.rows, y.squares) / math.sqrt(x.with_itself * y.with_itself)
    return max(-1.0, min(value, 1.0))


def _directions(x: RowArray, kept: float = 1.0) -> _Directions | None:
    """Return the fewest singular directions with a share `kept` of the variance, without those of rounding error."""
    varying = _varying(x)
    if varying is None:
        return None
    basis, singular, turned = svd(varying[0], full_matrices=False)
    rank = max(1, int((singular > varying[1]).sum()))
    if kept < 1:
        share = np.cumsum(singular**2) / (singular**2).sum()
        rank = min(rank, int(np.searchsorted(share, kept)) + 1)
    return _Directions(basis[:, :rank], singular[:rank, None] * turned[:rank])


@_defined
def _mean_correlation(x: _Directions, y: _Directions) -> float:
    return min(float(singular_values(x.basis.T @ y.basis).mean()), 1.0)


@_defined
def _weighted_correlation(x: _Directions, y: _Directions) -> float:
    cross = x.basis.T @ y.basis
    # Eigenvalues: with 1,024 directions twice as fast as singular vectors; error of correlations near 0 is 1e-8.
    squares, turn = np.linalg.eigh(cross @ cross.T)
    most = min(cross.shape)
    correlations = np.sqrt(np.clip(squares[-most:], 0, 1))
    weights = np.abs(turn[:, -most:].T @ x.columns).sum(axis=1)
    return float(weights @ correlations / weights.sum())


def _dissimilarities(x: RowArray) -> F32 | None:
    """Return centred ranks, of length 1, of Pearson's correlation of all pairs of rows, float32 (n (n - 1) / 2,).

    Ranks of 1 - Pearson are the same in reverse for both layers, which doesn't change their correlation.
    """
    unit = None if _varying(x) is None else unit_rows(centred(x.T)[0].T)
    if unit is None:
        return None
    pairs = np.round((unit @ unit.T)[np.tri(len(x), k=-1, dtype=bool)], _DECIMALS)
    _, place, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    # Ties get the mean of their ranks; the mean of all ranks is (pairs + 1) / 2.
    ranks = (np.cumsum(counts) - (counts - 1) / 2 - (len(pairs) + 1) / 2)[place]
    return (ranks / np.linalg.norm(ranks)).astype(np.float32) if len(counts) > 1 else None


@_defined
def _rank_correlation(x: F32, y: F32) -> float:
    parts = (float(x[at : at + _BLOCK] @ y[at : at + _BLOCK]) for at in range(0, len(x), _BLOCK))
    return max(-1.0, min(math.fsum(parts), 1.0))


@_defined
def _procrustes(x: F64, y: F64) -> float:
    return max(0.0, 2 - 2 * float(singular_values(x.T @ y).sum()))


def _neighbours(x: RowArray, k: int) -> I64 | None:
    """Return each row's k nearest neighbours as numbers row · n + neighbour, ascending: int64 (n k,)."""
    n, unit = len(x), None if _varying(x) is None else unit_rows(x)
    if unit is None or not 1 <= k < n:
        return None
    step = max(1, _CELLS // n)
    return np.concatenate([np.flatnonzero(_nearest(unit, at, step, k)) + at * n for at in range(0, n, step)])


def _nearest(unit: F64, start: int, step: int, k: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the k nearest rows of rows `start` to `start + step`; of ties the first ones."""
    cosines = np.round(unit[start : start + step] @ unit.T, _DECIMALS)
    numbers = np.arange(len(cosines))
    cosines[numbers, start + numbers] = -np.inf
    return largest_mask(cosines, k)


@_defined
def _shared(x: I64, y: I64) -> float:
    return len(np.intersect1d(x, y, assume_unique=True)) / len(x)


def _zeros(layers: Sequence[Any], order: I64) -> F64:
    return np.zeros((len(layers), len(layers)))


def _cka_by_chance(layers: Sequence[F64], order: I64) -> F64:
    return chance.cka(np.array([float((x**2).sum()) for x in layers]), len(order))


def _correlation_by_chance(layers: Sequence[_Directions], order: I64) -> F64:
    return chance.correlations([x.basis.shape[1] for x in layers], len(order))


def _shared_by_chance(layers: Sequence[I64], order: I64) -> F64:
    rows = len(order)
    return np.full((len(layers), len(layers)), len(layers[0]) / rows / (rows - 1))


_MAIN, _TEN = partial(_directions, kept=0.99), partial(_neighbours, k=10)
MEASURES: tuple[Measure[Any], ...] = (
    Measure("linear_cka", Message("unit.cka"), "Kornblith et al. 2019", 1, _aligned, _cka, _cka_by_chance),
    Measure(
        "debiased_cka",
        Message("unit.cka"),
        "Song et al. 2012; Murphy et al. 2024",
        1,
        _unbiased,
        _unbiased_cka,
        _zeros,
    ),
    Measure(
        "svcca",
        Message("unit.correlation"),
        "Raghu et al. 2017",
        1,
        _MAIN,
        _mean_correlation,
        _correlation_by_chance,
    ),
    Measure(
        "pwcca",
        Message("unit.correlation"),
        "Morcos et al. 2018",
        1,
        _directions,
        _weighted_correlation,
        _correlation_by_chance,
        symmetric=False,
    ),
    Measure(
        "rsa",
        Message("unit.spearman"),
        "Kriegeskorte et al. 2008",
        1,
        _dissimilarities,
        _rank_correlation,
        _zeros,
    ),
    Measure(
        "procrustes",
        Message("unit.squared"),
        "Schönemann 1966; Ding et al. 2021",
        0,
        _of_norm_1,
        _procrustes,
        chance.procrustes,
    ),
    Measure(
        "neighbour_overlap", Message("unit.share.ten"), "Huh et al. 2024", 1, _TEN, _shared, _shared_by_chance
    ),
)
"""All seven measures, with their default arguments."""
