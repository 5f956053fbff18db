"""Fit the heads of one task, or of tasks that share a hidden layer, with given hyperparameters.

- A linear head on a fixed mix: scikit-learn, a multinomial or one-against-the-rest logistic regression, or ridge.
- A learned mix, or a hidden layer: the gradient loop.

`C` is scikit-learn's C, the inverse of the penalty: larger is weaker regularisation. For ridge it is the inverse of alpha.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from layerwise._util.progress import SILENT, Tracker
from layerwise._util.silence import silenced
from layerwise.array_types import F32, I64
from layerwise.heads.gradient import fit
from layerwise.heads.head import Fitted
from layerwise.heads.loop_tasks import LoopOptions, LoopTask
from layerwise.labels.labelled import Mask
from layerwise.labels.plan import Target
from layerwise.options import TrainOptions

CS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
RIDGE_CS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
HIDDEN = 128
# Each value costs a full optimisation over all layers, so these grids are smaller than those of the linear solvers.
LOOP_GRID = {"classify": (1e-3, 1e-2, 1e-1), "tag": (1e-3, 1e-2, 1e-1), "regress": (1e-4, 1e-3, 1e-2)}
DEFAULT = {"classify": 0.1, "tag": 0.1, "regress": 1e-3}
_MAX_STEPS = 2000
_ABSENT_LOGIT = -30.0  # the logit of a class without a row: exp(-30) is negligible beside the other classes
Balance = str | None


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What is chosen on held-out rows: `C`, the inverse of the L2 penalty, and `epochs` of the gradient loop.

    `chosen_by` is the metric of the choice; `None` if nothing was held out.
    """

    C: float | None = None
    epochs: int | None = None
    chosen_by: str | None = None


def grid(target: Target) -> Sequence[float]:
    """Return the values of C to choose from for a linear head, the strongest regularisation first."""
    if is_learned(target):
        return LOOP_GRID[target.spec.task]
    return RIDGE_CS if target.spec.task == "regress" else CS


def regularisation(task: str, C: float | None) -> dict[str, float | None]:
    """Return C as results report it: `C` for a classifier, `alpha`, its inverse, for a ridge regression.

    >>> regularisation("regress", 1e-5)
    {'C': None, 'alpha': 100000.0}
    """
    if task != "regress" or C is None:
        return {"C": C, "alpha": None}
    return {"C": None, "alpha": float(f"{1 / C:.12g}")}


def has_hidden(options: TrainOptions) -> bool:
    """Return whether heads have a hidden layer."""
    return options.head_type == "mlp" or options.shared_hidden is not None


def is_learned(target: Target) -> bool:
    """Return whether the mix is fitted together with the head."""
    return target.spec.mix.how == "learned"


def fit_group(
    targets: Sequence[Target],
    x: Sequence[F32],
    fitting: Mask,
    held_out: Mask,
    hyperparameters: Hyperparameters,
    options: TrainOptions,
    track: Tracker = SILENT,
) -> tuple[Fitted, ...]:
    """Fit the head of one task, or the heads of several tasks that share a hidden layer.

    Args:
        targets: the tasks.
        x: the features of each task, standardised, float32 (planes, n, inputs).
        fitting: the rows to fit, bool (n,); each task uses those of them that have its label.
        held_out: the held-out rows whose loss stops the gradient loop, bool (n,); without any it runs all epochs.
        hyperparameters: `C` and the number of epochs.
        options: the kind of head.
        track: reports the epochs of the gradient loop.
    """
    if has_hidden(options) or is_learned(targets[0]):
        tasks = [
            loop_task(t, values, fitting, held_out, options) for t, values in zip(targets, x, strict=True)
        ]
        count = int((targets[0].has & fitting).sum())
        loop = loop_options(options, hyperparameters, count, shared=len(tasks) > 1)
        return fit(tasks, held_out, loop, track)
    return (_fit_linear(targets[0], x[0][0], fitting, hyperparameters, options),)


def _fit_linear(
    target: Target, x: F32, fitting: Mask, hyperparameters: Hyperparameters, options: TrainOptions
) -> Fitted:
    x, y = x[target.has & fitting], target.y[fitting[target.has]]
    C = hyperparameters.C or DEFAULT[target.spec.task]
    if target.spec.task == "regress":
        return fit_values(x, y, C)
    if target.multi:
        return fit_labels(x, y, C, options.class_weight)
    return fit_classes(x, y, target.outputs, C, options.class_weight)


