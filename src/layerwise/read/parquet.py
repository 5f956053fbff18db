"""Parquet: read in batches; keeps the Arrow types of columns. The only reader that needs pyarrow."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerwise import _util
from layerwise._util.paths import faults
from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.read.files import File
from layerwise.read.reader import Reader
from layerwise.read.record import Columns, Record, Skipped, listed, quoted

_BATCH = 1000  # rows
_BYTES = 1 << 26  # of a batch, with its dictionaries expanded to strings
_ROW_BYTES = 1 << 28  # of a single row


class ParquetReader(Reader):
    """One record per row; `size` and `done` of its files count rows."""

    unit = "row"

    def check(self, file: File) -> None:
        """Check the schema, and store the number of rows."""
        with _open_parquet(file) as (_, parquet):
            file.size = parquet.metadata.num_rows
            self.agree(file, _columns(file, parquet.schema_arrow))
            self._check_types(file, parquet.schema_arrow)

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per row."""
        with _open_parquet(file) as (raw, parquet):
            self.agree(file, _columns(file, parquet.schema_arrow))
            start = 0
            for batch in _batches(raw, parquet):
                for item in _records(file, batch, start):
                    file.done += 1
                    yield item
                start += batch.num_rows

    def _check_types(self, file: File, schema: Any) -> None:
        if self.words is not None:
            kind = schema.field(self.words).type
            if not (_is_list(kind) and _is_text(kind.value_type)):
                raise SourceError(
                    f"{file.label}: column {self.words!r} is {quoted(str(kind))} where a list of strings is needed; "
                    f"name a column of words with {argument('words')}"
                )
        for text in self.texts:
            if not _is_text(schema.field(text).type):
                raise SourceError(
                    f"{file.label}: column {text!r} is {quoted(str(schema.field(text).type))} where strings are needed; "
                    f"name the column of the text with {argument('text')}; there are {quoted(listed(schema.names))}"
                )


@contextmanager
def _open_parquet(file: File) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.once:
            raise OSError("it is no regular file, and the schema is at the end of a file")
        with (file.path or Path(file.source)).open("rb") as raw, pq.ParquetFile(raw) as parquet:
            yield raw, parquet
    except (pa.ArrowException, ValueError, *faults()) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"{file.label} can't be read as Parquet: {quoted(why)}; write it again, or name another {argument('format')}"
        ) from error


def _batches(raw: Any, parquet: Any) -> Iterator[Any]:
    """Yield the rows in batches; strings that could be large once expanded stay dictionary-encoded."""
    import pyarrow.parquet as pq

    metadata = parquet.metadata
    size = _util.parquet_size.size_of(raw, metadata)
    # Sizes that are unknown before reading are assumed to be the largest possible.
    largest = (size.fixed + size.prefixed) // max(1, metadata.num_rows)
    rows = min(_BATCH, max(1, _BYTES // max(1, largest)))
    fits = size.repeated // max(1, metadata.num_rows) * rows <= _BYTES
    encoded = [] if fits else sorted(size.dictionaries)
    reader = pq.ParquetFile(raw, metadata=metadata, read_dictionary=encoded)
    # A thread that releases a Python buffer while the interpreter exits aborts the process.
    yield from reader.iter_batches(batch_size=rows, use_threads=False)


def _columns(file: File, schema: Any) -> Columns:
    duplicates = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if duplicates:
        raise SourceError(f"{file.label} has two columns {quoted(listed(duplicates))}; rename one of them")
    types = {field.name: _storage_type(field.type) for field in schema}
    scalars = frozenset(name for name, kind in types.items() if not _is_list(kind))
    return Columns(tuple(schema.names), frozenset(schema.names), types, scalars)


def _records(file: File, batch: Any, start: int) -> Iterator[Record | Skipped]:
    size = sum(map(_util.parquet_size.written_out, batch.columns))
    # Only now is the size with expanded strings known; the batch is halved until each part fits.
    if size > _BYTES and batch.num_rows > 1:
        half = batch.num_rows // 2
        yield from _records(file, batch.slice(0, half), start)
        yield from _records(file, batch.slice(half), start + half)
        return
    if size > _ROW_BYTES:
        why = f"it becomes {size:,} bytes, and at most {_ROW_BYTES:,} of a row are read; leave out the longest value"
        yield Skipped(file.label, start + 1, why)
        return
    try:
        columns = [_values(column) for column in batch.columns]
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield Skipped(file.label, start + 1, f"a value can't be read ({quoted(str(error))}); correct it")
            return
        for row in range(batch.num_rows):  # find the row whose value can't be read
            yield from _records(file, batch.slice(row, 1), start + row)
        return
    for row, values in enumerate(zip(*columns, strict=True), start + 1):
        yield Record(row, dict(zip(batch.schema.names, values, strict=True)))


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _values(column.storage)
    if getattr(kind, "unit", None) == "ns":
        # Python's datetime has microseconds only; an integer converts back to the same instant.
        return list(column.cast(pa.int64()).to_pylist())
    return list(column.to_pylist())


def _storage_type(kind: Any) -> Any:
    import pyarrow as pa

    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
