"""The private gradient loop: fit a linear classifier by full-batch gradients that are clipped and noised.

DP-SGD (Abadi et al. 2016) without sampling: every step sees all units, so that its noise is that of a Gaussian
mechanism and no amplification has to be proved. The gradient of a unit (a text, or a group of texts) is the mean over
its rows, clipped to a fixed length; replacing one unit by another moves the sum by at most twice that length.
What comes after the noise, momentum and the mean of the last steps, costs no privacy.

The noise comes from the random source of the operating system: whoever could guess a seed could take the noise off.
"""

import os
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F64, I64
from layerwise.heads.accounting import noise_multiplier

_BLOCK = 1 << 22  # numbers of gradients in memory at once
_DRAWS = 4  # draws per number; see `system_noise`


@dataclass(frozen=True, slots=True)
class PrivateOptions:
    """The budget, and what is fixed before any row is seen.

    Attributes:
        epsilon, delta: the budget of all steps together.
        clip: the largest length of the gradient of a unit.
        steps: the number of steps.
        rate: the step size, times the square root of the number of inputs.
        momentum: the share of the last step that is taken again.
    """

    epsilon: float
    delta: float
    clip: float = 1.0
    steps: int = 60
    rate: float = 6.0
    momentum: float = 0.9

    @property
    def sensitivity(self) -> float:
        """How far the sum of gradients moves, at most, if one unit is replaced by another."""
        return 2 * self.clip

    @property
    def multiplier(self) -> float:
        """The standard deviation of the noise of each step, in units of the sensitivity."""
        return noise_multiplier(self.epsilon, self.delta, self.steps)


def fit_private(
    x: F64, y: I64, units: I64, count: int, classes: int, options: PrivateOptions, track: Tracker = SILENT
) -> tuple[F64, F64]:
    """Return the weight (inputs, classes) and the bias (classes,) of a softmax classifier.

    Args:
        x: rows, float64 (n, inputs).
        y: the class of each row, int64 (n,).
        units: the unit of each row, int64 (n,), ascending, each below `count`.
        count: the number of units, with those that have no row: it isn't secret, as a unit is replaced, not removed.
        classes: the number of classes.
        options: the budget and the settings.
        track: reports the steps.
    """
    inputs = np.hstack([x, np.ones((len(x), 1))])
    inputs[~np.isfinite(inputs).all(axis=1)] = (
        0.0  # such a row has no gradient, and mustn't spoil those of others
    )
    unit_sums = _UnitGradients(inputs, y, units, options.clip)
    scale = options.multiplier * options.sensitivity
    weight, step, total = (np.zeros((inputs.shape[1], classes)) for _ in range(3))
    first_kept, rate = options.steps // 2, options.rate / np.sqrt(inputs.shape[1])
    for number in range(options.steps):
        track.report(number / options.steps, f"step {number + 1} of {options.steps}")
        gradient = (unit_sums(weight) + scale * system_noise(*weight.shape)) / count
        step = options.momentum * step + gradient
        weight = weight - rate * step
        total += weight if number >= first_kept else 0.0
    mean = total / (options.steps - first_kept)
    return mean[:-1], mean[-1]


class _UnitGradients:
    """The sum over units of their clipped gradients, at given weights."""

    def __init__(self, inputs: F64, y: I64, units: I64, clip: float) -> None:
        """Store the rows; `inputs` (n, inputs + 1) has a last column of ones."""
        self.inputs, self.y, self.clip = inputs, y, clip
        self.starts = np.flatnonzero(np.diff(units, prepend=-1))
        self.counts = np.diff(self.starts, append=len(units))
        self.lengths = np.sqrt(np.einsum("nd,nd->n", inputs, inputs))

    def __call__(self, weight: F64) -> F64:
        """Return the sum, (inputs + 1, classes)."""
        errors = _softmax(self.inputs @ weight)
        errors[np.arange(len(errors)), self.y] -= 1
        if len(self.starts) == len(errors):
            return self._of_rows(errors)
        return self._of_groups(errors)

    def _of_rows(self, errors: F64) -> F64:
        """Return the sum where every unit is one row: its gradient is an outer product, so its length is known."""
        lengths = self.lengths * np.sqrt(np.einsum("nk,nk->n", errors, errors))
        total: F64 = self.inputs.T @ (errors * _shrink(lengths, self.clip)[:, None])
        return total

    def _of_groups(self, errors: F64) -> F64:
        total = np.zeros((self.inputs.shape[1], errors.shape[1]))
        for units in _blocks(self.counts, total.size):
            begin, end = self.starts[units.start], self.starts[units.stop - 1] + self.counts[units.stop - 1]
            products = self.inputs[begin:end, :, None] * errors[begin:end, None, :]
            gradients = np.add.reduceat(products, self.starts[units] - begin, axis=0)
            gradients /= self.counts[units, None, None]
            lengths = np.sqrt(np.einsum("udk,udk->u", gradients, gradients))
            total += np.einsum("udk,u->dk", gradients, _shrink(lengths, self.clip))
        return total


def _blocks(counts: I64, size: int) -> list[slice]:
    """Return slices of units whose rows hold about `_BLOCK` numbers of gradients, at least one unit each."""
    numbers = np.cumsum(counts) * size // _BLOCK
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(counts)]
    return [slice(begin, end) for begin, end in pairwise(edges) if begin < end]


def _shrink(lengths: F64, clip: float) -> F64:
    """Return the factor per gradient that brings its length to at most `clip`."""
    factors: F64 = np.minimum(1.0, clip / np.maximum(lengths, 1e-300))
    return factors


def _softmax(logits: F64) -> F64:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: F64 = powers / powers.sum(axis=1, keepdims=True)
    return shares


def system_noise(rows: int, columns: int) -> F64:
    """Return standard normal numbers (rows, columns) from the random source of the operating system.

    Each is the sum of four draws, halved: of a single draw the last bits may give away the number that it was added to
    (Mironov 2012), of a sum they can't be searched (Holohan and Braghin 2021).
    """
    count = _DRAWS * rows * columns
    whole = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(11)
    uniform = (whole.astype(np.float64) + 0.5) / 2.0**53
    draws = ndtri(uniform).reshape(_DRAWS, rows, columns)
    noise: F64 = draws.sum(axis=0) / np.sqrt(_DRAWS)
    return noise
