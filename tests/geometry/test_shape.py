"""The shape of a layer: against loops over pairs of rows, scipy, scikit-learn, and by hand."""

import math
from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.linalg import logm, svdvals
from scipy.spatial.distance import cosine as cosine_distance
from scipy.stats import entropy, zscore
from sklearn.feature_selection import f_classif

from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.geometry.rows import standardise
from layerwise.geometry.separation import RankedDimensions, class_separation, ranked_dimensions
from layerwise.geometry.shape import (
    RowNorms,
    Similarity,
    anisotropy,
    contributions,
    curvature,
    dataset_entropy,
    effective_rank,
    intra_text_similarity,
    norms,
    prompt_entropy,
    rogue_shares,
    self_similarity,
)

rng = np.random.default_rng
# Sums of a few hundred float64 products, in another order.
EXACT = 1e-12
# Rows of a text or class needn't lie together.
DOCS = np.array([4, 4, 1, 4, 1, 1, 9, 4, 9, 1, 7, 9])


def layer(n: int = 12, d: int = 5, seed: int = 0) -> F64:
    x: F64 = rng(seed).normal(size=(n, d)) * np.geomspace(2, 0.5, d) + np.linspace(1, 0, d)
    return x


def cosine(a: F64, b: F64) -> float:
    return 1 - float(cosine_distance(a, b))


def mean_cosine(rows: F64) -> float:
    return float(np.mean([cosine(a, b) for a, b in combinations(rows, 2)]))


# ---- lengths and directions


def test_norms_by_hand() -> None:
    # 5, 13, 17, 25; percentiles by interpolation: .15 of the way from the ends.
    x = np.array([[3.0, 4], [5, 12], [8, 15], [7, 24]])
    for scale in (1, 1e-200, 1e200):
        found = norms(x * scale)
        got = [found.mean / scale, found.median / scale, found.low / scale, found.high / scale]
        assert got == pytest.approx([15, 15, 6.2, 23.8]), f"times {scale}"


def test_anisotropy_is_the_mean_over_pairs() -> None:
    assert anisotropy(np.array([[1.0, 0], [0, 3], [2, 0]])) == pytest.approx(1 / 3)
    assert anisotropy(np.array([[1.0, 2], [-2, -4]])) == pytest.approx(-1)
    assert anisotropy(np.eye(5) - 1 / 5) == pytest.approx(-1 / 4), (
        "a simplex is as far apart as 5 rows can be"
    )
    assert anisotropy(layer()) == pytest.approx(mean_cosine(layer()), abs=EXACT)
    single = layer().astype(np.float32)
    assert anisotropy(single) == pytest.approx(mean_cosine(layer()), abs=1e-6), "float32 rounds by 6e-8"
    assert anisotropy(layer() * 1e200) == pytest.approx(mean_cosine(layer()), abs=EXACT)


def test_contributions_are_means_over_pairs() -> None:
    unit = layer() / np.linalg.norm(layer(), axis=1, keepdims=True)
    wanted = np.mean([a * b for a, b in combinations(unit, 2)], axis=0)
    np.testing.assert_allclose(contributions(layer()), wanted, atol=EXACT)
    dimensions, shares = rogue_shares(layer(), top=2)
    order = sorted(range(5), key=lambda i: -wanted[i])
    assert dimensions.tolist() == order[:2]
    np.testing.assert_allclose(shares, wanted[order[:2]] / mean_cosine(layer()), rtol=1e-9)
    assert rogue_shares(layer(), top=99)[1].sum() == pytest.approx(1)


