"""How labels appear on points: a colour ramp for numbers, a colour and a shape for categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F64
from layerwise.columns import place_of
from layerwise.errors import RequestError
from layerwise.figures import canvas
from layerwise.figures.language import say

_KINDS = (
    (canvas.BLUE, "o"),
    (canvas.VERMILLION, "s"),
    (canvas.GREEN, "^"),
    (canvas.PURPLE, "D"),
    (canvas.ORANGE, "v"),
    (canvas.SKY, "P"),
    (canvas.BLACK, "X"),
    (canvas.YELLOW, "*"),
)
_REST, NONE = "#8a8a8a", "#c4c4c4"


class Group(NamedTuple):
    """Points of one colour and shape: the name of their label, and a mask of them, bool (points,)."""

    name: str
    colour: str
    shape: str
    inside: NDArray[np.bool_]


def colours(labels: Any, count: int) -> tuple[F64 | None, list[Group]]:
    """Return the numbers that colour points, or groups of points that differ in colour and shape.

    `None` and numbers that aren't finite are missing: NaN, or a separate group.

    Raises:
        RequestError: the number of labels differs from the number of points.
    """
    if labels is None:
        return None, []
    values = labels.to_pylist() if hasattr(labels, "to_pylist") else np.asarray(labels, object).tolist()
    if len(values) != count:
        raise RequestError(f"there are {len(values)} labels for {count} points; give one per point")
    cleaned = [None if _missing(value) else value for value in values]
    present = [value for value in cleaned if value is not None]
    if present and all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in present
    ):
        return np.array([np.nan if value is None else float(value) for value in cleaned]), []
    return None, _groups([None if value is None else str(value) for value in cleaned])


def _groups(names: Sequence[str | None]) -> list[Group]:
    """Return the groups in order of frequency, then the remaining labels and the points without a label, if any."""
    labels = np.array(names, object)
    counts = Counter(name for name in names if name is not None)
    order = sorted(counts, key=lambda name: (-counts[name], place_of(name)))
    groups = [
        Group(name or say("empty"), colour, shape, labels == name)
        for name, (colour, shape) in zip(order, _KINDS, strict=False)
    ]
    rest = order[len(_KINDS) :]
    if rest:
        inside = np.isin(labels.astype(str), rest) & (labels != None)  # noqa: E711
        groups.append(Group(say("figure.rest", n=len(rest)), _REST, ".", inside))
    empty = np.array([name is None for name in names], bool)
    if empty.any():
        groups.append(Group(say("figure.no.label"), NONE, "x", empty))
    return groups


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and not np.isfinite(value))
