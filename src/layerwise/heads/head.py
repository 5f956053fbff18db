"""A head: the weights and the mix of each task, and how its rows were encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from layerwise.errors import HeadError
from layerwise.heads.mixing import Norms, Read, input_width, planes, standardise
from layerwise.heads.weights import Fitted, apply
from layerwise.mixes import LayerStats, Mix
from layerwise.states import F32

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder

TensorSpec = tuple[str, tuple[int, ...]]
"""The safetensors type and the shape of an array."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskHead:
    """The fitted head of one task.

    Attributes:
        name: the name of the task.
        task: `classify`, `regress` or `tag`.
        label: the column that it was fitted to.
        mix: the mix of layers that it takes.
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
        return apply(self.fitted, standardise(planes(self.mix, read, self.norms, paired), self.stats))


@dataclass(frozen=True, slots=True, eq=False)
class HeadData:
    """A head as it is stored on disk.

    Attributes:
        model: `id`, `revision`, `family`, `blocks`, `width`, and the hashes `weights`, `tokenizer`, `config`.
        rows: how rows are made of texts: `level`, `pool`, `special_tokens`, `long`, `max_length`, `overlap`,
            `precision`, and `words_pool`, which is set where texts are pools of word rows.
        pairs: the names of the two texts of a record, or `None`.
        tasks: a head per task.
        training: the training data and scores, for people and reports.
    """

    model: Mapping[str, Any]
    rows: Mapping[str, Any]
    pairs: tuple[str, str] | None
    tasks: tuple[TaskHead, ...]
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the mixes take, the deepest last."""
        names = {name for task in self.tasks for name in task.mix.layers}
        return tuple(sorted(names, key=lambda name: 0 if name == "emb" else int(name)))

    def check_model(self, hashes: Mapping[str, str], name: str) -> None:
        """Check that a model is the one that the head was trained on.

        Raises:
            HeadError: another model; the message names what differs.
        """
        for part in ("weights", "tokenizer", "config"):
            if hashes[part] != self.model[part]:
                raise HeadError(
                    f"the head was trained on {self.model['id']!r} ({part} {self.model[part][:12]}…) and model "
                    f"{name!r} is another one ({part} {hashes[part][:12]}…); name the same model with --model, "
                    "or train a head on this one"
                )


def expected(mix: Mix, width: int, paired: bool, outputs: int, hidden: int | None) -> dict[str, TensorSpec]:
    """Return the tensors of a head of these sizes: safetensors type and shape of each, by name."""
    inputs = input_width(mix, width, paired)
    count = len(mix.layers) if mix.how == "learned" else 1
    out: dict[str, TensorSpec] = {
        "mix.weights": ("F32", (count,)),
        "mix.scale": ("F32", (1,)),
        "mean": ("F64", (count, inputs)),
        "std": ("F64", (count, inputs)),
        "weight": ("F32", (hidden or inputs, outputs)),
        "bias": ("F32", (outputs,)),
    }
    if hidden is not None:
        out |= {"hidden.weight": ("F32", (inputs, hidden)), "hidden.bias": ("F32", (hidden,))}
    if mix.norm is not None and mix.how != "learned":
        out |= {name: ("F64", (len(mix.layers), width)) for name in ("norm.mean", "norm.std")}
    return out


def to_tensors(task: TaskHead) -> dict[str, np.ndarray[Any, Any]]:
    """Return the numbers of a task as named arrays; `from_tensors` is the inverse."""
    fitted = task.fitted
    out: dict[str, np.ndarray[Any, Any]] = {
        "mix.weights": np.asarray(fitted.mix_weights, np.float32),
        "mix.scale": np.array([fitted.scale], np.float32),
        "mean": np.stack([stats.mean for stats in task.stats]),
        "std": np.stack([stats.std for stats in task.stats]),
        "weight": np.ascontiguousarray(fitted.weight, np.float32),
        "bias": np.ascontiguousarray(fitted.bias, np.float32),
    }
    if fitted.hidden is not None:
        out["hidden.weight"], out["hidden.bias"] = (
            np.ascontiguousarray(part, np.float32) for part in fitted.hidden
        )
    if task.norms is not None:
        out["norm.mean"] = np.stack([task.norms[name].mean for name in task.mix.layers])
        out["norm.std"] = np.stack([task.norms[name].std for name in task.mix.layers])
    return out


def from_tensors(
    arrays: Mapping[str, Any], mix: Mix, activation: str
) -> tuple[Fitted, tuple[LayerStats, ...], Norms | None]:
    """Return the weights, the statistics of the planes and those of the layers from named arrays."""
    hidden = (arrays["hidden.weight"], arrays["hidden.bias"]) if "hidden.bias" in arrays else None
    fitted = Fitted(
        mix_weights=arrays["mix.weights"],
        scale=float(arrays["mix.scale"][0]),
        hidden=hidden,
        weight=arrays["weight"],
        bias=arrays["bias"],
        epochs=0,
        dev_loss=0.0,
        activation=activation,
    )
    stats = tuple(map(LayerStats, arrays["mean"], arrays["std"]))
    norms = None
    if "norm.mean" in arrays:
        norms = dict(zip(mix.layers, map(LayerStats, arrays["norm.mean"], arrays["norm.std"]), strict=True))
    return fitted, stats, norms


class HeadWithModel(Protocol):
    """A head that can encode texts."""

    @property
    def data(self) -> HeadData:
        """The weights, mixes and description of the head."""
        ...

    @property
    def encoder(self) -> "Encoder":
        """The encoder of its rows, loaded at first use."""
        ...
