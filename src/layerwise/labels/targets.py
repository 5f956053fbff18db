"""The target of each task: its rows, its classes, and its labels as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.labels.sentences import tagged
from layerwise.labels.values import TASKS, Labelled, read_labels
from layerwise.mixes import Mix
from layerwise.states import I64, Layered

Mask = NDArray[np.bool_]


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


def read_target(dataset: Layered, spec: TaskSpec) -> tuple[Labelled, str | None]:
    """Return the labels of a task, tags in IOB2, and the original scheme of the tags.

    A text with an untagged word is left out as a whole, since the next tag would follow the wrong word.

    Raises:
        RequestError: a missing column, or labels that are invalid for the task.
    """
    if spec.label_separator == "":
        raise RequestError(
            f"{argument('label_separator', '')} is empty, so it separates nothing; "
            "give the text between two labels, such as ';'"
        )
    if spec.label_separator is not None and spec.task != "classify":
        raise RequestError(
            f"{argument('label_separator', spec.label_separator)} goes with {argument('task', 'classify')}, "
            f"not {argument('task', spec.task)}; leave it out"
        )
    labelled = read_labels(dataset, spec.task, spec.label, spec.label_separator)
    if spec.task != "tag" or not len(labelled):
        return labelled, None
    return tagged(labelled)


def make_target(
    spec: TaskSpec, labelled: Labelled, scheme: str | None, rows: I64, in_training: Mask
) -> Target:
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
        scheme=scheme,
    )


def _classes(task: str, labelled: Labelled, in_training: Mask) -> tuple[str, ...]:
    if task == "regress":
        return ()
    values = labelled.values[in_training]
    names = {label for labels in values for label in labels} if labelled.multi else set(values)
    return tuple(sorted(names, key=lambda name: (task == "tag" and name != "O", name)))


def encode(values: NDArray[Any], classes: Sequence[str], multi: bool) -> NDArray[Any]:
    """Return labels as class numbers, -1 if not in `classes`, int64 (n,); `multi`: 0 or 1, float32 (n, K)."""
    number: Mapping[str, int] = {name: position for position, name in enumerate(classes)}
    if not multi:
        return np.array([number.get(value, -1) for value in values], np.int64)
    out = np.zeros((len(values), len(classes)), np.float32)
    for row, labels in zip(out, values, strict=True):
        row[[number[label] for label in labels if label in number]] = 1
    return out


def check_target(target: Target, train: Mask) -> None:
    """Check that there is something to learn; `train` (m,) marks the labelled rows for training.

    Raises:
        RequestError: no training rows, constant numbers, a class per row, or a single class.
    """
    spec, rows = target.spec, int(train.sum())
    subject = f"task {spec.task!r}, column {spec.label!r}"
    if not rows:
        raise RequestError(f"{subject}: none of the training rows has a label; give rows with labels")
    if spec.task == "regress":
        values = np.asarray(target.y[train], np.float64)
        if values.std() == 0:
            raise RequestError(
                f"{subject}: all {rows} numbers are {values[0]:g}, so nothing varies; name another column"
            )
        return
    if target.multi:
        if not target.classes:
            raise RequestError(f"{subject}: no row has a label in its list; give some that have")
        return
    present = np.unique(target.y[train])
    if rows > 2 and len(present) >= rows:
        raise RequestError(
            f"{subject}: {len(present)} classes for {rows} rows leave nothing to learn; for numbers use --task regress"
        )
    if len(present) < 2:
        name = target.classes[int(present[0])]
        raise RequestError(
            f"{subject}: all {rows} training rows have the label {name!r:.60}; {spec.task} needs two or more classes"
        )


def check_task(task: str) -> str:
    """Return `task` if it is one of `TASKS`.

    Raises:
        RequestError: an unknown task; the message lists the known ones.
    """
    if task not in TASKS:
        raise RequestError(f"task {task!r} doesn't exist; choose one of {', '.join(TASKS)}")
    return task
