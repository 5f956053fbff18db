"""What type the values of a JSONL column have, and whether the next one fits."""

from functools import reduce
from typing import Any

from layerwise.read.record import BadRecordError, quoted

# A list is [type of its items], an object {key: type of its value}.
Kind = str | list["Kind"] | dict[str, "Kind"]

_SCALARS = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
_INT64 = 1 << 63


class OtherKindError(Exception):
    """Two values that one column can't hold."""


def kind_of(value: Any) -> Kind:
    """Return the type of a JSON value.

    Raises:
        OtherKindError: for a list whose items can't be in one column.
        BadRecordError: for an integer of more than 64 bits.
    """
    if isinstance(value, list):
        nothing: Kind = "null"
        return [reduce(merge, map(kind_of, value), nothing)]
    if isinstance(value, dict):
        return {key: kind_of(item) for key, item in value.items()}
    if type(value) is int and not -_INT64 <= value < _INT64:
        raise BadRecordError(
            f"the integer {quoted(str(value)[:25])} needs more than 64 bits; write it as a string"
        )
    return _SCALARS[type(value)]


def merge(one: Kind, other: Kind) -> Kind:
    """Return the type that holds both: null goes with everything, integers go with numbers.

    Raises:
        OtherKindError: when there is none.
    """
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    if isinstance(one, list) and isinstance(other, list):
        return [merge(one[0], other[0])]
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: merge(one[key], other[key]) for key in one.keys() & other.keys()}
        return {**one, **other, **both}
    if one in ("integer", "number") and other in ("integer", "number"):
        return "number"
    raise OtherKindError(f"{described(one)} and {described(other)}")


def described(kind: Kind) -> str:
    """Return the name of a type for a message: `list of strings`."""
    if isinstance(kind, list):
        inner = described(kind[0])
        return "empty list" if inner == "null" else f"list of {inner}"
    return "object" if isinstance(kind, dict) else kind
