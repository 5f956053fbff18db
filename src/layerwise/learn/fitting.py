"""Fitting heads: how much the weights are restrained is chosen on held-out rows, then all rows are fitted.

- a linear head on a fixed mix: scikit-learn, one fit per strength of a grid;
- a linear head on a learned mix: the gradient loop, the same way;
- a hidden layer, its own or one that tasks share: the gradient loop; held-out rows say when to stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from layerwise.learn import linear
from layerwise.learn.decode import predicted
from layerwise.learn.features import Planes, read_planes, standardise
from layerwise.learn.fitted import Fitted, LoopOptions, LoopTask, apply
from layerwise.learn.head import TaskHead
from layerwise.learn.loop import fit
from layerwise.learn.scoring import Score, score
from layerwise.learn.targets import Mask, Plan, Target
from layerwise.mix import layer_stats
from layerwise.states import F32, Layered

HEADS = ("linear", "mlp")
HIDDEN = 128
# Each costs a whole descent over all layers, so they are fewer than those of scikit-learn's solvers.
_LOOP_GRID = {"classify": (1e-3, 1e-2, 1e-1), "tag": (1e-3, 1e-2, 1e-1), "regress": (1e-4, 1e-3, 1e-2)}
_DEFAULT = {"classify": 0.1, "tag": 0.1, "regress": 1e-3}


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


@dataclass(frozen=True, slots=True, eq=False)
class FittedTask:
    """A head, and how it came about: held-out scores are those of a head that hasn't seen these rows.

    `strength` is `None` for hidden layers and `epochs` for scikit-learn's solvers; `alone` are the held-out
    scores of the task without the others, where they share a hidden layer.
    """

    head: TaskHead
    strength: float | None
    epochs: int | None
    converged: bool
    held_out: Score | None
    test: Score | None
    alone: Score | None


@dataclass(frozen=True, slots=True)
class _Way:
    """How far a head is restrained."""

    strength: float | None = None
    epochs: int | None = None


def fit_heads(dataset: Layered, plan: Plan, options: HeadOptions) -> tuple[FittedTask, ...]:
    """Fit a head per task of `plan` to the rows of `dataset`, all from one reading of the layers.

    (A mix with `norm=layer` is read once more for the last fit, since its statistics are those of other rows.)
    """
    rows = _Rows.read(dataset, plan, plan.train)
    groups = (
        [[*range(len(plan.targets))]] if options.shared_hidden else [[n] for n in range(len(plan.targets))]
    )
    out: dict[int, FittedTask] = {}
    chosen = [_choose(plan, rows, group, options) for group in groups]
    final = rows
    if plan.refit and plan.held.any():
        normed = any(target.spec.mix.norm for target in plan.targets)
        final = _Rows.read(dataset, plan, plan.train | plan.held) if normed else rows
        final = final.standardised(plan, plan.train | plan.held)
    for group, (way, trial) in zip(groups, chosen, strict=True):
        last = _fit(plan, final, group, way, options) if final is not rows else trial
        for place, number in enumerate(group):
            alone = None
            if len(group) > 1:
                _, single = _choose(plan, rows, [number], options)
                alone = _scores(plan, rows, number, single.heads[0], plan.held)
            out[number] = FittedTask(
                head=last.heads[place],
                strength=way.strength,
                epochs=way.epochs,
                converged=last.converged,
                held_out=_scores(plan, rows, number, trial.heads[place], plan.held),
                test=_scores(plan, final, number, last.heads[place], plan.test),
                alone=alone,
            )
    return tuple(out[number] for number in range(len(plan.targets)))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What each task's head is fitted on: planes of all rows of the plan, and the same standardised."""

    planes: tuple[Planes, ...]
    stats: tuple[tuple[Any, ...], ...]
    x: tuple[F32, ...]

    @classmethod
    def read(cls, dataset: Layered, plan: Plan, fitting: Mask) -> "_Rows":
        mixes = [target.spec.mix for target in plan.targets]
        fit_rows = [target.has & fitting for target in plan.targets]
        planes = tuple(read_planes(dataset, plan.rows, mixes, fit_rows))
        return cls(planes, (), ()).standardised(plan, fitting)

    def standardised(self, plan: Plan, fitting: Mask) -> "_Rows":
        """Return the same rows, standardised with the statistics of the rows `fitting` that have a label."""
        stats, x = [], []
        for target, made in zip(plan.targets, self.planes, strict=True):
            known = tuple(layer_stats([values[target.has & fitting]]) for values in made.arrays)
            stats.append(known)
            x.append(standardise(made.arrays, known))
        return replace(self, stats=tuple(stats), x=tuple(x))


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    heads: tuple[TaskHead, ...]
    converged: bool = True


def _choose(plan: Plan, rows: _Rows, group: Sequence[int], options: HeadOptions) -> tuple[_Way, _Trial]:
    """Return how far to restrain the heads of some tasks, and the heads fitted so without the held-out rows."""
    target = plan.targets[group[0]]
    if _hidden(options):
        trial = _fit(plan, rows, group, _Way(), options, stop=True)
        return _Way(None, max(1, trial.heads[0].fitted.epochs)), trial
    kind = target.spec.task
    if not plan.held.any():
        way = _Way(_DEFAULT[kind])
        return way, _fit(plan, rows, group, way, options)
    grid = _LOOP_GRID[kind] if _learned(target) else linear.grid(kind)
    tried = []
    for strength in grid:
        trial = _fit(plan, rows, group, _Way(strength), options, stop=True)
        epochs = max(1, trial.heads[0].fitted.epochs) if _learned(target) else None
        found = _scores(plan, rows, group[0], trial.heads[0], plan.held)
        assert found is not None  # a plan holds rows of every task out, or none at all
        rank = (found.main(options.balance), -_loss(plan, rows, group[0], trial.heads[0]))
        tried.append((rank, _Way(strength, epochs), trial))
    # Few held-out rows often score alike: then the likelihood of their labels decides.
    _, way, trial = max(tried, key=lambda entry: entry[0])
    return way, trial


