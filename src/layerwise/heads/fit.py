"""Fit the heads of all tasks: choose the regularisation on held-out rows, then fit again on all training rows.

A head that is fitted with too little regularisation, or for too many epochs, fits the training rows and fails on
new ones. So one of these is chosen on the held-out rows, depending on the kind of head:

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
from layerwise.array_types import F32
from layerwise.heads.head import Fitted, TaskHead, apply
from layerwise.heads.held_out_intervals import interval_record
from layerwise.heads.layer_importance import explain_head
from layerwise.heads.learned_mix import LearnedMix
from layerwise.heads.mixing import Planes, read_planes, standardise
from layerwise.heads.solve import (
    DEFAULT,
    Hyperparameters,
    fit_group,
    grid,
    has_hidden,
    is_learned,
    regularisation,
)
from layerwise.labels.labelled import Mask
from layerwise.labels.plan import SplitPlan, Target
from layerwise.labels.scorers import Score, predicted_labels, score
from layerwise.mixes import layer_stats
from layerwise.options import TrainOptions
from layerwise.states import Layered

_ENOUGH_ROWS = 2000  # with so many held-out rows a lower score is hardly due to chance
Heads = tuple[TaskHead, ...]  # of the tasks of a group, fitted together


def fit_heads(
    dataset: Layered, plan: SplitPlan, options: TrainOptions, track: Tracker = SILENT
) -> tuple[Heads, dict[str, dict[str, Any]]]:
    """Fit one head per task of `plan` to the rows of `dataset`; each layer is read once for all tasks.

    With `norm=layer` the layers are read once more for the final fit, since the statistics then come from more rows.

    Returns:
        the heads, and the record of the training of each task by its name, as JSON values: numbers of rows,
        what was chosen on the held-out rows, and scores. Held-out scores, and `learned` (the explanation of a
        learned mix), are of a head that was fitted without the held-out rows.
    """
    reading_track, fitting_track = track.split(1, 9)
    reading_track.named("reading the layers")
    rows = _TrainingRows.read(dataset, plan, plan.train)
    numbers = range(len(plan.targets))
    groups = [[*numbers]] if options.shared_hidden else [[number] for number in numbers]
    choosing_track, rereading_track, refitting_track = fitting_track.split(*_phases(plan, groups, options))
    costs, names = [_cost(plan, group) for group in groups], [_name(plan, group) for group in groups]
    chosen = [
        _choose(plan, rows, group, options, part) for group, part in choosing_track.each(groups, names, costs)
    ]
    final_rows = _all_rows(dataset, plan, rows, rereading_track)
    heads: dict[int, TaskHead] = {}
    records: dict[str, dict[str, Any]] = {}
    work = list(zip(groups, chosen, strict=True))
    for (group, (hyperparameters, trial)), part in refitting_track.each(work, names, costs):
        refitting, *recording = part.split(1, *[1.0 + options.draws] * len(group))
        final = trial
        if final_rows is not rows:
            refitting.named("fit on all rows")
            final = _fit(plan, final_rows, group, hyperparameters, options, refitting)
        for number, trial_head, head, task_track in zip(group, trial, final, recording, strict=True):
            heads[number] = head
            records[head.name] = {
                **_counts(plan, plan.targets[number]),
                **_choice(head, hyperparameters),
                "held_out": _with_intervals(plan, rows, number, trial_head, plan.held_out),
                "test": _with_intervals(plan, final_rows, number, head, plan.test),
                "alone": _alone(plan, rows, number, options, task_track) if len(group) > 1 else None,
                "learned": _json(
                    explain_head(
                        plan, number, rows.x[number], trial_head, hyperparameters, options, task_track
                    )
                ),
            }
    return tuple(heads[number] for number in numbers), records


def _all_rows(dataset: Layered, plan: SplitPlan, rows: "_TrainingRows", track: Tracker) -> "_TrainingRows":
    """Return the rows standardised for the final fit; `rows` itself if no row was held out of the training rows."""
    if not (plan.refit and plan.held_out.any()):
        return rows
    track.named("all rows")
    fitting = plan.train | plan.held_out
    normed = any(target.spec.mix.norm for target in plan.targets)
    return (_TrainingRows.read(dataset, plan, fitting) if normed else rows).standardised(plan, fitting)


def _alone(
    plan: SplitPlan, rows: "_TrainingRows", number: int, options: TrainOptions, track: Tracker
) -> dict[str, Any] | None:
    """Return the held-out scores of a task that is fitted without the other tasks that share its hidden layer."""
    _, (head,) = _choose(plan, rows, [number], options, track.named("alone"))
    return _with_intervals(plan, rows, number, head, plan.held_out)


def _counts(plan: SplitPlan, target: Target) -> dict[str, Any]:
    """Return the numbers of rows of a task, and the scheme of its tags."""
    fitting = plan.train | plan.held_out if plan.refit else plan.train
    return {
        "rows": int((target.has & fitting).sum()),
        "held_out_rows": int((target.has & plan.held_out).sum()),
        "test_rows": int((target.has & plan.test).sum()),
        "dropped": target.dropped,
        "scheme": target.scheme,
    }


def _choice(head: TaskHead, hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return what was chosen on the held-out rows, and the weights of a learned mix by layer."""
    weights = dict(zip(head.mix.layers, head.fitted.mix_weights.tolist(), strict=False))
    return {
        **regularisation(head.task, hyperparameters.C),
        "epochs": hyperparameters.epochs,
        "converged": head.fitted.converged,
        "mix_weights": weights if head.mix.how == "learned" else None,
    }


