"""How alike layers are: against loops over pairs and quadruples of rows, scipy, scikit-learn, and by hand."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes, subspace_angles
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.geometry import similarity
from layerwise.geometry.layer_pairs import Measure, matrix
from layerwise.geometry.rows import RowArray, standardise
from layerwise.geometry.similarity import (
    MEASURES,
    debiased_cka,
    linear_cka,
    neighbour_overlap,
    procrustes,
    pwcca,
    rsa,
    svcca,
)
from layerwise.heads.learned_mix import likeness

rng = np.random.default_rng
every_measure = pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.name)
# Sums of a few hundred float64 products, in another order.
EXACT = 1e-10


def related(n: int = 60, widths: tuple[int, int] = (8, 5), seed: int = 0) -> tuple[F64, F64]:
    """Two layers, neither alike nor unrelated, whose means aren't 0 and whose dimensions differ in spread."""
    x = rng(seed).normal(size=(n, widths[0])) * np.geomspace(3, 0.3, widths[0]) + 2
    y = x @ rng(seed + 1).normal(size=widths) + 2 * rng(seed + 2).normal(size=(n, widths[1])) - 1
    return x, y


def turned(x: F64, seed: int = 9) -> F64:
    turn: F64 = np.linalg.qr(rng(seed).normal(size=(x.shape[1], x.shape[1])))[0]
    return x @ turn


def named(name: str) -> Callable[..., float]:
    function: Callable[..., float] = getattr(similarity, name)
    return function


# ---- against references


def test_cka_is_hsic_by_loops_over_pairs() -> None:
    x, y = related(12)

    def hsic(a: F64, b: F64) -> float:
        """The sum over pairs of rows of the products of doubly centred kernels."""
        k, m = ([[float(p @ q) for q in one] for p in one] for one in (a, b))
        return sum(middle(k, i, j) * middle(m, i, j) for i in range(12) for j in range(12))

    def middle(k: list[list[float]], i: int, j: int) -> float:
        row, column = sum(k[i]) / 12, sum(line[j] for line in k) / 12
        return k[i][j] - row - column + sum(map(sum, k)) / 144

    wanted = hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(wanted, abs=EXACT)


def test_debiased_cka_is_the_mean_over_all_quadruples_of_rows() -> None:
    x, y = related(7)

    def hsic(a: F64, b: F64) -> float:
        """The U-statistic of Song et al. (2012), equation 4's kernel over distinct i, j, q, r."""
        k, m = a @ a.T, b @ b.T
        each = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(len(a)), 4)]
        return float(np.mean(each))

    wanted = hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))
    # The loop isn't centred, and so loses digits.
    assert debiased_cka(x, y) == pytest.approx(wanted, abs=1e-8)


def test_debiased_cka_is_what_a_learned_mix_says_of_its_layers() -> None:
    layers = np.stack(related(80, (6, 6))).astype(np.float32)
    # That one is kept in float32.
    assert debiased_cka(*layers) == pytest.approx(likeness(layers)[0, 1], abs=1e-5)


def test_svcca_is_the_mean_cosine_of_angles_between_the_main_subspaces() -> None:
    x, y = related(60, (12, 9))
    y *= np.geomspace(3, 0.1, 9)
    found = {}
    for kept in (0.9, 0.99):
        # scikit-learn keeps the fewest components whose share of the variance is above `kept`.
        main = [PCA(kept, svd_solver="full").fit_transform(one) for one in (x, y)]
        found[kept] = min(one.shape[1] for one in main)
        wanted = np.cos(subspace_angles(*main)).mean()
        # Angles are exact, but their cosines near 1 go through a sine.
        assert svcca(x, y, kept) == pytest.approx(wanted, abs=1e-8), f"{kept} of the variance"
    assert found[0.9] < found[0.99] < 9, "the shares should cut differently, or the test shows little"


