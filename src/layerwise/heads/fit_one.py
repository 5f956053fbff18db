"""One fit of one head, or of heads that share a hidden layer: rows and numbers in, weights out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.heads import linear
from layerwise.heads.gradient import fit
from layerwise.heads.weights import Fitted, LoopOptions, LoopTask
from layerwise.labels.targets import Mask, Target
from layerwise.states import F32

HEADS = ("linear", "mlp")
HIDDEN = 128
# Each costs a whole descent over all layers, so they are fewer than those of scikit-learn's solvers.
LOOP_GRID = {"classify": (1e-3, 1e-2, 1e-1), "tag": (1e-3, 1e-2, 1e-1), "regress": (1e-4, 1e-3, 1e-2)}
DEFAULT = {"classify": 0.1, "tag": 0.1, "regress": 1e-3}


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How heads are fitted.

    `head` is one of `HEADS`; `hidden` the width of an MLP's layer; `shared_hidden` that of one layer which
    all tasks share; `balance` is `balanced` or `None`; `loop` holds what the gradient loop takes.
    """

    head: str = "linear"
    hidden: int = HIDDEN
    shared_hidden: int | None = None
    balance: str | None = None
    loop: LoopOptions = field(default_factory=LoopOptions)


@dataclass(frozen=True, slots=True)
class Way:
    """How far a head is restrained."""

    C: float | None = None
    epochs: int | None = None


def has_hidden(options: HeadOptions) -> bool:
    """Tell whether heads have a hidden layer."""
    return options.head == "mlp" or options.shared_hidden is not None


def is_learned(target: Target) -> bool:
    """Tell whether the mix is fitted with the head."""
    return target.spec.mix.how == "learned"


def solve(
    targets: Sequence[Target],
    x: Sequence[F32],
    fitting: Mask,
    held: Mask,
    way: Way,
    options: HeadOptions,
    track: Tracker = SILENT,
) -> tuple[tuple[Fitted, ...], bool]:
    """Fit the head of one task, or those of several that share a hidden layer.

    Args:
        targets: the tasks.
        x: what each is fitted on, standardised, float32 (planes, n, inputs).
        fitting: the rows to fit, bool (n,); of these each task takes those that have its label.
        held: the rows that say when the gradient loop stops, bool (n,); none, and it runs all epochs.
        way: how far to restrain the weights.
        options: what kind of head.
        track: reports the epochs of the gradient loop.

    Returns:
        the weights, one per task, and whether the solver reached its end.
    """
    if has_hidden(options) or is_learned(targets[0]):
        tasks = [loop_task(t, values, fitting, held, options) for t, values in zip(targets, x, strict=True)]
        count = int((targets[0].has & fitting).sum())
        return fit(tasks, held, loop_options(options, way, count, shared=len(tasks) > 1), track), True
    found = _linear(targets[0], x[0][0], fitting, way, options)
    one = np.ones(1, np.float32)
    return (Fitted(one, 1.0, None, found.weight, found.bias, 0, float("nan")),), found.converged


def _linear(target: Target, x: F32, fitting: Mask, way: Way, options: HeadOptions) -> linear.Linear:
    x, y = x[target.has & fitting], target.y[fitting[target.has]]
    C = way.C or DEFAULT[target.spec.task]
    if target.spec.task == "regress":
        return linear.fit_values(x, y, C)
    if target.multi:
        return linear.fit_labels(x, y, C, options.balance)
    return linear.fit_classes(x, y, target.outputs, C, options.balance)


def loop_options(options: HeadOptions, way: Way, count: int, *, shared: bool = False) -> LoopOptions:
    """Return what the gradient loop takes for `count` rows to fit."""
    loop = replace(options.loop, shared_hidden=options.shared_hidden if shared else None)
    if way.C is not None:
        loop = replace(loop, l2=1 / (way.C * count))
    return loop if way.epochs is None else replace(loop, epochs=way.epochs)


def loop_task(target: Target, x: F32, fitting: Mask, held: Mask, options: HeadOptions) -> LoopTask:
    """Return a task as the gradient loop takes it; its rows are those of `fitting` and `held` with a label."""
    kind = "multilabel" if target.multi else "regress" if target.spec.task == "regress" else "classify"
    shape = (len(target.has), target.outputs) if target.multi else (len(target.has),)
    goal = np.zeros(shape, np.int64 if kind == "classify" else np.float32)
    goal[target.has] = target.y
    mask = target.has & (fitting | held)
    weight = None
    if options.balance == "balanced" and kind == "classify":
        counts = np.bincount(goal[target.has & fitting], minlength=target.outputs)
        each = counts.sum() / (np.maximum(counts, 1) * (counts > 0).sum())
        weight = np.where(mask, each[np.maximum(goal, 0)], 1).astype(np.float32)
    hidden = (options.shared_hidden or options.hidden) if has_hidden(options) else None
    return LoopTask(target.spec.name, kind, x, goal, target.outputs, mask, weight, is_learned(target), hidden)
