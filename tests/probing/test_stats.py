"""The paired bootstrap, against plain loops and the binomial."""

import math

import numpy as np
import pytest

from layerwise.array_types import F64
from layerwise.labels.metrics import accuracy_of_counts
from layerwise.probing.stats import paired_bootstrap, unit_sums


def span_f1(sums: F64) -> F64:
    scores: F64 = 2 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], 1)
    return scores


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
