"""What tells points apart: a ramp for numbers, a colour and a shape for categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import RequestError
from layerwise.figures import canvas

F64 = NDArray[np.float64]
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
    """Points that look the same: their name, as it was given, and which they are, bool (points,)."""

    name: str
    colour: str
    shape: str
    inside: NDArray[np.bool_]


def colours(labels: Any, count: int) -> tuple[F64 | None, list[Group]]:
    """Return the numbers that colour points, or the groups of points that differ in colour and shape.

    Numbers that aren't finite, and `None`, are missing: NaN, or a group of their own.

    Raises:
        RequestError: another number of labels than points.
    """
    if labels is None:
        return None, []
    given = labels.to_pylist() if hasattr(labels, "to_pylist") else np.asarray(labels, object).tolist()
    if len(given) != count:
        raise RequestError(f"there are {len(given)} labels for {count} points; give one per point")
    known = [None if _missing(one) else one for one in given]
    kept = [one for one in known if one is not None]
    if kept and all(isinstance(one, int | float | np.number) and not isinstance(one, bool) for one in kept):
        return np.array([np.nan if one is None else float(one) for one in known]), []
    return None, _groups([None if one is None else str(one) for one in known])


def _groups(names: Sequence[str | None]) -> list[Group]:
    """Return the groups from the most frequent on, then the rest and those without a label, where there are any."""
    found = np.array(names, object)
    counts = Counter(one for one in names if one is not None)
    order = sorted(counts, key=lambda one: (-counts[one], one))
    groups = [
        Group(one or "(empty)", colour, shape, found == one)
        for one, (colour, shape) in zip(order, _KINDS, strict=False)
    ]
    rest = order[len(_KINDS) :]
    if rest:
        inside = np.isin(found.astype(str), rest) & (found != None)  # noqa: E711
        groups.append(Group(f"{len(rest)} other", _REST, ".", inside))
    empty = np.array([one is None for one in names], bool)
    if empty.any():
        groups.append(Group("no label", NONE, "x", empty))
    return groups


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and not np.isfinite(value))
