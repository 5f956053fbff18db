"""The units that a private head protects: texts, pairs of texts, or groups of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import is_paired, is_present
from layerwise.errors import RequestError
from layerwise.labels.folds import split_roles
from layerwise.labels.labelled import Labelled, encode, read_column
from layerwise.labels.unknown import match_classes
from layerwise.states import Layered


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is protected: `of_row`, int64 (n,), the unit of each row (pair), -1 for a row that isn't used; their number.

    `kind` is `text`, or `group` for the values of `column`.
    """

    of_row: I64
    count: int
    kind: str
    column: str | None


def find_units(dataset: Layered, groups: str | None, split: str | None) -> Units:
    """Return the units of a dataset: its texts (pairs), or the texts with the same value of the column `groups`.

    Of a split only the training rows are used. A text without a value is a unit of its own.

    Raises:
        RequestError: no such column, or a text with several values.
    """
    docs = np.concatenate([part.index["doc"].to_numpy() for part in dataset.parts()])
    docs = docs[::2] if is_paired(dataset) else docs
    used = np.ones(len(docs), bool) if split is None else split_roles(dataset, docs, split) == "train"
    texts = docs if groups is None else _with_column(dataset, docs, groups)
    units = np.full(len(docs), -1, np.int64)
    names, units[used] = np.unique(texts[used], return_inverse=True)
    return Units(units, len(names), "text" if groups is None else "group", groups)


def _with_column(dataset: Layered, docs: I64, column: str) -> I64:
    """Return a number per row that is equal for equal values of a column, int64 (n,)."""
    if any(
        column in part.index.column_names and column not in part.texts.column_names
        for part in dataset.parts()
    ):
        raise RequestError(
            f"{argument('groups', column)} has a value per word, and the words of a text can't be told apart in its vectors; "
            "name a column of texts"
        )
    numbers: dict[Any, int] = {}
    values = read_column(dataset, docs, column)
    keys = (
        (True, str(v)) if is_present(v) else (False, d) for v, d in zip(values, docs.tolist(), strict=True)
    )
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def rows_of_units(labelled: Labelled, classes: Sequence[str], units: Units) -> tuple[Labelled, I64, I64]:
    """Return the rows with a known class, ordered by unit, their class numbers and their units, int64 (n,) each.

    Other rows count as a unit without a gradient.
    """
    y = encode(match_classes(labelled.values, classes)[0], classes)
    first = labelled.rows[:, 0] // 2 if labelled.pairs else labelled.rows
    unit = units.of_row[first]
    places = np.flatnonzero((y >= 0) & (unit >= 0))
    places = places[np.argsort(unit[places], kind="stable")]
    return labelled.take(places), y[places].astype(np.int64), unit[places]
