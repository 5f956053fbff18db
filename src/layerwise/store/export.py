"""Exporting rows to formats of other programs: one Parquet file, or a folder of NumPy arrays; in bounded memory."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32
from layerwise.choices import one_of
from layerwise.errors import RequestError
from layerwise.fitted_mix import FittedMix, fitted_rows
from layerwise.layers import LayerSpec, resolve_layers
from layerwise.mixes import (
    LayerStats,
    Mix,
    apply_mix,
    layer_stats,
    parse_mix,
    warn_of_stats,
)
from layerwise.states import Layered
from layerwise.store import disk
from layerwise.store.tables import OPTIONS, join_schemas, join_tables

TARGETS = ("parquet", "npy")
_GROUP_BYTES = 1 << 27  # of the vectors of a row group, which are in memory at once

Column = tuple[str, int, Callable[[Layered, slice], F32]]
"""A matrix that is written: its name, its width, and a function that returns rows of a part, float32 (rows, width)."""


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
        to: `parquet` or `npy`.
        out: the file or folder to write; it must not exist yet.
        layers: which layers, when no mix is asked for.
        mix: a mix string, whose `norm=layer` takes the statistics of all rows, or the mix of a head.
        track: reports which layer, and which part of the rows, is written.

    Raises:
        RequestError: an unknown format, or a layer or mix that isn't stored.
        HeadError: a head that was trained on other rows.
        OutputError: something exists at `out`, or it can't be written to.
    """
    one_of("to", to, TARGETS)
    columns = _mixed(states, mix) if mix is not None else _layers(states, layers)
    target = Path(out)
    with disk.new(target) as part:
        (_write_parquet if to == "parquet" else _write_npy)(states, part, columns, track)
    return target


def _layers(states: Layered, layers: LayerSpec) -> list[Column]:
    def reader(name: str) -> Callable[[Layered, slice], F32]:
        return lambda part, rows: part.layer(name, rows)

    names = resolve_layers(layers, states.blocks, states.layers)
    return [(name, states.widths[name], reader(name)) for name in names]


def _fitted(states: Layered, mix: FittedMix) -> list[Column]:
    mix.check(states)
    if mix.rows_per_vector > 1:
        raise RequestError(
            "the head mixes the two texts of a pair into one vector, and an export has a row per text; use dataset.mix(head) "
            "in Python"
        )

    def read(part: Layered, rows: slice) -> F32:
        return fitted_rows(mix, rows, max(states.widths.values()), part.layer)

    return [("mix", mix.width, read)]


def _mixed(states: Layered, text: str | int | Mix | FittedMix) -> list[Column]:
    if isinstance(text, FittedMix):
        return _fitted(states, text)
    mix = parse_mix(text, states.blocks, states.layers, states.widths)
    stats: Mapping[str, LayerStats] | None = None
    if mix.how == "learned":
        apply_mix(mix, states.layer)  # raises its errors before anything is written
    if mix.norm:
        warn_of_stats(mix)
        stats = {name: layer_stats(part.layer(name) for part in states.parts()) for name in mix.layers}

    def read(part: Layered, rows: slice) -> F32:
        return apply_mix(mix, lambda name: part.layer(name, rows), stats, states.widths)

    return [("mix", mix.out_width(states.widths), read)]


def _write_parquet(states: Layered, path: Path, columns: list[Column], track: Tracker) -> None:
    vectors = [
        pa.field(name if name == "mix" else f"layer_{name}", pa.list_(pa.float32(), width))
        for name, width, _ in columns
    ]
    vector_names = {field.name for field in vectors}
    metadata = _renamed(join_schemas([_metadata(part).schema for part in states.parts()], path), vector_names)
    schema = pa.schema([*metadata, *vectors])
    options = {**OPTIONS, "use_dictionary": metadata.names, "write_statistics": metadata.names}
    step = max(1, _GROUP_BYTES // (4 * sum(width for _, width, _ in columns)))
    with disk.create(path) as file:
        with pq.ParquetWriter(file, schema, **options) as writer:
            for part in _parts(states, track, "rows"):
                table = _fit(_metadata(part), metadata, vector_names, path)
                for rows in _steps(part.rows, step):
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


def _renamed(schema: pa.Schema, reserved: set[str]) -> pa.Schema:
    """Return a schema in which columns of reserved names are called `source.NAME`."""
    names = [f"source.{name}" if name in reserved else name for name in schema.names]
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])


def _fit(table: pa.Table, schema: pa.Schema, reserved: set[str], path: Path) -> pa.Table:
    named = table.rename_columns(_renamed(table.schema, reserved).names)
    return join_tables([schema.empty_table(), named], path)


def _fixed(values: F32) -> Any:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _steps(rows: int, step: int) -> Iterator[slice]:
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _write_npy(states: Layered, path: Path, columns: list[Column], track: Tracker) -> None:
    path.mkdir()
    names = (name if name == "mix" else f"layer {name}" for name, _, _ in columns)
    for (name, width, read), step in track.each(columns, names, [width for _, width, _ in columns]):
        _write_array(states, path / f"{name}.npy", width, read, step)
    _write_table(states, path / "index.parquet", lambda part: part.index)
    _write_table(states, path / "texts.parquet", lambda part: part.texts)
    disk.sync_folder(path)


def _parts(states: Layered, track: Tracker, name: str = "") -> Iterator[Layered]:
    """Yield the parts of some rows, reporting which rows are being written."""
    if name:
        track = track.named(name)
    done = 0
    for part in states.parts():
        end = done + part.rows
        track.report(done / max(states.rows, 1), f"{done:,} to {end:,} of {states.rows:,}")
        yield part
        done = end


def _write_array(
    states: Layered, path: Path, width: int, read: Callable[[Layered, slice], F32], track: Tracker
) -> None:
    step = max(1, _GROUP_BYTES // (4 * width))
    head = {"descr": "<f4", "fortran_order": False, "shape": (states.rows, width)}
    with disk.create(path) as file:  # not memory-mapped: writing to a map on a full disk kills the process
        npy.write_array_header_1_0(file, head)
        for part in _parts(states, track):
            for rows in _steps(part.rows, step):
                file.write(np.ascontiguousarray(read(part, rows), "<f4").data)
        file.flush()
        disk.sync(file.fileno(), path)


def _write_table(states: Layered, path: Path, pick: Callable[[Layered], Any]) -> None:
    schema = join_schemas([pick(part).schema for part in states.parts()], path)
    with disk.create(path) as file:
        with pq.ParquetWriter(file, schema, **OPTIONS) as writer:
            for part in states.parts():
                writer.write_table(_fit(pick(part), schema, set(), path))
        file.flush()
        disk.sync(file.fileno(), path)
