"""Fit the heads of all tasks: choose the regularisation on held-out rows, then fit again on all training rows.

A head that is fitted with too little regularisation, or for too many epochs, fits the training rows and fails on
new ones. So the held-out rows choose, depending on the kind of head:

- a linear head on a fixed mix: `C`, with one scikit-learn fit per value of a grid;
- a linear head on a learned mix: `C`, with one run of the gradient loop per value of a grid;
- a head with a hidden layer, its own or a shared one: the number of epochs of the gradient loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from layerwise._util.progress import SILENT, Tracker
from layerwise.heads import linear
from layerwise.heads.fit_one import (
    DEFAULT,
    LOOP_GRID,
    HeadOptions,
    Hyperparameters,
    fit_group,
    has_hidden,
    is_learned,
)
from layerwise.heads.head import TaskHead
from layerwise.heads.head_importance import show_mix
from layerwise.heads.layer_importance import LearnedMix
from layerwise.heads.mixing import Planes, read_planes, standardise
from layerwise.heads.weights import Fitted, apply
from layerwise.labels.labelled import Mask
from layerwise.labels.plan import SplitPlan, Target
from layerwise.labels.scorers import Score, predicted_labels, score
from layerwise.mixes import layer_stats
from layerwise.states import F32, Layered

_ENOUGH_ROWS = 2000  # with so many held-out rows a lower score is hardly due to chance


@dataclass(frozen=True, slots=True, eq=False)
class FittedTask:
    """A head, its hyperparameters and its scores; held-out scores are of a head fitted without the held-out rows.

    `C` is `None` for hidden layers, and `epochs` is `None` for scikit-learn's solvers. `alone` holds the held-out
    scores of the task fitted without the others, where tasks share a hidden layer. `learned` describes a
    learned mix, fitted without the held-out rows.
    """

    head: TaskHead
    C: float | None
    epochs: int | None
    converged: bool
    held_out: Score | None
    test: Score | None
    alone: Score | None
    learned: LearnedMix | None


def fit_heads(
    dataset: Layered, plan: SplitPlan, options: HeadOptions, draws: int = 20, track: Tracker = SILENT
) -> tuple[FittedTask, ...]:
    """Fit one head per task of `plan` to the rows of `dataset`; each layer is read once for all tasks.

    With `norm=layer` the layers are read once more for the final fit, since the statistics then come from more
    rows. `draws` is the number of resamples of the groups for the intervals of a learned mix.
    """
    reading_track, fitting_track = track.split(1, 9)
    reading_track.named("reading the layers")
    rows = _Rows.read(dataset, plan, plan.train)
    groups = (
        [[*range(len(plan.targets))]] if options.shared_hidden else [[n] for n in range(len(plan.targets))]
    )
    out: dict[int, FittedTask] = {}
    choosing_track, rereading_track, refitting_track = fitting_track.split(
        *_phases(plan, groups, options, draws)
    )
    costs = [_cost(plan, group, options) for group in groups]
    group_names = [_name(plan, group) for group in groups]
    chosen = [
        _choose(plan, rows, group, options, part)
        for group, part in choosing_track.each(groups, group_names, costs)
    ]
    final_rows = rows
    if plan.refit and plan.held.any():
        rereading_track.named("all rows")
        normed = any(target.spec.mix.norm for target in plan.targets)
        final_rows = _Rows.read(dataset, plan, plan.train | plan.held) if normed else rows
        final_rows = final_rows.standardised(plan, plan.train | plan.held)
    work = list(zip(groups, chosen, strict=True))
    for (group, (hyperparameters, trial)), part in refitting_track.each(work, group_names, costs):
        refitting, *showing = part.split(1, *[1.0 + draws] * len(group))
        final_trial = trial
        if final_rows is not rows:
            final_trial = _fit(
                plan, final_rows, group, hyperparameters, options, refitting.named("fit on all rows")
            )
        for position, number in enumerate(group):
            alone = None
            if len(group) > 1:
                _, single = _choose(plan, rows, [number], options, showing[position].named("alone"))
                alone = _scores(plan, rows, number, single.heads[0], plan.held)
            out[number] = FittedTask(
                head=final_trial.heads[position],
                C=hyperparameters.C,
                epochs=hyperparameters.epochs,
                converged=final_trial.converged,
                held_out=_scores(plan, rows, number, trial.heads[position], plan.held),
                test=_scores(plan, final_rows, number, final_trial.heads[position], plan.test),
                alone=alone,
                learned=show_mix(
                    plan,
                    number,
                    rows.x[number],
                    trial.heads[position],
                    hyperparameters,
                    options,
                    draws,
                    showing[position],
                ),
            )
    return tuple(out[number] for number in range(len(plan.targets)))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The features of each task: planes of all rows of the plan, and the same standardised (`x`)."""

    planes: tuple[Planes, ...]
    stats: tuple[tuple[Any, ...], ...]
    x: tuple[F32, ...]

    @classmethod
    def read(cls, dataset: Layered, plan: SplitPlan, fitting: Mask) -> "_Rows":
        mixes = [target.spec.mix for target in plan.targets]
        fit_rows = [target.has & fitting for target in plan.targets]
        planes = tuple(read_planes(dataset, plan.rows, mixes, fit_rows))
        return cls(planes, (), ()).standardised(plan, fitting)

    def standardised(self, plan: SplitPlan, fitting: Mask) -> "_Rows":
        """Return the same rows, standardised with the statistics of the rows `fitting` that have a label."""
        stats, x = [], []
        for target, task_planes in zip(plan.targets, self.planes, strict=True):
            task_stats = tuple(layer_stats([values[target.has & fitting]]) for values in task_planes.arrays)
            stats.append(task_stats)
            x.append(standardise(task_planes.arrays, task_stats))
        return replace(self, stats=tuple(stats), x=tuple(x))


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """The heads of some tasks, fitted with one choice of hyperparameters."""

    heads: tuple[TaskHead, ...]
    converged: bool = True


