"""Input and output of the gradient loop: tasks, options and fitted heads. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from layerwise.errors import RequestError

F32 = NDArray[np.float32]
KINDS = ("classify", "multilabel", "regress")
ACTIVATIONS = ("gelu", "relu")
_BLOCK = (
    1 << 22
)  # numbers in a block of rows: few enough to stay in the cache, many enough to keep the overhead small


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
                got = f"{name.replace('_', ' ')} can't be {getattr(self, name)}"
                raise RequestError(f"{got}; it must be at least {low:g}, and finite")
        for name in ("dropout", "layer_dropout"):
            if not 0 <= getattr(self, name) < 1:
                got = f"{name.replace('_', ' ')} can't be {getattr(self, name)}"
                raise RequestError(f"{got}; it is a share, from 0 to below 1")
        if self.activation not in ACTIVATIONS:
            got = f"no activation is called {self.activation!r}"
            raise RequestError(f"{got}; there are {', '.join(ACTIVATIONS)}")
        if self.shared_hidden is not None and self.shared_hidden < 1:
            got = f"a shared hidden layer can't have {self.shared_hidden} units"
            raise RequestError(f"{got}; give at least 1")


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted head: float32 weights, from which `apply` computes scores.

    Attributes:
        mix_weights: (layers,), positive, of sum 1.
        scale: the factor of the mix. Only its product with the next weight has an effect; for a linear head
            with a learned mix it is the root mean square length of an output's weight vector.
        hidden: weight (width, hidden) and bias (hidden,), or `None`.
        weight: (inputs, outputs), where `inputs` is the width of the hidden layer or of the mix.
        bias: (outputs,).
        epochs: the number of epochs that led to these weights.
        dev_loss: their loss on the held-out rows, in nats per row; NaN without held-out rows.
        activation: the activation of the hidden layer.
    """

    mix_weights: F32
    scale: float
    hidden: tuple[F32, F32] | None
    weight: F32
    bias: F32
    epochs: int
    dev_loss: float
    activation: str = "gelu"


def apply(fitted: Fitted, x: F32) -> F32:
    """Return raw scores (rows, outputs), float32: logits, or values in the target's unit.

    Args:
        fitted: the head.
        x: (layers, rows, width), standardised in the same way as the training rows.

    Raises:
        RequestError: another number of layers, or another width; scores beyond float32.
    """
    first = fitted.weight if fitted.hidden is None else fitted.hidden[0]
    expected = (len(fitted.mix_weights), len(first))
    if x.ndim != 3 or (x.shape[0], x.shape[2]) != expected:
        raise RequestError(f"rows of shape {x.shape} don't fit a head for (layers, width) = {expected}")
    out = np.empty((x.shape[1], len(fitted.bias)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # the result is looked at
        for rows in blocks(x.shape[1], x.shape[0] * x.shape[2]):
            mixed = np.zeros(x[0, rows].shape, np.float32)
            for weight, layer in zip(fitted.mix_weights * np.float32(fitted.scale), x, strict=True):
                mixed += weight * layer[rows]
            if fitted.hidden is not None:
                mixed = _activate(fitted.activation, mixed @ fitted.hidden[0] + fitted.hidden[1])
            np.matmul(mixed, fitted.weight, out=out[rows])
        out += fitted.bias
    if not np.isfinite(out).all():
        row = int(np.argmin(np.isfinite(out).all(axis=1)))
        raise RequestError(
            f"the scores of row {row} of {len(out):,} are beyond float32: its numbers, or the weights of the head, are "
            "too large; leave it out, or train another head"
        )
    return out


def blocks(rows: int, numbers: int) -> Iterator[slice]:
    """Cut `rows` rows of `numbers` numbers each into blocks that fit into the processor's cache."""
    step = max(64, _BLOCK // max(numbers, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _activate(name: str, values: F32) -> F32:
    """Apply the activation in numpy; equal to torch's exact GELU and ReLU."""
    if name == "relu":
        return np.maximum(values, np.float32(0))
    out: F32 = values * np.float32(0.5) * (1 + erf(values * np.float32(0.5**0.5)))
    return out
