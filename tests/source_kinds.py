"""The same table as sources of every kind, as other programs write it."""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq


class Source(NamedTuple):
    """What `open_corpus` and `lw.extract` get: a source, and options."""

    data: Any
    options: dict[str, Any]


Make = Callable[[Any, Path], Source]


class Dataset:
    """What is used of `datasets.Dataset`: rows given as Arrow tables."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.features = {name: object() for name in table.column_names}
        self.column_names = table.column_names

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def with_format(self, kind: str) -> "Dataset":
        assert kind == "arrow"
        return self

    def __getitem__(self, key: slice) -> pa.Table:
        return self._table[key]

    def iter(self, batch_size: int) -> Iterator[pa.Table]:
        for first in range(0, self._table.num_rows, batch_size):
            yield self._table.slice(first, batch_size)


def save_to_disk(folder: Path, table: pa.Table, parts: int = 2) -> Path:
    """Write a table as `datasets` does."""
    folder.mkdir(parents=True)
    names = [f"data-{part:05}-of-{parts:05}.arrow" for part in range(parts)]
    size = -(-table.num_rows // parts)
    for part, name in enumerate(names):
        with pa.ipc.new_stream(str(folder / name), table.schema) as writer:
            writer.write_table(table.slice(part * size, size))
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (folder / "dataset_info.json").write_text('{"features": {}}', encoding="utf-8")
    return folder


def zstandard(data: bytes) -> bytes:
    """Compress with Zstandard."""
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": zstandard,
}


def _file(name: str, write: Callable[[Any], str | bytes], **options: Any) -> Make:
    def make(frame: Any, folder: Path) -> Source:
        content = write(frame)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return Source(folder / name, options)

    return make


def _compressed(make: Make, ending: str) -> Make:
    def compressed(frame: Any, folder: Path) -> Source:
        source = make(frame, folder)
        path = source.data.with_name(source.data.name + ending)
        path.write_bytes(COMPRESSIONS[ending](source.data.read_bytes()))
        return Source(path, source.options)

    return compressed


def _memory(build: Callable[[Any], Any]) -> Make:
    return lambda frame, folder: Source(build(frame), {})


def records_of(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a data frame of pandas with Python's numbers."""
    return list(pa.Table.from_pandas(frame, preserve_index=False).to_pylist())


def table_of(frame: Any) -> pa.Table:
    """Return a data frame of pandas as a table without pandas' metadata."""
    return pa.Table.from_pylist(records_of(frame))


def _python_csv(frame: Any, **options: Any) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, **options)
    writer.writerow(frame.columns)
    writer.writerows(frame.itertuples(index=False))
    return file.getvalue()


def _polars_csv(frame: Any, **options: Any) -> str:
    return str(pl.from_arrow(table_of(frame)).write_csv(**options))  # type: ignore[union-attr]


