"""How labels appear on points: a colour ramp for numbers, a colour and a shape for categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from layerwise._util.display import count_of
from layerwise.array_types import F64, I64
from layerwise.columns import place_of
from layerwise.errors import RequestError
from layerwise.figures.language import say

# Those of the page (static/marks.js): they differ for readers with any kind of colour blindness, and have a contrast of
# at least 3 to white.
CALM = "#7f93a8"  # of the most frequent class
LOUD = ("#ff04ea", "#2700f5", "#00a85e", "#671200", "#a49307", "#782f7f", "#150f23")
_SHAPES = ("s", "^", "D", "v", "P")
_CLASSES = 15  # classes that have a mark of their own; more can't be told apart
_REST, NONE = "#8a8a8a", "#949494"


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
        raise RequestError(
            f"got {count_of(len(values), 'label')} for {count_of(count, 'point')}; give one per point"
        )
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
    frequent, rest = order[:_CLASSES], order[_CLASSES:]
    groups = [
        Group(name or say("empty"), *_mark(place, len(frequent)), labels == name)
        for place, name in enumerate(frequent)
    ]
    if rest:
        inside = np.isin(labels.astype(str), rest) & (labels != None)  # noqa: E711
        groups.append(Group(say("figure.rest", n=len(rest)), _REST, ".", inside))
    empty = np.array([name is None for name in names], bool)
    if empty.any():
        groups.append(Group(say("figure.no.label"), NONE, "x", empty))
    return groups


def _mark(place: int, classes: int) -> tuple[str, str]:
    """Return the colour and the shape of the class at a place in the order of frequency.

    The most frequent one is calm; the others take loud colours, the rarest first. The numbers of colours and shapes
    have no common divisor, so no two of 15 marks are alike.
    """
    if place == 0:
        return CALM, "o"
    turn = classes - 1 - place
    return LOUD[turn % len(LOUD)], _SHAPES[turn % len(_SHAPES)]


def turns(groups: Sequence[Group]) -> Iterator[tuple[Group, I64]]:
    """Yield parts of groups in the order in which they are drawn: a group and numbers of points, int64 (part,).

    The last turns take equally many points of each group, earlier ones those of larger groups, so that a group of n
    points never lies under more than 2n points of another. Points without a label come first.
    """
    rng = np.random.default_rng(0)
    parts = []
    for place, group in enumerate(groups):
        members = rng.permutation(np.flatnonzero(group.inside))
        if group.colour == NONE:
            yield group, members
            continue
        turn = np.floor(np.log2(np.arange(1, len(members) + 1)))
        parts += [(-number, place, members[turn == number]) for number in np.unique(turn)]
    for _, place, members in sorted(parts, key=lambda part: part[:2]):
        yield groups[place], members


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and not np.isfinite(value))
