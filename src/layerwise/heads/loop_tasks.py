"""What the gradient loop fits, in torch: tasks with their rows, the parameters of a head, its scores and its losses.

`gradient` fits the parameters. A task is checked as arrays (`LoopTask`) and turned into tensors (`TaskRows`): targets
standardised, weights of sum 1, and the layers without a copy, as they may fill most of the memory.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from layerwise.arguments import argument
from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.heads.head import ACTIVATIONS, Fitted, blocks

KINDS = ("classify", "multilabel", "regress")


@dataclass(frozen=True, slots=True, eq=False)
class LoopTask:
    """The rows and targets of one head. All tasks of a call have the same rows.

    Attributes:
        name: the name in messages.
        kind: one of `KINDS`.
        x: float32 (layers, rows, width), standardised; a fixed mix is one layer. Never changed.
        target: int64 (rows,) classes from 0, float32 (rows, outputs) of 0 and 1, or float32 (rows,).
        outputs: the number of classes or labels; 1 for `regress`.
        row_mask: bool (rows,), the rows that have this task's label; the targets of other rows aren't used.
        weight: float32 (rows,), the weight of each row; 1 when left out.
        learned: mix the layers with softmax weights and a scale; otherwise there must be one layer.
        hidden: the width of a hidden layer; a linear head when left out.
    """

    name: str
    kind: str
    x: F32
    target: NDArray[Any]
    outputs: int
    row_mask: NDArray[np.bool_]
    weight: F32 | None = None
    learned: bool = False
    hidden: int | None = None

    def check(self, dev: NDArray[np.bool_]) -> None:
        """Raise RequestError for shapes that don't agree, or if no row is left to train on."""
        subject = f"task {self.name!r}"
        if self.kind not in KINDS:
            raise RequestError(f"{subject}: no kind is called {self.kind!r}; there are {', '.join(KINDS)}")
        if self.x.ndim != 3 or not len(self.x) or (len(self.x) > 1 and not self.learned):
            got = f"{subject}: layers have shape {self.x.shape}"
            raise RequestError(f"{got}; give (layers, rows, width), of one layer unless the mix is learned")
        rows = self.x.shape[1]
        target_shape = (rows, self.outputs) if self.kind == "multilabel" else (rows,)
        masks = [self.row_mask.shape, dev.shape, *([] if self.weight is None else [self.weight.shape])]
        if self.target.shape != target_shape or any(shape != (rows,) for shape in masks):
            got = f"{subject}: a target of shape {self.target.shape}, masks and weights of {masks}"
            raise RequestError(
                f"{got} don't fit {rows} rows; give a target of {target_shape}, the others (rows,)"
            )
        if self.hidden is not None and self.hidden < 1:
            raise RequestError(f"{subject}: a hidden layer can't have {self.hidden} units; give at least 1")
        if not (self.row_mask & ~dev).any():
            raise RequestError(f"{subject} has no row to train on; hold out fewer rows, or give more labels")
        labels = self.target[self.row_mask]
        if self.kind == "classify" and not (labels.min() >= 0 and labels.max() < self.outputs):
            got = f"{subject}: classes go from {labels.min()} to {labels.max()}"
            raise RequestError(f"{got}; they must lie in 0 … {self.outputs - 1}")


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How to fit.

    Attributes:
        seed: the seed of initial weights, batches and dropout; global generators aren't used.
        epochs: the maximum number of passes over the rows (for L-BFGS: steps).
        patience: the loop stops after so many epochs without a better held-out loss.
        learning_rate: the learning rate of AdamW.
        mix_rate: the learning rate for logits and scale of a mix, which must change much in few steps.
        batch: rows per step of AdamW.
        l2: l2 / 2 times the squared norm of scale · weight is added to a linear head's loss; over n rows
            that is scikit-learn's C = 1 / (l2 · n) and alpha = l2 · n. Biases and logits aren't penalised.
        weight_decay: the weight decay of AdamW, for the weights of heads with a hidden layer.
        dropout: the share of hidden units that are dropped in a step.
        layer_dropout: the probability that a layer is dropped from the mix in a step (its logit is set to -inf).
        shared_hidden: the width of one hidden layer that all tasks share, instead of one per task.
        activation: the activation of hidden units, one of `ACTIVATIONS`.
    """

    seed: int = 0
    epochs: int = 200
    patience: int = 10
    learning_rate: float = 1e-3
    mix_rate: float = 2e-2
    batch: int = 256
    l2: float = 1e-2
    weight_decay: float = 1e-2
    dropout: float = 0.1
    layer_dropout: float = 0.0
    shared_hidden: int | None = None
    activation: str = "gelu"

    def check(self) -> None:
        """Raise RequestError for a value out of range, with the range."""
        minimum = dict.fromkeys(("learning_rate", "mix_rate", "l2", "weight_decay"), 0.0)
        minimum |= dict.fromkeys(("epochs", "patience", "batch"), 1.0)
        for name, low in minimum.items():
            if not low <= getattr(self, name) < float("inf"):
                got = f"{argument(name, getattr(self, name))} is out of range"
                raise RequestError(f"{got}; it must be at least {low:g}, and finite")
        for name in ("dropout", "layer_dropout"):
            if not 0 <= getattr(self, name) < 1:
                got = f"{argument(name, getattr(self, name))} is out of range"
                raise RequestError(f"{got}; it must be at least 0 and below 1")
        if self.activation not in ACTIVATIONS:
            got = f"no activation is called {self.activation!r}"
            raise RequestError(f"{got}; there are {', '.join(ACTIVATIONS)}")
        if self.shared_hidden is not None and self.shared_hidden < 1:
            got = f"a shared hidden layer can't have {self.shared_hidden} units"
            raise RequestError(f"{got}; give at least 1")


@dataclass(frozen=True, slots=True, eq=False)
class TaskRows:
    """A task's rows as tensors.

    Attributes:
        kind: the kind of the task.
        x: (layers, rows, width), which may be the memory of a read-only array: don't write to it.
        target: the task's target, int64 or float32; 0 where a row has no label. Numbers are standardised.
        train: float32 (rows,), the weight of each row in training, of sum 1.
        held_out: float32 (rows,), the weight of each row in the held-out loss, of sum 1, or all 0.
        mean: the mean of the training rows' numbers, in their unit.
        std: their standard deviation; 1 if they are all equal.
    """

    kind: str
    x: Tensor
    target: Tensor
    train: Tensor
    held_out: Tensor
    mean: float = 0.0
    std: float = 1.0

    def blocks(self, rows: int) -> list[slice]:
        """Cut `rows` rows into blocks that are processed one at a time."""
        return list(blocks(rows, self.x.shape[0] * self.x.shape[2]))

    def drop_unused(self) -> "TaskRows":
        """Return the rows without those of weight 0, if copying the others costs less than processing all."""
        is_used = self.train + self.held_out > 0
        if is_used.float().mean() > 0.5:
            return self
        used_rows = is_used.nonzero()[:, 0]
        x, target = self.x[:, used_rows], self.target[used_rows]
        return TaskRows(
            self.kind, x, target, self.train[used_rows], self.held_out[used_rows], self.mean, self.std
        )


def task_rows(task: LoopTask, dev: NDArray[np.bool_]) -> TaskRows:
    """Return the rows of a checked task; the rows `dev` are held out.

    Raises:
        RequestError: weights of training rows whose sum isn't positive.
    """
    weight = np.ones(len(dev)) if task.weight is None else task.weight.astype(np.float64)
    train, held_out = (np.where(task.row_mask & part, weight, 0.0) for part in (~dev, dev))
    if not train.sum() > 0:
        raise RequestError(f"task {task.name!r}: no row to train on has a weight; give positive weights")
    train, held_out = train / train.sum(), held_out / (held_out.sum() or 1.0)
    target, mean, std = task.target, 0.0, 1.0
    if task.kind == "regress":
        values = np.where(task.row_mask, target, 0.0).astype(np.float64)
        mean = float(train @ values)
        std = float(np.sqrt(train @ (values - mean) ** 2)) or 1.0
        target = (values - mean) / std
    labelled = task.row_mask if target.ndim == 1 else task.row_mask[:, None]
    target = np.where(labelled, target, 0).astype(np.int64 if task.kind == "classify" else np.float32)
    weights = [torch.from_numpy(part.astype(np.float32)) for part in (train, held_out)]
    return TaskRows(task.kind, _tensor(task.x), torch.from_numpy(target), weights[0], weights[1], mean, std)


class _SharedMemory:
    """The memory of a read-only array, declared writable: torch would warn otherwise. It is never written to."""

    def __init__(self, array: F32) -> None:
        self.array = array
        address = (array.__array_interface__["data"][0], False)
        self.__array_interface__ = {**array.__array_interface__, "data": address}


def _tensor(x: F32) -> Tensor:
    x = np.ascontiguousarray(x, np.float32)
    return torch.from_numpy(x if x.flags.writeable else np.asarray(_SharedMemory(x)))


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


def initial_layer(inputs: int, outputs: int, generator: torch.Generator) -> list[Tensor]:
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
