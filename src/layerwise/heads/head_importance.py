"""Explain the learned mix of a head on a sample of rows, small enough that the many refits stay fast."""

from dataclasses import replace

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.heads.fit_one import HeadOptions, Hyperparameters, is_learned, loop_options, loop_task
from layerwise.heads.gradient import fit
from layerwise.heads.head import TaskHead
from layerwise.heads.layer_importance import LearnedMix, explain
from layerwise.labels.labelled import Mask
from layerwise.labels.plan import SplitPlan
from layerwise.states import F32, I64

_MAX_NUMBERS = 40_000_000  # layers × rows × width of the sample on which a learned mix is explained


def show_mix(
    plan: SplitPlan,
    number: int,
    x: F32,
    head: TaskHead,
    hyperparameters: Hyperparameters,
    options: HeadOptions,
    draws: int,
    track: Tracker = SILENT,
) -> LearnedMix | None:
    """Return the explanation of the learned mix of task `number`; `None` if it has no learned mix.

    Large datasets are sampled by whole groups, and the head is first fitted to the sample, so that all results
    are about the same rows.

    Args:
        plan: the rows and their roles.
        number: the position of the task in the plan.
        x: the layers of the task, standardised, float32 (layers, n, width).
        head: the head, fitted without the held-out rows.
        hyperparameters, options: how it was fitted.
        draws: the number of refits on resampled groups for the intervals.
        track: reports the refits.
    """
    target = plan.targets[number]
    if not is_learned(target) or len(target.spec.mix.layers) < 2:
        return None
    labelled = target.has & (plan.train | plan.held)
    chosen = _sample_groups(
        plan.groups, labelled, _MAX_NUMBERS // (x.shape[0] * x.shape[2]), options.loop.seed
    )
    task = loop_task(target, x, plan.train, plan.held, options)
    task = replace(
        task,
        x=task.x[:, chosen],
        target=task.target[chosen],
        row_mask=task.row_mask[chosen],
        weight=None if task.weight is None else task.weight[chosen],
    )
    if not (task.row_mask & ~plan.held[chosen]).any():
        return None
    loop = loop_options(options, hyperparameters, int((target.has & plan.train).sum()))
    held, groups, fitted = plan.held[chosen], plan.groups[chosen], head.fitted
    if len(chosen) < labelled.sum():
        alone = replace(task, hidden=None if fitted.hidden is None else len(fitted.hidden[1]))
        fitted = fit([alone], held, loop)[0]
    names = target.spec.mix.layers
    return explain(names, task, fitted, held, groups, loop, draws=draws, seed=loop.seed, track=track)


def _sample_groups(groups: I64, labelled: Mask, max_rows: int, seed: int) -> I64:
    """Return numbers of labelled rows, ascending: all, or whole groups of about `max_rows` rows in total."""
    names, group_of_row = np.unique(groups[labelled], return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    rows_before = np.cumsum(np.bincount(group_of_row)[order]) - np.bincount(group_of_row)[order]
    return np.flatnonzero(labelled)[np.isin(group_of_row, order[rows_before < max_rows])]