def _hidden(options: HeadOptions) -> bool:
    return options.head == "mlp" or options.shared_hidden is not None


def _learned(target: Target) -> bool:
    return target.spec.mix.how == "learned"


def _fit(
    plan: Plan, rows: _Rows, group: Sequence[int], way: _Way, options: HeadOptions, *, stop: bool = False
) -> _Trial:
    """Fit the heads of some tasks; with `stop`, held-out rows say when, and no head is fitted to them."""
    nothing = np.zeros_like(plan.held)
    held = plan.held if stop else nothing
    fitting = plan.train | (plan.held if plan.refit and not stop else nothing)
    if not _hidden(options) and not _learned(plan.targets[group[0]]):
        found = _fit_linear(plan.targets[group[0]], rows.x[group[0]], fitting, way, options)
        fitted: tuple[Fitted, ...] = (_as_fitted(found),)
        converged = found.converged
    else:
        fitted, converged = _fit_loop(plan, rows, group, fitting, held, way, options), True
    heads = tuple(
        _head(plan.targets[number], rows, number, one) for number, one in zip(group, fitted, strict=True)
    )
    return _Trial(heads, converged)


def _fit_linear(target: Target, x: F32, fitting: Mask, way: _Way, options: HeadOptions) -> linear.Linear:
    own = fitting[target.has]
    x, y, strength = x[0][target.has & fitting], target.y[own], way.strength or 1.0
    if target.spec.task == "regress":
        return linear.fit_values(x, y, strength)
    if target.multi:
        return linear.fit_labels(x, y, strength, options.balance)
    return linear.fit_classes(x, y, target.outputs, strength, options.balance)


def _as_fitted(found: linear.Linear) -> Fitted:
    return Fitted(np.ones(1, np.float32), 1.0, None, found.weight, found.bias, 0, float("nan"))


def _fit_loop(
    plan: Plan,
    rows: _Rows,
    group: Sequence[int],
    fitting: Mask,
    held: Mask,
    way: _Way,
    options: HeadOptions,
) -> tuple[Fitted, ...]:
    tasks = [_loop_task(plan.targets[number], rows.x[number], fitting, held, options) for number in group]
    loop = replace(options.loop, shared_hidden=options.shared_hidden if len(group) > 1 else None)
    if way.strength is not None:
        count = int((plan.targets[group[0]].has & fitting).sum())
        loop = replace(loop, l2=1 / (way.strength * count))
    if way.epochs is not None:
        loop = replace(loop, epochs=way.epochs)
    return fit(tasks, held, loop)


def _loop_task(target: Target, x: F32, fitting: Mask, held: Mask, options: HeadOptions) -> LoopTask:
    count = len(target.has)
    shape = (count, target.outputs) if target.multi else (count,)
    kind = "multilabel" if target.multi else "regress" if target.spec.task == "regress" else "classify"
    goal = np.zeros(shape, np.int64 if kind == "classify" else np.float32)
    goal[target.has] = target.y
    mask = target.has & (fitting | held)
    weight = None
    if options.balance == "balanced" and kind == "classify":
        counts = np.bincount(goal[target.has & fitting], minlength=target.outputs)
        each = counts.sum() / (np.maximum(counts, 1) * (counts > 0).sum())
        weight = np.where(mask, each[np.maximum(goal, 0)], 1).astype(np.float32)
    hidden = (options.shared_hidden or options.hidden) if _hidden(options) else None
    return LoopTask(target.spec.name, kind, x, goal, target.outputs, mask, weight, _learned(target), hidden)


def _head(target: Target, rows: _Rows, number: int, fitted: Fitted) -> TaskHead:
    spec = target.spec
    return TaskHead(
        name=spec.name,
        task=spec.task,
        label=spec.label,
        mix=spec.mix,
        classes=target.classes,
        multi=target.multi,
        separator=spec.separator,
        norms=rows.planes[number].norms,
        stats=rows.stats[number],
        fitted=fitted,
    )


def _scores(plan: Plan, rows: _Rows, number: int, head: TaskHead, which: Mask) -> Score | None:
    """Return how a head does on some rows of the plan; `None` where none of them has a label."""
    target = plan.targets[number]
    own = which[target.has]
    if not own.any():
        return None
    docs = target.docs[own]
    said = predicted(head, apply(head.fitted, rows.x[number][:, target.has & which]), docs)
    return score(head.task, target.multi, target.gold[own], said, docs)


def _loss(plan: Plan, rows: _Rows, number: int, head: TaskHead) -> float:
    """Return the mean loss of held-out rows: negative log-likelihood in nats, or squared error."""
    target = plan.targets[number]
    own = plan.held[target.has]
    scores = apply(head.fitted, rows.x[number][:, target.has & plan.held]).astype(np.float64)
    y = target.y[own]
    if target.spec.task == "regress":
        return float(((scores[:, 0] - y) ** 2).mean())
    if target.multi:
        return float((np.logaddexp(0, scores) - y * scores).sum(axis=1).mean())
    picked = np.take_along_axis(scores, y[:, None], axis=1)[:, 0]
    return float((logsumexp(scores, axis=1) - picked).mean())