def fit_classes(x: F32, y: I64, classes: int, C: float, balance: Balance = None) -> Fitted:
    """Fit a multinomial logistic regression with L2.

    Args:
        x: standardised features, float32 (n, inputs).
        y: class numbers (n,), below `classes`; a class without a row gets a logit that never wins.
        classes: the number of classes, K.
        C: the inverse of the penalty.
        balance: `balanced` weighs rows by n / (K · rows of their class).

    Returns:
        a head with K outputs, whose softmax gives the probabilities.
    """
    present = np.unique(y)
    weight, bias = np.zeros((x.shape[1], classes), np.float32), np.full(classes, _ABSENT_LOGIT, np.float32)
    if len(present) < 2:
        bias[present] = 0
        return _linear(weight, bias)
    model, converged = _logistic(x, y, C, balance)
    if len(present) == 2:  # scikit-learn then gives one logit, that of the second class
        weight[:, present[1]] = model.coef_[0]
        bias[present] = 0, model.intercept_[0]
    else:
        weight[:, present], bias[present] = model.coef_.T, model.intercept_
    return _linear(weight, bias, converged)


def fit_labels(x: F32, y: NDArray[Any], C: float, balance: Balance = None) -> Fitted:
    """Fit one logistic regression per label against the rest; `y` is 0 or 1, (n, labels).

    Returns:
        a head with an output per label, whose logistic function gives its probability. A label that all rows
        have, or that no row has, gets its smoothed log-odds as a constant output.
    """
    columns = [_one_label(x, y[:, number].astype(np.int64), C, balance) for number in range(y.shape[1])]
    return _linear(
        np.stack([column.weight[:, 0] for column in columns], axis=1),
        np.array([column.bias[0] for column in columns], np.float32),
        all(column.converged for column in columns),
    )


def _one_label(x: F32, y: I64, C: float, balance: Balance) -> Fitted:
    hits = int(y.sum())
    if 0 < hits < len(y):
        model, converged = _logistic(x, y, C, balance)
        return _linear(model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32), converged)
    odds = np.log((hits + 0.5) / (len(y) - hits + 0.5))
    return _linear(np.zeros((x.shape[1], 1), np.float32), np.array([odds], np.float32))


def fit_values(x: F32, y: NDArray[np.float64], C: float) -> Fitted:
    """Fit a ridge regression to the numbers `y` (n,), with alpha = 1 / C; one output."""
    model = Ridge(alpha=1 / C).fit(x.astype(np.float64), y)
    return _linear(
        np.asarray(model.coef_, np.float32).reshape(-1, 1), np.array([model.intercept_], np.float32)
    )


def _logistic(x: F32, y: I64, C: float, balance: Balance) -> tuple[Any, bool]:
    model = LogisticRegression(C=C, class_weight=balance, max_iter=_MAX_STEPS)
    # Of steps that didn't suffice, which `converged` reports, and of many classes, which may well be meant.
    with silenced(UserWarning):
        model.fit(x, y)
    return model, int(np.max(model.n_iter_)) < _MAX_STEPS


def _linear(weight: F32, bias: F32, converged: bool = True) -> Fitted:
    """Return a linear head on a fixed mix: weight (inputs, outputs), bias (outputs,)."""
    return Fitted(np.ones(1, np.float32), 1.0, None, weight, bias, 0, float("nan"), converged=converged)


def loop_options(
    options: TrainOptions, hyperparameters: Hyperparameters, count: int, *, shared: bool = False
) -> LoopOptions:
    """Return the options of the gradient loop for `count` rows to fit; with `shared`, tasks share the hidden layer."""
    limits: dict[str, Any] = {
        "epochs": hyperparameters.epochs or options.epochs,
        "patience": options.patience,
    }
    loop = LoopOptions(
        seed=options.seed or 0,
        layer_dropout=options.layer_dropout,
        shared_hidden=options.shared_hidden if shared else None,
        **{name: limit for name, limit in limits.items() if limit is not None},
    )
    return loop if hyperparameters.C is None else replace(loop, l2=1 / (hyperparameters.C * count))


def loop_task(target: Target, x: F32, fitting: Mask, held_out: Mask, options: TrainOptions) -> LoopTask:
    """Return a task for the gradient loop; its rows are those of `fitting` and `held_out` that have a label."""
    kind = "multilabel" if target.multi else "regress" if target.spec.task == "regress" else "classify"
    shape = (len(target.has), target.outputs) if target.multi else (len(target.has),)
    goal = np.zeros(shape, np.int64 if kind == "classify" else np.float32)
    goal[target.has] = target.y
    mask = target.has & (fitting | held_out)
    row_weights = None
    if options.class_weight == "balanced" and kind == "classify":
        counts = np.bincount(goal[target.has & fitting], minlength=target.outputs)
        class_weights = counts.sum() / (np.maximum(counts, 1) * (counts > 0).sum())
        row_weights = np.where(mask, class_weights[np.maximum(goal, 0)], 1).astype(np.float32)
    hidden = (options.shared_hidden or options.hidden or HIDDEN) if has_hidden(options) else None
    return LoopTask(
        target.spec.name, kind, x, goal, target.outputs, mask, row_weights, is_learned(target), hidden
    )
