"""JSONL: one JSON object per line."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from layerwise.arguments import argument
from layerwise.read.file import File
from layerwise.read.lines import Line, read_lines
from layerwise.read.reader import Reader
from layerwise.read.record import BadRecordError, Columns, Record, Skipped, quoted, shown

PEEK_RECORDS = 100
PEEK_BYTES = 1 << 20


class JsonlReader(Reader):
    """One record per line; blank lines are skipped, and a key may be missing in some lines."""

    watched = True

    def check(self, file: File) -> None:
        """Check the columns of the first records (up to 100, up to one MiB)."""
        columns = columns_of(self.records(file), lambda: file.done > PEEK_BYTES)
        file.done = 0
        if columns is not None:
            self.agree(file, columns)

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per object."""
        decoder = RecordDecoder()
        for line in read_lines(file, self.options.encoding):
            if line.wrong is None and not line.text.strip():
                continue
            try:
                yield Record(line.number, _parse(decoder, line))
            except BadRecordError as error:
                yield Skipped(file.label, line.number, str(error))


def columns_of(records: Iterator[Record | Skipped], is_enough: Callable[[], bool]) -> Columns | None:
    """Return the columns of the first records; `None` if none of them can be read."""
    names: dict[str, None] = {}
    required: frozenset[str] | None = None
    for record in islice(records, PEEK_RECORDS):
        if isinstance(record, Record):
            names.update(dict.fromkeys(record.fields))
            fields = frozenset(record.fields)
            required = fields if required is None else required & fields
        if is_enough():
            break
    return None if required is None else Columns(tuple(names), required)


class RecordDecoder(json.JSONDecoder):
    """Decodes JSON, and notices keys that stand twice in an object, of whose values one would be lost."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=self._object)
        self._twice: str | None = None

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        """Return the value that begins at a position, and its end; errors as `json.JSONDecoder`."""
        self._twice = None
        return super().raw_decode(s, idx)

    def record(self, value: Any) -> dict[str, Any]:
        """Return the value that was decoded last, an object.

        Raises:
            BadRecordError: it is none, or a key stands twice in it.
        """
        if not isinstance(value, dict):
            raise BadRecordError(
                f'{quoted(shown(value))} where a JSON object is needed, such as {{"text": "…"}}; correct it'
            )
        if self._twice is not None:
            raise BadRecordError(
                f"the key {quoted(repr(self._twice))} stands twice in an object; rename one of them"
            )
        return value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            keys = [key for key, _ in pairs]
            self._twice = next(key for key in keys if keys.count(key) > 1)
        return fields


def _parse(decoder: RecordDecoder, line: Line) -> dict[str, Any]:
    if line.wrong is not None:
        raise BadRecordError(line.wrong)
    try:
        value = decoder.decode(line.text)
    except json.JSONDecodeError as error:
        why = f"no JSON ({error.msg.removesuffix(' at')} at column {error.colno})"
        raise BadRecordError(f"{why}; every line must be one JSON object{_other_format(line)}") from error
    except (ValueError, RecursionError) as error:
        why = str(error).partition(";")[0]
        raise BadRecordError(f"JSON that can't be read ({why}); correct the line") from error
    if isinstance(value, list) and value and isinstance(value[0], dict):
        array = argument("format", "json")
        raise BadRecordError(
            f"an array where a JSON object is needed; if the file is one array, give {array}"
        )
    return decoder.record(value)


def _other_format(line: Line) -> str:
    """Return advice for a first line that begins an array, or isn't JSON at all."""
    start = line.text.lstrip()[:1]
    if line.number > 1 or start in ("{", '"'):
        return ""
    format = argument("format", "json" if start == "[" else "csv")
    return f"; if the file is {'one array' if start == '[' else 'a table'}, give {format}"
