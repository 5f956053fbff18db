"""How far a stored number may be from plain transformers: by the precision of its computation and its type.

Both are shares of max(1, max |b|), b being the reference of one text at one layer.
"""

# fp32: rounding in another order of the same sums. bf16 has 8 significant bits, and a dozen blocks add up.
COMPUTED = {"fp32": 1e-5, "bf16": 6e-2}
# Half a unit in the last place of the largest number; int8 has 127 steps to the largest of its row.
AT_REST = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 1 / 254}
RULE = "per text and layer, max |a - b| <= value * max(1, max |b|) against a plain one-text forward"


def tolerance(precision: str, dtype: str) -> dict[str, str | float]:
    """Return the tolerance that a manifest states: the rule in words, and its value."""
    return {"rule": RULE, "value": COMPUTED[precision] + AT_REST[dtype]}
