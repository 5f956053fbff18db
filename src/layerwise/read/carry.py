"""From a record to an example: its text or words, its id, and the columns it carries."""

from collections.abc import Mapping
from typing import Any

from layerwise.errors import SourceError
from layerwise.read.example import Example, clean
from layerwise.read.files import File
from layerwise.read.kinds import Kind, OtherKindError, kind_of, merge
from layerwise.read.reader import Reader
from layerwise.read.record import BadRecordError, Record, shown

RESERVED = frozenset(
    "doc id source line text words pieces windows truncated start end token_id word special dropped".split()
)


class Carrier:
    """Makes examples of one corpus; what it learnt of the columns it keeps until `restart`."""

    def __init__(self, reader: Reader, notices: list[str]) -> None:
        self._reader = reader
        self._notices = notices
        self._names: dict[str, str] = {}
        self._kinds: dict[str, Kind] = {}
        self._per_word: dict[str, bool] = {}

    def restart(self) -> None:
        """Forget the types and levels of columns: they are those of one pass."""
        self._kinds.clear()
        self._per_word.clear()

    def carried(self, names: tuple[str, ...]) -> dict[str, str]:
        """Return the names under which those of `names` that are carried are carried."""
        roles = (self._reader.text, self._reader.words, self._reader.id)
        return {name: self._name(name) for name in names if name not in roles}

    def example(self, file: File, record: Record) -> Example:
        """Return the example that a record is.

        Raises:
            BadRecordError: a text, words or id of the wrong type; a column that changes its type or length.
        """
        reader, fields = self._reader, record.fields
        words = self._words(fields) if reader.words is not None else None
        text = " ".join(words) if words is not None else self._text(fields)
        columns, word_columns = self._carry(fields, words)
        return Example(text, words, self._id(fields), file.source, record.line, columns, word_columns)

    def _text(self, fields: Mapping[str, Any]) -> str:
        column = str(self._reader.text)
        value = self._field(fields, column)
        if not isinstance(value, str):
            raise BadRecordError(f"column {column!r} holds {_got(value)} where a text is needed")
        return clean(value)

    def _words(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        column = str(self._reader.words)
        value = self._field(fields, column)
        if not isinstance(value, list):
            raise BadRecordError(f"column {column!r} holds {_got(value)} where a list of words is needed")
        for item in value:
            if not isinstance(item, str):
                raise BadRecordError(f"column {column!r} holds {_got(item)} among its words; words are strings")
        return tuple(map(clean, value))

    def _field(self, fields: Mapping[str, Any], column: str) -> Any:
        if column not in fields:
            raise BadRecordError(self._reader.missing(column, tuple(fields)))
        return fields[column]

    def _id(self, fields: Mapping[str, Any]) -> str | int | None:
        if self._reader.id is None:
            return None
        value = fields.get(self._reader.id)
        if isinstance(value, str):
            return clean(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise BadRecordError(
            f"column {self._reader.id!r} holds {_got(value)} where an id is needed, a string or an integer"
        )

    def _carry(
        self, fields: Mapping[str, Any], words: tuple[str, ...] | None
    ) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
        roles = (self._reader.text, self._reader.words, self._reader.id)
        columns: dict[str, Any] = {}
        word_columns: dict[str, tuple[Any, ...]] = {}
        kinds, levels = {}, {}
        for name, raw in fields.items():
            if name in roles:
                continue
            value = clean_all(raw)
            if self._reader.watched:
                kinds[name] = self._kind(name, value)
            level = None if words is None else self._level(name, value, len(words))
            if level is None and words is not None and value in (None, []):
                continue  # Not known yet to which of the two it belongs.
            if level is not None:
                levels[name] = level
            if level:
                word_columns[self._name(name)] = tuple(value) if value is not None else (None,) * len(words or ())
            else:
                columns[self._name(name)] = value
        # Only a record that is good all through may settle what its columns are.
        self._kinds.update(kinds)
        self._per_word.update(levels)
        return columns, word_columns
