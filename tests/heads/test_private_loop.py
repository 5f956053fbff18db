"""The private loop: clipped sums against brute force, its noise, what it learns, and an audit on neighbouring rows."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, kstest

from layerwise.array_types import F64
from layerwise.heads import private_loop
from layerwise.heads.private_loop import PrivateOptions, _UnitGradients, fit_private, system_noise

TRAININGS = 200


def rows_of(units: int = 40, seed: int = 0) -> tuple[F64, Any, Any]:
    """Rows of units of 1 to 4 rows, whose first number tells the class."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), rng.integers(1, 5, units))
    y = rng.integers(0, 3, len(unit))
    x = rng.standard_normal((len(unit), 5)) * rng.uniform(0.01, 9, (len(unit), 1))
    x[:, 0] += 3 * y
    return x, y, unit


def brute_force(x: F64, y: Any, units: Any, weight: F64, clip: float) -> F64:
    total = np.zeros_like(weight)
    for unit in np.unique(units):
        gradients = []
        for row, label in zip(x[units == unit], y[units == unit], strict=True):
            inputs = np.append(row, 1.0)
            shares = np.exp(inputs @ weight) / np.exp(inputs @ weight).sum()
            gradients.append(np.outer(inputs, shares - np.eye(weight.shape[1])[label]))
        mean = np.mean(gradients, axis=0)
        total += mean * min(1.0, clip / np.linalg.norm(mean))
    return total


@pytest.mark.parametrize("clip", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_the_sum_of_clipped_gradients_is_that_of_brute_force(
    clip: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_loop, "_BLOCK", block)
    x, y, units = rows_of()
    weight = np.random.default_rng(1).standard_normal((6, 3)) * 0.1
    inputs = np.hstack([x, np.ones((len(x), 1))])
    expected = brute_force(x, y, units, weight, clip)
    assert _UnitGradients(inputs, y, units, clip)(weight) == pytest.approx(expected, abs=1e-9)
    single = np.arange(len(x))
    expected = brute_force(x, y, single, weight, clip)
    assert _UnitGradients(inputs, y, single, clip)(weight) == pytest.approx(expected, abs=1e-9)


def test_replacing_a_unit_moves_the_sum_by_at_most_the_sensitivity() -> None:
    x, y, units = rows_of()
    weight = np.zeros((6, 3))
    options = PrivateOptions(1, 1e-5)
    moved = []
    for factor in (-1e6, 0.0, 1e6):
        other = x.copy()
        other[units == 7] *= factor
        sums = [
            _UnitGradients(np.hstack([z, np.ones((len(z), 1))]), y, units, options.clip)(weight)
            for z in (x, other)
        ]
        moved.append(np.linalg.norm(sums[0] - sums[1]))
    assert max(moved) <= options.sensitivity * (1 + 1e-9)
    assert max(moved) > 0.5 * options.sensitivity


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e200])
def test_no_row_spoils_the_others(value: float) -> None:
    """Numbers that can't be used leave the head finite, and move the sum by no more than any others."""
    x, y, units = rows_of()
    x[3] = value
    weight, bias = fit_private(x, y, units, 40, 3, PrivateOptions(1, 1e-5, steps=3))
    assert np.isfinite(weight).all()
    assert np.isfinite(bias).all()


def test_noise_is_standard_normal_and_never_the_same() -> None:
    noise = system_noise(200, 100)
    assert noise.shape == (200, 100)
    # Fails by chance once in a million runs.
    assert kstest(noise.ravel(), "norm").pvalue > 1e-6
    assert not np.array_equal(noise, system_noise(200, 100))


def test_the_noise_has_the_size_that_the_accounting_asks_for() -> None:
    """Without signal the weights are the noise alone: their spread follows from steps, momentum and the mean of steps."""
    options, count = PrivateOptions(1, 1e-5, momentum=0.0, steps=2), 10
    x, y, units = np.zeros((0, 99)), np.zeros(0, np.int64), np.zeros(0, np.int64)
    weight, _ = fit_private(x, y, units, count, 100, options)
    # The mean is that of the last of two steps, whose weights hold the noise of both.
    expected = options.rate / 10 * math.sqrt(2) * options.multiplier * options.sensitivity / count
    # 9,900 numbers: the standard deviation is known to 0.7%; 5 of these errors.
    assert weight.std() == pytest.approx(expected, rel=0.036)


