"""The plan of a training: the targets of its tasks, and the role of each labelled row.

All tasks share the rows that have a label for at least one task. Each row is for training, held out, or for testing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import I64
from layerwise.errors import RequestError
from layerwise.labels.conflicts import conflict_note
from layerwise.labels.folds import holdout, split_roles
from layerwise.labels.groups import Division, Grouping, group_rows, leak_note
from layerwise.labels.labelled import (
    Labelled,
    Mask,
    check_classes,
    check_labelled,
    check_numbers,
    class_names,
    encode,
    read_labels,
    separator_note,
)
from layerwise.labels.unknown import match_classes, unknown_note
from layerwise.mixes import Mix
from layerwise.states import Layered
from layerwise.wording import Message

HELD_OUT = 0.2  # share of the groups that is held out if the user names no dev part


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task as the user specifies it: `task` is one of `TASKS`, `label` a column."""

    name: str
    task: str
    label: str
    mix: Mix
    label_separator: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One task with its labels, on the rows that all tasks of a training share.

    Attributes:
        spec: the task.
        has: the shared rows that have a label, bool (n,).
        gold: the labels of these rows, (m,): strings, tuples, or float64; tags in IOB2.
        docs: the texts of these rows, int64 (m,).
        classes: the names of the outputs; none for `regress`.
        y: the labels as numbers (m,): class numbers (-1 for a class without training rows), float64, or
            0 and 1 as float32 (m, K) where `multi`.
        multi: whether a row may have several labels.
        dropped: the number of rows without a label.
        scheme: the original scheme of the tags.
    """

    spec: TaskSpec
    has: Mask
    gold: NDArray[Any]
    docs: I64
    classes: tuple[str, ...]
    y: NDArray[Any]
    multi: bool
    dropped: int
    scheme: str | None = None

    @property
    def outputs(self) -> int:
        """The number of outputs of the head."""
        return len(self.classes) or 1


@dataclass(frozen=True, slots=True, eq=False)
class SplitPlan:
    """The labelled rows of a training and their roles.

    `rows` are their numbers in the dataset, int64 (n,), or (n, 2) for pairs; rows of one group of `grouping`
    have the same role, unless a column gives the roles. `train`, `held_out` and `test` are masks (n,):
    held-out rows choose the regularisation and the number of epochs. If `refit` is set, they are training rows
    as well, and the saved head is fitted on both.
    """

    rows: I64
    grouping: Grouping
    targets: tuple[Target, ...]
    train: Mask
    held_out: Mask
    test: Mask
    refit: bool
    notes: list[Message] = field(default_factory=list)

    @property
    def groups(self) -> I64:
        """The group of each row, int64 (n,)."""
        return self.grouping.groups


def _read(
    dataset: Layered, specs: Sequence[TaskSpec]
) -> tuple[list[TaskSpec], list[Labelled], list[Message]]:
    """Return the tasks, their labels, and notes on a separator that divides no cell.

    Of several tasks those whose cells it divides have several labels per row; the others don't use it.
    """
    labelled = [_labels(dataset, spec) for spec in specs]
    notes = [
        separator_note(task_labels, spec.label, spec.label_separator)
        for spec, task_labels in zip(specs, labelled, strict=True)
    ]
    is_used = any(
        note is None and spec.label_separator is not None for spec, note in zip(specs, notes, strict=True)
    )
    if not is_used:
        return [*specs], labelled, [note for note in notes if note is not None]
    tasks = [
        spec if note is None else replace(spec, label_separator=None)
        for spec, note in zip(specs, notes, strict=True)
    ]
    labelled = [
        task_labels if note is None else _labels(dataset, spec)
        for spec, task_labels, note in zip(tasks, labelled, notes, strict=True)
    ]
    alone = [
        Message("note.separator.task", task=repr(spec.name))
        for spec, note in zip(tasks, notes, strict=True)
        if note is not None
    ]
    return tasks, labelled, alone


def _labels(dataset: Layered, spec: TaskSpec) -> Labelled:
    return read_labels(dataset, spec.task, spec.label, spec.label_separator)


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
        groups: a column; rows with equal values, as well as identical texts, stay together. Documents do without it.
        split: a column of `train`, `dev` and `test`; without `dev` a part of `train` is held out.
        seed: the seed of the choice of held-out rows.

    Raises:
        RequestError: a missing column, no rows to train on, or too few classes.
    """
    specs, labelled, separator_notes = _read(dataset, specs)
    rows, docs = _union(labelled)
    check_labelled(len(rows), [spec.label for spec in specs])
    roles = split_roles(dataset, docs, split) if split is not None else np.full(len(docs), "train")
    train, held_out, test = roles == "train", roles == "dev", roles == "test"
    targets = tuple(
        _target(spec, task_labels, rows, train | held_out)
        for spec, task_labels in zip(specs, labelled, strict=True)
    )
    for target in targets:
        _check_target(target, train[target.has])
    notes = [note for task_labels in labelled for note in task_labels.notes]
    notes += separator_notes
    notes += [note for target in targets for note in _unseen_in_test(target, test)]
    conflicts = (conflict_note(dataset, target.docs, target.gold) for target in targets)
    notes += [note for note in conflicts if note is not None]
    refit = not held_out.any()
    division = Division(
        (train, held_out),
        automatic=refit,
        labels=[_classes_of_rows(target, train) for target in targets if _has_one_class(target)],
    )
    grouping = group_rows(dataset, docs, groups, division)
    notes += grouping.notes
    if refit:
        held_out = _choose_held_out(targets, grouping.groups, train, seed)
        train = train & ~held_out
    if refit and not held_out.any():
        count = len(np.unique(grouping.groups[roles == "train"]))
        notes.append(Message("note.few.texts", n=count))
    leak = leak_note(grouping, test, train | held_out)
    notes += [leak] if leak else []
    return SplitPlan(rows, grouping, targets, train, held_out, test, refit, notes)