def written_by_r(frame: Any, separator: str, *, corner: str | None) -> str:
    """Write a data frame as write.csv of R (`corner` is `""`) and write.table (`None`) do, with row names."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow([*([] if corner is None else [corner]), *frame.columns])
    rows = frame.itertuples(index=False)
    writer.writerows([str(number), *row] for number, row in enumerate(rows, 1))
    return file.getvalue()


def written_by_excel(frame: Any, separator: str) -> str:
    """Write a data frame as Excel does: a cell with a comma, quote, separator or line break has quotes around it."""

    def cell(value: Any) -> str:
        text = str(value)
        special = any(sign in text for sign in (",", '"', "\n", "\r", separator))
        return '"' + text.replace('"', '""') + '"' if special else text

    rows = [list(frame.columns), *frame.itertuples(index=False)]
    return "".join(separator.join(map(cell, row)) + "\r\n" for row in rows)


def _buffer(write: Callable[[Any], Any]) -> bytes:
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


def _ipc(frame: Any, make: Callable[..., Any], **options: Any) -> bytes:
    table = table_of(frame)
    sink = pa.BufferOutputStream()
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=7)
    return bytes(sink.getvalue().to_pybytes())


def _lines(frame: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records_of(frame))


def _dictionary(frame: Any) -> bytes:
    table = table_of(frame)
    strings = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
    for name in strings:
        place = table.column_names.index(name)
        table = table.set_column(place, name, table.column(name).dictionary_encode())
    return _buffer(lambda sink: pq.write_table(table, sink, row_group_size=500))


FILES: dict[str, Make] = {
    "csv of Python": _file("python.csv", _python_csv),
    "csv, all quoted": _file("all.csv", lambda frame: _python_csv(frame, quoting=csv.QUOTE_ALL)),
    "csv of pandas": _file("pandas.csv", lambda frame: frame.to_csv(index=False)),
    "csv of pandas with its index": _file("index.csv", lambda frame: frame.to_csv()),
    "csv of polars": _file("polars.csv", _polars_csv),
    "csv of R": _file("r.csv", lambda frame: written_by_r(frame, ",", corner="")),
    "csv of R, write.csv2": _file("r2.csv", lambda frame: written_by_r(frame, ";", corner=""), separator=";"),
    "csv of R, write.table": _file("table.csv", lambda frame: written_by_r(frame, ",", corner=None)),
    "blanks of R, write.table": _file(
        "blank.csv", lambda frame: written_by_r(frame, " ", corner=None), separator=" "
    ),
    "csv of Excel": _file("excel.csv", lambda frame: written_by_excel(frame, ",").encode("utf-8-sig")),
    "csv of Excel with semicolons": _file(
        "semicolons.csv",
        lambda frame: written_by_excel(frame, ";").encode("gb18030"),
        separator=";",
        encoding="gb18030",
    ),
    "tsv of Python": _file("python.tsv", lambda frame: _python_csv(frame, delimiter="\t")),
    "tsv of pandas": _file("pandas.tsv", lambda frame: frame.to_csv(index=False, sep="\t")),
    "tsv of polars": _file("polars.tsv", lambda frame: _polars_csv(frame, separator="\t")),
    "tsv of R": _file("r.tsv", lambda frame: written_by_r(frame, "\t", corner=None)),
    "tsv of R with a corner": _file("corner.tsv", lambda frame: written_by_r(frame, "\t", corner="")),
    "tsv of Excel": _file("excel.tsv", lambda frame: written_by_excel(frame, "\t")),
    "Unicode text of Excel": _file(
        "unicode.tsv", lambda frame: written_by_excel(frame, "\t").encode("utf-16"), encoding="utf-16"
    ),
    "jsonl": _file("a.jsonl", _lines),
    "jsonl of pandas and datasets": _file(
        "pandas.jsonl", lambda frame: frame.to_json(orient="records", lines=True, force_ascii=False)
    ),
    "jsonl of polars": _file(
        "polars.jsonl",
        lambda frame: pl.from_arrow(table_of(frame)).write_ndjson(),  # type: ignore[union-attr]
    ),
    "json": _file("a.json", lambda frame: json.dumps(records_of(frame))),
    "json of pandas": _file("pandas.json", lambda frame: frame.to_json(orient="records", indent=2)),
    "parquet": _file("a.parquet", lambda frame: _buffer(lambda sink: pq.write_table(table_of(frame), sink))),
    "parquet of dictionaries": _file("dictionary.parquet", _dictionary),
    "parquet of pandas": _file("pandas.parquet", lambda frame: frame.to_parquet()),
    "parquet of polars": _file(
        "polars.parquet",
        lambda frame: _buffer(pl.from_arrow(table_of(frame)).write_parquet),  # type: ignore[union-attr]
    ),
    "arrow": _file("file.arrow", lambda frame: _ipc(frame, pa.ipc.new_file)),
    "arrow, a stream": _file("stream.arrow", lambda frame: _ipc(frame, pa.ipc.new_stream)),
    "arrow, compressed": _file("zstd.arrow", lambda frame: _ipc(frame, pa.ipc.new_file, compression="zstd")),
    "feather": _file(
        "a.feather", lambda frame: _buffer(lambda sink: feather.write_feather(table_of(frame), sink))
    ),
    "feather of polars": _file(
        "polars.feather",
        lambda frame: _buffer(pl.from_arrow(table_of(frame)).write_ipc),  # type: ignore[union-attr]
    ),
    "save_to_disk": lambda frame, folder: Source(save_to_disk(folder / "saved", table_of(frame)), {}),
}
_TEXT = ("csv of pandas", "tsv of Excel", "jsonl", "json")
FILES |= {f"{name}{ending}": _compressed(FILES[name], ending) for name in _TEXT for ending in COMPRESSIONS}
OBJECTS: dict[str, Make] = {
    "pandas": _memory(lambda frame: frame),
    "polars": _memory(lambda frame: pl.from_arrow(table_of(frame))),
    "table": _memory(table_of),
    "record batch": _memory(lambda frame: table_of(frame).combine_chunks().to_batches()[0]),
    "stream of batches": _memory(lambda frame: table_of(frame).to_reader()),
    "datasets": _memory(lambda frame: Dataset(table_of(frame))),
    "records": _memory(records_of),
}
