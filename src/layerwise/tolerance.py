"""How far a stored number may be from plain transformers: by the precision of its computation and its type.

Both are shares of max(1, max |b|), b being the reference of one text at one layer.
"""

from collections.abc import Mapping
from typing import Any

# fp32: rounding in another order of the same sums. bf16 has 8 significant bits, and a dozen blocks add up.
# int8 is measured on each corpus; this is beyond what any model that is of use has.
COMPUTED = {"fp32": 1e-5, "bf16": 6e-2, "int8": 0.25}
# Half a unit in the last place of the largest number; int8 has 127 steps to the largest of its row.
AT_REST = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 1 / 254}
RULE = "per text and layer, max |a - b| <= value * max(1, max |b|) against a plain one-text forward"


def tolerance(precision: str, dtype: str) -> dict[str, str | float]:
    """Return the tolerance that a manifest states: the rule in words, and its value."""
    return {"rule": RULE, "value": COMPUTED[precision] + AT_REST[dtype]}


# Times what was measured on a few texts, and more: others may be further off, the most where they go beyond
# what the scales of int8 allow for.
_TIMES, _MORE = 3, 0.02


def measured_tolerance(errors: Mapping[str, Mapping[str, float]], dtype: str) -> dict[str, Any]:
    """Return the tolerance of a computation whose error was measured on the first texts, for each layer.

    Args:
        errors: of each layer the `max_rel`, and the least `cosine` of a row.
        dtype: the type at rest.
    """
    limits = {layer: _TIMES * error["max_rel"] + _MORE + AT_REST[dtype] for layer, error in errors.items()}
    measured = {layer: dict(error) for layer, error in errors.items()}
    return {"rule": RULE, "value": max(limits.values()), "layers": limits, "measured": measured}
