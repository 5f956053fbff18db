"""Decide which rows of a dataset are for training, held out, or for testing, for one task or several."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from layerwise.errors import RequestError
from layerwise.labels.folds import holdout, split_roles, text_groups
from layerwise.labels.targets import (
    Mask,
    Target,
    TaskSpec,
    check_target,
    make_target,
    read_target,
)
from layerwise.labels.values import Labelled
from layerwise.states import I64, Layered

HELD_OUT = 0.2  # share of the groups that is held out if the user names no dev part


@dataclass(frozen=True, slots=True, eq=False)
class SplitPlan:
    """The labelled rows of a training and their roles.

    `rows` are their numbers in the dataset, int64 (n,), or (n, 2) for pairs; rows with the same number in
    `groups` (n,) have the same role, unless a column gives the roles. `train`, `held` and `test` are masks (n,):
    held-out rows choose the regularisation and the number of epochs. If `refit` is set, they are training rows
    as well, and the saved head is fitted on both.
    """

    rows: I64
    groups: I64
    targets: tuple[Target, ...]
    train: Mask
    held: Mask
    test: Mask
    refit: bool
    notes: list[str] = field(default_factory=list)


def make_plan(
    dataset: Layered,
    specs: Sequence[TaskSpec],
    *,
    groups: str | None = None,
    split: str | None = None,
    seed: int = 0,
) -> SplitPlan:
    """Read the labels of all tasks and decide which rows are for training, held out, or for testing.

    Args:
        dataset: the dataset with the labels.
        specs: the tasks.
        groups: a column; rows with equal values, as well as identical texts, stay together.
        split: a column of `train`, `dev` and `test`; without `dev` a part of `train` is held out.
        seed: the seed of the choice of held-out rows.

    Raises:
        RequestError: a missing column, no rows to train on, or too few classes.
    """
    labelled = [read_target(dataset, spec) for spec in specs]
    rows, docs = _union([task_labels for task_labels, _ in labelled])
    if not len(rows):
        columns = ", ".join(repr(spec.label) for spec in specs)
        raise RequestError(f"no row has a label in {columns}; train needs rows with labels")
    row_groups = text_groups(dataset, docs, groups)
    roles = split_roles(dataset, docs, split) if split is not None else np.full(len(docs), "train")
    train, held, test = roles == "train", roles == "dev", roles == "test"
    targets = tuple(
        make_target(spec, task_labels, scheme, rows, ~test & (train | held))
        for spec, (task_labels, scheme) in zip(specs, labelled, strict=True)
    )
    for target in targets:
        check_target(target, train[target.has])
    notes: list[str] = []
    refit = not held.any()
    if refit:
        held = _choose_held_out(targets, row_groups, train, seed)
        train = train & ~held
    if refit and not held.any():
        count = len(np.unique(row_groups[roles == "train"]))
        notes.append(
            f"too few texts to hold some out ({count} groups), so no option is chosen and no score computed on "
            "held-out rows"
        )
    leaked = int(np.isin(row_groups[test], row_groups[~test & (train | held)]).sum())
    if leaked:
        notes.append(
            f"{leaked:,} test rows are in the training part as well (the same text, or the same group): your split "
            "was kept, so the test scores may be too high"
        )
    return SplitPlan(rows, row_groups, targets, train, held, test, refit, notes)


def _union(labelled: Sequence[Labelled]) -> tuple[I64, I64]:
    """Return the rows that have a label in any task, and their texts."""
    rows = np.concatenate([task_labels.rows for task_labels in labelled])
    docs = np.concatenate([task_labels.docs for task_labels in labelled])
    first = rows[:, 0] if rows.ndim == 2 else rows
    places = np.unique(first, return_index=True)[1]
    return rows[places], docs[places]


def _choose_held_out(targets: Sequence[Target], groups: I64, train: Mask, seed: int) -> Mask:
    """Return the training rows to hold out; none if the other rows wouldn't suffice for training."""
    held = np.zeros(len(train), bool)
    if len(np.unique(groups[train])) < 2:
        return held
    classes = (
        _class_of_row(targets[0])[train] if len(targets) == 1 and targets[0].spec.task == "classify" else None
    )
    held[train] = holdout(groups[train], classes, HELD_OUT, seed)
    train_left = train & ~held
    for target in targets:
        task_train = train_left[target.has]
        is_numeric = target.spec.task == "regress" or target.multi
        if (
            not task_train.any()
            or not (held[target.has]).any()
            or (not is_numeric and len(np.unique(target.y[task_train])) < 2)
        ):
            return np.zeros(len(train), bool)
    return held


def _class_of_row(target: Target) -> I64:
    """Return the class to spread evenly over the parts, int64 (n,); 0 for rows without a label."""
    classes = np.zeros(len(target.has), np.int64)
    class_numbers = {value: number for number, value in enumerate(dict.fromkeys(target.gold.tolist()))}
    classes[target.has] = [class_numbers[value] for value in target.gold]
    return classes
