"""Display names of metrics, mixes and baselines."""

from __future__ import annotations

import math
import re
from typing import Any

from layerwise.layers import depth
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
    """Return the unit of a metric, in brackets and with a blank before; nothing where it has none."""
    key = f"metric.unit.{metric}"
    return f" ({phrase(lang, key)})" if key in catalogue(lang) else ""


def short_mix(mix: str) -> str:
    """Return a mix string with its layers as a slice, if they are three or more in sequence: `mean(9:13)`.

    It denotes the same mix. Other strings are returned unchanged.
    """
    match = re.fullmatch(r"(\w+)\((emb|[0-9]+)((?:,[0-9]+){2,})(;.*)?\)", mix, re.ASCII)
    if not match:
        return mix
    depths = [depth(name) for name in (match[2] + match[3]).split(",")]
    if depths != list(range(depths[0], depths[0] + len(depths))):
        return mix
    return f"{match[1]}({depths[0]}:{depths[-1] + 1}{match[4] or ''})"


def number(value: Any) -> float | None:
    """Return a number of a result as a float, `None` where it is null or not finite."""
    if value is None or isinstance(value, bool) or not math.isfinite(float(value)):
        return None
    return float(value)


def coded(character: str) -> str:
    """Return the escape of a character that can't be displayed: `\\u202e`."""
    code = ord(character)
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
