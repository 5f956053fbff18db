"""Scales of measures: where an axis or a ramp of colours begins and ends, and how many decimals are written.

One rule for figures and for the page, which gets the scales with its data. A scale begins where a difference means
something: it never shows less than the least span of its unit, nor less than three times the width of the intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from layerwise._util.display import decimals
from layerwise.choices import LANGS
from layerwise.figures.display_names import number
from layerwise.figures.language import language, say
from layerwise.figures.result_access import ResultJson, of_directions, of_pairs, per_layer
from layerwise.wording import phrase, span, text_in

# Units without a fixed range: the least span is a share of the largest number. All others are cosines, shares,
# correlations and angles, for which a difference below 0.05 is small.
_RELATIVE = {
    phrase(lang, unit) for lang in LANGS for unit in ("unit.length", "unit.dimensions", "unit.directions")
}
_LEAST_SHARE, _LEAST = 0.1, 0.05
_INTERVALS = 3
_MARGIN = 0.07


def with_scales(analysis: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return an analysis whose measures have a `scale`: `ends`, `decimals`, and for a number per layer `floor_within`.

    A measure with directions becomes one for each, `NAME:DIRECTION`, and stays whole in `directions`.

    `ends` of an axis are the lowest and highest number; `ends` of a matrix are the numbers of unrelated and of identical
    layers, the first above the second for a distance.
    """
    if not analysis or not analysis.get("measures"):
        return analysis
    scales = {name: _axis_json(measure) for name, measure in per_layer(analysis).items()}
    scales |= {
        name: {"ends": ramp_ends(measure), "decimals": places(measure)}
        for name, measure in of_pairs(analysis).items()
    }
    listed = per_layer(analysis) | of_pairs(analysis)
    measures = {name: {**measure, "scale": scales[name]} for name, measure in listed.items()}
    return {**analysis, "measures": measures, "directions": of_directions(analysis)}


def axis_ends(measure: ResultJson) -> tuple[float, float]:
    """Return the ends of the axis of a measure that is a number per layer.

    The floor is included unless it is further from the numbers than they are from each other.
    """
    values = _usable(measure)
    ends = [*values, *_numbers(measure.get("low")), *_numbers(measure.get("high"))]
    if not values:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    least = max(_least(str(measure.get("unit", "")), values), _INTERVALS * _interval_width(measure))
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    span = high - low
    floors = _numbers(measure.get("floor"))
    within = [floor for floor in floors if low - span <= floor <= high + span]
    within = within if len(within) == len(floors) else []
    low, high = min(low, *within, low), max(high, *within, high)
    if low < 0 <= min([*ends, *within]):  # a share is never below 0
        low, high = 0.0, high - low
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def ramp_ends(measure: ResultJson) -> tuple[float, float]:
    """Return the numbers of the dark and of the bright end of the colours of a matrix: unrelated and identical layers."""
    values = _usable(measure)
    alike = number(measure.get("alike"))
    if alike is None:
        alike = max([*values, 1.0])
    references = [*values, *_numbers(measure.get("floor")), alike]
    if is_distance(measure):
        return max(*references, alike + _LEAST), alike
    return min(*references, alike - _LEAST), alike


def is_distance(measure: ResultJson) -> bool:
    """Return whether a measure is a distance: 0 for identical layers."""
    return number(measure.get("alike")) == 0


def places(measure: ResultJson) -> int:
    """Return how many decimals of a measure's numbers are precise."""
    return decimals(_half_widths(measure), number(measure.get("step")))


def usable_cells(measure: ResultJson) -> list[Any]:
    """Return which numbers of a measure can be used, in the shape of its values."""
    usable: list[Any] | None = measure.get("usable")
    if usable is not None:
        return usable
    return [[True] * len(row) if isinstance(row, list | tuple) else True for row in measure["values"]]


def floor_text(measure: ResultJson) -> str:
    """Return what gives the floor of a measure, and its range, in the language of the figure; empty without floor."""
    floors = _numbers(measure.get("floor"))
    if not floors:
        return ""
    between = text_in(span(min(floors), max(floors)), language())
    return say("floor", of=str(measure.get("floor_of") or ""), span=between)


def caution_text(measure: ResultJson) -> str:
    """Return why a measure can't be used with its rows, and what to do; empty where it can."""
    return str((measure.get("caution") or {}).get("text", ""))


def _axis_json(measure: ResultJson) -> dict[str, Any]:
    low, high = axis_ends(measure)
    floors = _numbers(measure.get("floor"))
    within = bool(floors) and all(low <= floor <= high for floor in floors)
    return {"ends": (low, high), "decimals": places(measure), "floor_within": within}


def _least(unit: str, values: Iterable[float]) -> float:
    relative = _LEAST_SHARE * max(map(abs, values)) if unit in _RELATIVE else 0.0
    return relative or _LEAST


def _half_widths(measure: ResultJson) -> list[float]:
    ends = (_flat(measure.get("low")), _flat(measure.get("high")))
    return [(high - low) / 2 for low, high in zip(*ends, strict=True) if low is not None and high is not None]


def _interval_width(measure: ResultJson) -> float:
    halves = sorted(_half_widths(measure))
    return 2 * halves[len(halves) // 2] if halves else 0.0


def _usable(measure: ResultJson) -> list[float]:
    cells = zip(_flat(measure["values"]), _flat(usable_cells(measure)), strict=True)
    return [value for value, usable in cells if value is not None and usable]


def _numbers(values: Any) -> list[float]:
    return [value for value in _flat(values) if value is not None]


def _flat(values: Any) -> list[float | None]:
    """Return a number per layer, or per pair of layers, as one list; `None` where there is none."""
    rows = values or []
    cells = [cell for row in rows for cell in (row if isinstance(row, list | tuple) else [row])]
    return [float(cell) if isinstance(cell, bool) else number(cell) for cell in cells]
