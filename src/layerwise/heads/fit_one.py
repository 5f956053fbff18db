"""Fit one head, or several heads that share a hidden layer, with given hyperparameters."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.heads import linear
from layerwise.heads.gradient import fit
from layerwise.heads.weights import Fitted, LoopOptions, LoopTask
from layerwise.labels.labelled import Mask
from layerwise.labels.plan import Target
from layerwise.states import F32

HIDDEN = 128
# Each value costs a full optimisation over all layers, so the grid is smaller than that of the linear solvers.
LOOP_GRID = {"classify": (1e-3, 1e-2, 1e-1), "tag": (1e-3, 1e-2, 1e-1), "regress": (1e-4, 1e-3, 1e-2)}
DEFAULT = {"classify": 0.1, "tag": 0.1, "regress": 1e-3}


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How heads are fitted.

    `head_type` is one of `HEAD_TYPES`; `hidden` is the width of an MLP's hidden layer; `shared_hidden` is the width of
    one hidden layer that all tasks share; `balance` is `balanced` or `None`; `loop` holds the options of the
    gradient loop.
    """

    head_type: str = "linear"
    hidden: int = HIDDEN
    shared_hidden: int | None = None
    balance: str | None = None
    loop: LoopOptions = field(default_factory=LoopOptions)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What is chosen on held-out rows: `C`, the inverse of the L2 penalty, and `epochs` of the gradient loop."""

    C: float | None = None
    epochs: int | None = None


def has_hidden(options: HeadOptions) -> bool:
    """Return whether heads have a hidden layer."""
    return options.head_type == "mlp" or options.shared_hidden is not None


def is_learned(target: Target) -> bool:
    """Return whether the mix is fitted together with the head."""
    return target.spec.mix.how == "learned"


def fit_group(
    targets: Sequence[Target],
    x: Sequence[F32],
    fitting: Mask,
    held: Mask,
    hyperparameters: Hyperparameters,
    options: HeadOptions,
    track: Tracker = SILENT,
) -> tuple[tuple[Fitted, ...], bool]:
    """Fit the head of one task, or the heads of several tasks that share a hidden layer.

    Args:
        targets: the tasks.
        x: the features of each task, standardised, float32 (planes, n, inputs).
        fitting: the rows to fit, bool (n,); each task uses those of them that have its label.
        held: the held-out rows whose loss stops the gradient loop, bool (n,); without any it runs all epochs.
        hyperparameters: `C` and the number of epochs.
        options: the kind of head.
        track: reports the epochs of the gradient loop.

    Returns:
        the weights, one per task, and whether the solver converged.
    """
    if has_hidden(options) or is_learned(targets[0]):
        tasks = [loop_task(t, values, fitting, held, options) for t, values in zip(targets, x, strict=True)]
        count = int((targets[0].has & fitting).sum())
        return fit(
            tasks, held, loop_options(options, hyperparameters, count, shared=len(tasks) > 1), track
        ), True
    linear_head = _linear(targets[0], x[0][0], fitting, hyperparameters, options)
    mix_weights = np.ones(1, np.float32)
    return (
        Fitted(mix_weights, 1.0, None, linear_head.weight, linear_head.bias, 0, float("nan")),
    ), linear_head.converged


def _linear(
    target: Target, x: F32, fitting: Mask, hyperparameters: Hyperparameters, options: HeadOptions
) -> linear.Linear:
    x, y = x[target.has & fitting], target.y[fitting[target.has]]
    C = hyperparameters.C or DEFAULT[target.spec.task]
    if target.spec.task == "regress":
        return linear.fit_values(x, y, C)
    if target.multi:
        return linear.fit_labels(x, y, C, options.balance)
    return linear.fit_classes(x, y, target.outputs, C, options.balance)


def loop_options(
    options: HeadOptions, hyperparameters: Hyperparameters, count: int, *, shared: bool = False
) -> LoopOptions:
    """Return the options of the gradient loop for `count` rows to fit."""
    loop = replace(options.loop, shared_hidden=options.shared_hidden if shared else None)
    if hyperparameters.C is not None:
        loop = replace(loop, l2=1 / (hyperparameters.C * count))
    return loop if hyperparameters.epochs is None else replace(loop, epochs=hyperparameters.epochs)


def loop_task(target: Target, x: F32, fitting: Mask, held: Mask, options: HeadOptions) -> LoopTask:
    """Return a task for the gradient loop; its rows are those of `fitting` and `held` that have a label."""
    kind = "multilabel" if target.multi else "regress" if target.spec.task == "regress" else "classify"
    shape = (len(target.has), target.outputs) if target.multi else (len(target.has),)
    goal = np.zeros(shape, np.int64 if kind == "classify" else np.float32)
    goal[target.has] = target.y
    mask = target.has & (fitting | held)
    row_weights = None
    if options.balance == "balanced" and kind == "classify":
        counts = np.bincount(goal[target.has & fitting], minlength=target.outputs)
        class_weights = counts.sum() / (np.maximum(counts, 1) * (counts > 0).sum())
        row_weights = np.where(mask, class_weights[np.maximum(goal, 0)], 1).astype(np.float32)
    hidden = (options.shared_hidden or options.hidden) if has_hidden(options) else None
    return LoopTask(
        target.spec.name, kind, x, goal, target.outputs, mask, row_weights, is_learned(target), hidden
    )
