"""The rows that all fits of a candidate share, standardised by all of them, and their principal directions."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from layerwise.array_types import F32
from layerwise.mixes import beyond_float32

_LEADING = 256  # directions


class SharedRows:
    """Features of all rows; each fit corrects their standardisation for its own rows.

    Attributes:
        x: float32 (n, layers * width), standardised by all rows.
        layers: the number of layers side by side.
        mix: fixed weights of the layers; `None` for a single layer or where each fit learns its own.
        width: of one layer.
    """

    def __init__(self, x: F32, layers: int, mix: Sequence[float] | None) -> None:
        """Standardise by all rows.

        Raises:
            RequestError: numbers so large that standardising them exceeds float32.
        """
        self.layers, self.mix = layers, mix
        self.width: int = x.shape[1] // layers
        rows = torch.from_numpy(x)
        mean, std = rows.mean(0), rows.std(0, correction=0)
        self.x = (rows - mean) / torch.where(std > 1e-12 * (1 + mean.abs()), std, torch.inf)
        if not self.x.sum().isfinite():  # finite features are standardised, so their sum is small
            raise beyond_float32()

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (r,) and vectors (width, r) of the second moments of the (mean) layer."""
        x = self.x if self.layers == 1 else self.x.view(len(self.x), self.layers, -1).mean(1)
        n, width = x.shape
        if width <= n:
            values, vectors = torch.linalg.eigh(x.T @ x / n)
            return values.clamp_min(0.0), vectors
        values, left = torch.linalg.eigh(x @ x.T / n)
        kept = values > 1e-6 * values.max().clamp_min(1e-12)
        values, left = values[kept], left[:, kept]
        return values, x.T @ left / (values * n).sqrt()

    @cached_property
    def leading(self) -> Tensor:
        """About the first `_LEADING` left singular vectors of the rows, (n, r), or all n of them.

        Source: Halko, Martinsson and Tropp 2011, a random range and two power steps.
        """
        kernel = self.x @ self.x.T
        count = min(_LEADING, len(kernel))
        basis = torch.randn(
            len(kernel), count, generator=torch.Generator().manual_seed(0), dtype=kernel.dtype
        )
        for _ in range(3):
            basis, _triangle = torch.linalg.qr(kernel @ basis)
        return basis
