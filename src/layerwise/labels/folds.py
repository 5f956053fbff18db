"""Groups of rows, their parts in a split, and folds: training and probing split rows here, by whole groups of texts.

If the same text, or two texts of one author or document, were in the training and in the test part, a head could
score well by remembering them. So rows are linked into groups, and a group is never split.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import is_paired
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


def text_groups(dataset: Layered, docs: I64, column: str | None = None) -> I64:
    """Return the group of each row, int64 (n,); a group is never split.

    The rows of a text are one group; so are identical texts, the two texts of a pair, and texts with equal values
    of `column`. Groups that share a row are joined.

    Raises:
        RequestError: the column doesn't exist.
    """
    text_labels = _text_labels(dataset, docs)
    labels: list[list[NDArray[np.int64]]] = [[_keys(docs.tolist())], text_labels]
    if column is not None:
        values = read_column(dataset, docs, column)
        values_or_docs = [
            f"missing {doc}" if value is None else value for doc, value in zip(docs, values, strict=True)
        ]
        labels.append([_keys([str(value) for value in values_or_docs])])
    return _components(len(docs), labels)


def _text_labels(dataset: Layered, docs: I64) -> list[NDArray[np.int64]]:
    """Return a number per row that is equal for identical texts, once for each text of a pair.

    Without stored texts, each text has its own number.
    """
    text_of_doc: dict[int, Any] = {}
    for part in dataset.parts():
        texts = part.texts
        numbers = texts["doc"].to_pylist()
        text_of_doc.update(
            zip(numbers, texts["text"].to_pylist() if "text" in texts.column_names else numbers, strict=True)
        )
    docs_of_parts = [docs, docs + 1] if is_paired(dataset) else [docs]
    keys = _keys([text_of_doc[int(doc)] for part_docs in docs_of_parts for doc in part_docs])
    return np.split(keys, len(docs_of_parts))


def _keys(values: list[Any]) -> NDArray[np.int64]:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _components(count: int, labels: list[list[NDArray[np.int64]]]) -> I64:
    """Return the connected components of rows that share a label; each list in `labels` has its own namespace."""
    rows, columns, offset = [], [], count
    for kind in labels:
        for label in kind:
            rows.append(np.arange(count))
            columns.append(label + offset)
        offset += 1 + max(int(label.max(initial=-1)) for label in kind)
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), bool), (row, column)), shape=(offset, offset))
    components = connected_components(graph, directed=False)[1][:count]
    return _keys(components.tolist())


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


def leak_note(groups: I64, test: Mask, other_parts: Mask) -> str | None:
    """Return a note on the test rows whose group is in another part of the user's split as well; `None` without any.

    Args:
        groups: the group of each row, int64 (n,); identical texts are in one group.
        test: the rows of the test part, bool (n,).
        other_parts: the rows of the parts that the head is fitted to, or chosen by, bool (n,).
    """
    leaked = int(np.isin(groups[test], groups[other_parts]).sum())
    if not leaked:
        return None
    return (
        f"{leaked:,} test rows are in the training part as well (the same text, or the same group): your split "
        "was kept, so the test scores may be too high"
    )


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
    return stratified_folds(groups, classes, folds, seed)[0]
