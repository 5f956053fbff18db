"""Parquet: read batch by batch; the Arrow types of its columns are kept. Needs pyarrow, and only here."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerwise.errors import SourceError
from layerwise.place import faults
from layerwise.read.files import File
from layerwise.read.reader import Reader
from layerwise.read.record import Columns, Record, Skipped, listed, quoted

_BATCH = 1000


class ParquetReader(Reader):
    """A record per row; `size` and `done` of its files count rows."""

    unit = "row"

    def check(self, file: File) -> None:
        """Look at the schema and the number of rows."""
        with _opened(file) as parquet:
            file.size = parquet.metadata.num_rows
            self.agree(file, _columns(file, parquet.schema_arrow))
            self._check_types(file, parquet.schema_arrow)

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per row."""
        with _opened(file) as parquet:
            self.agree(file, _columns(file, parquet.schema_arrow))
            start = 0
            # A thread that lets go of a buffer of Python's while the interpreter ends aborts the process.
            for batch in parquet.iter_batches(batch_size=_BATCH, use_threads=False):
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
                    "name a column of words with --words"
                )
        for text in self.texts:
            if not _is_text(schema.field(text).type):
                raise SourceError(
                    f"{file.label}: column {text!r} is {quoted(str(schema.field(text).type))} where strings are needed; "
                    f"name the text's with --text, there are {quoted(listed(schema.names))}"
                )


@contextmanager
def _opened(file: File) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with (file.path or Path(file.source)).open("rb") as raw, pq.ParquetFile(raw) as parquet:
            yield parquet
    except (pa.ArrowException, ValueError, *faults()) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"{file.label} can't be read as Parquet: {quoted(why)}; write it anew, or name another --format"
        ) from error


def _columns(file: File, schema: Any) -> Columns:
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise SourceError(f"{file.label} has two columns {quoted(listed(twice))}; rename one of them")
    types = {field.name: _stored(field.type) for field in schema}
    scalars = frozenset(name for name, kind in types.items() if not _is_list(kind))
    return Columns(tuple(schema.names), frozenset(schema.names), types, scalars)


def _records(file: File, batch: Any, start: int) -> Iterator[Record | Skipped]:
    try:
        columns = [_values(column) for column in batch.columns]
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield Skipped(file.label, start + 1, f"a value can't be read ({quoted(str(error))}); mend it")
            return
        for row in range(batch.num_rows):
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
        # Python's own times end at microseconds; an integer converts back to the same instant.
        return list(column.cast(pa.int64()).to_pylist())
    return list(column.to_pylist())


def _stored(kind: Any) -> Any:
    import pyarrow as pa

    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
