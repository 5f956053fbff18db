"""The learned mix of a head, looked at on so many rows that its many refits don't take too long."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layerwise.learn.fitted import Fitted, LoopOptions, LoopTask
from layerwise.learn.head import TaskHead
from layerwise.learn.learned import LearnedMix, explain
from layerwise.learn.loop import fit
from layerwise.learn.plan import Plan
from layerwise.learn.solve import HeadOptions, Way, is_learned, loop_options, loop_task
from layerwise.learn.targets import Mask
from layerwise.states import F32, I64

_EXPLAINED = 40_000_000  # numbers in the layers of the rows on which a learned mix is looked at


def show_mix(
    plan: Plan, number: int, x: F32, head: TaskHead, way: Way, options: HeadOptions, draws: int
) -> LearnedMix | None:
    """Look at the learned mix of task `number` from several sides; `None` where there is no such mix.

    Of very many rows some are drawn, by whole groups, and the head is fitted to these first, so that all that
    is shown is of the same rows.

    Args:
        plan: the rows, and what each is for.
        number: of the task.
        x: its layers, standardised, float32 (layers, n, width).
        head: fitted without the held-out rows.
        way, options: how it was fitted.
        draws: how many refits on resampled groups make the intervals.
    """
    target = plan.targets[number]
    if not is_learned(target) or len(target.spec.mix.layers) < 2:
        return None
    task = loop_task(target, x, plan.train, plan.held, options)
    loop = loop_options(options, way, int((target.has & plan.train).sum()))
    names, fitted = target.spec.mix.layers, head.fitted
    return show_some(names, task, plan.held, plan.groups, loop, draws=draws, fitted=fitted)


def show_some(
    names: Sequence[str],
    task: LoopTask,
    held: Mask,
    groups: I64,
    options: LoopOptions,
    *,
    draws: int,
    fitted: Fitted | None = None,
) -> LearnedMix | None:
    """Look at the learned mix of a task on all of its rows, or on some, by whole groups; arguments as `explain`'s.

    Without `fitted`, or where not all rows are taken, the head is fitted first. `None` where no row that is
    taken trains.
    """
    numbers = task.x.shape[0] * task.x.shape[2]
    some = _some_groups(groups, task.row_mask, _EXPLAINED // numbers, options.seed)
    weight = None if task.weight is None else task.weight[some]
    taken = replace(
        task, x=task.x[:, some], target=task.target[some], row_mask=task.row_mask[some], weight=weight
    )
    if not (taken.row_mask & ~held[some]).any():
        return None
    if fitted is None or len(some) < task.row_mask.sum():
        fitted = fit([taken], held[some], options)[0]
    return explain(names, taken, fitted, held[some], groups[some], options, draws=draws, seed=options.seed)


def _some_groups(groups: I64, wanted: Mask, most: int, seed: int) -> I64:
    """Return numbers of rows, ascending: all that are wanted, or whole groups of about `most` rows."""
    names, own = np.unique(groups[wanted], return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(np.bincount(own)[order]) - np.bincount(own)[order]
    return np.flatnonzero(wanted)[np.isin(own, order[before < most])]
