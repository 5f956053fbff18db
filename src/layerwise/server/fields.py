"""Read the JSON body of a request: each field by name and type, and no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from layerwise.errors import RequestError

_ABSENT = object()


class FieldError(RequestError):
    """A field that is missing, unknown, or of another type; `field` is its name."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Fields:
    """The fields of a body."""

    def __init__(self, body: bytes, names: Sequence[str]) -> None:
        """Read a body that may have the fields `names`; `null` is the same as no field.

        Raises:
            FieldError: no JSON object, another field, or one that is given twice.
        """
        try:
            value = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_once_each)
        except FieldError:
            raise
        except (ValueError, RecursionError):
            raise FieldError("the body is no JSON; send a JSON object") from None
        if not isinstance(value, dict):
            raise FieldError(f"the body is {_kind(value)}; send a JSON object")
        for name in value:
            if name not in names:
                raise FieldError(f"there is no field {name!r:.60}; there are {', '.join(names)}", name[:60])
        self._values: dict[str, Any] = {name: item for name, item in value.items() if item is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def any(self, name: str) -> Any:
        """Return a field of any type.

        Raises:
            FieldError: it is missing.
        """
        if name not in self._values:
            raise FieldError(f"the field {name!r} is missing; give it", name)
        return self._values[name]

    def text(self, name: str) -> str | None:
        """Return a string, or None where it isn't given."""
        return self._typed(name, str, "a string")  # type: ignore[no-any-return]

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a truth value."""
        value = self._typed(name, bool, "true or false")
        return default if value is None else value

    def number(self, name: str) -> int | None:
        """Return a whole number, or None where it isn't given."""
        value = self._typed(name, int, "a whole number")
        if isinstance(value, bool):
            raise FieldError(f"{name} is true or false; give a whole number", name)
        return value  # type: ignore[no-any-return]

    def choice(self, name: str, allowed: Collection[str], default: str) -> str:
        """Return one of some strings."""
        value = self.text(name)
        if value is not None and value not in allowed:
            raise FieldError(f"{name} {value!r:.60} doesn't exist; choose one of {', '.join(allowed)}", name)
        return default if value is None else value

    def texts(self, name: str) -> tuple[list[str], bool]:
        """Return one text or several, and whether they were in a list.

        Raises:
            FieldError: anything else; for token numbers it says how LangChain sends texts.
        """
        value = self.any(name)
        if isinstance(value, str):
            return [value], False
        if not isinstance(value, list):
            raise FieldError(f"{name} is {_kind(value)}; give a string or a list of strings", name)
        for number, item in enumerate(value):
            if not isinstance(item, str):
                raise FieldError(_no_text(name, number, item), name)
        return value, True

    def spans(self, name: str, count: int) -> list[list[tuple[int, int]]] | None:
        """Return for each of `count` texts its spans, (start, end) in code points; None where they aren't given."""
        if name not in self:
            return None
        value = self._values[name]
        if not isinstance(value, list) or len(value) != count or not all(map(_are_spans, value)):
            raise FieldError(
                f"{name} has another form than spans of {count} texts; give a list of [start, end] for each, such as [[[0, 5]]]",
                name,
            )
        return [[(start, end) for start, end in spans] for spans in value]

    def _typed(self, name: str, kind: type, what: str) -> Any:
        value = self._values.get(name, _ABSENT)
        if value is _ABSENT:
            return None
        if not isinstance(value, kind):
            raise FieldError(f"{name} is {_kind(value)}; give {what}", name)
        return value


def _are_spans(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span) for span in value
    )


def _no_text(name: str, number: int, item: Any) -> str:
    if isinstance(item, int) or (isinstance(item, list) and item and isinstance(item[0], int)):
        return (
            f"{name} holds numbers of tokens, and this server takes texts; send strings (LangChain sends tokens unless "
            "OpenAIEmbeddings gets check_embedding_ctx_length=False)"
        )
    return f"{name}: item {number} is {_kind(item)}; give strings"


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        FieldError: one is given twice: readers of JSON differ in which of them they take.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = Counter(name for name, _ in pairs)
        twice = names.most_common(1)[0][0]
        raise FieldError(f"the field {twice!r:.60} is given {names[twice]} times; give it once", twice[:60])
    return fields


def _kind(value: Any) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    for kind, words in (
        (bool, "true or false"),
        (int | float, "a number"),
        (str, "a string"),
        (list, "a list"),
    ):
        if isinstance(value, kind):
            return words
    return "an object"
