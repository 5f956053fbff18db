"""Parquet: read in batches; keeps the Arrow types of columns."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerwise import _util
from layerwise._util.paths import faults
from layerwise.arguments import argument
from layerwise.errors import LayerwiseError, SourceError
from layerwise.read.arrow_rows import BATCH_BYTES, BATCH_ROWS, TypedReader, counted, records_of
from layerwise.read.compressed import refuse_other
from layerwise.read.file import File
from layerwise.read.record import Record, Skipped, quoted


class ParquetReader(TypedReader):
    """One record per row."""

    def check(self, file: File) -> None:
        """Check the schema, and store the number of rows."""
        with _open_parquet(file) as (_, parquet):
            file.size = parquet.metadata.num_rows
            self.agree_schema(file, parquet.schema_arrow)

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per row."""
        with _open_parquet(file) as (raw, parquet):
            self.agree(file, self.columns_of(file, parquet.schema_arrow))
            start = 0
            for batch in _batches(raw, parquet):
                yield from counted(file, records_of(file, batch, start))
                start += batch.num_rows


@contextmanager
def _open_parquet(file: File) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.once:
            raise OSError("it is no regular file, and the schema is at the end of a file")
        with (file.path or Path(file.source)).open("rb") as raw:
            refuse_other(raw, file.label, "Parquet")
            with pq.ParquetFile(raw) as parquet:
                yield raw, parquet
    except LayerwiseError:  # some are ValueErrors too
        raise
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
    rows = min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, largest)))
    fits = size.repeated // max(1, metadata.num_rows) * rows <= BATCH_BYTES
    encoded = [] if fits else sorted(size.dictionaries)
    reader = pq.ParquetFile(raw, metadata=metadata, read_dictionary=encoded)
    # A thread that releases a Python buffer while the interpreter exits aborts the process.
    yield from reader.iter_batches(batch_size=rows, use_threads=False)
