"""Fits that are solved together: their training rows and labels, the optimisation at one C after another.

What the parameters are, and how they are evaluated, is up to the subclasses: weights of features (`feature_batch`) or of
training rows (`row_batch`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from layerwise.array_types import I64
from layerwise.probing.fits import Fits, Scores
from layerwise.probing.lbfgs import LossPoint, minimise
from layerwise.probing.losses import Loss, balanced, cross_entropy, log_probabilities, logistic, squared
from layerwise.probing.score_curvature import ScoreCurvature, of_columns, of_softmax
from layerwise.probing.shared_rows import SharedRows

# Past steps of the optimiser; the short memory for fits of more than `_LARGE` parameters.
_MEMORY, _SHORT_MEMORY = 8, 4
_LARGE = 1 << 18


def memory(size: int) -> int:
    """Return how many past steps the optimiser uses for fits of `size` parameters."""
    return _MEMORY if size <= _LARGE else _SHORT_MEMORY


class FitBatch(ABC):
    """Fits that are solved together.

    Attributes:
        batch: the numbers of the fits, int64 (f,).
        x: the rows that any of them trains on, (n, layers * width).
        share: the weight of each row in each fit, (f, n); the sum over rows is 1.
        targets: (f, n), or (f, K, n) for several labels per row.
        mean, scale: (f, layers * width), which standardise the features by the rows of the fit.
        rounds: evaluations after which the preconditioner is renewed for the fits that haven't ended; 200 in all.
        curvature: the mean curvature of the loss by the scores of the columns.
        parameters: (f, size).
    """

    rounds: tuple[int, ...] = (40, 60, 100)

    def __init__(self, shared: SharedRows, fits: Fits, batch: I64) -> None:
        """Standardise, and start from the frequencies of the classes."""
        self.shared, self.fits, self.batch = shared, fits, torch.from_numpy(batch)
        train = torch.from_numpy(fits.train[batch])
        # Rows that none of these fits trains on are left out of the optimisation, and only scored at the end.
        self.used = train.any(0)
        self.x = x = shared.x if bool(self.used.all()) else shared.x[self.used]
        train = train[:, self.used].float()
        self.count = train.sum(1).clamp_min(1.0)
        self.share = train / self.count[:, None]
        self.targets = torch.from_numpy(fits.targets[fits.labels[batch]])[:, self.used]
        if fits.several:
            self.targets = self.targets.transpose(1, 2)
        self.mean = self.share @ x
        spread = (self.share @ (x * x) - self.mean**2).clamp_min(0.0).sqrt()
        self.scale = torch.where(spread > 1e-5, 1.0 / spread, 0.0)
        if fits.balanced:
            self.share = balanced(self.share, self.targets, fits.count)
        self.columns, self.is_softmax = fits.columns, fits.columns > 1 and not fits.several
        self.parameters = torch.zeros(len(batch), self.size, dtype=torch.float32)
        self.curvature = self._set_biases()
        self.before_last, self.count_solved = self.parameters, 0

    @property
    @abstractmethod
    def size(self) -> int:
        """How many parameters a fit has."""

    @property
    @abstractmethod
    def bias_at(self) -> int:
        """Where the biases begin among the parameters."""

    def _biases(self, x: Tensor) -> Tensor:
        return x[:, self.bias_at : self.bias_at + self.columns]

    def _set_biases(self) -> ScoreCurvature:
        """Set the biases from the class frequencies; return the curvature of the loss there."""
        if self.fits.several:
            shares = (self.share[:, None] * self.targets).sum(2)
        elif self.fits.count == 1:
            return ScoreCurvature(torch.ones(len(self.batch), 1, dtype=torch.float32))
        else:
            classes = torch.arange(1 if self.columns == 1 else 0, self.fits.count)
            shares = torch.stack([(self.share * (self.targets == number)).sum(1) for number in classes], 1)
        share = shares.clamp_min(0.5 / self.count[:, None]).clamp_max(1 - 0.5 / self.count[:, None])
        self._biases(self.parameters).copy_(
            share.log() if self.is_softmax else torch.log(share / (1 - share))
        )
        return self._curvature(share[..., None], torch.ones(len(share), 1, dtype=share.dtype))

    def keep(self, may_stop: Callable[[int], bool]) -> bool:
        """Drop the fits of families whose path may stop; return whether any fit is left."""
        unfinished = [not may_stop(int(family)) for family in self.fits.family[self.batch.numpy()]]
        if not all(unfinished):
            self._select(torch.tensor(unfinished))
        return any(unfinished)

    def _select(self, mask: Tensor) -> None:
        for name in (
            "batch",
            "count",
            "share",
            "targets",
            "mean",
            "scale",
            "parameters",
            "before_last",
        ):
            setattr(self, name, getattr(self, name)[mask])
        self.curvature = self.curvature.take(mask)

    @abstractmethod
    def start_at(self, parameters: Tensor) -> None:
        """Start from `Scores.parameters` (f, …) of similar fits."""

    def extrapolate(self) -> None:
        """Start the next C where the solutions of the last two lead to: C grows by equal factors, they by similar steps."""
        last = self.parameters.clone()
        if self.count_solved > 1:
            self.parameters = 2 * last - self.before_last
        self.before_last, self.count_solved = last, self.count_solved + 1

    def solve(self, c_index: int, C: float, tolerance: float) -> Scores:
        """Return the scores of all rows at one C, starting from `parameters`."""
        self.penalty, self.tolerance = 1.0 / (C * self.count), tolerance
        unfinished = torch.arange(len(self.batch))
        for number, evaluations in enumerate(self.rounds):
            self._renew(unfinished, number)
            ends, is_finished = minimise(
                self._evaluate,
                unfinished,
                self.parameters[unfinished],
                tolerance=tolerance,
                max_evaluations=evaluations,
                memory=memory(self.size),
            )
            self.parameters[unfinished] = ends
            unfinished = unfinished[~is_finished]
            if not len(unfinished):
                break
        return replace(self._result(c_index), unfinished=len(unfinished))

    @abstractmethod
    def _result(self, c_index: int) -> Scores:
        """Return the scores of all rows at the current parameters."""

    def _log_probabilities(self, scores: Tensor) -> Tensor:
        return log_probabilities(scores) if self.fits.count > 1 and not self.fits.several else scores

    def _renew(self, which: Tensor, number: int) -> None:
        """Set the preconditioner of some fits for the current parameters in round `number`: the mean curvature."""
        if self.fits.count == 1 or not bool(self.parameters[:, 0].any()):  # regression, or weights of 0
            return
        chances = self._scores(which, self.parameters[which])
        chances = torch.softmax(chances, 1) if self.is_softmax else torch.sigmoid(chances)
        self.curvature.put(which, self._curvature(chances, self.share[which]))

    def _curvature(self, chances: Tensor, share: Tensor) -> ScoreCurvature:
        """Return the mean curvature at the probabilities (a, columns, n) of rows with shares (a, n)."""
        return of_softmax(chances, share) if self.is_softmax else of_columns(chances, share)

    @abstractmethod
    def _scores(self, which: Tensor, x: Tensor) -> Tensor:
        """Return the scores (a, columns, n) of the training rows of some fits with parameters (a, size)."""

    @abstractmethod
    def _evaluate(self, which: Tensor, x: Tensor) -> LossPoint:
        """Return the loss of some fits, its gradient, and the preconditioned gradient."""

    def _loss(self) -> Loss:
        if self.fits.several:
            return logistic
        return squared if self.fits.count == 1 else cross_entropy
