"""A head as it is stored: the weights and the mix of each task, and how its rows are made from texts.

`predict.Head` adds the methods on texts, which need the model.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import erf

from layerwise.arguments import argument
from layerwise.array_types import F32
from layerwise.errors import HeadError, RequestError
from layerwise.heads.mixing import Norms, Read, planes, standardise
from layerwise.layers import in_order
from layerwise.mixes import LayerStats, Mix

ACTIVATIONS = ("gelu", "relu")
# Numbers in a block of rows: few enough to stay in the cache, many enough to keep the overhead small.
_BLOCK = 1 << 22


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
        converged: whether the solver converged.
    """

    mix_weights: F32
    scale: float
    hidden: tuple[F32, F32] | None
    weight: F32
    bias: F32
    epochs: int
    dev_loss: float
    activation: str = "gelu"
    converged: bool = True


def apply(fitted: Fitted, x: F32) -> F32:
    """Return raw scores (rows, outputs), float32: logits, or values in the target's unit.

    Args:
        fitted: the head.
        x: (layers, rows, width), standardised in the same way as the training rows.

    Raises:
        RequestError: a different number of layers, or a different width; scores beyond float32.
    """
    _check_shape(fitted, x)
    out = np.empty((x.shape[1], len(fitted.bias)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # the result is checked
        for rows in blocks(x.shape[1], x.shape[0] * x.shape[2]):
            np.matmul(_mixed(fitted, x[:, rows], fitted.hidden is not None), fitted.weight, out=out[rows])
        out += fitted.bias
    return _finite(out, "scores")


def mixed_rows(fitted: Fitted, x: F32, hidden: bool) -> F32:
    """Return the mixed rows of a head, float32 (rows, inputs): the input of its first matrix.

    Args:
        fitted: the head.
        x: (layers, rows, width), standardised in the same way as the training rows.
        hidden: return the output of the hidden layer instead, (rows, hidden), the input of the last matrix.

    Raises:
        RequestError: a different number of layers, or a different width; numbers beyond float32.
    """
    _check_shape(fitted, x)
    with np.errstate(over="ignore", invalid="ignore"):  # the result is checked
        return _finite(_mixed(fitted, x, hidden), "mixed numbers")


def _check_shape(fitted: Fitted, x: F32) -> None:
    first = fitted.weight if fitted.hidden is None else fitted.hidden[0]
    expected = (len(fitted.mix_weights), len(first))
    if x.ndim != 3 or (x.shape[0], x.shape[2]) != expected:
        raise RequestError(
            f"rows of shape {x.shape} don't fit a head for (layers, width) = {expected}; give rows of its mix"
        )


def _mixed(fitted: Fitted, x: F32, hidden: bool) -> F32:
    """Return the weighted sum of `x` (layers, rows, width), or the output of the hidden layer for it."""
    mixed = np.zeros(x.shape[1:], np.float32)
    for weight, layer in zip(fitted.mix_weights * np.float32(fitted.scale), x, strict=True):
        mixed += weight * layer
    if hidden and fitted.hidden is not None:
        mixed = _activate(fitted.activation, mixed @ fitted.hidden[0] + fitted.hidden[1])
    return mixed


def _finite(values: F32, what: str) -> F32:
    """Return `values` (rows, …) after checking that all are finite.

    Raises:
        RequestError: with the first row that has numbers beyond float32; `what` says which numbers.
    """
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise RequestError(
            f"the {what} of row {row} of {len(values):,} are beyond float32: its numbers, or the weights of the head, are "
            "too large; leave the row out, or train another head"
        )
    return values


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


@dataclass(frozen=True, slots=True, eq=False)
class TaskHead:
    """The fitted head of one task.

    Attributes:
        name: the name of the task.
        task: `classify`, `regress` or `tag`.
        label: the column that it was fitted to.
        mix: the mix of layers that it uses.
        classes: the names of its outputs; none for `regress`.
        multi: whether a row may have several labels.
        label_separator: the string between the labels of a row in the label column, or `None`.
        norms: statistics of the training rows, per layer, where the mix has `norm=layer`.
        stats: statistics of the training rows of each plane (see `mixing.planes`).
        fitted: the weights.
    """

    name: str
    task: str
    label: str
    mix: Mix
    classes: tuple[str, ...]
    multi: bool
    label_separator: str | None
    norms: Norms | None
    stats: tuple[LayerStats, ...]
    fitted: Fitted

    def scores(self, read: Read, paired: bool) -> F32:
        """Return the logits, or the values, of rows: float32 (n, outputs).

        Args:
            read: returns one layer by its name, float32 (rows, width).
            paired: whether each two consecutive rows are a pair.
        """
        return apply(self.fitted, self._standardised(read, paired))

    def mixed(self, read: Read, paired: bool, hidden: bool = False) -> F32:
        """Return the mixed rows that the classifier sees; see `mixed_rows`, and `scores` for the arguments."""
        return mixed_rows(self.fitted, self._standardised(read, paired), hidden)

    def _standardised(self, read: Read, paired: bool) -> F32:
        return standardise(planes(self.mix, read, self.norms, paired), self.stats)


def layer_widths(model: Mapping[str, Any], layers: Iterable[str]) -> dict[str, int]:
    """Return the width of each of some layers of a head's model, by its name."""
    others = model.get("widths") or {}
    return {name: int(others.get(name, model["width"])) for name in layers}


@dataclass(eq=False)
class HeadData:
    """A head as it is stored.

    Attributes:
        model: `id`, `revision`, `family`, `blocks`, `width`, `widths` of sites that have others, and the hashes
            `weights`, `tokenizer`, `config`.
        rows: how rows are made from texts: `level`, `pool`, `special_tokens`, `long`, `max_length`, `overlap`,
            `precision`, `prompt` and `word_split` (or `None`), and `words_pool`, which is set where texts are pools of word rows.
        pairs: the names of the two texts of a record, or `None`.
        task_heads: the fitted head of each task.
        training: the training data, and the scores on held-out and test rows.
        provenance: further records: versions, and the time of the training.
        name: that of its folder without the ending, or `None` for a head that is in no folder.
    """

    model: Mapping[str, Any]
    rows: Mapping[str, Any]
    pairs: tuple[str, str] | None
    task_heads: tuple[TaskHead, ...]
    training: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return tuple(task.name for task in self.task_heads)

    @property
    def mixes(self) -> dict[str, str]:
        """The mix string of each task."""
        return {task.name: str(task.mix) for task in self.task_heads}

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The classes of each task; none for `regress`. Tags are IOB2."""
        return {task.name: task.classes for task in self.task_heads}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the mixes use, the deepest last; texts are encoded up to that layer."""
        names = {name for task in self.task_heads for name in task.mix.layers}
        return in_order(names)

    @property
    def widths(self) -> dict[str, int]:
        """The width of each layer of the mixes, by its name."""
        return layer_widths(self.model, self.layers)

    def check_model(self, hashes: Mapping[str, str], name: str) -> None:
        """Check that a model is the one that the head was trained on.

        Raises:
            HeadError: a different model; the message names what differs.
        """
        for part in ("weights", "tokenizer", "config"):
            if hashes[part] != self.model[part]:
                raise HeadError(
                    f"the head was trained on {self.model['id']!r} ({part} {self.model[part][:12]}…) and model "
                    f"{name!r} is a different model ({part} {hashes[part][:12]}…); give the same model in {argument('model')}, "
                    "or train a head on this one"
                )