def test_svcca_of_all_directions_has_the_correlations_of_scikit_learn() -> None:
    x, y = related(60, (4, 3))
    # It iterates until its own tolerance; a squared error of 1e-12 is 1e-6 in a correlation.
    fitted = CCA(3, scale=False, max_iter=20000, tol=1e-12).fit(x, y)
    pairs = zip(*(one.T for one in fitted.transform(x, y)), strict=True)
    assert svcca(x, y, kept=1) == pytest.approx(np.mean([np.corrcoef(*p)[0, 1] for p in pairs]), abs=1e-5)


def plain_pwcca(x: F64, y: F64) -> float:
    """From the eigenvectors of Sxx⁻¹ Sxy Syy⁻¹ Syx, variate by variate."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    squares, coefficients = np.linalg.eig(
        np.linalg.solve(x.T @ x, x.T @ y) @ np.linalg.solve(y.T @ y, y.T @ x)
    )
    total = weighted = 0.0
    for place in np.argsort(-squares.real)[: min(x.shape[1], y.shape[1])]:
        variate = x @ coefficients[:, place].real
        variate /= np.linalg.norm(variate)
        weight = sum(abs(float(variate @ column)) for column in x.T)
        total, weighted = total + weight, weighted + weight * math.sqrt(squares.real[place])
    return weighted / total


def test_pwcca_is_its_definition_and_the_first_layer_weighs() -> None:
    x, y = related()
    # The reference inverts covariances, whose condition is below 1e2.
    assert pwcca(x, y) == pytest.approx(plain_pwcca(x, y), abs=1e-9)
    assert pwcca(y, x) == pytest.approx(plain_pwcca(y, x), abs=1e-9)
    assert abs(pwcca(x, y) - pwcca(y, x)) > 0.01, (
        "both directions weigh alike here, so the test shows nothing"
    )


@pytest.mark.parametrize("rows", [4, 60])
def test_rsa_is_scipys_spearman_of_its_correlation_distances(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = related(rows)
    wanted = spearmanr(pdist(x, "correlation"), pdist(y, "correlation")).statistic
    # Ranks are kept in float32.
    assert rsa(x, y) == pytest.approx(wanted, abs=1e-6)
    monkeypatch.setattr(similarity, "_BLOCK", 4)
    assert rsa(x, y) == pytest.approx(wanted, abs=1e-6), "summed by 4"


def test_equal_rows_are_ties_for_rsa() -> None:
    x, y = (np.repeat(one, 5, axis=0) for one in related(12))
    x = turned(x)  # so that products of equal rows needn't be equal to the last bit
    wanted = spearmanr(*(np.round(pdist(one, "correlation"), 10) for one in (x, y))).statistic
    assert rsa(x, y) == pytest.approx(wanted, abs=1e-6)


def test_equal_rows_are_ties_for_neighbours() -> None:
    x = np.repeat(related(12)[0], 5, axis=0)
    for seed in range(5):
        # Were cosines not rounded, their last bits would say which two of four equal rows are nearest.
        assert neighbour_overlap(x, turned(x, seed), k=2) == 1


def test_procrustes_is_what_is_left_after_the_best_turn() -> None:
    x, y = related(60, (6, 6))
    a, b = ((one - one.mean(axis=0)) / np.linalg.norm(one - one.mean(axis=0)) for one in (x, y))
    turn, _ = orthogonal_procrustes(b, a)
    left = float(np.linalg.norm(a - b @ turn)) ** 2
    assert procrustes(x, y) == pytest.approx(left, abs=EXACT)
    others = [float(np.linalg.norm(a - turned(b, seed))) ** 2 for seed in range(50)]
    assert left < min(others), "a random turn brings the layers nearer than the best one"


def test_procrustes_pads_the_narrower_layer_with_zeros() -> None:
    x, y = related(60, (8, 5))
    assert procrustes(x, y) == pytest.approx(procrustes(x, np.pad(y, ((0, 0), (0, 3)))), abs=EXACT)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_neighbours_are_found_by_loops(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = related(40)

    def near(layer: F64, row: int) -> set[int]:
        def cosine(other: int) -> float:
            one, two = layer[row], layer[other]
            return float(one @ two) / math.sqrt(float(one @ one) * float(two @ two))

        return set(sorted((i for i in range(40) if i != row), key=cosine, reverse=True)[:k])

    wanted = float(np.mean([len(near(x, i) & near(y, i)) / k for i in range(40)]))
    assert neighbour_overlap(x, y, k) == pytest.approx(wanted)
    monkeypatch.setattr(similarity, "_CELLS", 7 * 40)
    assert neighbour_overlap(x, y, k) == pytest.approx(wanted), "in blocks of 7 rows"


# ---- by hand


def test_one_dimension_is_a_correlation() -> None:
    # Centred: (-3, -1, 1, 3)/2 and (-1, 1, -1, 1)/2; product 1, squares 5 and 1: r = 1/√5.
    x, y = np.array([[0.0, 1, 2, 3]]).T, np.array([[7.0, 9, 7, 9]]).T
    r = 1 / math.sqrt(5)
    assert linear_cka(x, y) == pytest.approx(r * r)
    assert svcca(x, y) == pytest.approx(r)
    assert pwcca(x, y) == pytest.approx(r)
    assert procrustes(x, -y) == pytest.approx(2 - 2 * r), "a sign is a turn"


def test_neighbours_by_hand() -> None:
    def on_circle(*degrees: float) -> F64:
        return np.array([[math.cos(math.radians(at)), math.sin(math.radians(at))] for at in degrees])

    # Nearest of the first layer 1 0 1 2, of the second 3 2 1 0: row 2 alone agrees.
    x, y = on_circle(0, 10, 21, 33), on_circle(0, 80, 90, 3)
    assert neighbour_overlap(x, y, k=1) == pytest.approx(1 / 4)
    assert neighbour_overlap(x, y, k=3) == 1, "all others are neighbours"
    # All of rows 0 to 3 are one direction: the first other row is the nearest, in both layers.
    same = on_circle(5, 5, 5, 5, 95)
    # Nearest 1 0 0 0 0 and 1 0 1 4 3.
    assert neighbour_overlap(same, on_circle(0, 1, 2.5, 30, 40), k=1) == pytest.approx(2 / 5)


# ---- what a measure doesn't see, and what it does


@pytest.mark.parametrize("name", ["linear_cka", "debiased_cka", "procrustes", "svcca"])
def test_turns_scales_and_shifts_make_no_difference(name: str) -> None:
    x, y = related()
    measure = named(name)
    assert measure(4 * turned(x) + 3, y) == pytest.approx(measure(x, y), abs=EXACT)
    assert measure(x, x) != pytest.approx(measure(x, y), abs=0.05), "it tells these layers apart"


@pytest.mark.parametrize("name", ["svcca", "pwcca"])
def test_cca_does_not_see_invertible_maps(name: str) -> None:
    x, _ = related()
    y = x @ rng(5).normal(size=(8, 8)) + 1
    all_of_it = {"kept": 1} if name == "svcca" else {}
    # Rounding, times the condition of the map and the layer, about 1e2.
    assert named(name)(x, y, **all_of_it) == pytest.approx(1, abs=1e-9)
    assert named(name)(x, related()[1], **all_of_it) < 0.95
    assert linear_cka(x, y) < 0.95, "the map is no turn"


@pytest.mark.parametrize(
    "name", ["linear_cka", "debiased_cka", "svcca", "rsa", "procrustes", "neighbour_overlap"]
)
def test_the_order_of_two_layers_makes_no_difference(name: str) -> None:
    x, y = related()
    assert named(name)(x, y) == pytest.approx(named(name)(y, x), abs=EXACT)


@every_measure
def test_a_layer_is_alike_to_itself_more_than_to_others(measure: Measure[Any]) -> None:
    x, y = related()
    own, other = measure.prepare(x), measure.prepare(y)
    # RSA's ranks are kept in float32.
    assert measure.compare(own, own) == pytest.approx(measure.alike, abs=1e-6)
    assert abs(measure.compare(own, other) - measure.alike) > 0.05
    assert measure.compare(own, other) == named(measure.name)(x, y), "the function says something else"


@every_measure
@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_makes_no_difference(measure: Measure[Any], scale: float) -> None:
    x, y = related()
    wanted = measure.compare(measure.prepare(x), measure.prepare(y))
    found = measure.compare(measure.prepare(x * scale), measure.prepare(y))
    assert found == pytest.approx(wanted, abs=EXACT)


@every_measure
def test_float32_differs_by_its_rounding(measure: Measure[Any]) -> None:
    x, y = related()
    single = [measure.prepare(one.astype(np.float32)) for one in (x, y)]
    wanted = measure.compare(measure.prepare(x), measure.prepare(y))
    # 6e-8 of values, that partly cancel; no pair is so near to another that ranks swap.
    assert measure.compare(*single) == pytest.approx(wanted, abs=1e-6)


def test_unrelated_layers_are_unlike_to_the_debiased_kernel_alone() -> None:
    plain, debiased = [], []
    for seed in range(20):
        x, y = rng(seed).normal(size=(2, 30, 300))
        plain.append(linear_cka(x, y))
        debiased.append(debiased_cka(x, y))
    assert min(plain) > 0.85, "with fewer rows than dimensions CKA is near 1 for noise"
    # Kernels of 435 pairs of rows: standard deviation about 1/√435 = .05, of the mean of 20 about .011.
    assert abs(np.mean(debiased)) < 0.04
    assert max(map(abs, debiased)) < 0.2


@pytest.mark.parametrize("name", ["svcca", "pwcca"])
def test_cca_finds_likeness_in_anything_with_as_many_dimensions_as_rows(name: str) -> None:
    x, y = rng(0).normal(size=(2, 20, 50))
    all_of_it = {"kept": 1} if name == "svcca" else {}
    assert named(name)(x, y, **all_of_it) == pytest.approx(1, abs=1e-9)


def test_repeated_dimensions_add_nothing() -> None:
    x, y = related()
    twice = np.hstack([x, x])
    assert svcca(twice, y) == pytest.approx(svcca(x, y), abs=1e-9)
    assert pwcca(twice, y) == pytest.approx(pwcca(x, y), abs=1e-9), "weights double, all of them"
    assert linear_cka(twice, y) == pytest.approx(linear_cka(x, y), abs=EXACT)


@pytest.mark.parametrize("name", ["linear_cka", "debiased_cka", "svcca", "pwcca", "procrustes"])
def test_a_large_constant_dimension_hides_nothing(name: str) -> None:
    x, y = related()
    all_of_it = {"kept": 1} if name == "svcca" else {}
    large = np.hstack([x, np.full((60, 1), 1e14)])
    assert named(name)(large, y, **all_of_it) == pytest.approx(named(name)(x, y, **all_of_it), abs=EXACT)


def test_rounding_of_float32_is_no_direction() -> None:
    facts = rng(0).normal(size=(50, 3))
    x, y = ((facts @ rng(seed).normal(size=(3, 8)) + 20).astype(np.float32) for seed in (1, 2))
    # 20 is rounded by 1e-6, which turns directions by as much, and so takes 1e-12 from their cosines.
    assert svcca(x, y, kept=1) == pytest.approx(1, abs=1e-9), "rounding counts as 5 more directions"


def test_a_rogue_dimension_decides_until_columns_are_standardised() -> None:
    x, y = rng(1).normal(size=(2, 300, 20))
    rogue = 50 * rng(2).normal(size=300)
    x[:, 3] += rogue
    y[:, 11] += rogue
    assert linear_cka(x, y) > 0.99
    # One dimension in 20 is still shared: 1/20 of the kernel, give or take 1/√300.
    assert abs(debiased_cka(standardise(x), standardise(y))) < 0.15


# ---- all pairs


def test_the_planted_turn_stands_out_among_all_pairs() -> None:
    layers = [related(80, (8, 8), seed)[0] - 2 for seed in (0, 10, 20)]
    layers.insert(1, turned(layers[2]))
    for measure in MEASURES:
        found = np.abs(matrix(measure, layers) - measure.alike)
        np.fill_diagonal(found, np.inf)
        assert divmod(int(found.argmin()), 4) in [(1, 3), (3, 1)], (
            f"{measure.name} sees another pair: {found}"
        )
        # A turn changes the means of rows, which Pearson's correlation leaves out; nothing else changes.
        assert found[1, 3] < (0.1 if measure.name == "rsa" else 1e-9), measure.name


@every_measure
def test_a_matrix_is_all_pairs(measure: Measure[Any]) -> None:
    layers = [*related(), related(seed=5)[0]]
    prepared: list[RowArray] = []
    compared: list[int] = []

    def prepare(x: RowArray) -> Any:
        prepared.append(x)
        return measure.prepare(x)

    def compare(a: Any, b: Any) -> float:
        compared.append(1)
        return measure.compare(a, b)

    found = matrix(replace(measure, prepare=prepare, compare=compare), layers)
    wanted = [[named(measure.name)(x, y) for y in layers] for x in layers]
    np.testing.assert_allclose(found, wanted, atol=EXACT)
    assert len(prepared) == 3, "a layer is prepared once"
    assert len(compared) == (6 if measure.symmetric else 9)
    assert (found == found.T).all() == measure.symmetric


def test_the_measures_are_the_functions() -> None:
    names = ["linear_cka", "debiased_cka", "svcca", "pwcca", "rsa", "procrustes", "neighbour_overlap"]
    assert [measure.name for measure in MEASURES] == names
    assert matrix(MEASURES[0], []).shape == (0, 0)


# ---- what isn't defined


def broken() -> dict[str, F64]:
    x = related()[0]
    holed, endless = x.copy(), x.copy()
    holed[3, 2], endless[5, 1] = math.nan, -math.inf
    # A constant layer whose rows differ in the last bit, as a product in another order makes them.
    rounded = np.full((60, 8), 0.1) * (1 + 1e-16 * rng(0).integers(-2, 3, size=(60, 8)))
    assert np.ptp(rounded) > 0
    return {
        "zeros": np.zeros((60, 8)),
        "constant": np.tile(x[0], (60, 1)),
        "constant but for rounding": rounded,
        "constant but for rounding, float32": (1e4 + rng(0).random((60, 8)) * 1e-3).astype(np.float32),
        "NaN": holed,
        "infinite": endless,
        "no dimension": np.empty((60, 0)),
    }


@every_measure
@pytest.mark.parametrize("name", broken())
def test_a_layer_that_says_nothing_gives_nan(measure: Measure[Any], name: str) -> None:
    x, y = related()
    found = matrix(measure, [x, broken()[name], y])
    empty = np.zeros((3, 3), bool)
    empty[1] = empty[:, 1] = True
    np.testing.assert_array_equal(np.isnan(found), empty)
    assert math.isnan(named(measure.name)(x, broken()[name]))


@every_measure
@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_too_few_rows_give_nan(measure: Measure[Any], rows: int) -> None:
    x, y = related()
    assert math.isnan(named(measure.name)(x[:rows], y[:rows]))


def test_a_measure_that_has_no_answer_gives_nan() -> None:
    x, y = related(8)
    apart = np.eye(8)
    for rows in range(4, 40):
        equal = turned(np.eye(rows))
        assert math.isnan(debiased_cka(equal, related(rows)[0])), f"{rows} rows are equally far apart"
    assert math.isnan(rsa(apart, x)), "all pairs of rows tie"
    assert math.isnan(rsa(np.vstack([np.ones(8), x[1:]]), x)), "a constant row has no correlation"
    assert math.isnan(rsa(y[:, :1], x)), "one dimension"
    assert math.isnan(neighbour_overlap(np.vstack([np.zeros(8), x[1:]]), x, k=2)), "a row of zeros"
    assert math.isnan(neighbour_overlap(x, x, k=8)), "no 8 others"
    assert math.isnan(neighbour_overlap(x, x, k=0))


def test_layers_of_different_rows_are_refused() -> None:
    x, y = related()
    with pytest.raises(RequestError, match="layers have 59, 60 rows"):
        neighbour_overlap(x, y[:59])
    with pytest.raises(RequestError, match="give the same rows"):
        matrix(MEASURES[0], [x, y[:59]])
