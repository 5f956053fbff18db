"""What each task is to learn: its rows, its classes, and its labels as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import RequestError
from layerwise.learn.folds import holdout, split_roles, text_groups
from layerwise.learn.labels import TASKS, Labelled, read_labels
from layerwise.learn.scoring import cut
from layerwise.learn.tags import convert, scheme_of
from layerwise.mix import Mix
from layerwise.states import I64, Layered

Mask = NDArray[np.bool_]
HELD_OUT = 0.2  # of the groups, where the user names no dev part


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


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The rows that a call is about, and what each is for.

    `rows` are their numbers in the dataset, int64 (n,), or (n, 2) for pairs; rows of one of the `groups` (n,)
    stay together. `train`, `held` and `test` are
    masks (n,): a held-out row is one of those that say when to stop and how much to restrain the weights.
    Where `refit` is set, they are training rows as well, and the saved head is fitted on both.
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
) -> Plan:
    """Read the labels of all tasks and say which rows train, are held out, and test.

    Args:
        dataset: where the labels are.
        specs: the tasks.
        groups: a column; rows with equal values, as well as identical texts, stay together.
        split: a column of `train`, `dev` and `test`; without `dev` a part of `train` is held out.
        seed: of the choice of what is held out.

    Raises:
        RequestError: no such column, no rows to train on, or too few classes.
    """
    labelled = [_read(dataset, spec) for spec in specs]
    rows, docs = _union([found for found, _ in labelled])
    if not len(rows):
        columns = ", ".join(repr(spec.label) for spec in specs)
        raise RequestError(f"no row has a label in {columns}; train needs rows with labels")
    group = text_groups(dataset, docs, groups)
    roles = split_roles(dataset, docs, split) if split is not None else np.full(len(docs), "train")
    train, held, test = roles == "train", roles == "dev", roles == "test"
    targets = tuple(
        _target(spec, found, scheme, rows, ~test & (train | held))
        for spec, (found, scheme) in zip(specs, labelled, strict=True)
    )
    for target in targets:
        _check(target, train[target.has])
    notes: list[str] = []
    refit = not held.any()
    if refit:
        held = _hold(targets, group, train, seed)
        train = train & ~held
    if refit and not held.any():
        notes.append("too few texts to hold some out, so nothing is chosen or scored on held-out rows")
    return Plan(rows, group, targets, train, held, test, refit, notes)


def _read(dataset: Layered, spec: TaskSpec) -> tuple[Labelled, str | None]:
    if spec.separator is not None and spec.task != "classify":
        raise RequestError(f"--separator {spec.separator!r} goes with task 'classify', not {spec.task!r}")
    found = read_labels(dataset, spec.task, spec.label, spec.separator)
    if spec.task != "tag" or not len(found):
        return found, None
    found = _whole_texts(found)
    sentences = cut(found.values, found.docs)
    scheme = scheme_of(sentences)
    values = np.empty(len(found), object)
    values[:] = [tag for sentence in convert(sentences, scheme) for tag in sentence]
    return Labelled(found.rows, found.docs, values, found.dropped), scheme


def _whole_texts(found: Labelled) -> Labelled:
    """Leave out the texts in which a word has no tag: what follows it would follow the wrong word."""
    bad = np.unique(found.docs[found.values == ""])
    keep = ~np.isin(found.docs, bad)
    return found.take(np.flatnonzero(keep), int((~keep).sum()))


def _union(labelled: Sequence[Labelled]) -> tuple[I64, I64]:
    """Return the rows that have a label in any task, and their texts."""
    rows = np.concatenate([found.rows for found in labelled])
    docs = np.concatenate([found.docs for found in labelled])
    first = rows[:, 0] if rows.ndim == 2 else rows
    places = np.unique(first, return_index=True)[1]
    return rows[places], docs[places]


def _target(spec: TaskSpec, found: Labelled, scheme: str | None, rows: I64, known: Mask) -> Target:
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


def _check(target: Target, train: Mask) -> None:
    spec, rows = target.spec, int(train.sum())
    what = f"task {spec.task!r}, column {spec.label!r}"
    if not rows:
        raise RequestError(f"{what}: none of the training rows has a label; give rows with labels")
    if spec.task == "regress":
        return
    if target.multi:
        if not target.classes:
            raise RequestError(f"{what}: no row has a label in its list; give some that have")
        return
    seen = np.unique(target.y[train])
    if len(seen) < 2:
        name = target.classes[int(seen[0])]
        raise RequestError(
            f"{what}: all {rows} training rows have the label {name!r:.60}; {spec.task} needs two or more classes"
        )


def _hold(targets: Sequence[Target], groups: I64, train: Mask, seed: int) -> Mask:
    """Return which training rows to hold out; none, where what is left couldn't be trained on."""
    held = np.zeros(len(train), bool)
    if len(np.unique(groups[train])) < 2:
        return held
    spread = _spread(targets[0])[train] if len(targets) == 1 and targets[0].spec.task == "classify" else None
    held[train] = holdout(groups[train], spread, HELD_OUT, seed)
    left = train & ~held
    for target in targets:
        own = left[target.has]
        numbers = target.spec.task == "regress" or target.multi
        if (
            not own.any()
            or not (held[target.has]).any()
            or (not numbers and len(np.unique(target.y[own])) < 2)
        ):
            return np.zeros(len(train), bool)
    return held


def _spread(target: Target) -> I64:
    """Return what is to be spread evenly over the parts, int64 (n,), for rows with a label and without."""
    out = np.zeros(len(target.has), np.int64)
    names = {value: place for place, value in enumerate(dict.fromkeys(target.gold.tolist()))}
    out[target.has] = [names[value] for value in target.gold]
    return out


def check_task(task: str) -> str:
    """Return `task` when there is one of that name.

    Raises:
        RequestError: naming those that there are.
    """
    if task not in TASKS:
        raise RequestError(f"task {task!r} doesn't exist; choose one of {', '.join(TASKS)}")
    return task
