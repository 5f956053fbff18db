"""Logistic and ridge regression with L2, for hundreds of training sets and many Cs at once.

All training sets are masks over the same rows, so a step of all fits is two matrix products with one
matrix. Each fit standardises its features by the rows of its own mask: that is an affine map, folded into
the weights, and the shared matrix stays as it is.

The minimum is scikit-learn's: C · Σ loss + ½ ‖W‖², the bias free, W on standardised features; two classes
have one vector of weights (a sigmoid), more have one per class. Numbers are fitted with half the squared
error of the standardised target, which is ridge regression with alpha = 1 / C.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layerwise.heads.linear import CS
from layerwise.probing.lbfgs import minimise
from layerwise.states import F32, I64

Began = Callable[[I64, int, float], None]
"""(numbers of fits, position of C, share of all fits and values of C before) -> nothing; called as each begins"""
_PARTS = ("values", "mix", "weights")
_SCORES = 1 << 25  # numbers of one batch of scores: 128 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """Training sets over the same rows, and what is learned from each.

    Attributes:
        train: which rows each trains on, bool (fits, n), or how often, int64.
        targets: of all rows, (label sets, n): numbers of classes, int64, or standardised numbers, float32.
        labels: which label set each fit learns, int64 (fits,).
        count: how many classes there are, K; 1 for numbers.
        family: int64 (fits,), ascending: fits that are judged together, and so solved in one batch.
    """

    train: NDArray[np.bool_] | I64
    targets: NDArray[Any]
    labels: I64
    count: int
    family: I64

    @property
    def columns(self) -> int:
        """How many scores a row has."""
        return 1 if self.count == 2 else self.count


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What some fits say of all rows, at one C.

    Attributes:
        place: position of C in the grid.
        fits: int64 (f,), which fits these are.
        values: float32 (f, K, n), logarithms (natural) of probabilities, or predicted numbers (f, 1, n).
        mix: softmax weights (f, layers) of a learned mix, else `None`.
        weights: (f, columns, layers * width) of a learned mix, what makes logits of `Solver.features`.
    """

    place: int
    fits: I64
    values: F32
    mix: F32 | None = None
    weights: F32 | None = None


class Solver:
    """Logistic regressions on one set of features, float32 (n, width), for many training sets.

    With `layers` > 1 the features are so many layers side by side, and each fit learns a mix of them:
    softmax weights of the layers, together with the weights of the classes (whose size is the scale).
    """

    def __init__(self, x: F32, *, layers: int = 1, mix: Sequence[float] | None = None) -> None:
        """Standardise the rows as a whole (the fits correct it) and find the directions they vary in.

        Args:
            x: features, float32 (n, width), or (n, layers * width).
            layers: how many layers stand side by side, to be mixed after each is standardised.
            mix: their weights; without them each fit learns its own.
        """
        self.layers, self.mix = layers, mix
        rows = torch.from_numpy(x)
        mean, std = rows.mean(0), rows.std(0, correction=0)
        self._x = (rows - mean) / torch.where(std > 1e-12 * (1 + mean.abs()), std, torch.inf)
        self._width = x.shape[1] // layers
        self._values, self._vectors = self._spectrum()

    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Return eigenvalues (r,) and vectors (width, r) of the second moments of the (mean) layer."""
        x = self._x if self.layers == 1 else self._x.view(len(self._x), self.layers, -1).mean(1)
        n, width = x.shape
        if width <= n:
            values, vectors = torch.linalg.eigh(x.T @ x / n)
            return values.clamp_min(0.0), vectors
        values, left = torch.linalg.eigh(x @ x.T / n)
        kept = values > 1e-6 * values.max().clamp_min(1e-12)
        values, left = values[kept], left[:, kept]
        return values, x.T @ left / (values * n).sqrt()

    @property
    def features(self) -> F32:
        """The rows, standardised as a whole, float32 (n, width) or (n, layers * width)."""
        made: F32 = self._x.numpy()
        return made

    def at(self, fits: Fits, place: int, began: Began = lambda fits, place, done: None) -> Scores:
        """Fit every training set at one C, by its position, from stronger ones."""
        found = [one for one in self.path(fits, began=began, last=place) if one.place == place]
        order = np.argsort(np.concatenate([one.fits for one in found]))
        values, mix, weights = (_joined([getattr(one, n) for one in found], order) for n in _PARTS)
        assert values is not None
        return Scores(place, np.arange(len(order)), values, mix, weights)

    def path(
        self,
        fits: Fits,
        over: Callable[[int], bool] = lambda family: False,
        began: Began = lambda fits, place, done: None,
        last: int = len(CS) - 1,
    ) -> Iterator[Scores]:
        """Fit every training set at every C, from strong to weak, each from where the last ended.

        Weak regularisation takes longest and seldom helps: after each C `over` is asked for each
        family whether its path may end there; `last` is the last C. `began` is called as fits begin on one.
        """
        for batch in self._batches(fits):
            solvers = [_Batch(self, fits, torch.from_numpy(part)) for part in _by_size(fits, batch)]
            for place, C in enumerate(CS[: last + 1]):
                for number, solver in enumerate(solvers):
                    step = (place + number / len(solvers)) / (last + 1)
                    began(solver.batch.numpy(), place, (batch[0] + len(batch) * step) / len(fits.train))
                    yield solver.solve(place, C)
                solvers = [solver for solver in solvers if solver.keep(over)]

    def _batches(self, fits: Fits) -> Iterator[I64]:
        """Cut the fits into batches of whole families whose scores fit into memory."""
        together = max(1, _SCORES // (len(self._x) * fits.count))
        starts = np.flatnonzero(np.diff(fits.family, prepend=-1))
        begin = 0
        for start, end in zip(starts, [*starts[1:], len(fits.family)], strict=True):
            if end - begin > together and start > begin:
                yield np.arange(begin, start)
                begin = int(start)
        yield np.arange(begin, len(fits.family))


def _joined(parts: Sequence[F32 | None], order: I64) -> F32 | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there)[order] if there else None


def _by_size(fits: Fits, batch: I64) -> list[I64]:
    """Cut a batch into fits on about as many rows, within a factor of two, so that few don't pay for many."""
    rows = (fits.train[batch] > 0).sum(axis=1)
    size = np.ceil(np.log2(np.maximum(rows, 1) / max(int(rows.max()), 1)))
    return [batch[size == one] for one in np.unique(size)]


