"""Rows grouped by a label, such as their text, their word or their class."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from layerwise.array_types import F64, I64
from layerwise.errors import RequestError

Labels = npt.ArrayLike  # integers or strings, one per row


class LabelGroups(NamedTuple):
    """Rows by label: `order` (n,) sorts rows by label, stably; `starts` and `counts` (groups,) delimit the groups."""

    order: I64
    starts: I64
    counts: I64


def groups_of(labels: Labels, rows: int) -> LabelGroups:
    """Return rows grouped by label; raise RequestError unless there is one label per row."""
    values = np.asarray(labels)
    if values.shape != (rows,):
        raise RequestError(f"labels of shape {values.shape} don't fit {rows} rows; give one per row")
    order = np.argsort(values, kind="stable")
    values = values[order]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if rows else order
    return LabelGroups(order, starts, np.diff(starts, append=rows))


def thinned(groups: LabelGroups, most: int) -> LabelGroups:
    """Return at most `most` rows of each group, evenly spaced."""
    place = np.arange(len(groups.order)) - np.repeat(groups.starts, groups.counts)
    size, counts = np.repeat(groups.counts, groups.counts), np.minimum(groups.counts, most)
    target = np.repeat(counts, groups.counts)
    mask = (place + 1) * target // size > place * target // size
    return LabelGroups(groups.order[mask], np.cumsum(counts) - counts, counts)


def sums_of(values: F64, groups: LabelGroups) -> F64:
    """Return sums (groups, d) over rows that are sorted by `groups.order`."""
    sums: F64 = np.add.reduceat(values, groups.starts, axis=0)
    return sums


def mean_of(values: F64) -> float:
    """Return the mean; NaN for an empty array."""
    return float(values.mean()) if len(values) else math.nan
