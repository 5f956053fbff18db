"""Display names of metrics, mixes and baselines."""

from __future__ import annotations

import math
from typing import Any

from layerwise.choices import METRICS

UNITS = {
    "accuracy": "share of rows that are right",
    "r2": "share of variance explained",
    "span_f1": "strict, micro, 0 to 1",
}


def words(name: str) -> str:
    """Return a key of a result as people write it: `span_f1` is span F1, `bag_of_words` bag of words."""
    return METRICS.get(name, name.replace("_", " "))


def number(value: Any) -> float | None:
    """Return a number of a result as a float, `None` where it is null or not finite."""
    if value is None or isinstance(value, bool) or not math.isfinite(float(value)):
        return None
    return float(value)


def coded(character: str) -> str:
    """Return the escape of a character that can't be displayed: `\\u202e`."""
    code = ord(character)
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
