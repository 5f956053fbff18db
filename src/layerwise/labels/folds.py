"""The parts of a user's split, and folds: training and probing divide rows here, by whole groups (`labels/groups.py`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.errors import RequestError
from layerwise.labels.labelled import Mask, read_column
from layerwise.states import Layered

ROLES = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "test": "test",
}


def split_roles(dataset: Layered, docs: I64, column: str) -> NDArray[Any]:
    """Return the part of each row, strings (n,): `train`, `dev`, `test`, or "" where the column is empty.

    `validation`, `valid` and `val` mean `dev`; upper and lower case are equal.

    Raises:
        RequestError: a missing column, another value, or no training rows.
    """
    roles = []
    for value in read_column(dataset, docs, column):
        text = "" if value is None else str(value).strip().lower()
        if text and text not in ROLES:
            raise RequestError(
                f"{argument('split', column)}: {value!r:.60} isn't a part; the values are train, dev (or validation) "
                "and test"
            )
        roles.append(ROLES.get(text, ""))
    out = np.array(roles, dtype="<U5")
    if not (out == "train").any():
        raise RequestError(
            f"{argument('split', column)}: no row is 'train'; the values are train, dev and test"
        )
    return out


def check_groups(count: int, folds: int) -> None:
    """Raise RequestError if `count` groups are fewer than `folds` folds."""
    if count < folds:
        groups = argument("groups")
        raise RequestError(
            f"{count} groups of texts can't be split into {folds} folds: identical texts, the texts of a pair and "
            f"texts with equal values of {groups} stay together; give more texts, finer {groups}, a larger "
            f"{argument('max_rows')}, or your own {argument('split')}"
        )


def stratified_folds(groups: I64, classes: I64 | None, folds: int, seed: int) -> list[Mask]:
    """Return the rows that each of `folds` folds holds out, bool (n,); whole groups, classes spread evenly.

    The groups are shuffled, then sorted, the largest first. Each goes to the fold with the fewest rows of its
    commonest class; of several such folds, to the one with the fewest rows. (scikit-learn's StratifiedGroupKFold spreads
    classes in a similar way, but takes seconds when thousands of groups are split many times.)

    Args:
        groups: the group of each row (n,).
        classes: class numbers (n,) to spread evenly, or `None`.
        folds: the number of folds.
        seed: the seed of the shuffle.

    Raises:
        RequestError: fewer groups than folds.
    """
    names, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    check_groups(len(names), folds)
    no_classes = np.zeros(len(names), np.int64)
    class_of_group = no_classes if classes is None else _commonest(group_of_row, classes, len(names))
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load_of_class: dict[int, list[int]] = {}
    total_load = [0] * folds
    fold_of_group = np.empty(len(names), np.int64)
    for group in order.tolist():
        class_load = load_of_class.setdefault(int(class_of_group[group]), [0] * folds)
        load = list(zip(class_load, total_load, strict=True))
        fold = load.index(min(load))
        fold_of_group[group] = fold
        class_load[fold] += int(sizes[group])
        total_load[fold] += int(sizes[group])
    return [fold_of_group[group_of_row] == fold for fold in range(folds)]


def _commonest(group_of_row: I64, classes: I64, groups: int) -> I64:
    """Return the commonest class of each group."""
    pairs, counts = np.unique(np.stack([group_of_row, classes]), axis=1, return_counts=True)
    order = np.argsort(counts, kind="stable")  # the commonest class is assigned last
    out = np.zeros(groups, np.int64)
    out[pairs[0, order]] = pairs[1, order]
    return out


def holdout(groups: I64, classes: I64 | None, share: float, seed: int) -> Mask:
    """Return the rows to hold out, bool (n,): about `share` of them, whole groups, classes spread evenly.

    The first fold has the largest group; if that makes it much too large, the next one that isn't is held out.

    Raises:
        RequestError: only one group, so nothing can be held out.
    """
    count = len(np.unique(groups))
    folds = max(2, min(round(1 / share), count))
    if count < 2:
        raise RequestError(
            "all rows belong to one group, so nothing can be held out; give more texts, or another column for "
            f"{argument('groups')}"
        )
    most = 1.5 * len(groups) / folds
    return min(stratified_folds(groups, classes, folds, seed), key=lambda rows: max(0.0, rows.sum() - most))