def _name(plan: SplitPlan, group: Sequence[int]) -> str:
    return f"task {' and '.join(plan.targets[number].spec.name for number in group)}"


def _cost(plan: SplitPlan, group: Sequence[int], options: HeadOptions) -> float:
    """Return the relative duration of the fits of some tasks, estimated by the number of layers that they read."""
    return float(sum(len(plan.targets[number].spec.mix.layers) for number in group)) or 1.0


def _phases(
    plan: SplitPlan, groups: Sequence[Sequence[int]], options: HeadOptions, draws: int
) -> tuple[float, float, float]:
    """Return the relative cost of the fits before all rows are read again, of that reading, and of the fits after it."""
    before = after = 0.0
    for group in groups:
        targets, cost = [plan.targets[number] for number in group], _cost(plan, group, options)
        learned = [len(t.spec.mix.layers) for t in targets if is_learned(t)]
        tried = (
            1 if has_hidden(options) else len(LOOP_GRID["classify"] if learned else linear.grid("classify"))
        )
        alone = len(group) if len(group) > 1 else 0
        after += cost * (1 + alone + sum(1 + layers + draws for layers in learned))
        before += cost * tried
    return before, 0.1, after


def _choose(
    plan: SplitPlan, rows: _Rows, group: Sequence[int], options: HeadOptions, track: Tracker
) -> tuple[Hyperparameters, _Trial]:
    """Return the hyperparameters of some tasks, and the heads fitted with them without the held-out rows."""
    target = plan.targets[group[0]]
    if has_hidden(options):
        trial = _fit(plan, rows, group, Hyperparameters(), options, track, stop=True)
        return Hyperparameters(None, max(1, trial.heads[0].fitted.epochs)), trial
    kind = target.spec.task
    if not (plan.held & target.has).any():
        hyperparameters = Hyperparameters(DEFAULT[kind])
        return hyperparameters, _fit(plan, rows, group, hyperparameters, options, track)
    grid = LOOP_GRID[kind] if is_learned(target) else linear.grid(kind)
    enough_rows = int((plan.held & target.has).sum()) >= _ENOUGH_ROWS
    trials: list[tuple[tuple[float, float], Hyperparameters, _Trial]] = []
    for C, part in track.each(grid, (f"C {n + 1} of {len(grid)}" for n in range(len(grid)))):
        if (
            len(trials) > 2
            and enough_rows
            and max(trials[-1][0], trials[-2][0]) < max(rank for rank, *_ in trials[:-2])
        ):
            break  # weak regularisation takes longest to fit, and the last two values scored worse than the best
        trial = _fit(plan, rows, group, Hyperparameters(C), options, part, stop=True)
        epochs = max(1, trial.heads[0].fitted.epochs) if is_learned(target) else None
        held_out_score = _scores(plan, rows, group[0], trial.heads[0], plan.held)
        assert held_out_score is not None  # there are held-out rows with a label
        rank = (held_out_score.main(options.balance), -_loss(plan, rows, group[0], trial.heads[0]))
        trials.append((rank, Hyperparameters(C, epochs), trial))
    # Few held-out rows often give equal scores: then the likelihood of their labels decides.
    _, hyperparameters, trial = max(trials, key=lambda entry: entry[0])
    return hyperparameters, trial