def _with_intervals(
    plan: SplitPlan, rows: "_TrainingRows", number: int, head: TaskHead, which: Mask
) -> dict[str, Any] | None:
    """Return the scores of a head on some rows, and how certain they are."""
    scored = _json(_scores(plan, rows, number, head, which))
    return scored and scored | interval_record(plan, number, rows.x[number], head, which)


def _json(result: Score | LearnedMix | None) -> dict[str, Any] | None:
    return None if result is None else result.to_json()


@dataclass(frozen=True, slots=True, eq=False)
class _TrainingRows:
    """The features of each task: planes of all rows of the plan, and the same standardised (`x`)."""

    planes: tuple[Planes, ...]
    stats: tuple[tuple[Any, ...], ...]
    x: tuple[F32, ...]

    @classmethod
    def read(cls, dataset: Layered, plan: SplitPlan, fitting: Mask) -> "_TrainingRows":
        mixes = [target.spec.mix for target in plan.targets]
        fit_rows = [target.has & fitting for target in plan.targets]
        planes = tuple(read_planes(dataset, plan.rows, mixes, fit_rows))
        return cls(planes, (), ()).standardised(plan, fitting)

    def standardised(self, plan: SplitPlan, fitting: Mask) -> "_TrainingRows":
        """Return the same rows, standardised with the statistics of the rows `fitting` that have a label."""
        stats, x = [], []
        for target, task_planes in zip(plan.targets, self.planes, strict=True):
            task_stats = tuple(layer_stats([values[target.has & fitting]]) for values in task_planes.arrays)
            stats.append(task_stats)
            x.append(standardise(task_planes.arrays, task_stats))
        return replace(self, stats=tuple(stats), x=tuple(x))


def _name(plan: SplitPlan, group: Sequence[int]) -> str:
    return f"task {' and '.join(plan.targets[number].spec.name for number in group)}"


def _cost(plan: SplitPlan, group: Sequence[int]) -> float:
    """Return the relative duration of the fits of some tasks, estimated by the number of layers that they read."""
    return float(sum(len(plan.targets[number].spec.mix.layers) for number in group)) or 1.0


def _phases(
    plan: SplitPlan, groups: Sequence[Sequence[int]], options: TrainOptions
) -> tuple[float, float, float]:
    """Return the relative cost of the fits before all rows are read again, of that reading, and of the fits after it."""
    before = after = 0.0
    for group in groups:
        targets, cost = [plan.targets[number] for number in group], _cost(plan, group)
        learned = [len(t.spec.mix.layers) for t in targets if is_learned(t)]
        tried = 1 if has_hidden(options) else len(grid(targets[0]))
        alone = len(group) if len(group) > 1 else 0
        after += cost * (1 + alone + sum(1 + layers + options.draws for layers in learned))
        before += cost * tried
    return before, 0.1, after


