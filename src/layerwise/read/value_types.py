"""The type of the values of a JSONL column, and whether another value fits it."""

from functools import reduce
from typing import Any

from layerwise.read.record import BadRecordError, quoted

# A list is [type of its items], an object {key: type of its value}.
Kind = str | list["Kind"] | dict[str, "Kind"]

_SCALARS = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
_INT64 = 1 << 63


class OtherKindError(Exception):
    """Two types of values that can't be in one column."""


def kind_of(value: Any) -> Kind:
    """Return the type of a JSON value.

    Raises:
        OtherKindError: for a list whose items can't be in one column.
        BadRecordError: for an integer of more than 64 bits.
    """
    if isinstance(value, list):
        empty: Kind = "null"
        return [reduce(merge, map(kind_of, value), empty)]
    if isinstance(value, dict):
        return {key: kind_of(item) for key, item in value.items()}
    if type(value) is int and not -_INT64 <= value < _INT64:
        raise BadRecordError(
            f"the integer {quoted(str(value)[:25])} needs more than 64 bits; write it as a string"
        )
    return _SCALARS[type(value)]


def merge(first: Kind, second: Kind) -> Kind:
    """Return the type that holds both: null fits every type, integers fit numbers.

    Raises:
        OtherKindError: no type holds both.
    """
    if first == second or second == "null":
        return first
    if first == "null":
        return second
    if isinstance(first, list) and isinstance(second, list):
        return [merge(first[0], second[0])]
    if isinstance(first, dict) and isinstance(second, dict):
        shared = {key: merge(first[key], second[key]) for key in first.keys() & second.keys()}
        return {**first, **second, **shared}
    if first in ("integer", "number") and second in ("integer", "number"):
        return "number"
    raise OtherKindError(f"{described(first)} and {described(second)}")


def described(kind: Kind) -> str:
    """Return the name of a type for a message: `list of strings`."""
    if isinstance(kind, list):
        inner = described(kind[0])
        return "empty list" if inner == "null" else f"list of {inner}"
    return "object" if isinstance(kind, dict) else kind
