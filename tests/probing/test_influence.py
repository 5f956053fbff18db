"""Influence values against weighted scores, and the covariances against plain loops."""

import numpy as np
import pytest

from layerwise.labels import metrics
from layerwise.labels.scorers import ClassScorer, NumberScorer, Scorer, SpanScorer
from layerwise.labels.tags import f1_of_counts
from layerwise.probing.design import Design, OuterFit
from layerwise.probing.fits import Fits
from layerwise.probing.influence import CandidatePredictions, Influence, gradient, influence
from layerwise.wording import Message


def folds_of(rows: int, folds: int, repeats: int, seed: int = 0) -> Design:
    """Random folds with two inner folds each; no training sets, which influence values don't need."""
    rng = np.random.default_rng(seed)
    outers = []
    for repeat in range(repeats):
        for test in np.array_split(rng.permutation(rows), folds):
            train = rng.permutation(np.setdiff1d(np.arange(rows), test))
            inner = tuple((0, np.sort(part)) for part in np.array_split(train, 2))
            outers.append(OuterFit(0, np.sort(test), inner, repeat))
    empty = np.zeros(0, np.int64)
    fits = Fits(np.zeros((0, rows), bool), np.zeros((1, rows), np.int64), empty, 2, empty)
    return Design(fits, tuple(outers), (), (), False, Message("empty"))


def test_the_gradient_is_that_of_f1_and_r2() -> None:
    tp, predicted, gold = 30.0, 50.0, 45.0
    sums = np.array([tp, predicted, gold])
    both = predicted + gold
    by_hand = [2 / both, -2 * tp / both**2, -2 * tp / both**2]
    np.testing.assert_allclose(gradient(f1_of_counts, sums, sums), by_hand, rtol=1e-6)
    error, spread = 8.0, 20.0
    moments = np.array([error, 0.0, spread, 40.0])
    slope = gradient(metrics.r2_of_moments, moments, np.array([8.0, 30.0, 20.0, 40.0]))
    np.testing.assert_allclose(slope, [-1 / spread, 0, error / spread**2, 0], atol=1e-8)


def test_a_class_that_never_occurs_has_no_gradient() -> None:
    counts = np.array([3.0, 4.0, 5.0, 0.0, 0.0, 0.0])

    def macro(sums: np.ndarray) -> np.ndarray:
        return metrics.macro_f1_of_counts(sums.reshape(*sums.shape[:-1], 2, 3))

    slope = gradient(macro, counts, counts)
    assert (slope[3:] == 0).all()
    np.testing.assert_allclose(slope[:3], gradient(f1_of_counts, counts[:3], counts[:3]), rtol=1e-6)


def test_influence_on_accuracy_is_by_hand() -> None:
    design, rng = folds_of(20, 4, 2), np.random.default_rng(1)
    gold = rng.integers(0, 2, 20)
    predicted = [rng.integers(0, 2, len(outer.test)) for outer in design.outers]
    scores = np.array(
        [np.mean([(p == gold[o.test]).mean() for p, o in zip(predicted, design.outers, strict=True)])]
    )
    result = influence(ClassScorer(gold), design, np.arange(20), [CandidatePredictions(predicted)], scores)
    right = np.zeros(20)
    for p, outer in zip(predicted, design.outers, strict=True):
        right[outer.test] += (p == gold[outer.test]) / 2
    np.testing.assert_allclose(result.values[0], (right - right.mean()) / 20, atol=1e-9)
    assert result.sampling_covariance()[0, 0] == pytest.approx(right.var(ddof=1) / 20)


@pytest.mark.parametrize("kind", ["spans", "numbers"])
def test_influence_values_predict_the_score_of_reweighted_texts(kind: str) -> None:
    rng = np.random.default_rng(2)
    docs = np.repeat(np.arange(100), 4)
    scorer: Scorer
    if kind == "spans":
        gold = rng.integers(0, 2, 400)
        scorer, guessed = (
            SpanScorer(gold, docs, ["O", "B-X"]),
            np.where(rng.random(400) < 0.8, gold, 1 - gold),
        )
    else:
        numbers = rng.normal(size=400)
        scorer, guessed = NumberScorer(numbers), (numbers + rng.normal(size=400)).astype(np.float32)
    rows = np.arange(400)
    design = Design(folds_of(400, 2, 1).fits, (OuterFit(0, rows, ()),), (), (), True, Message("empty"))
    counts = scorer.counts(guessed, rows)
    score = scorer.score(guessed, rows)
    result = influence(scorer, design, docs, [CandidatePredictions([guessed])], np.array([score]))
    for _ in range(5):
        weights = 1 + 0.02 * rng.normal(size=100)[docs]
        exact = float(scorer.of_sums(weights @ counts)) - score
        assert result.values[0] @ (weights - 1) == pytest.approx(exact, abs=2e-5)
    drawn = rng.integers(0, 100, size=(2000, 100))
    by_doc = counts.reshape(100, 4, -1).sum(axis=1)
    bootstrap = scorer.of_sums(by_doc[drawn].sum(axis=1)).std()
    assert result.sampling_covariance()[0, 0] ** 0.5 == pytest.approx(bootstrap, rel=0.08)


