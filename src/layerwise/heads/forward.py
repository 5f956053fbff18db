"""A head in torch: its parameters, and what they make of rows. How they are found is the loop's matter."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from layerwise.heads.task_tensors import TaskRows
from layerwise.heads.weights import F32, Fitted, LoopOptions


@dataclass
class Parameters:
    """The parameters of one task; `hidden` may be the same tensors as another's."""

    logits: Tensor
    scale: Tensor
    hidden: list[Tensor]
    weight: Tensor
    bias: Tensor

    def all(self) -> list[Tensor]:
        """Return every tensor, in a fixed order."""
        return [self.logits, self.scale, *self.hidden, self.weight, self.bias]


def scores(
    head: Parameters, x: Tensor, options: LoopOptions, chance: torch.Generator | None = None
) -> Tensor:
    """Scores (rows, outputs) of x (layers, rows, width); with `chance`, units and layers drop out."""
    mixed = x[0] if len(x) == 1 else _mixed(head, x, options, chance)
    if head.hidden:
        inner = mixed @ head.hidden[0] + head.hidden[1]
        mixed = torch.relu(inner) if options.activation == "relu" else functional.gelu(inner)
        if chance is not None and options.dropout:
            keep = torch.rand(mixed.shape, generator=chance, dtype=torch.float32) >= options.dropout
            mixed = mixed * keep / (1 - options.dropout)
    return mixed @ head.weight + head.bias


def _mixed(head: Parameters, x: Tensor, options: LoopOptions, chance: torch.Generator | None) -> Tensor:
    logits = head.logits
    if chance is not None and options.layer_dropout:
        logits = logits.masked_fill(_dropped(len(logits), options.layer_dropout, chance), -torch.inf)
    weights = torch.softmax(logits, 0) * head.scale
    return (weights @ x.reshape(len(x), -1)).view(x.shape[1:])


def _dropped(layers: int, share: float, chance: torch.Generator) -> Tensor:
    dropped = torch.rand(layers, generator=chance, dtype=torch.float32) < share
    if bool(dropped.all()):
        dropped[torch.randint(layers, (1,), generator=chance)] = False
    return dropped


def losses(kind: str, scores: Tensor, target: Tensor) -> Tensor:
    """The loss of each row, (rows,)."""
    if kind == "classify":
        return functional.cross_entropy(scores, target, reduction="none")
    if kind == "multilabel":
        return functional.binary_cross_entropy_with_logits(scores, target, reduction="none").sum(1)
    return (scores[:, 0] - target) ** 2 / 2


def layer(inputs: int, outputs: int, chance: torch.Generator) -> list[Tensor]:
    """Return a fresh weight (inputs, outputs) and bias (outputs,), as torch.nn.Linear begins them."""
    sizes = ((inputs, outputs), (outputs,))
    return [
        (torch.rand(size, generator=chance, dtype=torch.float32) * 2 - 1) * inputs**-0.5 for size in sizes
    ]


def fitted(head: Parameters, rows: TaskRows, epochs: int, dev_loss: float, options: LoopOptions) -> Fitted:
    """The head as arrays, with the target's unit folded in."""
    weight, bias = (p.detach().double().numpy() * rows.std for p in (head.weight, head.bias))
    scale = float(head.scale.detach())
    if not head.hidden and len(rows.x) > 1:
        product = weight * scale
        scale = float(np.sqrt((product**2).sum() / product.shape[1])) or 1.0
        weight = product / scale
    return Fitted(
        mix_weights=_array(torch.softmax(head.logits.detach(), 0)),
        scale=scale,
        hidden=(_array(head.hidden[0]), _array(head.hidden[1])) if head.hidden else None,
        weight=weight.astype(np.float32),
        bias=(bias + rows.mean).astype(np.float32),
        epochs=epochs,
        dev_loss=dev_loss,
        activation=options.activation,
    )


def _array(values: Tensor) -> F32:
    return values.detach().numpy().astype(np.float32)