def _fit(
    plan: SplitPlan,
    rows: _Rows,
    group: Sequence[int],
    hyperparameters: Hyperparameters,
    options: HeadOptions,
    track: Tracker,
    *,
    stop: bool = False,
) -> _Trial:
    """Fit the heads of some tasks; with `stop`, the held-out rows stop the fit and aren't fitted."""
    nothing = np.zeros_like(plan.held)
    fitting = plan.train | (plan.held if plan.refit and not stop else nothing)
    fitted, converged = fit_group(
        [plan.targets[number] for number in group],
        [rows.x[number] for number in group],
        fitting,
        plan.held if stop else nothing,
        hyperparameters,
        options,
        track,
    )
    heads = tuple(
        _head(plan.targets[number], rows, number, weights)
        for number, weights in zip(group, fitted, strict=True)
    )
    return _Trial(heads, converged)


def _head(target: Target, rows: _Rows, number: int, fitted: Fitted) -> TaskHead:
    spec = target.spec
    return TaskHead(
        name=spec.name,
        task=spec.task,
        label=spec.label,
        mix=spec.mix,
        classes=target.classes,
        multi=target.multi,
        label_separator=spec.label_separator,
        norms=rows.planes[number].norms,
        stats=rows.stats[number],
        fitted=fitted,
    )


def _scores(plan: SplitPlan, rows: _Rows, number: int, head: TaskHead, which: Mask) -> Score | None:
    """Return the scores of a head on some rows of the plan; `None` if none of them has a label."""
    target = plan.targets[number]
    in_task = which[target.has]
    if not in_task.any():
        return None
    docs = target.docs[in_task]
    raw = apply(head.fitted, rows.x[number][:, target.has & which])
    predictions = predicted_labels(head.task, head.multi, head.classes, raw, docs)
    return score(head.task, target.multi, target.gold[in_task], predictions, docs)


def _loss(plan: SplitPlan, rows: _Rows, number: int, head: TaskHead) -> float:
    """Return the mean loss of held-out rows: negative log-likelihood in nats, or squared error."""
    target = plan.targets[number]
    in_task = plan.held[target.has]
    scores = apply(head.fitted, rows.x[number][:, target.has & plan.held]).astype(np.float64)
    y = target.y[in_task]
    if target.spec.task == "regress":
        return float(((scores[:, 0] - y) ** 2).mean())
    if target.multi:
        return float((np.logaddexp(0, scores) - y * scores).sum(axis=1).mean())
    picked = np.take_along_axis(scores, y[:, None], axis=1)[:, 0]
    return float((logsumexp(scores, axis=1) - picked).mean())
