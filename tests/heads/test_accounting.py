"""The accounting of private heads against dp-accounting, against integrals, and at its limits."""

import math

import pytest
from dp_accounting import SelfComposedDpEvent
from dp_accounting.dp_event import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
from scipy.integrate import quad
from scipy.stats import norm

from layerwise.errors import RequestError
from layerwise.heads.accounting import epsilon_of, gaussian_delta, noise_multiplier

GRID = [(e, d, t) for e in (0.1, 0.5, 1, 2, 4, 10) for d in (1e-3, 1e-5, 1e-8) for t in (1, 7, 60, 500)]


@pytest.mark.parametrize("mu", [0.01, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 8.0])
def test_delta_is_that_of_dp_accounting_and_of_the_definition(mu: float, epsilon: float) -> None:
    delta = gaussian_delta(mu, epsilon)
    assert delta == pytest.approx(
        GaussianPrivacyLoss(1 / mu).get_delta_for_epsilon(epsilon), rel=1e-6, abs=1e-14
    )
    # δ is how much more of N(μ, 1) than exp(ε) times N(0, 1) can lie in one set: where its density is higher.
    edge = epsilon / mu + mu / 2
    excess = quad(lambda z: norm.pdf(z, mu) - math.exp(epsilon) * norm.pdf(z), edge, edge + 40, epsabs=1e-14)[
        0
    ]
    assert delta == pytest.approx(excess, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("epsilon", "delta", "steps"), GRID)
def test_the_noise_reaches_the_budget_exactly(epsilon: float, delta: float, steps: int) -> None:
    multiplier = noise_multiplier(epsilon, delta, steps)
    event = GaussianPrivacyLoss(multiplier / math.sqrt(steps))
    assert event.get_delta_for_epsilon(epsilon) <= delta * (1 + 1e-6)  # rounding of two ways to compute δ
    less = GaussianPrivacyLoss(0.999 * multiplier / math.sqrt(steps))
    assert less.get_delta_for_epsilon(epsilon) > delta  # a thousandth less noise would not do
    assert epsilon_of(multiplier, steps, delta) == pytest.approx(epsilon, rel=1e-6)


@pytest.mark.parametrize(("epsilon", "delta", "steps"), [(0.5, 1e-5, 60), (2, 1e-6, 60), (4, 1e-5, 7)])
def test_the_steps_compose_as_in_dp_accounting(epsilon: float, delta: float, steps: int) -> None:
    """Numerical composition of the losses, which knows nothing of the sum of Gaussians; it rounds up in steps of 1e-4."""
    accountant = PLDAccountant()
    accountant.compose(SelfComposedDpEvent(GaussianDpEvent(noise_multiplier(epsilon, delta, steps)), steps))
    assert accountant.get_epsilon(delta) == pytest.approx(epsilon, rel=0.01)


def test_a_larger_budget_needs_less_noise() -> None:
    multipliers = [noise_multiplier(epsilon, 1e-5, 60) for epsilon in (0.01, 0.1, 1, 10, 100, 1000)]
    assert multipliers == sorted(multipliers, reverse=True)
    assert noise_multiplier(1, 1e-3, 60) < noise_multiplier(1, 1e-12, 60)
    assert gaussian_delta(1e-3, 50.0) == 0.0
    assert gaussian_delta(1e4, 0.0) == pytest.approx(1.0)


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-12, 1e-12), (1e-300, 1e-300)])
def test_a_budget_below_what_can_be_computed_is_refused(epsilon: float, delta: float) -> None:
    """There δ is a difference of numbers that are equal in float64, and any noise would seem to be enough."""
    with pytest.raises(RequestError, match="too small for its noise to be computed"):
        noise_multiplier(epsilon, delta, 60)
    assert noise_multiplier(1e-12, 1e-5, 1) == pytest.approx(1e5 / math.sqrt(2 * math.pi), rel=1e-3)
