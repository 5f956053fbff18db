"""Exporting rows to formats of other programs: one Parquet file, or a folder of NumPy arrays; in bounded memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32
from layerwise.choices import read_export_format
from layerwise.fitted_mix import FittedMix
from layerwise.layers import LayerSpec
from layerwise.mixes import Mix
from layerwise.states import Layered
from layerwise.store import disk
from layerwise.store.export_rows import (
    Column,
    fit_table,
    layer_columns,
    mix_column,
    parts,
    renamed,
    steps,
    write_tables,
)
from layerwise.store.tables import OPTIONS, join_schemas

_GROUP_BYTES = 1 << 27  # of the vectors of a row group, which are in memory at once


def export(
    states: Layered,
    to: str,
    out: str | Path,
    layers: LayerSpec = "all",
    mix: str | int | Mix | FittedMix | None = None,
    track: Tracker = SILENT,
) -> Path:
    """Write some layers, or one mix of them, and the index, to `out`; returns its path.

    `parquet` is one file with the columns of the index (at text level those of the texts, too) and a
    fixed-size list of float32 per layer, `layer_emb`, `layer_1`, …, or `mix`; `out` is a file. `npy` is a
    folder with `emb.npy`, `1.npy`, …, or `mix.npy`, each float32 (rows, width), and both tables as Parquet.

    Args:
        states: rows on disk or in memory.
        to: `parquet` or `npy`; `small_vectors.export_small` writes the other formats.
        out: the file or folder to write; it must not exist yet.
        layers: which layers, when no mix is asked for.
        mix: a mix string, whose `norm=layer` takes the statistics of all rows, or the mix of a head.
        track: reports which layer, and which part of the rows, is written.

    Raises:
        RequestError: an unknown format, or a layer or mix that isn't stored.
        HeadError: a head that was trained on other rows.
        OutputError: something exists at `out`, or it can't be written to.
    """
    read_export_format(to)
    columns = [mix_column(states, mix)] if mix is not None else layer_columns(states, layers)
    target = Path(out)
    with disk.new(target) as part:
        (_write_parquet if to == "parquet" else _write_npy)(states, part, columns, track)
    return target


def _write_parquet(states: Layered, path: Path, columns: list[Column], track: Tracker) -> None:
    vectors = [
        pa.field(name if name == "mix" else f"layer_{name}", pa.list_(pa.float32(), width))
        for name, width, _ in columns
    ]
    vector_names = {field.name for field in vectors}
    metadata = renamed(join_schemas([_metadata(part).schema for part in states.parts()], path), vector_names)
    schema = pa.schema([*metadata, *vectors])
    options = {**OPTIONS, "use_dictionary": metadata.names, "write_statistics": metadata.names}
    step = max(1, _GROUP_BYTES // (4 * sum(width for _, width, _ in columns)))
    with disk.create(path) as file:
        with pq.ParquetWriter(file, schema, **options) as writer:
            for part in parts(states, track, "rows"):
                table = fit_table(_metadata(part), metadata, vector_names, path)
                for rows in steps(part.rows, step):
                    arrays = [_fixed(read(part, rows)) for _, _, read in columns]
                    both = [*table.slice(rows.start, rows.stop - rows.start).columns, *arrays]
                    writer.write_table(pa.Table.from_arrays(both, schema=schema), row_group_size=step)
        file.flush()
        disk.sync(file.fileno(), path)


def _metadata(part: Layered) -> pa.Table:
    """Return the index, at text level also with the columns of the texts that it lacks."""
    index = part.index
    if part.level != "text":
        return index
    texts = part.texts
    docs = texts["doc"].to_numpy()
    order = np.argsort(docs, kind="stable")
    places: Any = pa.array(order[np.searchsorted(docs, index["doc"].to_numpy(), sorter=order)])
    for name in texts.column_names:
        if name not in index.column_names:
            index = index.append_column(texts.schema.field(name), texts[name].take(places))
    return index


def _fixed(values: F32) -> Any:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _write_npy(states: Layered, path: Path, columns: list[Column], track: Tracker) -> None:
    path.mkdir()
    names = (name if name == "mix" else f"layer {name}" for name, _, _ in columns)
    for (name, width, read), step in track.each(columns, names, [width for _, width, _ in columns]):
        _write_array(states, path / f"{name}.npy", width, read, step)
    write_tables(states, path)
    disk.sync_folder(path)


def _write_array(
    states: Layered, path: Path, width: int, read: Callable[[Layered, slice], F32], track: Tracker
) -> None:
    step = max(1, _GROUP_BYTES // (4 * width))
    head = {"descr": "<f4", "fortran_order": False, "shape": (states.rows, width)}
    with disk.create(path) as file:  # not memory-mapped: writing to a map on a full disk kills the process
        npy.write_array_header_1_0(file, head)
        for part in parts(states, track):
            for rows in steps(part.rows, step):
                file.write(np.ascontiguousarray(read(part, rows), "<f4").data)
        file.flush()
        disk.sync(file.fileno(), path)