def test_the_planted_rogue_dimension_is_found_and_standardising_removes_it() -> None:
    x = rng(1).normal(size=(400, 64))
    plain = anisotropy(x)
    x[:, 17] += 30
    dimensions, shares = rogue_shares(x)
    assert dimensions[0] == 17
    # Of a row's square 30² = 900 is rogue, and 64 are not.
    assert anisotropy(x) == pytest.approx(900 / 964, abs=0.02)
    assert shares[0] > 0.99
    assert shares[1] < 0.01
    # 400 rows in 64 dimensions: cosines of pairs have deviation 1/8, and rows share in many pairs.
    assert abs(plain) < 0.01
    assert abs(anisotropy(standardise(x))) < 0.01
    assert np.abs(contributions(standardise(x))).max() < 0.001


def test_standardised_columns() -> None:
    x = np.hstack([layer() + 1e3, np.full((12, 1), 0.1)])
    found = standardise(x)
    # A mean of 1e3 takes three digits.
    np.testing.assert_allclose(found[:, :5], zscore(layer()), atol=1e-9)
    assert (found[:, 5] == 0).all(), "a constant column has no deviation to divide by"
    np.testing.assert_allclose(standardise(x.astype(np.float32))[:, 5], 0, atol=0)


def test_effective_rank() -> None:
    centred = layer() - layer().mean(axis=0)
    assert effective_rank(layer()) == pytest.approx(math.exp(entropy(svdvals(centred))))
    # Columns of ± 1 that sum to 0 and are orthogonal: three equal singular values.
    signs = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    assert effective_rank(signs + 5) == pytest.approx(3)
    assert effective_rank(signs[:, [0, 0, 0]]) == pytest.approx(1)
    # Singular values 2 : 1 : 1 of sum 4: entropy ½ log 2 + ½ log 4 = 1.5 log 2.
    assert effective_rank(signs * [2, 1, 1] * 1e-200) == pytest.approx(2**1.5)


# ---- texts and words


def test_intra_text_similarity_by_loops() -> None:
    x, each = layer(), []
    for doc in (1, 4, 9):  # text 7 has one row
        rows = x[doc == DOCS]
        each.append(np.mean([cosine(row, rows.mean(axis=0)) for row in rows]))
    found = intra_text_similarity(x, DOCS)
    assert found.mean == pytest.approx(np.mean(each), abs=EXACT)
    assert found.adjusted == pytest.approx(np.mean(each) - mean_cosine(x), abs=EXACT)


def test_a_text_without_a_mean_is_left_out() -> None:
    # Rows of text 0 cancel; those of text 1 are 60 degrees apart, 30 from their mean.
    x = np.array([[0.3, 0.1], [-0.3, -0.1], [1, 0], [0.5, math.sqrt(0.75)]])
    assert intra_text_similarity(x, [0, 0, 1, 1]).mean == pytest.approx(math.cos(math.pi / 6))
    assert intra_text_similarity(x.astype(np.float32), [0, 0, 1, 1]).mean == pytest.approx(
        math.cos(math.pi / 6), abs=1e-6
    )
    assert intra_text_similarity(1e200 * x, [0, 0, 1, 1]).mean == pytest.approx(math.cos(math.pi / 6))


def test_self_similarity_by_loops() -> None:
    x = layer()
    words = np.array(["it", "it", "was", "it", "was", "was", "so", "it", "so", "was", "hot", "it"])
    wanted = np.mean([mean_cosine(x[words == word]) for word in ("it", "was", "so")])
    found = self_similarity(x, words)
    assert found.mean == pytest.approx(wanted, abs=EXACT)
    assert found.adjusted == pytest.approx(wanted - mean_cosine(x), abs=EXACT)
    assert self_similarity(x, np.unique(words, return_inverse=True)[1]) == found, "names make no difference"


def test_frequent_words_are_thinned_evenly() -> None:
    x = layer(17)
    words = np.array([0] * 7 + [1] * 3 + [0] * 0 + [2] * 7)[rng(0).permutation(17)]
    found = self_similarity(x, words, most=3)
    # Of seven, one of each third: those where i · 3 / 7 passes a whole number.
    picked = [x[words == word][[2, 4, 6]] for word in (0, 2)]
    wanted = np.mean([mean_cosine(rows) for rows in (*picked, x[words == 1])])
    assert found.mean == pytest.approx(wanted, abs=EXACT)
    assert found.adjusted == pytest.approx(wanted - mean_cosine(x), abs=EXACT), "all rows make the baseline"


