"""Frozen dataclasses that are read from JSON and written back: the annotation of a field is the check of its entry.

    @dataclass(frozen=True, kw_only=True)
    class FileEntry(JsonObject):
        name: str
        bytes: Annotated[int, whole()]

`FileEntry.from_json(value)` checks every entry and returns the object; `to_json` returns what JSON holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from layerwise._util import json_checks

ReadValue = Callable[[Any], Any]
_SCALARS: dict[Any, json_checks.Check] = {
    str: json_checks.text,
    bool: json_checks.flag,
    int: json_checks.whole(),
    float: json_checks.number,
}
Part = TypeVar("Part", bound="JsonObject")


class WrongEntryError(ValueError):
    """An entry that fails its check, with its value and its path: `model.blocks`, `sources.0.files`."""

    def __init__(self, value: Any, *path: str) -> None:
        self.value, self.path = value, path

    def __str__(self) -> str:
        return f"{'.'.join(self.path) or 'it':.80} is {repr(self.value)[:80]}"

    def within(self, name: str) -> "WrongEntryError":
        """Return the same error, seen from the object that holds the entry under `name`."""
        return WrongEntryError(self.value, name, *self.path)


@dataclass(frozen=True, kw_only=True)
class JsonObject:
    """An object of a JSON file.

    The type of a field is `str`, `bool`, `int` (of at least 0), `float` (finite), one of these `Annotated` with another
    check of `json_checks`, another `JsonObject`, `tuple[…, ...]` (a list), `Mapping[str, …]`, `Any`, or a union of these,
    with `None` for null. A field whose default is `None` may be missing, and is not written when it is `None`.

    `others` are entries whose names this version doesn't know: they are written back as they were.
    """

    others: Mapping[str, Any] = field(default_factory=dict, repr=False)
    closed: ClassVar[bool] = False
    """Whether entries of unknown names are refused."""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Return the object that a JSON value stands for.

        Raises:
            WrongEntryError: naming the first entry that is missing or fails its check.
        """
        if not isinstance(value, dict):
            raise WrongEntryError(value)
        entries: dict[str, Any] = {}
        readers = _readers(cls)
        for name, (reader, is_optional) in readers.items():
            item = value.get(name)
            if item is None and (is_optional or name not in value):
                if not is_optional:
                    raise WrongEntryError(None, name)
                continue
            try:
                entries[name] = reader(item)
            except WrongEntryError as error:
                raise error.within(name) from None
        if value.keys() <= readers.keys():
            return cls(**entries)
        others = {name: item for name, item in value.items() if name not in readers}
        if cls.closed:
            name = next(iter(others))
            raise WrongEntryError(others[name], name)
        return cls(**entries, others=others)

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON holds it; the caller may change what is returned."""
        written: dict[str, Any] = as_json(self.others)
        for name, (_, is_optional) in _readers(type(self)).items():
            value = getattr(self, name)
            if value is not None or not is_optional:
                written[name] = as_json(value)
        return written

    def part(self, kind: type[Part]) -> Part:
        """Return the fields that the object has from one of its base classes."""
        return kind(**{item.name: getattr(self, item.name) for item in fields(kind)})


def as_json(value: Any) -> Any:
    """Return a value of a field as JSON holds it: new dictionaries and lists throughout."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, JsonObject):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value


_READERS: dict[type[JsonObject], dict[str, tuple[ReadValue, bool]]] = {}


def _readers(kind: type[JsonObject]) -> dict[str, tuple[ReadValue, bool]]:
    """Return for each field what reads its entry, and whether the entry may be missing."""
    if kind not in _READERS:
        hints = get_type_hints(kind, include_extras=True)
        _READERS[kind] = {
            item.name: (_reader(hints[item.name]), item.default is None)
            for item in fields(kind)
            if item.name != "others"
        }
    return _READERS[kind]


def _reader(annotation: Any) -> ReadValue:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _checked(arguments[0], arguments[1])
    if annotation is Any:
        return lambda value: value
    if annotation in _SCALARS:
        return _checked(Any, _SCALARS[annotation])
    if isinstance(annotation, type) and issubclass(annotation, JsonObject):
        return annotation.from_json
    if origin in (Union, UnionType):
        readers = [_reader(option) for option in arguments if option is not NoneType]
        return _union(readers, nullable=NoneType in arguments)
    if origin is tuple and arguments[1:] == (...,):
        return _tuple(_reader(arguments[0]))
    if origin is Mapping and arguments[0] is str:
        return _mapping(_reader(arguments[1]))
    raise TypeError(f"no check for a field of type {annotation}")


def _checked(kind: Any, check: json_checks.Check) -> ReadValue:
    """Return a reader of values that pass a check; a scalar is returned as it is."""
    inner = None if kind is Any or kind in _SCALARS else _reader(kind)

    def read(value: Any) -> Any:
        if not check(value):
            raise WrongEntryError(value)
        return value if inner is None else inner(value)

    return read


def _union(readers: list[ReadValue], *, nullable: bool) -> ReadValue:
    def read(value: Any) -> Any:
        """Return what the first reader that takes the value makes of it."""
        if value is None and nullable:
            return None
        if len(readers) == 1:
            return readers[0](value)
        for reader in readers:
            try:
                return reader(value)
            except WrongEntryError:
                continue
        raise WrongEntryError(value)

    return read


def _tuple(reader: ReadValue) -> ReadValue:
    def read(value: Any) -> tuple[Any, ...]:
        """Return the items of a list; an error names the number of the item."""
        if not isinstance(value, list):
            raise WrongEntryError(value)
        items = []
        for number, item in enumerate(value):
            try:
                items.append(reader(item))
            except WrongEntryError as error:
                raise error.within(str(number)) from None
        return tuple(items)

    return read


def _mapping(reader: ReadValue) -> ReadValue:
    def read(value: Any) -> dict[str, Any]:
        """Return the values of an object; an error names the key."""
        if not isinstance(value, dict):
            raise WrongEntryError(value)
        items = {}
        for name, item in value.items():
            try:
                items[name] = reader(item)
            except WrongEntryError as error:
                raise error.within(name) from None
        return items

    return read
