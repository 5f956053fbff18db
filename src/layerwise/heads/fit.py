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

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32
from layerwise.heads.head import Fitted, TaskHead
from layerwise.heads.held_out import (
    Ranking,
    absent_note,
    best,
    constant_note,
    majority_scores,
    rank,
    score_head,
    selection_metric,
)
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
from layerwise.mixes import layer_stats
from layerwise.options import TrainOptions
from layerwise.states import Layered

_ENOUGH_ROWS = 2000  # with so many held-out rows a lower score is hardly due to chance
Heads = tuple[TaskHead, ...]  # of the tasks of a group, fitted together


def fit_heads(
    dataset: Layered, plan: SplitPlan, options: TrainOptions, track: Tracker = SILENT
) -> tuple[Heads, dict[str, dict[str, Any]], list[str]]:
    """Fit one head per task of `plan` to the rows of `dataset`; each layer is read once for all tasks.

    With `norm=layer` the layers are read once more for the final fit, since the statistics then come from more rows.

    Returns:
        the heads, and the record of the training of each task by its name, as JSON values: numbers of rows,
        what was chosen on the held-out rows, and scores. Held-out scores, and `learned` (the explanation of a
        learned mix), are of a head that was fitted without the held-out rows. Last, notes on heads whose answers
        are nearly constant.
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
    notes: list[str] = []
    work = list(zip(groups, chosen, strict=True))
    for (group, (hyperparameters, trial)), part in refitting_track.each(work, names, costs):
        refitting, *recording = part.split(1, *[1.0 + options.draws] * len(group))
        final = trial
        if final_rows is not rows:
            refitting.named("fit on all rows")
            final = _fit(plan, final_rows, group, hyperparameters, options, refitting)
        for number, trial_head, head, task_track in zip(group, trial, final, recording, strict=True):
            heads[number] = head
            notes += _notes(plan, rows.x[number], number, trial_head, options)
            records[head.name] = {
                **_counts(plan, plan.targets[number]),
                **_choice(head, hyperparameters),
                "held_out": _scored(plan, rows.x[number], number, trial_head, plan.held_out, plan.train),
                "test": _scored(plan, final_rows.x[number], number, head, plan.test, _final_rows(plan)),
                "alone": _alone(plan, rows, number, options, task_track) if len(group) > 1 else None,
                "learned": _json(
                    explain_head(
                        plan, number, rows.x[number], trial_head, hyperparameters, options, task_track
                    )
                ),
            }
    return tuple(heads[number] for number in numbers), records, notes


def _all_rows(dataset: Layered, plan: SplitPlan, rows: "_TrainingRows", track: Tracker) -> "_TrainingRows":
    """Return the rows standardised for the final fit; `rows` itself if no row was held out of the training rows."""
    if not (plan.refit and plan.held_out.any()):
        return rows
    track.named("all rows")
    fitting = _final_rows(plan)
    normed = any(target.spec.mix.norm for target in plan.targets)
    return (_TrainingRows.read(dataset, plan, fitting) if normed else rows).standardised(plan, fitting)


def _final_rows(plan: SplitPlan) -> Mask:
    """Return the rows that the saved heads are fitted to, bool (n,)."""
    return plan.train | plan.held_out if plan.refit else plan.train


def _alone(
    plan: SplitPlan, rows: "_TrainingRows", number: int, options: TrainOptions, track: Tracker
) -> dict[str, Any] | None:
    """Return the held-out scores of a task that is fitted without the other tasks that share its hidden layer."""
    _, (head,) = _choose(plan, rows, [number], options, track.named("alone"))
    return _scored(plan, rows.x[number], number, head, plan.held_out, plan.train)


def _counts(plan: SplitPlan, target: Target) -> dict[str, Any]:
    """Return the numbers of rows of a task, and the scheme of its tags."""
    return {
        "rows": int((target.has & _final_rows(plan)).sum()),
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
        "chosen_by": hyperparameters.chosen_by,
        "converged": head.fitted.converged,
        "mix_weights": weights if head.mix.how == "learned" else None,
    }


def _scored(
    plan: SplitPlan, x: F32, number: int, head: TaskHead, which: Mask, fitting: Mask
) -> dict[str, Any] | None:
    """Return the scores of a head on some rows, how certain they are, and those of always giving the same answer."""
    target = plan.targets[number]
    result = score_head(target, x, head, which)
    if result is None:
        return None
    return {
        **result.to_json(),
        "majority": majority_scores(target, fitting, which),
        **interval_record(plan, number, x, head, which),
    }


def _notes(plan: SplitPlan, x: F32, number: int, head: TaskHead, options: TrainOptions) -> list[str]:
    """Return notes: nearly constant answers, on held-out rows or without any where a head was fitted; classes not scored."""
    target, part, which = plan.targets[number], "held-out", plan.held_out
    if not (plan.held_out & target.has).any():
        part, which = "training", plan.train
    notes = (
        constant_note(target, x, head, which, part, options.class_weight),
        absent_note(target, plan.train, plan.held_out),
    )
    return [note for note in notes if note is not None]


def _json(result: LearnedMix | None) -> dict[str, Any] | None:
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
    is_held_out = bool((plan.held_out & target.has).any())
    if has_hidden(options):
        trial = _fit(plan, rows, group, Hyperparameters(), options, track, stop=True)
        stop_epoch = max(1, trial[0].fitted.epochs)
        return Hyperparameters(None, stop_epoch, "loss" if is_held_out else None), trial
    if not is_held_out:
        hyperparameters = Hyperparameters(DEFAULT[target.spec.task])
        return hyperparameters, _fit(plan, rows, group, hyperparameters, options, track)
    metric = selection_metric(target, plan.train, options.class_weight)
    values, rankings = grid(target), list[Ranking]()
    trials: list[tuple[Hyperparameters, Heads]] = []
    for C, part in track.each(values, (f"C {n + 1} of {len(values)}" for n in range(len(values)))):
        if _is_past_best(rankings, int((plan.held_out & target.has).sum())):
            break
        trial = _fit(plan, rows, group, Hyperparameters(C), options, part, stop=True)
        refit_epochs = max(1, trial[0].fitted.epochs) if is_learned(target) else None
        x, head = rows.x[group[0]], trial[0]
        rankings.append(rank(target, x, head, plan.train, plan.held_out, metric, options.class_weight))
        trials.append((Hyperparameters(C, refit_epochs, metric), trial))
    return trials[best(rankings, metric, values)]


def _is_past_best(rankings: Sequence[Ranking], rows: int) -> bool:
    """Return whether the last two values of C scored worse, on enough rows, than the best before them.

    Weak regularisation takes longest to fit, so the search ends there.
    """
    scores = [ranking.score for ranking in rankings]
    return rows >= _ENOUGH_ROWS and len(scores) > 2 and max(scores[-2:]) < max(scores[:-2])


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