@pytest.mark.parametrize(
    ("path", "angle"),
    [
        ([[0, 0], [1, 2], [2, 4], [4, 8]], 0),
        ([[0, 0], [1, 0], [1, 2], [4, 2], [4, 3]], math.pi / 2),
        ([[0, 1], [3, 5], [0, 1]], math.pi),
        ([[0, 0], [1, 0], [2, 1e-9]], 1e-9),  # its cosine is 1 to the last digit
        ([[0, 0], [1, 0], [1, 0], [2, 1], [3, 2]], 0),  # a step of length 0 has no direction
    ],
)
def test_curvature_by_hand(path: list[list[float]], angle: float) -> None:
    for scale in (1, 1e200):
        found = curvature(np.array(path, np.float64) * scale, np.zeros(len(path), int))
        assert found == pytest.approx(angle, abs=1e-15, rel=1e-9)


def test_curvature_is_averaged_over_texts() -> None:
    x, each = layer(), []
    for doc in (1, 4, 9):
        steps = np.diff(x[doc == DOCS], axis=0)
        angles = [math.acos(cosine(a, b)) for a, b in pairwise(steps)]
        each.append(np.mean(angles))
    # The arc cosine of the reference is exact to 1e-15 away from 0 and π.
    assert curvature(x, DOCS) == pytest.approx(np.mean(each), abs=1e-10)


def test_unrelated_rows_turn_by_120_degrees() -> None:
    # Steps b - a and c - b share b alone: cosine -1/2. In 300 dimensions it varies by about 1/√300.
    x = rng(0).normal(size=(400, 300))
    assert curvature(x, np.arange(400) // 20) == pytest.approx(2 * math.pi / 3, abs=0.02)


def von_neumann(rows: F64) -> float:
    """-tr ρ log ρ by a matrix logarithm, ρ the Gram matrix of unit rows at trace 1."""
    cosines = np.array([[cosine(a, b) for b in rows] for a in rows])
    rho = cosines / len(rows)
    return -float(np.trace(rho @ logm(rho)).real)


def test_entropy_by_hand() -> None:
    assert dataset_entropy(np.diag([1.0, 5, 2])) == pytest.approx(1), "orthogonal rows"
    assert dataset_entropy(np.outer([1.0, 2, -3], [1, 4, 1])) == pytest.approx(0, abs=1e-9), "one direction"
    assert dataset_entropy(np.tile(np.eye(3), (4, 1))) == pytest.approx(1), "12 rows fill 3 dimensions evenly"
    # Two rows of cosine .6: eigenvalues (1 ± .6) / 2.
    wanted = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2)) / math.log(2)
    assert dataset_entropy(np.array([[1.0, 0, 0], [3, 4, 0]])) == pytest.approx(wanted)


def test_entropy_is_von_neumanns() -> None:
    x = layer(4, 7)
    # A matrix logarithm is exact to about 1e-13 times the condition, here below 100.
    assert dataset_entropy(x) == pytest.approx(von_neumann(x) / math.log(4), abs=1e-9)
    tall, texts = layer(12, 7), (1, 4, 9)
    rows = [tall[doc == DOCS] for doc in texts]
    wanted = [von_neumann(text) / math.log(len(text)) for text in rows]
    assert prompt_entropy(tall, DOCS) == pytest.approx(np.mean(wanted), abs=1e-9)


def test_more_rows_than_dimensions_have_the_entropy_of_their_gram_matrix() -> None:
    x = layer(40, 5)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    wanted = entropy(np.maximum(np.linalg.eigvalsh(unit @ unit.T), 0)) / math.log(5)
    # The 35 eigenvalues that are 0 come out as 1e-15 each.
    assert dataset_entropy(x) == pytest.approx(wanted, abs=1e-10)
    assert prompt_entropy(x, np.zeros(40)) == pytest.approx(wanted, abs=1e-10)


