"""Which rows of a dataset train, which are held out, and which test, for one task or several."""

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

HELD_OUT = 0.2  # of the groups, where the user names no dev part


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The rows that a call is about, and what each is for.

    `rows` are their numbers in the dataset, int64 (n,), or (n, 2) for pairs; rows of one of the `groups` (n,)
    stay together. `train`, `held` and `test` are masks (n,): a held-out row is one of those that say when to
    stop and how much to restrain the weights. Where `refit` is set, they are training rows as well, and the
    saved head is fitted on both.
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
    labelled = [read_target(dataset, spec) for spec in specs]
    rows, docs = _union([found for found, _ in labelled])
    if not len(rows):
        columns = ", ".join(repr(spec.label) for spec in specs)
        raise RequestError(f"no row has a label in {columns}; train needs rows with labels")
    group = text_groups(dataset, docs, groups)
    roles = split_roles(dataset, docs, split) if split is not None else np.full(len(docs), "train")
    train, held, test = roles == "train", roles == "dev", roles == "test"
    targets = tuple(
        make_target(spec, found, scheme, rows, ~test & (train | held))
        for spec, (found, scheme) in zip(specs, labelled, strict=True)
    )
    for target in targets:
        check_target(target, train[target.has])
    notes: list[str] = []
    refit = not held.any()
    if refit:
        held = _hold(targets, group, train, seed)
        train = train & ~held
    if refit and not held.any():
        count = len(np.unique(group[roles == "train"]))
        notes.append(
            f"too few texts to hold some out ({count} that differ and aren't held together), so nothing is chosen or "
            "scored on held-out rows"
        )
    leaked = int(np.isin(group[test], group[~test & (train | held)]).sum())
    if leaked:
        notes.append(
            f"{leaked:,} test rows stand in training as well (the same text, or the same group): the split is yours "
            "and was kept; the test scores may flatter"
        )
    return Plan(rows, group, targets, train, held, test, refit, notes)


def _union(labelled: Sequence[Labelled]) -> tuple[I64, I64]:
    """Return the rows that have a label in any task, and their texts."""
    rows = np.concatenate([found.rows for found in labelled])
    docs = np.concatenate([found.docs for found in labelled])
    first = rows[:, 0] if rows.ndim == 2 else rows
    places = np.unique(first, return_index=True)[1]
    return rows[places], docs[places]


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
