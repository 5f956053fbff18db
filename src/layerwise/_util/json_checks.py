"""Validate JSON objects by a schema with one check per name, so that readers can rely on the types."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Check = Callable[[Any], bool]
Schema = Mapping[str, "Check | Schema"]
"""For each name a check of its value, or the schema of a nested object; a missing value is `MISSING`."""
MISSING = object()
MOST = 1 << 53  # the largest integer that a float holds exactly; no count is larger
_HASH = re.compile(r"[0-9a-f]{64}")


def first_wrong(value: Any, schema: Schema, path: str = "") -> str | None:
    """Return the path of the first entry that fails its check, such as `model.blocks`; `None` if all pass."""
    for name, check in schema.items():
        item = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        if isinstance(check, Mapping):
            wrong = first_wrong(item, check, f"{path}{name}.") if isinstance(item, dict) else f"{path}{name}"
        else:
            wrong = None if check(item) else f"{path}{name}"
        if wrong is not None:
            return wrong
    return None


def entry(value: Any, path: str) -> Any:
    """Return the entry at a path returned by `first_wrong`; `None` where there is none."""
    for key in path.split("."):
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def text(value: Any) -> bool:
    """Return whether a value is a string."""
    return isinstance(value, str)


def flag(value: Any) -> bool:
    """Return whether a value is true or false."""
    return isinstance(value, bool)


def mapping(value: Any) -> bool:
    """Return whether a value is an object, whatever it holds."""
    return isinstance(value, dict)


def sha256(value: Any) -> bool:
    """Return whether a value is a SHA-256 in hexadecimal digits."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    # By `type`, not `isinstance`: Python's True and False are integers.
    return type(value) is int or (type(value) is float and math.isfinite(value))


def positive(value: Any) -> bool:
    """Return whether a value is a finite number of at least 0."""
    return number(value) and bool(value >= 0)


def amount(value: Any) -> bool:
    """Return whether a value is a number of at least 0, small enough that many of them can be summed."""
    return positive(value) and bool(value <= MOST)


def whole(least: int = 0, most: int = MOST) -> Check:
    """Return the check for an integer from `least` to `most`."""
    return lambda value: type(value) is int and least <= value <= most


def one_of(allowed: Sequence[str]) -> Check:
    """Return the check for one of the allowed strings."""
    return lambda value: isinstance(value, str) and value in allowed


def nullable(check: Check) -> Check:
    """Return the check for null, or a value that passes another check."""
    return lambda value: value is None or check(value)


def optional(check: Check) -> Check:
    """Return the check for null, a missing entry, or a value that passes another check."""
    return lambda value: value is None or value is MISSING or check(value)


def list_of(check: Check) -> Check:
    """Return the check for a list whose items all pass another check."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def map_of(check: Check) -> Check:
    """Return the check for an object whose values all pass another check."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def object_of(schema: Schema) -> Check:
    """Return the check for an object that matches a schema."""
    return lambda value: isinstance(value, dict) and first_wrong(value, schema) is None
