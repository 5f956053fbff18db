"""Intervals within the range of a metric: against scipy, and their coverage, computed from all possible samples."""

import itertools

import numpy as np
import pytest
from scipy import stats as reference

from layerwise.array_types import F64
from layerwise.labels import metrics
from layerwise.labels.intervals import Ends
from layerwise.probing.bounded import (
    ScoreError,
    certain_ends,
    clipped_difference,
    difference_halves,
    score_ends,
)
from layerwise.probing.comparison import compare, estimates, lead
from layerwise.probing.influence import Influence


def of_rows(right: F64, metric: str = "accuracy") -> Influence:
    """Influence of independent rows (C, n) on their means, without retraining."""
    scores = right.mean(axis=1)
    values = (right - scores[:, None]) / right.shape[1]
    none = np.zeros((len(right), 0, right.shape[1]), np.float32)
    return Influence(scores, values, none, np.arange(right.shape[1]), metric=metric)


def ends_of(score: float, error: float, quantile: float, metric: str, most: float = np.inf) -> Ends:
    """The interval of a score without an error of retraining."""
    return score_ends(score, ScoreError(error, 0.0, quantile, most, 50), metric)


def first_right(count: int, rows: int) -> F64:
    return (np.arange(rows) < count).astype(np.float64)


def test_accuracy_of_independent_rows_has_the_interval_of_wilson() -> None:
    for count, rows in ((39, 40), (198, 200), (350, 500), (40, 40)):
        (estimate,) = estimates(of_rows(first_right(count, rows)[None]))
        wilson = reference.binomtest(count, rows).proportion_ci(method="wilson")
        # The quantile is that of t, and the variance has the factor n / (n - 1).
        assert (estimate.low, estimate.high) == pytest.approx((wilson.low, wilson.high), abs=0.12 / rows**0.5)
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= count / rows <= estimate.high <= 1


@pytest.mark.parametrize(("rows", "true"), [(40, (0.8, 0.9, 0.95, 0.98)), (200, (0.7, 0.95, 0.99))])
def test_scores_near_the_bound_are_covered(rows: int, true: tuple[float, ...]) -> None:
    """The exact coverage, over all counts of right rows."""
    counts = np.arange(rows + 1)
    ends = estimates(of_rows(np.stack([first_right(int(count), rows) for count in counts])))
    low, high = (np.array([getattr(end, name) for end in ends], float) for name in ("low", "high"))
    assert (low >= 0).all()
    assert (high <= 1).all()
    for share in true:
        chances = reference.binom.pmf(counts, rows, share)
        assert 0.93 <= chances[(low <= share) & (share <= high)].sum() <= 0.985, share


def test_scores_of_all_metrics_stay_in_range() -> None:
    rng = np.random.default_rng(0)
    for metric in ("accuracy", "macro_f1", "auc", "mcc", "pearson", "spearman", "r2"):
        lowest, highest = metrics.bounds(metric)
        for score in rng.uniform(max(lowest, -1), highest, 50):
            errors = 0.14 * rng.random(2)
            low, high = score_ends(score, ScoreError(float(errors[0]), float(errors[1]), 2.4, 50, 50), metric)
            assert low is not None
            assert high is not None
            assert lowest <= low <= score <= high <= highest, metric


def test_a_small_error_is_a_symmetric_interval() -> None:
    for metric in ("macro_f1", "pearson", "r2"):
        ends = ends_of(0.6, 1e-4, 2.0, metric)
        assert ends == pytest.approx((0.6 - 2e-4, 0.6 + 2e-4), abs=1e-7), metric
    assert ends_of(0.9, 0.05, 2.0, "r2") == pytest.approx((1 - 0.1 * np.e, 1 - 0.1 / np.e))


def test_a_correlation_has_the_interval_of_fisher() -> None:
    score, rows = 0.9, 200
    ends = ends_of(score, (1 - score**2) / rows**0.5, 1.96, "pearson")
    fisher = np.tanh(np.arctanh(score) + np.array([-1.96, 1.96]) / rows**0.5)
    assert ends == pytest.approx(fisher, abs=1e-3)


def test_a_score_that_no_row_varies() -> None:
    assert certain_ends(1.0, "accuracy", 50) == pytest.approx((0.9287, 1.0), abs=1e-4), "Wilson's"
    assert certain_ends(0.0, "span_f1", 50) == pytest.approx((0.0, 0.0713), abs=1e-4)
    assert certain_ends(1.0, "mcc", 50) == pytest.approx((2 * 0.9287 - 1, 1.0), abs=1e-4)
    assert certain_ends(0.5, "balanced_accuracy", 50) == (0.5, 0.5), "one class is right, the other never"


