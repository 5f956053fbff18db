"""JSONL: one JSON object per line."""

import json
from collections.abc import Iterator
from typing import Any

from layerwise.read.files import File
from layerwise.read.lines import Line, read_lines
from layerwise.read.reader import Reader
from layerwise.read.record import BadRecordError, Columns, Record, Skipped, quoted, shown

_PEEK_LINES = 100
_PEEK_BYTES = 1 << 20


class JsonlReader(Reader):
    """One record per line; blank lines are skipped, and a key may be missing in some lines."""

    watched = True

    def check(self, file: File) -> None:
        """Check the columns of the first records (up to 100, up to one MiB)."""
        columns = self._peek(file)
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

    def _peek(self, file: File) -> Columns | None:
        names: dict[str, None] = {}
        required: frozenset[str] | None = None
        for count, record in enumerate(self.records(file), 1):
            if isinstance(record, Record):
                names.update(dict.fromkeys(record.fields))
                required = (
                    frozenset(record.fields) if required is None else required & frozenset(record.fields)
                )
            if count == _PEEK_LINES or file.done > _PEEK_BYTES:
                break
        return None if required is None else Columns(tuple(names), required)


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
    if not isinstance(value, dict):
        raise BadRecordError(f'{quoted(shown(value))} where a JSON object is needed, such as {{"text": "…"}}')
    return value
