"""Fits with more features than rows, whose parameters are weights of their training rows.

Problem: a step of `FeatureBatch` takes rows × features for each column of weights; the layers of a model side by side have
many times more features than there are rows.

How: at the minimum the weights of the features are a combination of the training rows, W = A Φ (Φ is (m, width), the rows
as the fit standardises them), so A (columns, m) is optimised. The scores of these rows are A K, with K = Φ Φᵀ computed once
for each fit. The gradient by W is U Φ with U = residuals + penalty · A, and the product of two combinations of rows is
A K Bᵀ. So `lbfgs.minimise` is given pairs (A, A K) as parameters and (0, U) as gradients, whose plain products are these,
and a step takes one product with K: that of the preconditioned gradient. The minimum is the one of `FeatureBatch`.

Source: Schölkopf, Herbrich and Smola, "A generalized representer theorem", 2001. The preconditioner is that of Frangella,
Tropp and Udell, "Randomized Nyström preconditioning", 2023, on the span of the leading directions of all rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from layerwise.array_types import I64
from layerwise.probing.fit_batch import FitBatch
from layerwise.probing.fits import Fits, Scores
from layerwise.probing.lbfgs import LossPoint
from layerwise.probing.shared_rows import SharedRows

_BLOCK = 256  # rows of a product of the symmetric K that are computed at once
_SMALLEST = 1e-6  # eigenvalue of a direction that is used, relative to the greatest


@dataclass(frozen=True, slots=True, eq=False)
class _LeadingDirections:
    """Directions of the features of one fit, in which its preconditioner is exact: Φᵀ V Λ^-½, orthonormal as Vᵀ K V = Λ.

    Attributes:
        values: Λ / m, (r,): the mean square of the features along each.
        vectors: V, (m, r).
        products: K V / Λ, (m, r): equal to V where these are eigenvectors.
        rest: the mean square along a direction outside their span.
    """

    values: Tensor
    vectors: Tensor
    products: Tensor
    rest: float


class RowBatch(FitBatch):
    """Fits that are solved together. Parameters of a fit: A and A K, each columns × m, and biases.

    `Scores.parameters` are A for all rows, 0 for those that don't train, and biases.
    """

    def __init__(self, shared: SharedRows, fits: Fits, batch: I64) -> None:
        """Compute K, and the leading directions of each."""
        counts = (fits.train[batch] > 0).sum(axis=1)
        self.most_rows = int(counts.max())
        super().__init__(shared, fits, batch)
        # Numbers of the training rows of each fit (f, m); where a fit has fewer, others with a share of 0.
        order = (self.share > 0).to(torch.int8).argsort(dim=1, descending=True, stable=True)
        self.rows = order[:, : self.most_rows]
        self.share = self.share.gather(1, self.rows)
        places = self.rows[:, None].expand(-1, fits.count, -1) if fits.several else self.rows
        self.targets = self.targets.gather(-1, places)
        self.kernels = [self._kernel(index, int(count)) for index, count in enumerate(counts)]
        self.directions = [self._directions(index) for index in range(len(counts))]

    @property
    def size(self) -> int:
        """How many parameters a fit has."""
        return self.fits.columns * (2 * self.most_rows + 1)

    @property
    def bias_at(self) -> int:
        """Where the biases begin among the parameters."""
        return 2 * self.fits.columns * self.most_rows

    def _features(self, index: int, count: int) -> Tensor:
        rows = self.rows[index, :count]
        return (self.x[rows] - self.mean[index]) * self.scale[index]

    def _kernel(self, index: int, count: int) -> Tensor:
        """Return K of one fit, (count, count)."""
        features = self._features(index, count)
        kernel = torch.empty(count, count, dtype=torch.float32)
        for start in range(0, count, _BLOCK):
            stripe = features[start : start + _BLOCK] @ features[start:].T
            kernel[start : start + _BLOCK, start:] = stripe
            kernel[start:, start : start + _BLOCK] = stripe.T
        return kernel

    def _directions(self, index: int) -> _LeadingDirections:
        """Return the directions in the span of the leading ones of all rows."""
        kernel = self.kernels[index]
        count = len(kernel)
        every = torch.arange(len(self.used))[self.used][self.rows[index, :count]]
        start = self.shared.leading[every][:, :count]
        basis, _ = torch.linalg.qr(start)
        products = kernel @ basis
        values, turn = torch.linalg.eigh(basis.T @ products)
        used = values > _SMALLEST * values[-1].clamp_min(1e-30)
        values, turn = values[used], turn[:, used]
        rest = (kernel.diagonal().sum() - values.sum()) / max(count - len(values), 1)
        return _LeadingDirections(
            values / count, basis @ turn, products @ turn / values, max(float(rest), 0.0) / count
        )

    def _renew(self, which: Tensor, number: int) -> None:
        super()._renew(which, number)
        for index in which.tolist() if number == 2 else ():  # the leading directions didn't suffice
            values, vectors = torch.linalg.eigh(self.kernels[index])
            self.directions[index] = _LeadingDirections(
                values.clamp_min(0.0) / len(values), vectors, vectors, 0.0
            )

    def _select(self, mask: Tensor) -> None:
        super()._select(mask)
        self.rows = self.rows[mask]
        self.kernels = [
            kernel for kernel, is_kept in zip(self.kernels, mask.tolist(), strict=True) if is_kept
        ]
        self.directions = [
            kept for kept, is_kept in zip(self.directions, mask.tolist(), strict=True) if is_kept
        ]

    def start_at(self, parameters: Tensor) -> None:
        """Start from `Scores.parameters` of similar fits."""
        every, columns = len(self.used), self.columns
        self._biases(self.parameters).copy_(parameters[:, columns * every :])
        weights = parameters[:, : columns * every].view(-1, columns, every)[..., self.used]
        weights = weights.gather(2, self.rows[:, None].expand(-1, columns, -1)) * (self.share > 0)[:, None]
        self._pairs(self.parameters)[:, 0] = weights
        self._pairs(self.parameters)[:, 1] = self._times_kernels(torch.arange(len(weights)), weights)

    def _pairs(self, x: Tensor) -> Tensor:
        """Return the view (f, 2, columns, m) of A and A K."""
        return x[:, : self.bias_at].view(len(x), 2, self.columns, self.most_rows)

    def _times_kernels(self, which: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(weights)
        for place, index in enumerate(which.tolist()):
            kernel = self.kernels[index]
            torch.mm(weights[place, :, : len(kernel)], kernel, out=out[place, :, : len(kernel)])
        return out

    def _scores(self, which: Tensor, x: Tensor) -> Tensor:
        return self._pairs(x)[:, 1] + self._biases(x)[..., None]

    def _evaluate(self, which: Tensor, x: Tensor) -> LossPoint:
        pairs, penalty = self._pairs(x), self.penalty[which]
        loss, residual = self._loss()(self._scores(which, x), self.targets[which], self.share[which])
        loss = loss + 0.5 * penalty * (pairs[:, 0] * pairs[:, 1]).sum((1, 2))
        gradient, preconditioned = torch.zeros_like(x), torch.empty_like(x)
        slope = torch.addcmul(residual, pairs[:, 0], penalty[:, None, None])
        solved = self._precondition(which, slope)
        self._pairs(gradient)[:, 1] = slope
        self._pairs(preconditioned)[:, 0] = solved
        self._pairs(preconditioned)[:, 1] = self._times_kernels(which, solved)
        total = residual.sum(2)
        self._biases(gradient).copy_(total)
        curvature = self.curvature.take(which)
        biases = curvature.to_directions(total[..., None]) / curvature.values[..., None]
        self._biases(preconditioned).copy_(curvature.to_columns(biases)[..., 0])
        return loss, gradient, preconditioned

    def _precondition(self, which: Tensor, slope: Tensor) -> Tensor:
        """Return U times the inverse curvature, exact in the directions, with the features elsewhere taken as alike.

        On the gradient UΦ it acts as a symmetric positive matrix a I + Φᵀ V B Vᵀ Φ, so that U becomes a U + U K V B Vᵀ.
        A function of approximate eigenvectors of K in place of it wouldn't be one, and might lead uphill.
        """
        curvature = self.curvature.take(which)
        out = torch.zeros_like(slope)
        slope = curvature.to_directions(slope)
        for place, index in enumerate(which.tolist()):
            directions = self.directions[index]
            penalty, curve = float(self.penalty[index]), curvature.values[place][:, None]
            alike = 1.0 / (curve * directions.rest + penalty)
            gain = 1.0 / (curve * directions.values + penalty) - alike
            rows = slope[place, :, : len(directions.vectors)]
            along = rows @ directions.products * gain
            out[place, :, : len(rows[0])] = torch.addmm(rows * alike, along, directions.vectors.T)
        return curvature.to_columns(out)

    def _result(self, c_index: int) -> Scores:
        count, columns = len(self.batch), self.columns
        by_row = torch.zeros(count, columns, len(self.x), dtype=torch.float32)
        places = self.rows[:, None].expand(-1, columns, -1)
        by_row.scatter_add_(2, places, self._pairs(self.parameters)[:, 0])
        weights = (by_row.flatten(0, 1) @ self.x).view(count, columns, -1)
        weights = (weights - by_row.sum(2)[..., None] * self.mean[:, None]) * self.scale[:, None] ** 2
        bias = self._biases(self.parameters)
        scores = (weights.flatten(0, 1) @ self.shared.x.T).view(count, columns, -1)
        scores += (bias - (weights @ self.mean[:, :, None])[..., 0])[..., None]
        every = torch.zeros(count, columns, len(self.used), dtype=torch.float32)
        every[..., self.used] = by_row
        parameters = torch.cat([every.flatten(1), bias], 1)
        values = self._log_probabilities(scores)
        return Scores(c_index, self.batch.numpy(), values.numpy(), parameters=parameters.numpy())
