"""How far a stored number may differ from plain transformers, by computation precision and stored type.

Both are shares of max(1, max |b|), where b is the reference of one text at one layer.
"""

from collections.abc import Mapping
from typing import Any

# fp32: rounding of the same sums in another order. bf16 has 8 significant bits, and errors of a dozen blocks add up.
# int8 is measured on each corpus; this value is larger than the error of any useful model.
COMPUTED = {"fp32": 1e-5, "bf16": 6e-2, "int8": 0.25}
# Half a unit in the last place of the largest number; int8 has 127 steps up to the largest number of its row.
STORED = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 1 / 254}
RULE = "per text and layer, max |a - b| <= value * max(1, max |b|) against a plain one-text forward"


def tolerance(precision: str, dtype: str) -> dict[str, str | float]:
    """Return the tolerance for a manifest: the rule in words, and its value."""
    return {"rule": RULE, "value": COMPUTED[precision] + STORED[dtype]}


# A measured tolerance may be larger than usual, but not so large that wrong rows would pass.
_MEASURED_MOST = 0.5


def largest(precision: str, dtype: str, *, derived: bool = False) -> float:
    """Return the largest tolerance that a dataset can have, whatever its manifest says.

    Args:
        precision, dtype: the precision of its computation, and the stored type.
        derived: whether its rows are pools of stored rows, which were already rounded, in any type.
    """
    computed = _MEASURED_MOST if precision == "int8" else COMPUTED[precision]
    return computed + STORED[dtype] + (max(STORED.values()) if derived else 0.0)


# The limit is a multiple of the error measured on a few texts, plus a constant: about one text in a thousand exceeds
# the range of the int8 scales, and has several times the usual error. With these values `verify` rejects at most one
# correct dataset in a thousand (benchmarks/int8.py); wrong rows differ by 0.5 or more.
_TIMES, _MORE = 6, 0.02


def measured_limit(worst: float) -> float:
    """Return the largest allowed error of any text, given the largest error of the measured texts."""
    return _TIMES * worst + _MORE


def measured_tolerance(errors: Mapping[str, Mapping[str, float]], dtype: str) -> dict[str, Any]:
    """Return the tolerance of a computation whose error was measured on the first texts, for each layer.

    Args:
        errors: for each layer the `max_rel`, and the smallest `cosine` of a row.
        dtype: the stored type.
    """
    limits = {layer: measured_limit(error["max_rel"]) + STORED[dtype] for layer, error in errors.items()}
    measured = {layer: dict(error) for layer, error in errors.items()}
    return {"rule": RULE, "value": max(limits.values()), "layers": limits, "measured": measured}