def _choose(
    plan: SplitPlan, rows: _TrainingRows, group: Sequence[int], options: TrainOptions, track: Tracker
) -> tuple[Hyperparameters, Heads]:
    """Return the hyperparameters of some tasks, and the heads fitted with them without the held-out rows."""
    target = plan.targets[group[0]]
    if has_hidden(options):
        trial = _fit(plan, rows, group, Hyperparameters(), options, track, stop=True)
        return Hyperparameters(None, max(1, trial[0].fitted.epochs)), trial
    if not (plan.held_out & target.has).any():
        hyperparameters = Hyperparameters(DEFAULT[target.spec.task])
        return hyperparameters, _fit(plan, rows, group, hyperparameters, options, track)
    values = grid(target)
    enough_rows = int((plan.held_out & target.has).sum()) >= _ENOUGH_ROWS
    trials: list[tuple[tuple[float, float], Hyperparameters, Heads]] = []
    for C, part in track.each(values, (f"C {n + 1} of {len(values)}" for n in range(len(values)))):
        if (
            len(trials) > 2
            and enough_rows
            and max(trials[-1][0], trials[-2][0]) < max(rank for rank, *_ in trials[:-2])
        ):
            break  # weak regularisation takes longest to fit, and the last two values scored worse than the best
        trial = _fit(plan, rows, group, Hyperparameters(C), options, part, stop=True)
        epochs = max(1, trial[0].fitted.epochs) if is_learned(target) else None
        held_out_score = _scores(plan, rows, group[0], trial[0], plan.held_out)
        assert held_out_score is not None  # there are held-out rows with a label
        rank = (held_out_score.main(options.class_weight), -_loss(plan, rows, group[0], trial[0]))
        trials.append((rank, Hyperparameters(C, epochs), trial))
    # Few held-out rows often give equal scores: then the likelihood of their labels decides.
    _, hyperparameters, trial = max(trials, key=lambda entry: entry[0])
    return hyperparameters, trial


def _fit(
    plan: SplitPlan,
    rows: _TrainingRows,
    group: Sequence[int],
    hyperparameters: Hyperparameters,
    options: TrainOptions,
    track: Tracker,
    *,
    stop: bool = False,
) -> Heads:
    """Fit the heads of some tasks; with `stop`, the held-out rows stop the fit and aren't fitted."""
    nothing = np.zeros_like(plan.held_out)
    fitting = plan.train | (plan.held_out if plan.refit and not stop else nothing)
    fitted = fit_group(
        [plan.targets[number] for number in group],
        [rows.x[number] for number in group],
        fitting,
        plan.held_out if stop else nothing,
        hyperparameters,
        options,
        track,
    )
    return tuple(
        _head(plan.targets[number], rows, number, weights)
        for number, weights in zip(group, fitted, strict=True)
    )


def _head(target: Target, rows: _TrainingRows, number: int, fitted: Fitted) -> TaskHead:
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


def _scores(plan: SplitPlan, rows: _TrainingRows, number: int, head: TaskHead, which: Mask) -> Score | None:
    """Return the scores of a head on some rows of the plan; `None` if none of them has a label."""
    target = plan.targets[number]
    in_task = which[target.has]
    if not in_task.any():
        return None
    docs = target.docs[in_task]
    raw = apply(head.fitted, rows.x[number][:, target.has & which])
    predictions = predicted_labels(head.task, head.multi, head.classes, raw, docs)
    return score(head.task, target.multi, target.gold[in_task], predictions, docs)


def _loss(plan: SplitPlan, rows: _TrainingRows, number: int, head: TaskHead) -> float:
    """Return the mean loss of held-out rows: negative log-likelihood in nats, or squared error."""
    target = plan.targets[number]
    in_task = plan.held_out[target.has]
    scores = apply(head.fitted, rows.x[number][:, target.has & plan.held_out]).astype(np.float64)
    y = target.y[in_task]
    if target.spec.task == "regress":
        return float(((scores[:, 0] - y) ** 2).mean())
    if target.multi:
        return float((np.logaddexp(0, scores) - y * scores).sum(axis=1).mean())
    picked = np.take_along_axis(scores, y[:, None], axis=1)[:, 0]
    return float((logsumexp(scores, axis=1) - picked).mean())