def test_the_retraining_covariance_is_a_plain_loop_over_texts() -> None:
    design, rng = folds_of(30, 3, 1), np.random.default_rng(3)
    gold, docs = rng.integers(0, 2, 30), np.arange(30)
    candidates = []
    for _ in range(3):
        outer = [rng.integers(0, 2, len(o.test)) for o in design.outers]
        inner = [[rng.integers(0, 2, len(rows)) for _, rows in o.inner] for o in design.outers]
        candidates.append(CandidatePredictions(outer, inner))
    result = influence(ClassScorer(gold), design, docs, candidates, np.zeros(3))
    expected = np.zeros((3, 3))
    for row in range(30):
        seen: list[list[float]] = [[] for _ in candidates]
        for number, candidate in enumerate(candidates):
            for fold, outer_fit in enumerate(design.outers):
                for (_, rows), predicted in zip(outer_fit.inner, candidate.held_out[fold], strict=True):
                    seen[number] += [float(p == gold[row]) / 30 for p in predicted[rows == row]]
        assert {len(values) for values in seen} == {2}, "a row is in the training rows of two of three folds"
        expected += np.cov(np.array(seen))
    np.testing.assert_allclose(result.retraining_covariance(), expected, atol=1e-9)


def test_a_baseline_without_inner_fits_has_no_retraining_variance() -> None:
    design = folds_of(30, 3, 1)
    gold, rng = np.zeros(30, np.int64), np.random.default_rng(4)
    outer = [rng.integers(0, 2, len(o.test)) for o in design.outers]
    inner = [[rng.integers(0, 2, len(rows)) for _, rows in o.inner] for o in design.outers]
    both = influence(
        ClassScorer(gold),
        design,
        np.arange(30),
        [CandidatePredictions(outer), CandidatePredictions(outer, inner)],
        np.zeros(2),
    ).retraining_covariance()
    assert both[0, 0] == both[0, 1] == 0
    assert both[1, 1] > 0


def test_degrees_count_the_units_that_matter() -> None:
    units = np.repeat(np.arange(50), 2)
    values = np.zeros((2, 100))
    values[0, :20] = 1.0  # ten units
    values[1] = 1.0
    values[1, :2] = 10.0  # one unit has most of the variance: (98 + 200)² / (200² + 49 · 2²)
    influence_values = Influence(np.zeros(2), values, np.zeros((2, 0, 100), np.float32), units)
    np.testing.assert_allclose(influence_values.degrees(values), [9, max(1, 298**2 / (200**2 + 49 * 4) - 1)])


def test_units_whose_rows_are_alike_count_by_the_square_of_their_rows() -> None:
    """Kish's number by the variance of each unit's sum: v² if rows are independent, (Σ v)² if they are the same."""
    sizes = np.array([30, 10, 10, 10, 10, 10])
    units = np.repeat(np.arange(6), sizes)
    signs = np.array([1, -1, 1, -1, 1, -1])
    alike = np.repeat(signs, sizes).astype(float)
    apart = np.concatenate([np.tile([1.0, -1.0], size // 2) for size in sizes])
    influence_values = Influence(np.zeros(1), alike[None], np.zeros((1, 0, 80), np.float32), units)
    squares = sizes.astype(float) ** 2
    by_square = squares.sum() ** 2 / (squares**2).sum() - 1
    by_rows = sizes.sum() ** 2 / (sizes**2).sum() - 1
    assert influence_values.degrees(alike) == pytest.approx(by_square)
    assert influence_values.degrees(apart) == pytest.approx(by_rows)


def test_the_least_tail_is_that_of_a_sign_test() -> None:
    def least_tail(units: list[int]) -> float:
        values = np.zeros((1, len(units)))
        return Influence(
            np.zeros(1), values, values[:, None].astype(np.float32), np.array(units)
        ).least_tail()

    assert least_tail([0, 1, 2, 3, 4]) == 0.5**5
    assert least_tail([0] * 50 + [1] * 50 + [2]) == pytest.approx(0.5 ** (101**2 / (50**2 + 50**2 + 1)))
    assert least_tail(list(range(5000))) > 0, "the smallest number, whose quantile is finite"