# ---- classes


def test_class_separation_is_the_trace_of_scatter_matrices() -> None:
    x, labels = layer(), DOCS
    z, within, total = zscore(x), np.zeros((5, 5)), np.zeros((5, 5))
    between = np.zeros((5, 5))
    for row in z:
        total += np.outer(row, row)
    for label in set(labels):
        own = z[labels == label]
        between += len(own) * np.outer(own.mean(axis=0), own.mean(axis=0))
        for row in own:
            within += np.outer(row - own.mean(axis=0), row - own.mean(axis=0))
    assert class_separation(x, labels) == pytest.approx(np.trace(between) / np.trace(total), abs=EXACT)
    assert class_separation(x, labels) == pytest.approx(1 - np.trace(within) / np.trace(total), abs=EXACT)


def test_class_separation_at_its_ends() -> None:
    # Dimension 0 is the class; of dimension 1, centred, classes share a mean; dimension 2 is constant.
    x = np.array([[0.0, 1, 3], [0, -1, 3], [1, 1, 3], [1, -1, 3]])
    labels = ["a", "a", "b", "b"]
    assert class_separation(x[:, :1], labels) == pytest.approx(1)
    assert class_separation(x[:, 1:], labels) == pytest.approx(0)
    assert class_separation(x, labels) == pytest.approx(1 / 2), "of the two dimensions that vary"
    assert class_separation(x * [1e6, 1e-6, 1], labels) == pytest.approx(1 / 2), "whatever their units"


def test_meaningless_classes_separate_by_chance() -> None:
    x, labels = rng(0).normal(size=(200, 100)), rng(1).integers(0, 11, size=200)
    # 100 dimensions: F varies by √(2/10), eta² by .022, its mean over them by .0022.
    assert class_separation(x, labels) == pytest.approx(10 / 199, abs=0.01)


def test_ranked_dimensions_have_the_f_of_scikit_learn() -> None:
    x = layer(60, 8)
    labels = rng(3).integers(0, 3, size=60)
    x[:, 6] += labels
    x[:, 2] += labels / 4
    found = ranked_dimensions(x, labels, top=5)
    f, _ = f_classif(x, labels)
    assert found.dimensions.tolist() == np.argsort(-f)[:5].tolist()
    assert found.dimensions[0] == 6
    # scikit-learn takes the difference of sums of squares that aren't centred.
    np.testing.assert_allclose(found.f, f[found.dimensions], rtol=1e-8)
    grand = ((x - x.mean(axis=0)) ** 2).sum(axis=0)
    inside = sum(((x[labels == c] - x[labels == c].mean(axis=0)) ** 2).sum(axis=0) for c in range(3))
    np.testing.assert_allclose(found.eta2, (1 - inside / grand)[found.dimensions], atol=EXACT)


def test_dimensions_at_the_ends_of_the_ranking() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    noise = np.array([0.3, -0.1, 0.2, 0.1, 0.4, -0.2])
    x = np.stack([noise, np.full(6, 0.7), np.where(labels, 0.3, 0.1), noise + labels], axis=1)
    found = ranked_dimensions(x, labels)
    assert found.dimensions.tolist() == [2, 3, 0], "constant within classes first, constant left out"
    assert found.f[0] == math.inf
    assert found.eta2[0] == pytest.approx(1)
    assert np.isfinite(found.f[1:]).all()
    assert len(ranked_dimensions(x, labels, top=1).f) == 1


# ---- what isn't defined