class _Batch:
    """Some of the fits, solved together. Parameters of a fit: classes × width weights, biases, mix logits."""

    def __init__(self, shared: Solver, fits: Fits, batch: Tensor) -> None:
        self.shared, self.fits, self.batch = shared, fits, batch
        train = torch.from_numpy(fits.train[batch.numpy()])
        # Rows that none of these fits trains on are scored at the end alone.
        some = train.any(0)
        self.x = x = shared._x if bool(some.all()) else shared._x[some]
        train = train[:, some].float()
        self.count = train.sum(1).clamp_min(1.0)
        self.share = train / self.count[:, None]
        self.targets = torch.from_numpy(fits.targets[fits.labels[batch.numpy()]])[:, some]
        self.mean = self.share @ x
        spread = (self.share @ (x * x) - self.mean**2).clamp_min(0.0).sqrt()
        self.scale = torch.where(spread > 1e-5, 1.0 / spread, 0.0)
        self.columns, self.width, self.layers = fits.columns, shared._width, shared.layers
        self.learns = self.layers > 1 and shared.mix is None
        size = self.columns * (self.width + 1) + (self.layers if self.learns else 0)
        self.found = torch.zeros(len(batch), size, dtype=torch.float32)
        self.curve = self._begin()

    def _begin(self) -> Tensor:
        """Set the biases to the shares of the classes; return how much the loss curves there (f, columns)."""
        if self.fits.count == 1:
            return torch.ones(len(self.batch), 1, dtype=torch.float32)
        first = 1 if self.columns == 1 else 0
        classes = torch.arange(first, self.fits.count)
        there = [(self.share * (self.targets == number)).sum(1) for number in classes]
        share = (
            torch.stack(there, 1)
            .clamp_min(0.5 / self.count[:, None])
            .clamp_max(1 - 0.5 / self.count[:, None])
        )
        biases = torch.log(share / (1 - share)) if self.columns == 1 else share.log()
        self.found[:, self.columns * self.width : self.columns * (self.width + 1)] = biases
        return share * (1 - share)

    def keep(self, over: Callable[[int], bool]) -> bool:
        """Go on with the fits of families whose path isn't over; tell whether there are any."""
        going = [not over(int(family)) for family in self.fits.family[self.batch.numpy()]]
        if not all(going):
            mask = torch.tensor(going)
            for name in ("batch", "count", "share", "targets", "mean", "scale", "found", "curve"):
                setattr(self, name, getattr(self, name)[mask])
        return any(going)

    def solve(self, place: int, C: float) -> Scores:
        """Return the scores of all rows at one C, from where the last C ended."""
        self.penalty = 1.0 / (C * self.count)
        if self.learns:  # from an even mix, as one that has settled on a layer doesn't leave it again
            self.found[:, self.columns * (self.width + 1) :] = 0
        self.found = minimise(self._evaluate, self._precondition, self.found)
        everyone = torch.arange(len(self.batch))
        scores = self._scores(everyone, self.found, self.shared._x)
        mix = self._mix(self.found).numpy() if self.learns else None
        weights = self._effective(everyone, self.found)[0].numpy() if self.learns else None
        if self.fits.count > 1:
            scores = _log_probabilities(scores)
        return Scores(place, self.batch.numpy(), scores.numpy(), mix, weights)

    def _weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = x[:, : self.columns * self.width].view(len(x), self.columns, self.width)
        return weights, x[:, self.columns * self.width : self.columns * (self.width + 1)]

    def _mix(self, x: Tensor) -> Tensor:
        if self.shared.mix is not None:
            return torch.tensor(self.shared.mix, dtype=torch.float32).expand(len(x), -1)
        return torch.softmax(x[:, self.columns * (self.width + 1) :], 1)

    def _effective(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (f, columns, layers * width) and biases (f, columns) for the shared matrix."""
        weights, bias = self._weights(x)
        if self.layers > 1:
            weights = (weights[:, :, None, :] * self._mix(x)[:, None, :, None]).flatten(2)
        weights = weights * self.scale[which][:, None]
        return weights, bias - (weights @ self.mean[which][:, :, None])[..., 0]

    def _scores(self, which: Tensor, x: Tensor, rows: Tensor) -> Tensor:
        """Return the scores (f, columns, n) of some rows (n, layers * width)."""
        weights, bias = self._effective(which, x)
        scores = (weights.flatten(0, 1) @ rows.T).view(*bias.shape, -1)
        return scores.add_(bias[..., None])

    def _evaluate(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = self._scores(which, x, self.x)
        residual_of = _squared if self.fits.count == 1 else _cross_entropy
        loss, residual = residual_of(scores, self.targets[which], self.share[which])
        weights, _ = self._weights(x)
        penalty = self.penalty[which]
        loss = loss + 0.5 * penalty * (weights * weights).sum((1, 2))
        total = residual.sum(2)
        moved = (residual.flatten(0, 1) @ self.x).view(*total.shape, -1)
        moved = (moved - total[..., None] * self.mean[which][:, None]) * self.scale[which][:, None]
        parts = [weights * penalty[:, None, None], total]
        if self.layers > 1:
            mix = self._mix(x)
            by_layer = moved.view(len(x), self.columns, self.layers, self.width)
            moved = (by_layer * mix[:, None, :, None]).sum(2)
            pull = (by_layer * weights[:, :, None, :]).sum((1, 3))
        if self.learns:
            parts.append(mix * (pull - (mix * pull).sum(1, keepdim=True)))
        parts[0] = parts[0] + moved
        return loss, torch.cat([part.flatten(1) for part in parts], 1)

    def _precondition(self, which: Tensor, x: Tensor) -> Tensor:
        """Divide by how much the loss curves along each direction of the features where all rows are alike."""
        out = x.clone()
        penalty = self.penalty[which][:, None, None]
        weights, bias = self._weights(x)
        vectors, curve = self.shared._vectors, self.curve[which]
        turned = (weights.flatten(0, 1) @ vectors).view(*weights.shape[:2], -1)
        gain = 1.0 / (curve[..., None] * self.shared._values + penalty) - 1.0 / penalty
        solved = ((turned * gain).flatten(0, 1) @ vectors.T).view_as(weights) + weights / penalty
        size = self.columns * self.width
        out[:, :size] = solved.flatten(1)
        out[:, size : size + self.columns] = bias / curve
        return out


def _cross_entropy(scores: Tensor, classes: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss (f,) and its slope by the scores (f, columns, n), which takes their place."""
    if scores.shape[1] == 1:
        flat, wanted = scores[:, 0], (classes == 1).float()
        loss = (share * (torch.nn.functional.softplus(flat) - wanted * flat)).sum(1)
        return loss, ((torch.sigmoid(flat) - wanted) * share)[:, None]
    picked = classes[:, None]
    own = scores.gather(1, picked)[:, 0]
    highest = scores.amax(1, keepdim=True)
    scores.sub_(highest).exp_()
    total = scores.sum(1, keepdim=True)
    loss = (share * (highest[:, 0] + total[:, 0].log() - own)).sum(1)
    scores.mul_(share[:, None] / total)
    scores.scatter_add_(1, picked, -share[:, None])
    return loss, scores


def _squared(scores: Tensor, targets: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return half the mean squared error (f,) and its slope by the scores (f, 1, n)."""
    error = scores[:, 0] - targets
    slope = share * error
    return 0.5 * (slope * error).sum(1), slope[:, None]


def _log_probabilities(scores: Tensor) -> Tensor:
    """(f, columns, n) -> (f, K, n)"""
    if scores.shape[1] == 1:
        return torch.cat([-torch.nn.functional.softplus(scores), -torch.nn.functional.softplus(-scores)], 1)
    return torch.log_softmax(scores, 1)
