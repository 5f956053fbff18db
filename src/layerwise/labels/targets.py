"""What each task is to learn: its rows, its classes, and its labels as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import RequestError
from layerwise.labels.sentences import tagged
from layerwise.labels.values import TASKS, Labelled, read_labels
from layerwise.mixes import Mix
from layerwise.states import I64, Layered

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task as the user names it: `task` is one of `TASKS`, `label` a column."""

    name: str
    task: str
    label: str
    mix: Mix
    separator: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One task with its labels, on rows that all tasks of a call share.

    Attributes:
        spec: the task.
        has: which of the shared rows have a label, bool (n,).
        gold: the labels of those that have one, (m,): strings, tuples, or float64; tags in IOB2.
        docs: the texts of these, int64 (m,).
        classes: the names of the outputs, none for `regress`.
        y: the labels as numbers (m,): class numbers (-1 for a class that training doesn't know), float64, or
            0 and 1 as float32 (m, K) where `multi`.
        multi: whether a row may have several labels.
        dropped: how many rows have no label.
        scheme: what the tags were written in.
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
        """How many numbers the head gives."""
        return len(self.classes) or 1


def read_target(dataset: Layered, spec: TaskSpec) -> tuple[Labelled, str | None]:
    """Return the labels of a task, tags in IOB2, and the scheme that tags were written in.

    A text with a word without a tag is left out as a whole, since what follows would follow the wrong word.

    Raises:
        RequestError: no such column, or labels that the task can't have.
    """
    if spec.separator == "":
        raise RequestError("--separator '' separates nothing; give what stands between labels, such as ';'")
    if spec.separator is not None and spec.task != "classify":
        raise RequestError(f"--separator {spec.separator!r} goes with task 'classify', not {spec.task!r}")
    found = read_labels(dataset, spec.task, spec.label, spec.separator)
    if spec.task != "tag" or not len(found):
        return found, None
    return tagged(found)


def make_target(spec: TaskSpec, found: Labelled, scheme: str | None, rows: I64, known: Mask) -> Target:
    """Return a task on shared rows, int64 (n,) or (n, 2); classes are those of the rows `known`, bool (n,)."""
    first, own = (part[:, 0] if part.ndim == 2 else part for part in (rows, found.rows))
    has = np.isin(first, own)
    classes = _classes(spec.task, found, known[has])
    return Target(
        spec=spec,
        has=has,
        gold=found.values,
        docs=found.docs,
        classes=classes,
        y=encode(found.values, classes, found.multi) if classes else found.values,
        multi=found.multi,
        dropped=found.dropped,
        scheme=scheme,
    )


def _classes(task: str, found: Labelled, known: Mask) -> tuple[str, ...]:
    if task == "regress":
        return ()
    values = found.values[known]
    names = {label for labels in values for label in labels} if found.multi else set(values)
    return tuple(sorted(names, key=lambda name: (task == "tag" and name != "O", name)))


def encode(values: NDArray[Any], classes: Sequence[str], multi: bool) -> NDArray[Any]:
    """Return labels as numbers: of classes, -1 for others, int64 (n,); `multi`: 0 or 1, float32 (n, K)."""
    number: Mapping[str, int] = {name: place for place, name in enumerate(classes)}
    if not multi:
        return np.array([number.get(value, -1) for value in values], np.int64)
    out = np.zeros((len(values), len(classes)), np.float32)
    for row, labels in zip(out, values, strict=True):
        row[[number[label] for label in labels if label in number]] = 1
    return out


def check_target(target: Target, train: Mask) -> None:
    """Make sure that there is something to learn; `train` (m,) says which labelled rows are for training.

    Raises:
        RequestError: no training rows, or a single class.
    """
    spec, rows = target.spec, int(train.sum())
    what = f"task {spec.task!r}, column {spec.label!r}"
    if not rows:
        raise RequestError(f"{what}: none of the training rows has a label; give rows with labels")
    if spec.task == "regress":
        values = np.asarray(target.y[train], np.float64)
        if values.std() == 0:
            raise RequestError(
                f"{what}: all {rows} numbers are {values[0]:g}, so nothing varies; name another column"
            )
        return
    if target.multi:
        if not target.classes:
            raise RequestError(f"{what}: no row has a label in its list; give some that have")
        return
    seen = np.unique(target.y[train])
    if rows > 2 and len(seen) >= rows:
        raise RequestError(
            f"{what}: {len(seen)} classes for {rows} rows leave nothing to learn; for numbers use --task regress"
        )
    if len(seen) < 2:
        name = target.classes[int(seen[0])]
        raise RequestError(
            f"{what}: all {rows} training rows have the label {name!r:.60}; {spec.task} needs two or more classes"
        )


def check_task(task: str) -> str:
    """Return `task` when there is one of that name.

    Raises:
        RequestError: naming those that there are.
    """
    if task not in TASKS:
        raise RequestError(f"task {task!r} doesn't exist; choose one of {', '.join(TASKS)}")
    return task
