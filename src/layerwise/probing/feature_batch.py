"""Fits whose parameters are weights of the features, and of layers that they mix.

A step of all fits is two products with the shared rows. Each fit standardises its features by its own rows; that is an
affine map, so it is folded into the weights, and so are the weights of a mix.
"""

import torch
from torch import Tensor

from layerwise.array_types import I64
from layerwise.heads.mixing import fold_mix
from layerwise.probing.fit_batch import FitBatch
from layerwise.probing.fits import Fits, Scores
from layerwise.probing.lbfgs import LossPoint
from layerwise.probing.mix_curvature import inverse_of, uncoupled
from layerwise.probing.shared_rows import SharedRows

_COARSE = 3e-4  # the tolerance from which on a mix has no curvature of its own
_MIX_ROUNDS = (12, 28, 60, 100)
_MAX_CHANGES = 1 << 23  # how many changes of scores are computed at once


class FeatureBatch(FitBatch):
    """Fits that are solved together. Parameters of a fit: columns × width weights, biases, mix logits."""

    def __init__(self, shared: SharedRows, fits: Fits, batch: I64) -> None:
        """See `FitBatch`."""
        self.width, self.layers = shared.width, shared.layers
        self.learns_mix = self.layers > 1 and shared.mix is None
        self._count_weights = fits.columns * self.width
        super().__init__(shared, fits, batch)
        if self.learns_mix:
            self.rounds = _MIX_ROUNDS
            self.mix_curvature = uncoupled(len(batch), self.layers, self.bias_at + self.columns)

    def _select(self, mask: Tensor) -> None:
        super()._select(mask)
        if self.learns_mix:
            self.mix_curvature = self.mix_curvature.take(mask)

    @property
    def size(self) -> int:
        """How many parameters a fit has."""
        return self._count_weights + self.fits.columns + (self.layers if self.learns_mix else 0)

    @property
    def bias_at(self) -> int:
        """Where the biases begin among the parameters."""
        return self._count_weights

    def start_at(self, parameters: Tensor) -> None:
        """Start from `Scores.parameters` (f, size) of similar fits."""
        self.parameters = parameters.clone()

    def mix_evenly(self) -> None:
        """Start from even weights of the layers: a mix that has converged to one layer never leaves it."""
        if self.learns_mix:
            self.parameters[:, self.bias_at + self.columns :] = 0

    def _result(self, c_index: int) -> Scores:
        every = torch.arange(len(self.batch))
        weights, bias = self._effective(every, self.parameters)
        scores = self._log_probabilities(_products(weights, bias, self.shared.x))
        parameters = self.parameters.clone().numpy()
        if not self.learns_mix:
            return Scores(c_index, self.batch.numpy(), scores.numpy(), parameters=parameters)
        mix = self._mix(self.parameters).numpy()
        return Scores(c_index, self.batch.numpy(), scores.numpy(), mix, weights.numpy(), parameters)

    def _weights(self, x: Tensor) -> Tensor:
        return x[:, : self._count_weights].view(len(x), self.columns, self.width)

    def _mix(self, x: Tensor) -> Tensor:
        if self.shared.mix is not None:
            return torch.tensor(self.shared.mix, dtype=torch.float32).expand(len(x), -1)
        return torch.softmax(x[:, self.bias_at + self.columns :], 1)

    def _effective(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (f, columns, layers * width) and biases (f, columns) for the shared matrix."""
        weights = self._weights(x)
        if self.layers > 1:
            weights = fold_mix(weights, self._mix(x)).flatten(2)
        weights = weights * self.scale[which][:, None]
        return weights, self._biases(x) - (weights @ self.mean[which][:, :, None])[..., 0]

    def _scores(self, which: Tensor, x: Tensor) -> Tensor:
        return _products(*self._effective(which, x), self.x)

    def _evaluate(self, which: Tensor, x: Tensor) -> LossPoint:
        loss, residual = self._loss()(self._scores(which, x), self.targets[which], self.share[which])
        weights, penalty = self._weights(x), self.penalty[which]
        loss = loss + 0.5 * penalty * (weights * weights).sum((1, 2))
        slope, total = self._slopes(which, residual)
        gradient = torch.empty_like(x)
        if self.layers > 1:
            mix = self._mix(x)
            by_layer = slope.view(len(x), self.columns, self.layers, self.width)
            slope = (by_layer * mix[:, None, :, None]).sum(2)
            if self.learns_mix:
                mix_slope = (by_layer * weights[:, :, None, :]).sum((1, 3))
                gradient[:, self.bias_at + self.columns :] = mix * _centred(mix_slope, mix)
        self._weights(gradient).copy_(torch.addcmul(slope, weights, penalty[:, None, None]))
        self._biases(gradient).copy_(total)
        return loss, gradient, self._precondition(which, gradient)

    def _slopes(self, which: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Return derivatives by the weights of all features (a, columns, layers * width) and by the biases (a, columns)."""
        total = residual.sum(2)
        slope = (residual.flatten(0, 1) @ self.x).view(*total.shape, -1)
        return (slope - total[..., None] * self.mean[which][:, None]) * self.scale[which][:, None], total

    def _renew(self, which: Tensor, number: int) -> None:
        super()._renew(which, number)
        # Few steps are taken to a coarse tolerance; renewing costs as much as four.
        if self.learns_mix and self.tolerance < _COARSE and bool(self.parameters[:, 0].any()):
            step = max(1, _MAX_CHANGES // (self.layers * self.columns * len(self.x)))
            for part in torch.split(which, step):
                self._renew_mix(part)

    def _renew_mix(self, which: Tensor) -> None:
        """Set the curvature of the mixes of some fits for the current parameters."""
        x = self.parameters[which]
        weights, mix = self._weights(x), self._mix(x)
        by_layer = self._layer_scores(which, weights)
        mixed = (by_layer * mix[:, :, None, None]).sum(1)
        scores = mixed + self._biases(x)[..., None]
        changes = mix[:, :, None, None] * (by_layer - mixed[:, None])
        residual_changes = self._residual_changes(scores, changes) * self.share[which][:, None, None]
        _, residual = self._loss()(scores, self.targets[which], self.share[which])
        slopes = self._slopes(which, residual)[0].view(len(x), self.columns, self.layers, self.width)
        by_mix = mix * _centred((slopes * weights[:, :, None]).sum((1, 3)), mix)
        coupling = torch.empty(len(x), self.layers, self.bias_at + self.columns, dtype=x.dtype)
        at = torch.arange(len(which)).repeat_interleave(self.layers)
        moved, totals = self._slopes(which[at], residual_changes.flatten(0, 1))
        moved = moved.view(-1, self.columns, self.layers, self.width)
        moved = (moved * mix[at][:, None, :, None]).sum(2).view(len(x), self.layers, self.columns, self.width)
        slopes = slopes.transpose(1, 2)
        moved += mix[:, :, None, None] * (slopes - (slopes * mix[:, :, None, None]).sum(1, keepdim=True))
        coupling[..., : self.bias_at] = moved.flatten(2)
        coupling[..., self.bias_at :] = totals.view(len(x), self.layers, self.columns)
        solved = self._divide(which[at], coupling.flatten(0, 1)).view_as(coupling)
        curvature = changes.flatten(2) @ residual_changes.flatten(2).transpose(1, 2) + torch.diag_embed(
            by_mix
        )
        curvature -= by_mix[:, :, None] * mix[:, None] + mix[:, :, None] * by_mix[:, None]
        self.mix_curvature.coupling[which] = coupling
        self.mix_curvature.solved[which] = solved
        self.mix_curvature.inverse[which] = inverse_of(curvature - coupling @ solved.transpose(1, 2))

    def _layer_scores(self, which: Tensor, weights: Tensor) -> Tensor:
        """Return the scores by each layer alone, without biases, (a, layers, columns, n)."""
        shape = (len(which), 1, self.layers, self.width)
        scaled = weights[:, :, None] * self.scale[which].view(shape)
        shift = (scaled * self.mean[which].view(shape)).sum(3)
        layers = self.x.view(len(self.x), self.layers, self.width)
        scores = [
            (scaled[:, :, layer].flatten(0, 1) @ layers[:, layer].T).view(len(which), self.columns, -1)
            for layer in range(self.layers)
        ]
        return torch.stack(scores, 1) - shift.transpose(1, 2)[..., None]

    def _residual_changes(self, scores: Tensor, changes: Tensor) -> Tensor:
        """Return how derivatives by the scores (a, columns, n) change with the scores (a, layers, columns, n)."""
        if self.fits.count == 1:
            return changes
        if not self.is_softmax:
            chances = torch.sigmoid(scores)[:, None]
            return chances * (1 - chances) * changes
        chances = torch.softmax(scores, 1)[:, None]
        return chances * (changes - (chances * changes).sum(2, keepdim=True))

    def _precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        out = self._divide(which, gradient)
        if self.learns_mix:
            head = self.bias_at + self.columns
            out[:, :head], out[:, head:] = self.mix_curvature.step(which, out[:, :head], gradient[:, head:])
        return out

    def _divide(self, which: Tensor, x: Tensor) -> Tensor:
        """Divide by the approximate curvature of the loss along each principal direction of the features.

        The approximation takes the same class frequencies for every row.
        """
        out = torch.empty_like(x)
        penalty, curvature = self.penalty[which][:, None, None], self.curvature.take(which)
        weights = curvature.to_directions(self._weights(x))
        values, vectors = self.shared.spectrum
        turned = (weights.flatten(0, 1) @ vectors).view(*weights.shape[:2], -1)
        gain = 1.0 / (curvature.values[..., None] * values + penalty) - 1.0 / penalty
        solved = ((turned * gain).flatten(0, 1) @ vectors.T).view_as(weights) + weights / penalty
        self._weights(out).copy_(curvature.to_columns(solved))
        biases = curvature.to_directions(self._biases(x)[..., None]) / curvature.values[..., None]
        self._biases(out).copy_(curvature.to_columns(biases)[..., 0])
        out[:, self.bias_at + self.columns :] = x[:, self.bias_at + self.columns :]
        return out


def _products(weights: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    """Return the scores (f, columns, n) of `rows` (n, width)."""
    scores = (weights.flatten(0, 1) @ rows.T).view(*bias.shape, -1)
    return scores.add_(bias[..., None])


def _centred(slopes: Tensor, mix: Tensor) -> Tensor:
    """Return slopes (f, layers) without their mean by the weights of the layers."""
    return slopes - (mix * slopes).sum(1, keepdim=True)
