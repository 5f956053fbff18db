"""The axis of a probe's scores: it begins where differences between candidates can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layerwise.figures.display_names import number
from layerwise.figures.language import language, say
from layerwise.wording import baseline_name, text_in

_FLOORS = {"r2": 0.0, "span_f1": 0.0, "micro_f1": 0.0}  # chance levels, where no baseline gives one
_MARGIN = 0.06  # of the range, above and below


@dataclass(frozen=True)
class BaselineLine:
    """A baseline in the figure: its name, score, ends of its interval, and whether it is the chance level."""

    name: str
    score: float
    low: float | None
    high: float | None
    floor: bool


def baseline_lines(baselines: Mapping[str, Any], metric: str, task: str | None) -> list[BaselineLine]:
    """Return the baselines that have a score. The chance level is the majority, or else the floor of the metric."""
    lines = []
    for name, value in baselines.items():
        item = value if isinstance(value, Mapping) else {"score": value}
        score, low, high = (number(item.get(key)) for key in ("score", "low", "high"))
        if score is not None:
            lines.append(BaselineLine(_baseline_name(name, task), score, low, high, floor=name == "majority"))
    if metric in _FLOORS and not any(line.floor for line in lines):
        lines.append(BaselineLine(say("probe.floor"), _FLOORS[metric], None, None, floor=True))
    return lines


def score_range(numbers: Sequence[float], baselines: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the axis, without its margin.

    It spans the scores and intervals of the candidates, `numbers`; all baselines above them; and the baselines below
    them that leave the candidates at least half of the axis. All others are off the axis.
    """
    if not numbers:
        return (min(baselines), max(baselines)) if baselines else (0.0, 1.0)
    low, high = min(numbers), max(*numbers, *baselines, numbers[0])
    span = high - low
    near = (score for score in baselines if not span or high - score <= 2 * span)
    return min(low, *near, low), high


def with_margin(low: float, high: float) -> tuple[float, float]:
    """Return a range with a margin above and below; a range of no width gets one."""
    margin = _MARGIN * (high - low) or max(0.07 * abs(high), 1e-3)
    return low - margin, high + margin


def present(*values: Iterable[float | None]) -> list[float]:
    """Return all numbers of several sequences but `None`."""
    return [value for sequence in values for value in sequence if value is not None]


def _baseline_name(name: str, task: str | None) -> str:
    """Return a baseline's name; the answer that needs no features is marked as the chance level."""
    shown = text_in(baseline_name(name, task), language())
    return shown + say("aside", words=say("probe.floor")) if name == "majority" else shown
