"""Cutting rows into parts so that nothing of one part is known to another: whole groups, never rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from layerwise.columns import is_paired
from layerwise.errors import RequestError
from layerwise.labels.values import read_column
from layerwise.states import I64, Layered

Mask = NDArray[np.bool_]
ROLES = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "test": "test",
}


def text_groups(dataset: Layered, docs: I64, column: str | None = None) -> I64:
    """Return the group of each row, int64 (n,): rows of one group are never on both sides of a cut.

    A text is a group; identical texts are one group, the two texts of a pair as well, and equal values of
    `column` make their texts one. What is linked in several ways is one group as a whole.

    Raises:
        RequestError: there is no such column.
    """
    said = _texts(dataset, docs)
    labels: list[list[NDArray[np.int64]]] = [[_keys(docs.tolist())], said]
    if column is not None:
        values = read_column(dataset, docs, column)
        missing = [
            f"missing {doc}" if value is None else value for doc, value in zip(docs, values, strict=True)
        ]
        labels.append([_keys([str(value) for value in missing])])
    return _components(len(docs), labels)


def _texts(dataset: Layered, docs: I64) -> list[NDArray[np.int64]]:
    """Number the texts by what they say, those without a text by their own number; of a pair both."""
    known: dict[int, Any] = {}
    for part in dataset.parts():
        texts = part.texts
        numbers = texts["doc"].to_pylist()
        known.update(
            zip(numbers, texts["text"].to_pylist() if "text" in texts.column_names else numbers, strict=True)
        )
    several = [docs, docs + 1] if is_paired(dataset) else [docs]
    keys = _keys([known[int(doc)] for one in several for doc in one])
    return np.split(keys, len(several))


def _keys(values: list[Any]) -> NDArray[np.int64]:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _components(count: int, labels: list[list[NDArray[np.int64]]]) -> I64:
    """Return the connected components of rows that share a label; labels in one list are of one kind."""
    rows, columns, offset = [], [], count
    for kind in labels:
        for label in kind:
            rows.append(np.arange(count))
            columns.append(label + offset)
        offset += 1 + max(int(label.max(initial=-1)) for label in kind)
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), bool), (row, column)), shape=(offset, offset))
    found = connected_components(graph, directed=False)[1][:count]
    return _keys(found.tolist())


def split_roles(dataset: Layered, docs: I64, column: str) -> NDArray[Any]:
    """Return the part of each row, strings (n,): `train`, `dev`, `test`, or "" where the column has nothing.

    `validation`, `valid` and `val` are `dev`, whatever their case.

    Raises:
        RequestError: no such column, a value that is none of these, or no training or test rows.
    """
    roles = []
    for value in read_column(dataset, docs, column):
        text = "" if value is None else str(value).strip().lower()
        if text and text not in ROLES:
            raise RequestError(
                f"--split {column}: {value!r:.60} is no part; the values are train, dev (or validation) and test"
            )
        roles.append(ROLES.get(text, ""))
    out = np.array(roles, dtype="<U5")
    if not (out == "train").any():
        raise RequestError(f"--split {column}: no row is 'train'; the values are train, dev and test")
    return out


def stratified_folds(groups: I64, classes: I64 | None, folds: int, seed: int) -> list[Mask]:
    """Return for each of `folds` folds which rows it holds out, bool (n,); whole groups, classes spread evenly.

    Shuffled groups, the largest first, go to the fold that has the fewest rows of their commonest class,
    then the fewest rows. (scikit-learn's StratifiedGroupKFold spreads alike, and takes seconds where
    thousands of groups are cut again and again.)

    Args:
        groups: the group of each row (n,).
        classes: numbers of classes (n,) to spread, or `None`.
        folds: how many.
        seed: of the shuffle.

    Raises:
        RequestError: fewer groups than folds.
    """
    names, own, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise RequestError(
            f"{len(names)} groups of texts can't be cut into {folds} folds; "
            "identical texts and equal values of --groups stay together: give more texts, or fewer folds"
        )
    kinds = _commonest(own, classes, len(names)) if classes is not None else np.zeros(len(names), np.int64)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    of_kind: dict[int, list[int]] = {}
    total = [0] * folds
    home = np.empty(len(names), np.int64)
    for place in order.tolist():
        mine = of_kind.setdefault(int(kinds[place]), [0] * folds)
        load = list(zip(mine, total, strict=True))
        fold = load.index(min(load))
        home[place] = fold
        mine[fold] += int(sizes[place])
        total[fold] += int(sizes[place])
    return [home[own] == fold for fold in range(folds)]


def _commonest(own: I64, classes: I64, groups: int) -> I64:
    """Return the commonest class of each group."""
    pairs, counts = np.unique(np.stack([own, classes]), axis=1, return_counts=True)
    order = np.argsort(counts, kind="stable")  # the commonest is written last
    out = np.zeros(groups, np.int64)
    out[pairs[0, order]] = pairs[1, order]
    return out


def holdout(groups: I64, classes: I64 | None, share: float, seed: int) -> Mask:
    """Return which rows to hold out, bool (n,): about `share` of them, whole groups, classes spread.

    Raises:
        RequestError: a single group, of which nothing can be held out.
    """
    count = len(np.unique(groups))
    folds = max(2, min(round(1 / share), count))
    if count < 2:
        raise RequestError(
            "all rows belong to one group, so nothing can be held out; give more texts or other --groups"
        )
    return stratified_folds(groups, classes, folds, seed)[0]
