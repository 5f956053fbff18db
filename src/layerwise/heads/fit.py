"""Fitting heads: how much the weights are restrained is chosen on held-out rows, then all rows are fitted.

- a linear head on a fixed mix: scikit-learn, one fit per C of a grid;
- a linear head on a learned mix: the gradient loop, the same way;
- a hidden layer, its own or one that tasks share: the gradient loop; held-out rows say when to stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from layerwise._util.progress import SILENT, Tracker
from layerwise.heads import linear
from layerwise.heads.decode import predicted
from layerwise.heads.fit_one import (
    DEFAULT,
    LOOP_GRID,
    HeadOptions,
    Way,
    has_hidden,
    is_learned,
    solve,
)
from layerwise.heads.head import TaskHead
from layerwise.heads.head_importance import show_mix
from layerwise.heads.layer_importance import LearnedMix
from layerwise.heads.mixing import Planes, read_planes, standardise
from layerwise.heads.weights import Fitted, apply
from layerwise.labels.scoring import Score, score
from layerwise.labels.splits import Plan
from layerwise.labels.targets import Mask, Target
from layerwise.mixes import layer_stats
from layerwise.states import F32, Layered

_MANY = 2000  # held-out rows on which a worse score is no accident


@dataclass(frozen=True, slots=True, eq=False)
class FittedTask:
    """A head, and how it came about: held-out scores are those of a head that hasn't seen these rows.

    `C` is `None` for hidden layers and `epochs` for scikit-learn's solvers; `alone` are the held-out
    scores of the task without the others, where they share a hidden layer; `learned` is what a learned mix
    shows of itself, fitted without the held-out rows.
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
    dataset: Layered, plan: Plan, options: HeadOptions, draws: int = 20, track: Tracker = SILENT
) -> tuple[FittedTask, ...]:
    """Fit a head per task of `plan` to the rows of `dataset`, all from one reading of the layers.

    A mix with `norm=layer` is read once more for the last fit, since its statistics are those of other rows.
    `draws` is how often groups are resampled for the intervals of a learned mix.
    """
    reading, working = track.split(1, 9)
    reading.named("reading the layers")
    rows = _Rows.read(dataset, plan, plan.train)
    groups = (
        [[*range(len(plan.targets))]] if options.shared_hidden else [[n] for n in range(len(plan.targets))]
    )
    out: dict[int, FittedTask] = {}
    choosing, rereading, ending = working.split(*_phases(plan, groups, options, draws))
    costs = [_cost(plan, group, options) for group in groups]
    names = [_name(plan, group) for group in groups]
    chosen = [
        _choose(plan, rows, group, options, part) for group, part in choosing.each(groups, names, costs)
    ]
    final = rows
    if plan.refit and plan.held.any():
        rereading.named("all rows")
        normed = any(target.spec.mix.norm for target in plan.targets)
        final = _Rows.read(dataset, plan, plan.train | plan.held) if normed else rows
        final = final.standardised(plan, plan.train | plan.held)
    work = list(zip(groups, chosen, strict=True))
    for (group, (way, trial)), part in ending.each(work, names, costs):
        refitting, *showing = part.split(1, *[1.0 + draws] * len(group))
        last = trial
        if final is not rows:
            last = _fit(plan, final, group, way, options, refitting.named("fit on all rows"))
        for place, number in enumerate(group):
            alone = None
            if len(group) > 1:
                _, single = _choose(plan, rows, [number], options, showing[place].named("alone"))
                alone = _scores(plan, rows, number, single.heads[0], plan.held)
            out[number] = FittedTask(
                head=last.heads[place],
                C=way.C,
                epochs=way.epochs,
                converged=last.converged,
                held_out=_scores(plan, rows, number, trial.heads[place], plan.held),
                test=_scores(plan, final, number, last.heads[place], plan.test),
                alone=alone,
                learned=show_mix(
                    plan, number, rows.x[number], trial.heads[place], way, options, draws, showing[place]
                ),
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


def _name(plan: Plan, group: Sequence[int]) -> str:
    return f"task {' and '.join(plan.targets[number].spec.name for number in group)}"


def _cost(plan: Plan, group: Sequence[int], options: HeadOptions) -> float:
    """Return about how long the fits of some tasks take, against those of others: the numbers that they read."""
    return float(sum(len(plan.targets[number].spec.mix.layers) for number in group)) or 1.0


def _phases(
    plan: Plan, groups: Sequence[Sequence[int]], options: HeadOptions, draws: int
) -> tuple[float, float, float]:
    """Return how many fits there are before all rows are read again, what that costs, and how many follow."""
    before = behind = 0.0
    for group in groups:
        targets, cost = [plan.targets[number] for number in group], _cost(plan, group, options)
        learned = [len(t.spec.mix.layers) for t in targets if is_learned(t)]
        tried = (
            1 if has_hidden(options) else len(LOOP_GRID["classify"] if learned else linear.grid("classify"))
        )
        alone = len(group) if len(group) > 1 else 0
        behind += cost * (1 + alone + sum(1 + layers + draws for layers in learned))
        before += cost * tried
    return before, 0.1, behind


def _choose(
    plan: Plan, rows: _Rows, group: Sequence[int], options: HeadOptions, track: Tracker
) -> tuple[Way, _Trial]:
    """Return how far to restrain the heads of some tasks, and the heads fitted so without the held-out rows."""
    target = plan.targets[group[0]]
    if has_hidden(options):
        trial = _fit(plan, rows, group, Way(), options, track, stop=True)
        return Way(None, max(1, trial.heads[0].fitted.epochs)), trial
    kind = target.spec.task
    if not (plan.held & target.has).any():
        way = Way(DEFAULT[kind])
        return way, _fit(plan, rows, group, way, options, track)
    grid = LOOP_GRID[kind] if is_learned(target) else linear.grid(kind)
    many = int((plan.held & target.has).sum()) >= _MANY
    tried: list[tuple[tuple[float, float], Way, _Trial]] = []
    for C, part in track.each(grid, (f"C {n + 1} of {len(grid)}" for n in range(len(grid)))):
        if len(tried) > 2 and many and max(tried[-1][0], tried[-2][0]) < max(rank for rank, *_ in tried[:-2]):
            break  # freer weights take longest, and two steps have been worse
        trial = _fit(plan, rows, group, Way(C), options, part, stop=True)
        epochs = max(1, trial.heads[0].fitted.epochs) if is_learned(target) else None
        found = _scores(plan, rows, group[0], trial.heads[0], plan.held)
        assert found is not None  # there are held-out rows with a label
        rank = (found.main(options.balance), -_loss(plan, rows, group[0], trial.heads[0]))
        tried.append((rank, Way(C, epochs), trial))
    # Few held-out rows often score alike: then the likelihood of their labels decides.
    _, way, trial = max(tried, key=lambda entry: entry[0])
    return way, trial


def _fit(
    plan: Plan,
    rows: _Rows,
    group: Sequence[int],
    way: Way,
    options: HeadOptions,
    track: Tracker,
    *,
    stop: bool = False,
) -> _Trial:
    """Fit the heads of some tasks; with `stop`, held-out rows say when, and no head is fitted to them."""
    nothing = np.zeros_like(plan.held)
    fitting = plan.train | (plan.held if plan.refit and not stop else nothing)
    fitted, converged = solve(
        [plan.targets[number] for number in group],
        [rows.x[number] for number in group],
        fitting,
        plan.held if stop else nothing,
        way,
        options,
        track,
    )
    heads = tuple(
        _head(plan.targets[number], rows, number, one) for number, one in zip(group, fitted, strict=True)
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
