"""Comparison with the best: adjusted p against plain loops, studentised ranges, and simulated nulls."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as reference

from layerwise.probing import comparison
from layerwise.probing.comparison import compare, estimates, largest_differences, step_down
from layerwise.probing.influence import Influence


def of_rows(
    right: NDArray[np.float64], units: NDArray[np.int64] | None = None, metric: str = "accuracy"
) -> Influence:
    """Influence of rows (C, n) on their means, without retraining."""
    scores = right.mean(axis=1)
    values = (right - scores[:, None]) / right.shape[1]
    units = np.arange(right.shape[1]) if units is None else units
    none = np.zeros((len(right), 0, right.shape[1]), np.float32)
    return Influence(scores, values, none, units, metric=metric)


def answers(rng: np.random.Generator, shares: list[float], rows: int) -> NDArray[np.float64]:
    """Right (1) and wrong (0) answers of candidates whose errors correlate."""
    common = rng.standard_normal(rows)
    values = np.sqrt(0.7) * common + np.sqrt(0.3) * rng.standard_normal((len(shares), rows))
    return np.asarray(values < reference.norm.ppf(shares)[:, None], np.float64)


def test_two_candidates_are_a_paired_t_test() -> None:
    right = np.random.default_rng(0).normal(size=(2, 40)) + np.array([[0.0], [0.4]])
    result = compare(of_rows(right, metric="r2"))
    gap = right[1] - right[0]
    assert result.best == 1
    assert result.error[0] == pytest.approx(gap.std(ddof=1) / 40**0.5)
    degrees = of_rows(right).degrees(of_rows(right).values[1] - of_rows(right).values[0])
    p = 2 * reference.t.sf(gap.mean() / result.error[0], degrees)
    assert result.p[0] == pytest.approx(p, abs=0.005)
    half = reference.t.ppf(0.975, degrees) * result.error[0]
    assert (result.low[0], result.high[0]) == pytest.approx((gap.mean() - half, gap.mean() + half), rel=0.02)


def test_few_differing_rows_are_few_degrees_of_freedom() -> None:
    right = np.zeros((2, 1000))
    right[1, :5] = 1
    assert compare(of_rows(right)).p[0] > 0.0625, "no less than the exact sign test of five rows"
    right[1, :9] = 1
    assert compare(of_rows(right)).p[0] < 0.05


def test_the_maximum_has_the_studentised_range_of_independent_candidates() -> None:
    for count in (2, 5, 13):
        largest = largest_differences(np.eye(count), list(range(count)), 0)[-1]
        quantile = reference.studentized_range.ppf(0.95, count, np.inf) / 2**0.5
        assert np.quantile(largest, 0.95) == pytest.approx(quantile, abs=0.03)


def test_the_maximum_is_a_plain_loop_over_pairs() -> None:
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(4, 6))
    factors[3] = factors[1]  # two candidates that never differ
    covariance = factors @ factors.T
    order = [2, 0, 3, 1]
    largest = largest_differences(covariance, order, 5)
    assert (largest[0] == 0).all()
    np.testing.assert_array_equal(largest[2], np.maximum(largest[1], largest[2]))
    draws = rng.multivariate_normal(np.zeros(4), covariance, size=20_000, method="svd")
    pairs = [(2, 0), (2, 3), (0, 3), (2, 1), (0, 1)]
    spreads = {pair: np.sqrt(((factors[pair[0]] - factors[pair[1]]) ** 2).sum()) for pair in pairs}
    loop = np.max([np.abs(draws[:, a] - draws[:, b]) / spreads[a, b] for a, b in pairs], axis=0)
    assert np.quantile(largest[3], [0.5, 0.95]) == pytest.approx(np.quantile(loop, [0.5, 0.95]), rel=0.03)


def test_a_candidate_is_judged_only_if_all_that_are_further_from_the_best_differ() -> None:
    largest = np.zeros((4, 999))
    largest[1], largest[2], largest[3] = (
        np.linspace(0, 2.02, 999),
        np.linspace(0, 2.1, 999),
        np.linspace(0, 2.3, 999),
    )
    p = step_down(np.array([0.0, 2.0, 2.05, 2.1]), largest)
    assert p[0] == 1
    assert p[3] == pytest.approx((1 + (largest[3] >= 2.1).sum()) / 1000, abs=1e-9)
    assert p[3] > 0.05
    assert (p[1:3] == p[3]).all(), "without the last step they would be below .05"
    sure = step_down(np.array([0.0, 2.0, 30.0, 40.0]), largest)
    assert sure[3] < 1e-100, "Bonferroni's bound holds where no draw comes near"
    assert sure[1] == pytest.approx((1 + (largest[1] >= 2.0).sum()) / 1000)


def test_candidates_that_never_differ_have_no_p_below_one() -> None:
    right = answers(np.random.default_rng(2), [0.8, 0.6], 300)
    result = compare(of_rows(np.concatenate([right, right])))
    assert result.best == 0
    assert result.p[2] == 1
    assert result.p[1] == result.p[3] < 0.05
    assert -0.1 < result.low[2] < 0 < result.high[2] < 0.1, (
        "300 rows that agree don't show that all others would"
    )
    one = compare(of_rows(right[:1]))
    assert one.p.tolist() == [1.0]
    assert not one.differs


def test_intervals_and_p_say_the_same() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        result = compare(of_rows(answers(rng, [0.7, 0.7, 0.72, 0.76], 400)))
        others = np.arange(4) != result.best
        assert ((result.p < 0.05) <= (result.low >= 0))[others].all()
        assert ((result.low > 0) <= (result.p < 0.05))[others].all()


@pytest.mark.parametrize("equal", [1, 2, 6, 12, 13])
@pytest.mark.parametrize("distance", [0.3, 1.0, 3.0, 8.0])
def test_steps_keep_the_level_where_only_some_candidates_are_equal(equal: int, distance: float) -> None:
    # 13 independent scores, differences with a standard error of 1: `equal` best ones, the others `distance` lower.
    runs, rng = 4000, np.random.default_rng(4)
    true = np.r_[np.zeros(equal), np.full(13 - equal, -distance)]
    scores = true + rng.standard_normal((runs, 13)) / 2**0.5
    order = np.argsort(-scores, axis=1)
    statistics = np.take_along_axis(scores.max(axis=1, keepdims=True) - scores, order, axis=1)
    largest = largest_differences(np.eye(13), list(range(13)), 0)
    critical = np.quantile(largest, 0.95, axis=1)
    claims = np.logical_and.accumulate((statistics > critical)[:, ::-1], axis=1)[:, ::-1]
    ordered = true[order]
    false = (claims & (ordered[:, :1] <= ordered))[:, 1:].any(axis=1).mean()
    # .05 and four standard errors of a share of 4,000.
    assert false < 0.05 + 4 * (0.05 * 0.95 / runs) ** 0.5, (
        f"{false:.3f} of runs claim a difference that isn't there"
    )


def test_nulls_are_kept_for_rows_and_for_units() -> None:
    rng = np.random.default_rng(5)
    claims, unclustered = 0, 0
    units = np.repeat(np.arange(40), 10)
    for run in range(200):
        right = answers(rng, [0.7] * 6, 40)[:, units]  # rows of a unit are the same
        claims += compare(of_rows(right, units), run).differs
        unclustered += compare(of_rows(right), run).differs
    # 200 runs at .05: 10 expected, above 18 with a chance of less than 1 in 100.
    assert claims <= 18 < unclustered


@pytest.mark.parametrize("sizes", [[20] * 2, [20] * 3, [20] * 5, [20] * 8, [85, 85, *[1] * 18]])
@pytest.mark.parametrize("kind", ["normal", "all or none"])
def test_few_units_claim_nothing_that_is_not_there(sizes: list[int], kind: str) -> None:
    """13 equal candidates on few documents, whose rows are alike: by draws alone up to 69% of runs claim a difference."""
    rng, units = np.random.default_rng(9), np.repeat(np.arange(len(sizes)), sizes)
    claims, outside = 0, 0
    for run in range(40):
        shape = (13, len(sizes))
        scores = rng.random(shape) < 0.7 if kind == "all or none" else 0.8 + 0.05 * rng.standard_normal(shape)
        result = compare(of_rows(scores.astype(np.float64)[:, units], units), run, draws=2000)
        claims += result.differs
        outside += bool((result.low > 1e-9).any())
    # 40 runs at .05: 2 expected, above 5 with a chance of about 1 in 100.
    assert claims <= 5
    assert outside <= 5


def test_five_units_are_no_evidence_and_have_no_interval() -> None:
    units = np.repeat(np.arange(5), 20)
    right = np.stack([np.ones(100), (np.arange(100) % 10 < 1).astype(float)])
    result = compare(of_rows(right, units))
    assert result.p[1] == pytest.approx(2 * 0.5**5, abs=0.01), "the sign test of five documents that agree"
    assert np.isnan(result.low[1])
    more = compare(of_rows(right, np.repeat(np.arange(10), 10)))
    assert more.p[1] < 0.05
    assert more.low[1] > 0


def test_intervals_of_scores() -> None:
    right = answers(np.random.default_rng(6), [0.8], 500)
    (estimate,) = estimates(of_rows(right))
    assert estimate.low is not None
    assert estimate.high is not None
    wilson = reference.binomtest(int(right.sum()), 500).proportion_ci(method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((wilson.low, wilson.high), rel=1e-3)
    (numbers,) = estimates(of_rows(right, metric="r2"))
    ends = reference.ttest_1samp(right[0], 0).confidence_interval(0.95)
    assert numbers.low == pytest.approx(ends.low, rel=0.02), "symmetric for a logarithm"
    (perfect,) = estimates(of_rows(np.ones((1, 50))))
    assert (perfect.low, perfect.high) == pytest.approx((0.9287, 1.0), abs=1e-3), "Wilson's interval"


def test_retraining_widens_intervals_and_errors() -> None:
    right = answers(np.random.default_rng(7), [0.8, 0.7], 200)
    fixed = of_rows(right)
    noise = (np.random.default_rng(8).normal(size=(2, 4, 200)) / 200).astype(np.float32)
    retrained = Influence(fixed.scores, fixed.values, noise, fixed.units)
    extra = retrained.retraining_covariance()
    expected = fixed.sampling_covariance() + comparison.retraining_weight(fixed.repeats) * extra
    variance = expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]
    assert compare(retrained).error[1] == pytest.approx(variance**0.5)
    wide, narrow = estimates(retrained)[0], estimates(fixed)[0]
    assert wide.high is not None
    assert narrow.high is not None
    assert wide.high > narrow.high


def test_an_interval_that_says_nothing_is_left_out() -> None:
    """One unit of 30 has all that differs, so there is one effective unit, and t has one degree of freedom."""
    values = np.zeros((2, 30))
    values[0, 0] = 0.3
    influence = Influence(
        np.array([0.3, 0.0]), values, np.zeros((2, 0, 30), np.float32), np.arange(30), repeats=5
    )
    first, second = estimates(influence)
    assert (first.score, first.low, first.high) == (0.3, None, None)
    assert second.low is None or second.low >= -0.5
    compared = compare(influence)
    assert np.isnan(compared.low[1]), compared
    assert compared.p[1] > 0.05, "a difference in one unit is no evidence"
