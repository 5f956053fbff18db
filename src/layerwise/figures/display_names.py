"""Display names of metrics, mixes and baselines."""

from __future__ import annotations

import math
from typing import Any

from layerwise.wording import catalogue, name_of, phrase, text_in


def named(group: str, name: str, lang: str = "en") -> str:
    """Return a key of a result as people write it: `span_f1` of the group `metric` is span F1.

    Args:
        group: `metric` or `baseline`.
        name: the key.
        lang: the language.
    """
    return text_in(name_of(group, str(name)), lang)


def unit_of(metric: str, lang: str = "en") -> str:
    """Return the unit of a metric, in brackets; nothing where it has none."""
    key = f"metric.unit.{metric}"
    return phrase(lang, "aside", words=phrase(lang, key)) if key in catalogue(lang) else ""


def number(value: Any) -> float | None:
    """Return a number of a result as a float, `None` where it is null or not finite."""
    if value is None or isinstance(value, bool) or not math.isfinite(float(value)):
        return None
    return float(value)


def coded(character: str) -> str:
    """Return the escape of a character that can't be displayed: `\\u202e`."""
    code = ord(character)
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
