"""Turn a record into its example, or two for a pair: text or words, id, and carried columns."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.example import DOCUMENT, PART, Example, clean, joint_example
from layerwise.read.column_types import ColumnTypes
from layerwise.read.file import File
from layerwise.read.reader import Reader
from layerwise.read.record import BadRecordError, Record, listed, quoted, shown
from layerwise.read.sentences import is_missing
from layerwise.wording import Message

_OF_TEXTS = ("doc", "id", "source", "line", "text", "words", "tokens", "unknown", "windows", "truncated")
_OF_PAIRS_AND_CONTEXT = ("pair_start", "context_before", "context_after")
_OF_ROWS = ("start", "end", "token_id", "word", "special", "dropped")
RESERVED = (*_OF_TEXTS, *_OF_PAIRS_AND_CONTEXT, *_OF_ROWS)


class ExampleBuilder:
    """Builds the examples of one corpus; keeps the inferred types of columns until `restart`.

    `renamings` are those of the notices that tell of columns with other names.
    """

    def __init__(self, reader: Reader, notices: list[str]) -> None:
        self._reader = reader
        self._notices = notices
        self._names: dict[str, str] = {}
        self.renamings: set[str] = set()
        self.restart()

    def restart(self) -> None:
        """Forget the types and levels of columns, which are valid for one pass only."""
        columns = self._reader.columns
        scalars = columns.scalars if columns else frozenset()
        self._column_types = ColumnTypes(types=self._reader.watched, scalars=scalars)

    def carried(self, names: tuple[str, ...]) -> dict[str, str]:
        """Return, for each of `names` that is carried, the name it has in the dataset."""
        return {name: self._name(name) for name in names if name not in self._reader.roles}

    def examples(self, file: File, record: Record) -> tuple[Example, ...]:
        """Return the example of a record; for a pair two, each with the column of its text as `part`.

        Raises:
            BadRecordError: a text, words or id of the wrong type; a column whose type or length changes.
        """
        reader = self._reader
        reader.settle(record.fields)
        fields = reader.named(record.fields)
        words = self._words(fields) if reader.words is not None else None
        texts = [" ".join(words)] if words is not None else self._texts(fields)
        id = self._id(fields)
        columns, word_columns = self._carry(fields, words)
        if reader.joint:
            example = joint_example(texts, [clean(column) for column in reader.texts])
            return (replace(example, id=id, source=file.source, line=record.line, columns=columns),)
        parts = [{PART: clean(column)} for column in reader.texts] if reader.paired else [{}]
        return tuple(
            Example(text, words, id, file.source, record.line, part | columns, word_columns)
            for text, part in zip(texts, parts, strict=True)
        )

    def _texts(self, fields: Mapping[str, Any]) -> list[str]:
        join = self._reader.options.join
        if join is None:
            return [self._text(fields, column) for column in self._reader.texts]
        present = [column for column in self._reader.texts if clean_all(fields.get(column, "")) is not None]
        return [join.join(filter(None, (self._text(fields, column) for column in present)))]

    def _text(self, fields: Mapping[str, Any], column: str) -> str:
        value = clean_all(self._field(fields, column))
        if value is None:
            raise BadRecordError(f"column {column!r} holds null where a text is needed; give it a text")
        if not isinstance(value, str):
            raise BadRecordError(
                f"column {column!r} holds {_describe(value)} where a text is needed; {_advice(value, 'text')}"
            )
        return value

    def _words(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        column = str(self._reader.words)
        value = self._field(fields, column)
        if not isinstance(value, list):
            raise BadRecordError(
                f"column {column!r} holds {_describe(value)} where a list of words is needed; {_advice(value, 'words')}"
            )
        for item in value:
            if not isinstance(item, str):
                raise BadRecordError(
                    f"column {column!r} holds {_describe(item)} among its words; words are strings; write it as one"
                )
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
            f"column {self._reader.id!r} holds {_describe(value)} where an id is needed; write a string or an integer"
        )

    def _carry(
        self, fields: Mapping[str, Any], words: tuple[str, ...] | None
    ) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
        roles = self._reader.roles
        carried = {name: clean_all(value) for name, value in fields.items() if name not in roles}
        document = self._reader.options.document or DOCUMENT
        if document in carried and (self._reader.word_per_row or self._reader.sentence_id):
            carried[document] = _document(carried[document])
        count = None if words is None else len(words)
        levels = self._column_types.levels(carried, count)
        # Undecided columns (`None`) have no value in this record, so they are left out.
        columns = {self._name(name): carried[name] for name, level in levels.items() if level is False}
        word_columns = {
            self._name(name): (None,) * (count or 0) if carried[name] is None else tuple(carried[name])
            for name, level in levels.items()
            if level
        }
        return columns, word_columns

    def _name(self, name: str) -> str:
        if name not in self._names:
            document = self._reader.options.document
            reserved = name in RESERVED or (name == PART and (self._reader.paired or self._reader.joint))
            reserved = document != name and (reserved or (document is not None and name == DOCUMENT))
            carried = DOCUMENT if document == name else f"source.{name}" if reserved else clean(name)
            if carried in self._names.values():
                raise SourceError(
                    f"two columns would be carried as {quoted(repr(carried))}; rename one of them"
                )
            if reserved:
                notice = Message("note.read.renamed", column=repr(name), carried=repr(carried))
                self._notices.append(notice)
                self.renamings.add(notice)
            self._names[name] = carried
        return self._names[name]


def clean_all(value: Any) -> Any:
    """Return a value with `clean` applied to every string in it, and `None` in place of NaN, which says that it is missing."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, list):
        return [clean_all(item) for item in value]
    if isinstance(value, dict):
        return {clean_all(key): clean_all(item) for key, item in value.items()}
    return value


def _document(value: Any) -> Any:
    """Return the document of a sentence whose words may each name it.

    Raises:
        BadRecordError: they name several.
    """
    if not isinstance(value, list):
        return value
    names = dict.fromkeys(name for name in value if name not in (None, ""))
    if len(names) > 1:
        raise BadRecordError(
            f"the words of a sentence are in several documents ({quoted(listed(map(str, names)))}); correct the rows, or "
            f"rename the column {DOCUMENT!r} if it holds something else"
        )
    return next(iter(names), None)


def _advice(value: object, role: str) -> str:
    if is_missing(value):
        return "fill it in"
    if role == "words" and isinstance(value, str):
        return f"where a record is a word, name the column that numbers the sentences with {argument('sentence_id')}"
    return f"name another column with {argument(role)}"


def _describe(value: object) -> str:
    return "null" if value is None else f"the {type(value).__name__} {quoted(shown(value))}"
