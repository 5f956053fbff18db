"""JSONL: one JSON object per line."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

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
        for line in read_lines(file, self.options.encoding):
            if line.wrong is None and not line.text.strip():
                continue
            try:
                yield Record(line.number, _parse(line))
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


def as_record(value: Any) -> dict[str, Any]:
    """Return a JSON value that is an object.

    Raises:
        BadRecordError: it is none.
    """
    if not isinstance(value, dict):
        raise BadRecordError(f'{quoted(shown(value))} where a JSON object is needed, such as {{"text": "…"}}')
    return value


def _parse(line: Line) -> dict[str, Any]:
    if line.wrong is not None:
        raise BadRecordError(line.wrong)
    try:
        value = json.loads(line.text)
    except json.JSONDecodeError as error:
        raise BadRecordError(
            f"no JSON ({error.msg} at column {error.colno}); every line must be one JSON object"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadRecordError(f"JSON that can't be read ({error}); correct the line") from error
    return as_record(value)
