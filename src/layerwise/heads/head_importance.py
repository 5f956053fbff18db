"""The learned mix of a head, looked at on so many rows that its many refits don't take too long."""

from dataclasses import replace

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.heads.fit_one import HeadOptions, Way, is_learned, loop_options, loop_task
from layerwise.heads.gradient import fit
from layerwise.heads.head import TaskHead
from layerwise.heads.layer_importance import LearnedMix, explain
from layerwise.labels.splits import Plan
from layerwise.labels.targets import Mask
from layerwise.states import F32, I64

_EXPLAINED = 40_000_000  # numbers in the layers of the rows on which a learned mix is looked at


def show_mix(
    plan: Plan,
    number: int,
    x: F32,
    head: TaskHead,
    way: Way,
    options: HeadOptions,
    draws: int,
    track: Tracker = SILENT,
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
        track: reports the refits.
    """
    target = plan.targets[number]
    if not is_learned(target) or len(target.spec.mix.layers) < 2:
        return None
    wanted = target.has & (plan.train | plan.held)
    some = _some_groups(plan.groups, wanted, _EXPLAINED // (x.shape[0] * x.shape[2]), options.loop.seed)
    task = loop_task(target, x, plan.train, plan.held, options)
    task = replace(
        task,
        x=task.x[:, some],
        target=task.target[some],
        row_mask=task.row_mask[some],
        weight=None if task.weight is None else task.weight[some],
    )
    if not (task.row_mask & ~plan.held[some]).any():
        return None
    loop = loop_options(options, way, int((target.has & plan.train).sum()))
    held, groups, fitted = plan.held[some], plan.groups[some], head.fitted
    if len(some) < wanted.sum():
        alone = replace(task, hidden=None if fitted.hidden is None else len(fitted.hidden[1]))
        fitted = fit([alone], held, loop)[0]
    names = target.spec.mix.layers
    return explain(names, task, fitted, held, groups, loop, draws=draws, seed=loop.seed, track=track)


def _some_groups(groups: I64, wanted: Mask, most: int, seed: int) -> I64:
    """Return numbers of rows, ascending: all that are wanted, or whole groups of about `most` rows."""
    names, own = np.unique(groups[wanted], return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(np.bincount(own)[order]) - np.bincount(own)[order]
    return np.flatnonzero(wanted)[np.isin(own, order[before < most])]
