"""How much noise gives (ε, δ)-differential privacy: the analytic Gaussian mechanism (Balle and Wang 2018).

A Gaussian mechanism whose noise has the standard deviation z · sensitivity is as private as telling N(0, 1) from
N(μ, 1) apart is hard, with μ = 1 / z. Of T mechanisms one after the other, each of which may depend on the answers of
those before, μ is √T / z, exactly (Dong, Roth and Su 2022, corollary 3.3). So no bound is lost in the sum.
"""

import math

from scipy.special import log_ndtr

from layerwise.arguments import argument
from layerwise.errors import RequestError

_LARGEST_MU, _SMALLEST_MU = 1e4, 1e-9  # below it δ is a difference of numbers that are nearly equal
_HALVINGS = 200


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return the least δ for which a Gaussian mechanism is (ε, δ)-private: equation 6 of Balle and Wang (2018).

    δ = Φ(μ / 2 - ε / μ) - exp(ε) Φ(-μ / 2 - ε / μ).

    Args:
        mu: the sensitivity divided by the standard deviation of the noise.
        epsilon: ε, at least 0.
    """
    first, second = log_ndtr(mu / 2 - epsilon / mu), epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    if first == -math.inf:  # so large an ε that δ is 0 in float64
        return 0.0
    return float(-math.exp(first) * math.expm1(min(0.0, second - first)))


def noise_multiplier(epsilon: float, delta: float, steps: int) -> float:
    """Return the standard deviation of the noise of each of `steps` steps, in units of the sensitivity.

    Together the steps are (ε, δ)-private. The result is rounded up, never down.

    Raises:
        RequestError: so small a budget that its noise can't be computed in float64.
    """
    low, high = _SMALLEST_MU, _LARGEST_MU
    if gaussian_delta(low, epsilon) > delta:
        raise RequestError(
            f"{argument('private', epsilon)} with {argument('delta', delta)} is a budget too small for its noise to be computed; "
            "give larger numbers, such as 1 and 1e-6"
        )
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if gaussian_delta(middle, epsilon) <= delta else (low, middle)
    return math.sqrt(steps) / low


def epsilon_of(multiplier: float, steps: int, delta: float) -> float:
    """Return the ε of `steps` steps whose noise is `multiplier` times the sensitivity, rounded up."""
    mu = math.sqrt(steps) / multiplier
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_delta(mu, middle) <= delta else (middle, high)
    return high
