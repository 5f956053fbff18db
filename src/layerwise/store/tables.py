"""The tables of a shard, as Parquet: the same table gives the same bytes."""

import base64
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from layerwise._util.guarded import TABLE_BYTES, check_regular, read_bytes
from layerwise._util.parquet_size import size_of, written_out
from layerwise._util.paths import faults, is_remote, read_range, reason
from layerwise.errors import DatasetError

OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "version": "2.6",
    "data_page_version": "1.0",
    "use_dictionary": True,
    "write_statistics": True,
    "store_schema": True,
}
_ROW_GROUP = 1 << 16
_SMALL = 1 << 26  # bytes; a table that can't be larger is read without looking at its dictionaries first


def table_bytes(table: pa.Table) -> bytes:
    """Return `table` as a Parquet file; the bytes don't depend on how it was cut into chunks, or on its metadata."""
    sink = pa.BufferOutputStream()
    plain = pa.concat_tables([table]).replace_schema_metadata(None).combine_chunks()
    pq.write_table(plain, sink, row_group_size=_ROW_GROUP, **OPTIONS)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _raw(path: Path) -> Any:
    """Return a file of Arrow's; of an object store one in Arrow's own memory.

    Not a file of Python: if a thread of Arrow releases one while the interpreter ends, the process aborts.
    """
    if not is_remote(path):
        check_regular(path)
        return pa.OSFile(os.fsencode(path))
    whole = pa.BufferOutputStream()
    whole.write(read_bytes(path, TABLE_BYTES))
    return pa.BufferReader(whole.getvalue())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into a DatasetError."""
    try:
        yield
    except (pa.ArrowException, ValueError, *faults()) as error:
        why = reason(error)
        raise DatasetError(f"can't read {path}: {why}; restore it from a copy") from error


def read_table(path: Path, rows: int | None = None, columns: Collection[str] | None = None) -> pa.Table:
    """Return the table in a Parquet file, or some columns of it.

    Raises:
        DatasetError: a file that is missing, damaged, lacks a column, doesn't have the number of `rows` that
            it should have, or becomes too large.
    """
    # Not pq.read_table, which takes folders called a=b in the path for columns.
    with _readable(path), _raw(path) as raw, pq.ParquetFile(raw) as file:
        if rows is not None and file.metadata.num_rows != rows:
            raise ValueError(f"it has {file.metadata.num_rows} rows where the manifest says {rows}")
        for name in columns or ():
            if name not in file.schema_arrow.names:
                raise ValueError(f"it has no column {name!r}")
        table = _bounded(raw, file, columns)
        table.validate(full=True)  # strings that aren't UTF-8, numbers that a dictionary doesn't have
    if rows is not None and table.num_rows != rows:
        raise DatasetError(
            f"{path} has {table.num_rows} rows and its metadata states {rows}; restore it from a copy"
        )
    return table


def _bounded(raw: Any, file: pq.ParquetFile, columns: Collection[str] | None) -> pa.Table:
    """Read a table after checking that it becomes no larger than `TABLE_BYTES`."""
    size = size_of(raw, file.metadata, columns)
    names = None if columns is None else list(columns)
    _check_bytes(size.fixed + size.plain + size.prefixed)
    if size.most <= _SMALL:
        return file.read(names, use_threads=False)
    numbers = sorted(size.dictionaries)
    with pq.ParquetFile(raw, metadata=file.metadata, read_dictionary=numbers) as short:
        table = short.read(names, use_threads=False)
    _check_bytes(sum(map(written_out, table.columns)))
    schema = (
        file.schema_arrow if names is None else pa.schema([file.schema_arrow.field(name) for name in names])
    )
    return table.cast(schema)


def _check_bytes(size: int) -> None:
    if size > TABLE_BYTES:
        raise ValueError(f"it becomes {size:,} bytes when it is read, and at most {TABLE_BYTES:,} are")


def joint_schema(paths: Iterable[Path], where: Path) -> pa.Schema:
    """Return the schema that `join_tables` gives to the tables in some Parquet files; no row is read.

    Raises:
        DatasetError: a file that can't be read, or the first in which a column doesn't fit those before.
    """
    joined = pa.schema([])
    for path in paths:
        with _readable(path), _end(path) as raw, pq.ParquetFile(raw) as file:
            schema = file.schema_arrow
        try:
            joined = join_schemas([joined, schema], where)
        except DatasetError as error:
            raise DatasetError(
                f"{path} doesn't fit the datasets before it: {error}; extract that dataset again, with values of one type"
            ) from None
    return joined


def _end(path: Path) -> Any:
    """Return a file of Arrow's in which a Parquet file's schema stands; of an object store only its end is fetched."""
    if not is_remote(path):
        return _raw(path)
    size = path.stat().st_size
    length = int.from_bytes(read_range(path, size - 8, size - 4), "little")
    return pa.BufferReader(b"PAR1" + read_range(path, size - 8 - length, size))


def written_table(path: Path) -> pa.Table:
    """Return the table in a Parquet file with the schema that it was written with; reading renames the items of lists.

    Raises:
        DatasetError: as `read_table`, or a file that layerwise didn't write.
    """
    table = read_table(path)
    with _readable(path), _raw(path) as raw, pq.ParquetFile(raw) as file:
        stored = (file.metadata.metadata or {}).get(b"ARROW:schema")
        if stored is None:
            raise ValueError("it has no schema of Arrow's, as every table of a dataset has")
        return table.cast(pa.ipc.read_schema(pa.BufferReader(base64.b64decode(stored))))


def join_tables(
    tables: Iterable[pa.Table], where: Path, advice: str = "restore it from a copy", added: str = ""
) -> pa.Table:
    """Return tables concatenated; a column that one of them lacks, or has as null, is filled with nulls.

    Args:
        tables: of shards, in order.
        where: the folder that the error names.
        advice: what the error says to do.
        added: where the texts of the last table come from, for the error.

    Raises:
        DatasetError: a column whose types can't be joined, such as numbers here and strings there.
    """
    several = list(tables)
    try:
        return pa.concat_tables(several, promote_options="permissive") if several else pa.table({})
    except pa.ArrowException as error:
        why = str(error).partition("\n")[0]
        origin = f", from {added} on" if added else ""
        raise DatasetError(f"the tables of {where} don't fit together: {why}{origin}; {advice}") from error


def join_schemas(schemas: Iterable[pa.Schema], where: Path, **words: str) -> pa.Schema:
    """Return the schema that `join_tables` gives to tables of these schemas; `words` are those of its error."""
    return join_tables([schema.empty_table() for schema in schemas], where, **words).schema