ALL_OF: dict[str, Callable[[F64], object]] = {
    "norms": norms,
    "anisotropy": anisotropy,
    "rogue_shares": rogue_shares,
    "effective_rank": effective_rank,
    "intra_text_similarity": lambda x: intra_text_similarity(x, DOCS[: len(x)]),
    "self_similarity": lambda x: self_similarity(x, DOCS[: len(x)]),
    "curvature": lambda x: curvature(x, DOCS[: len(x)]),
    "prompt_entropy": lambda x: prompt_entropy(x, DOCS[: len(x)]),
    "dataset_entropy": dataset_entropy,
    "class_separation": lambda x: class_separation(x, DOCS[: len(x)]),
    "ranked_dimensions": lambda x: ranked_dimensions(x, DOCS[: len(x)]),
}


def numbers(found: object) -> list[float]:
    if isinstance(found, RowNorms):
        return [found.mean, found.median, found.low, found.high]
    if isinstance(found, Similarity):
        return [found.mean, found.adjusted]
    if isinstance(found, RankedDimensions):
        return [*found.f, *found.eta2]
    if isinstance(found, tuple):
        return [float(share) for share in found[1]]
    assert isinstance(found, float)
    return [found]


@pytest.mark.parametrize("name", ALL_OF)
def test_what_is_not_finite_or_not_there_gives_nan(name: str) -> None:
    holed, endless = layer(), layer()
    holed[3, 2], endless[5, 1] = math.nan, math.inf
    assert np.isfinite(numbers(ALL_OF[name](layer()))).all(), "defined for a plain layer"
    for what, x in {"NaN": holed, "inf": endless, "no rows": layer()[:0], "no width": layer()[:, :0]}.items():
        assert np.isnan(numbers(ALL_OF[name](x))).all(), what


def test_a_row_of_zeros_has_no_cosine() -> None:
    x = layer()
    x[4] = 0
    for name in ("anisotropy", "rogue_shares", "intra_text_similarity", "self_similarity", "prompt_entropy"):
        assert np.isnan(numbers(ALL_OF[name](x))).all(), name
    assert math.isnan(dataset_entropy(x))
    assert math.isfinite(curvature(x, DOCS)), "it has neighbours all the same"
    assert math.isfinite(effective_rank(x))


def test_a_constant_layer_has_one_direction_and_no_spread() -> None:
    x = np.tile(layer()[0], (12, 1))
    assert anisotropy(x) == pytest.approx(1)
    assert intra_text_similarity(x, DOCS).adjusted == pytest.approx(0, abs=EXACT)
    assert self_similarity(x, DOCS).adjusted == pytest.approx(0, abs=EXACT)
    assert dataset_entropy(x) == pytest.approx(0, abs=1e-9)
    for name in ("effective_rank", "curvature", "class_separation", "ranked_dimensions"):
        assert np.isnan(numbers(ALL_OF[name](x))).all(), name
    assert math.isnan(anisotropy(standardise(x)))


def test_too_little_to_compare_gives_nan() -> None:
    x, alone = layer(), np.arange(12)
    assert math.isnan(anisotropy(x[:1]))
    assert math.isnan(effective_rank(x[:1]))
    assert math.isnan(dataset_entropy(x[:1]))
    assert math.isnan(dataset_entropy(x[:, :1]))
    assert math.isnan(intra_text_similarity(x, alone).mean)
    assert math.isnan(self_similarity(x, alone).mean)
    assert math.isnan(curvature(x, alone // 2)), "texts of two rows"
    assert math.isnan(prompt_entropy(x, alone))
    assert math.isnan(prompt_entropy(x[:, :1], DOCS))
    assert math.isnan(class_separation(x, np.zeros(12))), "one class"
    assert len(ranked_dimensions(x, np.zeros(12)).f) == 0
    assert len(ranked_dimensions(x, alone).f) == 0, "a class per row leaves nothing within"
    assert len(rogue_shares(np.array([[1.0, 2], [-1, -2]]))[0]) == 0, "no mean cosine to share"


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RequestError, match=r"labels of shape \(11,\) don't fit 12 rows"):
        curvature(layer(), DOCS[:11])
