"""A head in torch: its parameters, its scores and its losses. `gradient` fits the parameters."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from layerwise.heads.task_tensors import TaskRows
from layerwise.heads.weights import F32, Fitted, LoopOptions


@dataclass
class Parameters:
    """The parameters of one task; several tasks may share the tensors of `hidden`."""

    logits: Tensor
    scale: Tensor
    hidden: list[Tensor]
    weight: Tensor
    bias: Tensor

    def all(self) -> list[Tensor]:
        """Return every tensor, in a fixed order."""
        return [self.logits, self.scale, *self.hidden, self.weight, self.bias]


def scores(
    head: Parameters, x: Tensor, options: LoopOptions, generator: torch.Generator | None = None
) -> Tensor:
    """Return scores (rows, outputs) of x (layers, rows, width); `generator` turns dropout on."""
    mixed = x[0] if len(x) == 1 else _mixed(head, x, options, generator)
    if head.hidden:
        inner = mixed @ head.hidden[0] + head.hidden[1]
        mixed = torch.relu(inner) if options.activation == "relu" else functional.gelu(inner)
        if generator is not None and options.dropout:
            keep = torch.rand(mixed.shape, generator=generator, dtype=torch.float32) >= options.dropout
            mixed = mixed * keep / (1 - options.dropout)
    return mixed @ head.weight + head.bias


def _mixed(head: Parameters, x: Tensor, options: LoopOptions, generator: torch.Generator | None) -> Tensor:
    logits = head.logits
    if generator is not None and options.layer_dropout:
        logits = logits.masked_fill(_dropped(len(logits), options.layer_dropout, generator), -torch.inf)
    weights = torch.softmax(logits, 0) * head.scale
    return (weights @ x.reshape(len(x), -1)).view(x.shape[1:])


def _dropped(layers: int, share: float, generator: torch.Generator) -> Tensor:
    dropped = torch.rand(layers, generator=generator, dtype=torch.float32) < share
    if bool(dropped.all()):
        dropped[torch.randint(layers, (1,), generator=generator)] = False
    return dropped


def losses(kind: str, scores: Tensor, target: Tensor) -> Tensor:
    """Return the loss of each row, (rows,)."""
    if kind == "classify":
        return functional.cross_entropy(scores, target, reduction="none")
    if kind == "multilabel":
        return functional.binary_cross_entropy_with_logits(scores, target, reduction="none").sum(1)
    return (scores[:, 0] - target) ** 2 / 2


def layer(inputs: int, outputs: int, generator: torch.Generator) -> list[Tensor]:
    """Return an initial weight (inputs, outputs) and bias (outputs,), distributed as in torch.nn.Linear."""
    sizes = ((inputs, outputs), (outputs,))
    return [
        (torch.rand(size, generator=generator, dtype=torch.float32) * 2 - 1) * inputs**-0.5 for size in sizes
    ]


def fitted(head: Parameters, rows: TaskRows, epochs: int, dev_loss: float, options: LoopOptions) -> Fitted:
    """Return the head as arrays whose scores are in the unit of the target."""
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
