"""What a graph makes of layers beside the layers themselves: the mix of a text, and the scores of a head, in torch.

They compute what `mixes.apply_mix` and `heads.head.apply` compute in NumPy; the graph is compared with those.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from layerwise.heads.head import TaskHead
from layerwise.mixes import LayerStats, Mix

Layers = Mapping[str, torch.Tensor]
"""Layers by name, each (…, width)."""
GRAPH_POOLS = ("mean", "max", "sum", "cls", "eos")
"""The pools that need to know no more of a token than whether it is padding."""


def pooled(hidden: torch.Tensor, mask: torch.Tensor, pool: str) -> torch.Tensor:
    """Return a vector per text, (batch, width), of its tokens (batch, length, width); padding comes after them.

    Args:
        hidden: the tokens.
        mask: (batch, length), 1 for tokens and 0 for padding.
        pool: one of `GRAPH_POOLS`.
    """
    if pool == "cls":
        return hidden[:, 0]
    counts = mask.sum(dim=1)
    if pool == "eos":
        last = (counts - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
        return hidden.gather(1, last)[:, 0]
    inside = mask[:, :, None].to(hidden.dtype)
    if pool == "max":
        return hidden.masked_fill(inside == 0, torch.finfo(hidden.dtype).min).max(dim=1).values
    total = (hidden * inside).sum(dim=1)
    return total if pool == "sum" else total / counts[:, None].to(hidden.dtype)


class Standardise(nn.Module):
    """Standardises one layer with the statistics of training rows; see `LayerStats`."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, stats: LayerStats) -> None:
        super().__init__()
        mean, scale = stats.mean.astype(np.float32), stats.scale.astype(np.float32)
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values (…, width), standardised."""
        return (values - self.mean) * self.scale


class MixOutput(nn.Module):
    """Mixes layers into one vector."""

    def __init__(self, mix: Mix, norms: Mapping[str, LayerStats] | None = None) -> None:
        super().__init__()
        self.mix = mix
        self.norms = nn.ModuleList([Standardise(norms[name]) for name in mix.layers] if norms else [])

    def forward(self, layers: Layers) -> torch.Tensor:
        """Return the mix, (…, width of the mix)."""
        chosen = [layers[name] for name in self.mix.layers]
        if len(self.norms):
            chosen = [norm(layer) for norm, layer in zip(self.norms, chosen, strict=True)]
        factors = self.mix.coefficients
        if factors is not None:
            return _weighted(chosen, factors)
        if self.mix.how == "concat":
            return torch.cat(chosen, dim=-1)
        return torch.stack(chosen).max(dim=0).values


def _weighted(layers: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Return the weighted sum of layers."""
    total = weights[0] * layers[0]
    for weight, layer in zip(weights[1:], layers[1:], strict=True):
        total = total + weight * layer
    return total


class HeadOutput(nn.Module):
    """The scores of one task of a head: logits, or values in the unit of the target."""

    weight: torch.Tensor
    bias: torch.Tensor
    hidden_weight: torch.Tensor
    hidden_bias: torch.Tensor

    def __init__(self, task: TaskHead) -> None:
        super().__init__()
        fitted = task.fitted
        self.layers, self.activation = task.mix.layers, fitted.activation
        self.mix = None if task.mix.how == "learned" else MixOutput(task.mix, task.norms)
        self.standardise = nn.ModuleList([Standardise(stats) for stats in task.stats])
        self.factors = [float(weight) for weight in fitted.mix_weights * np.float32(fitted.scale)]
        self.has_hidden = fitted.hidden is not None
        tensors = {"weight": fitted.weight, "bias": fitted.bias}
        if fitted.hidden is not None:
            tensors |= {"hidden_weight": fitted.hidden[0], "hidden_bias": fitted.hidden[1]}
        for name, values in tensors.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)))

    def forward(self, layers: Layers) -> torch.Tensor:
        """Return the scores, (…, outputs)."""
        planes = [layers[name] for name in self.layers] if self.mix is None else [self.mix(layers)]
        planes = [part(plane) for part, plane in zip(self.standardise, planes, strict=True)]
        mixed = _weighted(planes, self.factors)
        if self.has_hidden:
            activate = torch.relu if self.activation == "relu" else nn.functional.gelu
            mixed = activate(mixed @ self.hidden_weight + self.hidden_bias)
        return mixed @ self.weight + self.bias