def _target(spec: TaskSpec, labelled: Labelled, rows: I64, in_training: Mask) -> Target:
    """Return a task on shared rows, int64 (n,) or (n, 2); classes are those of the rows `in_training`, bool (n,)."""
    first, task_rows = (part[:, 0] if part.ndim == 2 else part for part in (rows, labelled.rows))
    has = np.isin(first, task_rows)
    classes = _classes(spec.task, labelled, in_training[has])
    return Target(
        spec=spec,
        has=has,
        gold=labelled.values,
        docs=labelled.docs,
        classes=classes,
        y=encode(labelled.values, classes, labelled.multi) if classes else labelled.values,
        multi=labelled.multi,
        dropped=labelled.dropped,
        scheme=labelled.scheme,
    )


def _classes(task: str, labelled: Labelled, in_training: Mask) -> tuple[str, ...]:
    """Return the classes of the training rows, in order; among tags O comes first."""
    if task == "regress":
        return ()
    names = class_names(labelled.values[in_training], labelled.multi)
    return tuple(sorted(names, key=lambda name: task == "tag" and name != "O"))


def _check_target(target: Target, train: Mask) -> None:
    """Check that there is something to learn; `train` (m,) marks the labelled rows for training.

    Raises:
        RequestError: no training rows, constant numbers, a class per row, or a single class.
    """
    spec, rows = target.spec, int(train.sum())
    check_labelled(rows, [spec.label], part="training")
    if spec.task == "regress":
        check_numbers(np.asarray(target.y[train], np.float64), spec.label)
        return
    if target.multi:
        if not target.classes:
            raise RequestError(
                f"column {spec.label!r}: the list of labels of every training row is empty; give rows with labels"
            )
        return
    present = np.unique(target.y[train])
    check_classes(len(present), rows, spec.label)
    if len(present) < 2:
        name = target.classes[int(present[0])]
        raise RequestError(
            f"column {spec.label!r}: all {rows} training rows have the label {name!r:.60}; "
            f"{spec.task} needs two or more classes"
        )


def _unseen_in_test(target: Target, test: Mask) -> list[Message]:
    """Return a note on the labels of test rows, bool (n,), that no training row has."""
    gold = target.gold[test[target.has]]
    if not len(gold) or not target.classes:
        return []
    _, unknown = match_classes(gold, target.classes, multi=target.multi)
    return [unknown_note(unknown, len(gold))] if unknown else []


def _union(labelled: Sequence[Labelled]) -> tuple[I64, I64]:
    """Return the rows that have a label in any task, and their texts."""
    rows = np.concatenate([task_labels.rows for task_labels in labelled])
    docs = np.concatenate([task_labels.docs for task_labels in labelled])
    first = rows[:, 0] if rows.ndim == 2 else rows
    places = np.unique(first, return_index=True)[1]
    return rows[places], docs[places]


def _choose_held_out(targets: Sequence[Target], groups: I64, train: Mask, seed: int) -> Mask:
    """Return the training rows to hold out; none if the other rows wouldn't suffice for training."""
    held_out = np.zeros(len(train), bool)
    if len(np.unique(groups[train])) < 2:
        return held_out
    classes = (
        _class_of_row(targets[0])[train] if len(targets) == 1 and targets[0].spec.task == "classify" else None
    )
    held_out[train] = holdout(groups[train], classes, HELD_OUT, seed)
    train_left = train & ~held_out
    for target in targets:
        task_train = train_left[target.has]
        is_numeric = target.spec.task == "regress" or target.multi
        if (
            not task_train.any()
            or not (held_out[target.has]).any()
            or (not is_numeric and len(np.unique(target.y[task_train])) < 2)
        ):
            return np.zeros(len(train), bool)
    return held_out


def _has_one_class(target: Target) -> bool:
    return target.spec.task == "classify" and not target.multi


def _classes_of_rows(target: Target, rows: Mask) -> NDArray[Any]:
    """Return the label of each of `rows`, bool (n,), as objects (n,); `None` for others and for rows without a label."""
    labels = np.full(len(rows), None, object)
    labels[target.has] = target.gold
    labels[~rows] = None
    return labels


def _class_of_row(target: Target) -> I64:
    """Return the class to spread evenly over the parts, int64 (n,); 0 for rows without a label."""
    classes = np.zeros(len(target.has), np.int64)
    class_numbers = {value: number for number, value in enumerate(dict.fromkeys(target.gold.tolist()))}
    classes[target.has] = [class_numbers[value] for value in target.gold]
    return classes