@pytest.mark.parametrize("score", [1.0, 0.999, 0.995])
def test_retraining_widens_the_interval_of_a_score_at_the_bound_to_one_side(score: float) -> None:
    """40 rows, of which at most one is wrong in some repeats: inner fits are wrong more often."""
    without, with_retraining = (
        score_ends(score, ScoreError(0.001 if score < 1 else 0.0, error, 2.02, 40, 40), "accuracy")
        for error in (0.0, 0.02)
    )
    assert without[0] is not None
    assert with_retraining[0] is not None
    assert without[0] == pytest.approx(0.905, abs=0.01), "Wilson's, of 40 rows"
    assert score - with_retraining[0] == pytest.approx(np.hypot(score - without[0], 0.0404), abs=1e-9)
    assert with_retraining[1] is not None
    assert score <= with_retraining[1] <= 1


def test_an_interval_wider_than_half_is_left_out() -> None:
    assert ends_of(0.5, 0.2, 12.7, "accuracy", 10) == (None, None)
    halves = difference_halves(np.array([0.2, 0.01]), np.array([1.0, 30.0]), 0.025, np.nan)
    assert np.isnan(halves[0])
    assert halves[1] == pytest.approx(reference.t.isf(0.025, 30) * 0.01)
    for metric, high in (("accuracy", 1.0), ("mcc", 1.2), ("r2", 1.2)):
        assert [float(end) for end in clipped_difference(-0.1, 1.2, metric)] == [-0.1, high]


def test_a_few_rows_that_differ_bound_the_difference() -> None:
    """Two of 1,000 rows: t has one degree of freedom, and nothing to say; the other rows agree."""
    right = np.stack([np.ones(1000), np.ones(1000)])
    right[0, 0] = right[1, 1] = 0.0
    result = lead(of_rows(right), [0], 1)
    assert result.difference == 0
    assert result.high == pytest.approx(1.96 * (2 / 1000**2 + (1.96 / 1000) ** 2) ** 0.5, rel=0.01)
    # Rows that agree can't show differences that didn't occur: the rule of three gives 3.7 of 1,000 for two sides.
    agreeing = lead(of_rows(right[[0, 0]]), [0], 1)
    assert agreeing.high == -agreeing.low == pytest.approx(1.96**2 / 1000, rel=0.01)
    unknown = lead(of_rows(right, "macro_f1"), [0], 1)
    assert unknown.high == pytest.approx(reference.t.isf(0.025, 1) * 2**0.5 / 1000, rel=0.01), (
        "t, as one row's part isn't known"
    )
    assert np.isnan(lead(of_rows(right[[0, 0]], "macro_f1"), [0], 1).high)


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.004, 0.004), (0.01, 0.0), (0.015, 0.005), (0.03, 0.02)])
def test_differences_on_few_rows_are_covered(shares: tuple[float, float]) -> None:
    """The exact coverage over all counts of rows on which only one of two candidates is right, of 200."""
    rows, most = 200, 20
    covered = total = 0.0
    rest = 1 - sum(shares)
    for first, second in itertools.product(range(most), repeat=2):
        chance = float(
            reference.multinomial.pmf([first, second, rows - first - second], rows, [*shares, rest])
        )
        if chance < 1e-5:
            continue
        right = np.ones((2, rows))
        right[1, :first] = 0
        right[0, first : first + second] = 0
        result = lead(of_rows(right), [0], 1)
        is_inside = result.low - 1e-9 <= shares[0] - shares[1] <= result.high + 1e-9
        covered, total = covered + chance * is_inside, total + chance
    assert total > 0.99
    assert covered / total >= 0.94


def test_differences_stay_in_range_and_agree_with_p() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        right = (rng.random((4, 30)) < np.array([[0.99], [0.05], [0.97], [0.6]])).astype(np.float64)
        result = compare(of_rows(right), draws=2000)
        ends = np.stack([result.low, result.high])
        assert (np.abs(ends[np.isfinite(ends)]) <= 1).all()
        others = (np.arange(4) != result.best) & np.isfinite(result.low)
        assert ((result.low > 0) <= (result.p < 0.05))[others].all()
        assert (result.low[result.p < 0.05] >= 0).all()
