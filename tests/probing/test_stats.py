"""Intervals and tests, against hand computation, scipy, plain loops, and simulated nulls."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats as reference

from layerwise.array_types import F64
from layerwise.labels.metrics import accuracy_of_counts
from layerwise.probing.stats import (
    bonferroni_critical,
    corrected_error,
    corrected_interval,
    corrected_test,
    holm,
    max_critical,
    max_statistic,
    paired_bootstrap,
    paired_tests,
    unit_sums,
)

DIFFERENCES = [0.02, 0.04, 0.0, 0.02, 0.07]


def span_f1(sums: F64) -> F64:
    scores: F64 = 2 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], 1)
    return scores


def test_the_corrected_t_by_hand() -> None:
    # Mean .03; squares .0001 + .0001 + .0009 + .0001 + .0016 = .0028, over 4: .0007; 5 folds: 1/5 + 1/4.
    # Student's t with 4 degrees: 2.7764 at .975, and t = 1.6903 leaves .1662 in two tails.
    error = math.sqrt(0.0007 * (0.2 + 0.25))
    assert corrected_error(DIFFERENCES, 80, 20) == pytest.approx(error)
    mean, low, high = corrected_interval(DIFFERENCES, 80, 20)
    assert (mean, low, high) == pytest.approx(
        (0.03, 0.03 - 2.776445 * error, 0.03 + 2.776445 * error), rel=1e-6
    )
    assert corrected_test(DIFFERENCES, 80, 20) == pytest.approx(0.1662, abs=1e-4)


def test_without_a_correction_it_is_the_plain_t() -> None:
    plain = reference.ttest_1samp(DIFFERENCES, 0)
    assert corrected_test(DIFFERENCES, 1, 0) == pytest.approx(plain.pvalue)
    interval = plain.confidence_interval(0.9)
    assert corrected_interval(DIFFERENCES, 1, 0, level=0.9)[1:] == pytest.approx(
        (interval.low, interval.high)
    )


@pytest.mark.parametrize(("gap", "p"), [(0.0, 1.0), (0.1, 0.0), (-0.1, 0.0), (1e-17, 1.0)])
def test_no_spread(gap: float, p: float) -> None:
    assert corrected_test([gap] * 5, 80, 20) == p
    assert corrected_interval([gap] * 5, 80, 20) == pytest.approx((gap, gap, gap))


def test_rounding_is_no_spread() -> None:
    same = np.array([0.85 - 0.75, 0.8 - 0.7, 0.3 - 0.2])
    assert np.ptp(same) > 0
    assert corrected_error(same, 2, 1) == 0


@pytest.mark.parametrize("scores", [[], [0.5]])
def test_one_score_has_no_interval(scores: list[float]) -> None:
    assert np.isnan(corrected_interval(scores, 80, 20)[1:]).all()
    assert math.isnan(corrected_test(scores, 80, 20))


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.04, 0.03, 0.02], [0.06, 0.06, 0.06]),
        ([0.2], [0.2]),
        ([], []),
        ([0.01, math.nan, 0.02], [0.02, math.nan, 0.02]),
    ],
)
def test_holm_by_hand(raw: list[float], adjusted: list[float]) -> None:
    assert holm(raw) == pytest.approx(adjusted, nan_ok=True)


def test_all_pairs_are_adjusted_together() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 10)) + np.array([[0.0], [0.0], [1.0], [3.0]])
    p = paired_tests(scores, 9, 1)
    pairs = list(combinations(range(4), 2))
    raw = [corrected_test(scores[i] - scores[j], 9, 1) for i, j in pairs]
    assert [p[i, j] for i, j in pairs] == pytest.approx(holm(raw))
    assert (p == p.T).all()
    assert (np.diag(p) == 1).all()


def test_the_correction_holds_its_level_where_the_plain_t_does_not() -> None:
    # Two predictors that know nothing, 10 × 5 folds of the same rows: 50 scores, but far fewer facts.
    rng, corrected, plain = np.random.default_rng(1), 0, 0
    for _ in range(200):
        x, y = rng.normal(size=(60, 2)), rng.normal(size=60)
        gaps = []
        for _ in range(10):
            for test in np.array_split(rng.permutation(60), 5):
                train = np.setdiff1d(np.arange(60), test)
                slope = (x[train] * y[train, None]).sum(axis=0) / (x[train] ** 2).sum(axis=0)
                error = ((y[test, None] - x[test] * slope) ** 2).mean(axis=0)
                gaps.append(error[0] - error[1])
        corrected += corrected_test(gaps, 48, 12) < 0.05
        plain += corrected_test(gaps, 1, 0) < 0.05
    assert corrected <= 20 < plain


def test_the_bootstrap_is_a_plain_resampling_loop() -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 4, size=(3, 30, 3))
    counts[..., 0] = counts.min(axis=2)
    counts[..., 2] = counts[0, :, 2]
    bootstrap = paired_bootstrap(counts, span_f1, draws=500, seed=3)
    drawn = np.random.default_rng(3).integers(0, 30, size=(500, 30))
    loop = np.array([[span_f1(candidate[picked].sum(axis=0)) for candidate in counts] for picked in drawn])
    np.testing.assert_allclose(bootstrap.samples, loop)
    np.testing.assert_allclose(bootstrap.scores, [span_f1(candidate.sum(axis=0)) for candidate in counts])
    np.testing.assert_allclose(bootstrap.low, np.percentile(loop, 2.5, axis=0))
    np.testing.assert_allclose(bootstrap.high, np.percentile(loop, 97.5, axis=0))
    low, high = np.percentile(loop[:, 0] - loop[:, 2], [2.5, 97.5])
    assert bootstrap.difference(0, 2) == pytest.approx((bootstrap.scores[0] - bootstrap.scores[2], low, high))
    assert bootstrap.error(0, 2) == pytest.approx((loop[:, 0] - loop[:, 2]).std())


def test_blocks_of_the_draws_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    right = np.random.default_rng(4).integers(0, 2, size=(2, 40))
    counts = np.stack([right, np.ones_like(right)], axis=-1)
    whole = paired_bootstrap(counts, accuracy_of_counts, draws=101).samples
    monkeypatch.setattr("layerwise.probing.stats._CELLS", 400)
    np.testing.assert_array_equal(paired_bootstrap(counts, accuracy_of_counts, draws=101).samples, whole)


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    right = np.arange(400) < 300
    bootstrap = paired_bootstrap(
        np.stack([right, np.ones(400)], axis=-1)[None], accuracy_of_counts, draws=4000
    )
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert (bootstrap.low[0], bootstrap.high[0]) == pytest.approx((0.75 - half, 0.75 + half), abs=0.005)


def test_a_metric_that_a_draw_cannot_have_is_left_out() -> None:
    counts = np.array(
        [[[1, 1], [0, 0], [0, 1]]]
    )  # a unit without rows, such as a text whose words have no label
    bootstrap = paired_bootstrap(counts, accuracy_of_counts, draws=300)
    assert np.isnan(bootstrap.samples).any()
    assert not np.isnan([*bootstrap.low, *bootstrap.high]).any()


def test_rows_are_summed_by_unit() -> None:
    values = np.random.default_rng(6).normal(size=(2, 7, 3))
    units = np.array([9, 4, 9, 4, 4, 0, 9])
    plain = np.stack([[candidate[units == u].sum(axis=0) for u in (0, 4, 9)] for candidate in values])
    np.testing.assert_allclose(unit_sums(values, units), plain)


def plain_max_statistic(samples: F64, scores: F64) -> F64:
    """All pairs at once, in the words of the definition."""
    pairs = list(combinations(range(len(scores)), 2))
    gaps = np.stack([samples[:, i] - samples[:, j] for i, j in pairs], axis=1)
    observed = np.array([scores[i] - scores[j] for i, j in pairs])
    spread = gaps.std(axis=0)
    largest = np.max(np.abs(gaps - observed) / spread, axis=1)
    p = np.ones((len(scores), len(scores)))
    for (i, j), gap, sd in zip(pairs, observed, spread, strict=True):
        p[i, j] = p[j, i] = (1 + np.sum(largest >= abs(gap) / sd)) / (1 + len(samples))
    return p


def right_or_wrong(seed: int, shares: list[float], units: int = 150) -> F64:
    """Counts (C, units, 2) of candidates that are right at these rates, alike in part (hard and easy units)."""
    rng = np.random.default_rng(seed)
    common = rng.random(units)
    difficulty = np.where(rng.random((len(shares), units)) < 0.5, common, rng.random((len(shares), units)))
    right = (difficulty < np.array(shares)[:, None]).astype(np.float64)
    return np.stack([right, np.ones_like(right)], axis=-1)


def test_the_maximum_statistic_is_its_definition() -> None:
    bootstrap = paired_bootstrap(right_or_wrong(7, [0.5, 0.6, 0.7, 0.71]), accuracy_of_counts, draws=400)
    p = max_statistic(bootstrap.samples, bootstrap.scores)
    np.testing.assert_allclose(p, plain_max_statistic(bootstrap.samples, bootstrap.scores))
    assert p[0, 3] < 0.05
    assert p[2, 3] > 0.05


def test_one_pair_is_about_its_z_test() -> None:
    bootstrap = paired_bootstrap(right_or_wrong(8, [0.6, 0.7], 500), accuracy_of_counts, draws=4000)
    gap, _, _ = bootstrap.difference(0, 1)
    z = 2 * reference.norm.sf(abs(gap) / bootstrap.error(0, 1))
    assert max_statistic(bootstrap.samples, bootstrap.scores)[0, 1] == pytest.approx(z, abs=0.02)


def test_identical_candidates_are_never_told_apart() -> None:
    counts = right_or_wrong(9, [0.5, 0.7])
    twice = np.concatenate([counts, counts])
    bootstrap = paired_bootstrap(twice, accuracy_of_counts, draws=300)
    p = max_statistic(bootstrap.samples, bootstrap.scores)
    assert p[0, 2] == p[1, 3] == 1
    once = paired_bootstrap(counts, accuracy_of_counts, draws=300)
    np.testing.assert_array_equal(p[:2, :2], max_statistic(once.samples, once.scores))
    alone = paired_bootstrap(counts[:1], accuracy_of_counts, draws=300)
    np.testing.assert_array_equal(max_statistic(alone.samples, alone.scores), [[1.0]])


def test_a_difference_without_spread_is_as_sure_as_draws_allow() -> None:
    counts = np.array([[[1, 1]] * 20, [[0, 1]] * 20])
    bootstrap = paired_bootstrap(counts, accuracy_of_counts, draws=99)
    assert max_statistic(bootstrap.samples, bootstrap.scores)[0, 1] == pytest.approx(0.01)


def test_nulls_are_kept_over_all_pairs() -> None:
    # Six candidates of the same worth, fifteen pairs: any pair below .05 is a false alarm of the family.
    alarms, unadjusted = 0, 0
    for seed in range(200):
        bootstrap = paired_bootstrap(
            right_or_wrong(seed, [0.7] * 6), accuracy_of_counts, draws=300, seed=seed
        )
        alarms += bool((max_statistic(bootstrap.samples, bootstrap.scores) < 0.05).any())
        gaps = [bootstrap.difference(i, j)[1:] for i, j in combinations(range(6), 2)]
        unadjusted += any(low > 0 or high < 0 for low, high in gaps)
    # 200 runs at .05: 10 expected, above 18 with a chance of less than 1 in 100.
    assert alarms <= 18 < unadjusted


def test_intervals_for_all_pairs_hold_just_where_no_pair_is_distinguished() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        folds = rng.normal(size=(4, 1)) * 0.5 + rng.normal(size=(4, 10))
        significant = (paired_tests(folds, 80, 20) < 0.05).any()
        critical = bonferroni_critical(4, 10)
        out = [
            abs((folds[i] - folds[j]).mean()) > critical * corrected_error(folds[i] - folds[j], 80, 20)
            for i in range(4)
            for j in range(i)
        ]
        assert significant == any(out), "Holm's first step and Bonferroni's intervals say the same"
        samples = folds.mean(axis=1) + rng.normal(size=(500, 4)) * 0.3
        p = max_statistic(samples, folds.mean(axis=1))
        critical = max_critical(samples, folds.mean(axis=1))
        gaps = samples[:, :, None] - samples[:, None]
        outside = np.abs(folds.mean(axis=1)[:, None] - folds.mean(axis=1)) > critical * gaps.std(axis=0)
        np.fill_diagonal(outside, False)
        # One draw of 500 may lie between.
        assert not (outside & (p > 0.05 + 1 / 250)).any()
        assert not (~outside & (p < 0.05 - 1 / 250)).any()


def test_a_critical_value_is_that_of_student() -> None:
    assert bonferroni_critical(3, 25) == pytest.approx(reference.t.ppf(1 - 0.025 / 3, 24))
    assert np.isnan(bonferroni_critical(1, 25))
    assert np.isnan(bonferroni_critical(3, 1))