def test_a_large_budget_learns_the_classes() -> None:
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 2000)
    x = rng.standard_normal((2000, 10))
    x[:, 0] += 4 * y - 2
    weight, bias = fit_private(x, y, np.arange(2000), 2000, 2, PrivateOptions(10, 1e-5))
    assert ((x @ weight + bias).argmax(axis=1) == y).mean() > 0.95
    weight, bias = fit_private(x, y, np.arange(2000), 2000, 2, PrivateOptions(1e-4, 1e-5))
    assert ((x @ weight + bias).argmax(axis=1) == y).mean() < 0.9


def _neighbours(options: PrivateOptions) -> tuple[F64, F64]:
    """Scores of heads from two sets of rows that differ in one unit, which an attacker who knows all others computes.

    The unit differs as much as it can: at every step its gradient has the full length, in opposite directions.
    """
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 3)), np.arange(8) % 2
    x[0] = [100, 0, 0]  # long, while small steps keep its shares near a half, so that it is always clipped
    scores = []
    for label in (0, 1):
        y[0] = label
        runs = (fit_private(x, y, np.arange(8), 8, 2, options)[0] for _ in range(TRAININGS))
        scores.append(np.array([weight[0, 1] - weight[0, 0] for weight in runs]))
    return scores[0], scores[1]


def _audited_epsilon(options: PrivateOptions) -> float:
    """A lower bound of ε from trainings on neighbouring rows.

    Half of the trainings choose the threshold, on the other half the shares of true and false alarms have one-sided
    bounds of 99.9% (Clopper and Pearson).
    """
    without, given = _neighbours(options)
    half = TRAININGS // 2
    thresholds = np.sort(np.concatenate([without[:half], given[:half]]))
    gaps = [(given[:half] > t).mean() - (without[:half] > t).mean() for t in thresholds]
    best = thresholds[int(np.argmax(gaps))]
    hits, alarms = int((given[half:] > best).sum()), int((without[half:] > best).sum())
    hits_low = beta.ppf(0.001, hits, half - hits + 1) if hits else 0.0
    alarms_high = beta.ppf(0.999, alarms + 1, half - alarms) if alarms < half else 1.0
    return math.log(max(hits_low - options.delta, 1e-12) / alarms_high)


def _distance(options: PrivateOptions) -> float:
    """How many standard deviations the scores of the two sets lie apart."""
    without, given = _neighbours(options)
    return float((given.mean() - without.mean()) / math.sqrt((given.var(ddof=1) + without.var(ddof=1)) / 2))


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_neighbouring_rows_can_not_be_told_apart_beyond_the_bound(epsilon: float) -> None:
    assert _audited_epsilon(PrivateOptions(epsilon, 1e-5, steps=10, rate=1e-4)) <= epsilon


def test_the_audit_finds_a_head_with_too_little_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = system_noise
    monkeypatch.setattr(private_loop, "system_noise", lambda *shape: noise(*shape) / 30)
    assert _audited_epsilon(PrivateOptions(0.5, 1e-5, steps=10, rate=1e-4)) > 0.5


def test_neighbouring_heads_lie_as_far_apart_as_the_accounting_says() -> None:
    """The worst neighbours reach the bound: μ = √steps / multiplier. Half the noise would double the distance.

    Of 200 trainings each the distance is known to 0.11; 5 of these errors.
    """
    options = PrivateOptions(6, 1e-5, steps=2, rate=1e-4, momentum=0.0)
    mu = math.sqrt(options.steps) / options.multiplier
    assert mu > 1.1
    assert _distance(options) == pytest.approx(mu, abs=0.55)
