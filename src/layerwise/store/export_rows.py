"""What every export reads: matrices of layers or of a mix in blocks of rows, and the tables beside them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from layerwise._util.progress import Tracker
from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.fitted_mix import FittedMix, fitted_rows
from layerwise.layers import LayerSpec, resolve_layers
from layerwise.mixes import LayerStats, Mix, apply_mix, layer_stats, parse_mix, warn_of_stats
from layerwise.states import Layered
from layerwise.store import disk
from layerwise.store.tables import OPTIONS, join_schemas, join_tables

Column = tuple[str, int, Callable[[Layered, slice], F32]]
"""A matrix that is written: its name, its width, and a function that returns rows of a part, float32 (rows, width)."""


def layer_columns(states: Layered, layers: LayerSpec) -> list[Column]:
    """Return a matrix per layer.

    Raises:
        RequestError: a layer that isn't stored.
    """

    def reader(name: str) -> Callable[[Layered, slice], F32]:
        return lambda part, rows: part.layer(name, rows)

    names = resolve_layers(layers, states.blocks, states.layers)
    return [(name, states.widths[name], reader(name)) for name in names]


def mix_column(states: Layered, mix: str | int | Mix | FittedMix) -> Column:
    """Return the matrix of a mix.

    Raises:
        RequestError: a mix that isn't stored, or a learned one without its head.
        HeadError: a head that was trained on other rows.
    """
    return _fitted(states, mix) if isinstance(mix, FittedMix) else _mixed(states, mix)


def _fitted(states: Layered, mix: FittedMix) -> Column:
    mix.check(states)
    if mix.rows_per_vector > 1:
        raise RequestError(
            "the head mixes the two texts of a pair into one vector, and an export has a row per text; use dataset.mix(head) "
            "in Python"
        )

    def read(part: Layered, rows: slice) -> F32:
        return fitted_rows(mix, rows, max(states.widths.values()), part.layer)

    return "mix", mix.width, read


def _mixed(states: Layered, text: str | int | Mix) -> Column:
    mix = parse_mix(text, states.blocks, states.layers, states.widths)
    stats: Mapping[str, LayerStats] | None = None
    if mix.how == "learned":
        apply_mix(mix, states.layer)  # raises its errors before anything is written
    if mix.norm:
        warn_of_stats(mix)
        stats = {name: layer_stats(part.layer(name) for part in states.parts()) for name in mix.layers}

    def read(part: Layered, rows: slice) -> F32:
        return apply_mix(mix, lambda name: part.layer(name, rows), stats, states.widths)

    return "mix", mix.out_width(states.widths), read


def parts(states: Layered, track: Tracker, name: str = "") -> Iterator[Layered]:
    """Yield the parts of some rows, reporting which rows are being written."""
    if name:
        track = track.named(name)
    done = 0
    for part in states.parts():
        end = done + part.rows
        track.report(done / max(states.rows, 1), f"{done:,} to {end:,} of {states.rows:,}")
        yield part
        done = end


def steps(rows: int, step: int) -> Iterator[slice]:
    """Yield slices of at most `step` rows."""
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def write_tables(states: Layered, folder: Path) -> None:
    """Write `index.parquet` and `texts.parquet` into a folder."""
    _write_table(states, folder / "index.parquet", lambda part: part.index)
    _write_table(states, folder / "texts.parquet", lambda part: part.texts)


def _write_table(states: Layered, path: Path, pick: Callable[[Layered], Any]) -> None:
    schema = join_schemas([pick(part).schema for part in states.parts()], path)
    with disk.create(path) as file:
        with pq.ParquetWriter(file, schema, **OPTIONS) as writer:
            for part in states.parts():
                writer.write_table(fit_table(pick(part), schema, set(), path))
        file.flush()
        disk.sync(file.fileno(), path)


def renamed(schema: pa.Schema, reserved: set[str]) -> pa.Schema:
    """Return a schema in which columns of reserved names are called `source.NAME`."""
    names = [f"source.{name}" if name in reserved else name for name in schema.names]
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])


def fit_table(table: pa.Table, schema: pa.Schema, reserved: set[str], path: Path) -> pa.Table:
    """Return a table with the columns of a schema, after reserved names were replaced."""
    named = table.rename_columns(renamed(table.schema, reserved).names)
    return join_tables([schema.empty_table(), named], path)
