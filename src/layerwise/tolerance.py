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


# What is measured on a corpus may be more than is usual, but not so much that wrong rows would pass.
_MEASURED_MOST = 0.5


def largest(precision: str, dtype: str, *, derived: bool = False) -> float:
    """Return the largest tolerance that a dataset can have, whatever its manifest says.

    Args:
        precision, dtype: of its computation, and the type at rest.
        derived: whether its rows are pools of stored ones, which were rounded already, in any type.
    """
    computed = _MEASURED_MOST if precision == "int8" else COMPUTED[precision]
    return computed + AT_REST[dtype] + (max(AT_REST.values()) if derived else 0.0)


# Times what was measured on a few texts, and more: a text in a thousand goes beyond what the scales of int8 allow
# for, and is several times as far off as most. With these `verify` doubts one right dataset in a thousand
# at most (benchmarks/int8.py); what is wrong is off by 0.5 and more.
_TIMES, _MORE = 6, 0.02


def measured_limit(worst: float) -> float:
    """Return how far texts may be off where the worst of those that were measured is so far off."""
    return _TIMES * worst + _MORE


def measured_tolerance(errors: Mapping[str, Mapping[str, float]], dtype: str) -> dict[str, Any]:
    """Return the tolerance of a computation whose error was measured on the first texts, for each layer.

    Args:
        errors: of each layer the `max_rel`, and the least `cosine` of a row.
        dtype: the type at rest.
    """
    limits = {layer: measured_limit(error["max_rel"]) + AT_REST[dtype] for layer, error in errors.items()}
    measured = {layer: dict(error) for layer, error in errors.items()}
    return {"rule": RULE, "value": max(limits.values()), "layers": limits, "measured": measured}
