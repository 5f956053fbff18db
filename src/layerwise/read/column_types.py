"""The type and the level of each carried column, inferred from the records in the order they are read."""

from collections.abc import Mapping
from typing import Any

from layerwise.read.record import BadRecordError, quoted
from layerwise.read.value_types import Kind, OtherKindError, described, kind_of, merge


class ColumnTypes:
    """The type of each column, and whether it has one value per word; valid for one pass over the corpus."""

    def __init__(self, *, types: bool, scalars: frozenset[str]) -> None:
        self._types = types
        self._scalars = scalars
        self._kinds: dict[str, Kind] = {}
        self._per_word: dict[str, bool] = {}

    def levels(self, fields: Mapping[str, Any], words: int | None) -> dict[str, bool | None]:
        """Return for each field whether it has a value per word; `None` while no record has decided it.

        Args:
            fields: the carried columns of a record.
            words: the number of its words, `None` for raw text.

        Raises:
            BadRecordError: a column whose type changes, or that had a value per word and now has fewer or more.
        """
        kinds = {name: self._kind(name, value) for name, value in fields.items()} if self._types else {}
        levels = {name: self._level(name, value, words) for name, value in fields.items()}
        # Only a record without any error may decide the types and levels of its columns.
        self._kinds.update(kinds)
        self._per_word.update({name: level for name, level in levels.items() if level is not None})
        return levels

    def _kind(self, name: str, value: Any) -> Kind:
        before = self._kinds.get(name, "null")
        try:
            new = kind_of(value)
        except OtherKindError as error:
            raise BadRecordError(
                f"column {quoted(repr(name))} mixes {error} in a list; make them one type"
            ) from error
        try:
            return merge(before, new)
        except OtherKindError as error:
            raise BadRecordError(
                f"column {quoted(repr(name))} changes its type: {described(before)} before, {described(new)} here; "
                "make it one type"
            ) from error

    def _level(self, name: str, value: Any, words: int | None) -> bool | None:
        if words is None:
            return False
        per_word = self._per_word.get(name)
        if per_word is None:
            return self._new_level(name, value, words)
        if per_word and value is not None and len(value) != words:
            raise BadRecordError(
                f"column {quoted(repr(name))} has {len(value)} values for {words} words; "
                "it had one per word in the records before"
            )
        return per_word

    def _new_level(self, name: str, value: Any, words: int) -> bool | None:
        if name in self._scalars:
            return False
        if value is None or (value == [] and words == 0):
            return None
        return isinstance(value, list) and words > 0 and len(value) == words
