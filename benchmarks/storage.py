"""One layer of a dataset of 0.8 GB: written, opened, read, and gathered from, against other layouts.

40,000 rows of 13 layers of 768 float16. Every layout gets the same float32 blocks of 2,000 rows, all layers
of a block before the next, converts them itself and syncs its files. Nothing is compressed. Everything is
read from a warm cache, by a handle that was opened just before, each round another layer.
"""

import importlib.util
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import Goal, heading, show, show_goals
from numpy.typing import NDArray

import layerwise as lw
from layerwise.store import DatasetWriter
from layerwise.store.manifest import Description, Settings
from layerwise.store.records import ShardFacts

ROWS, BLOCK, WIDTH, DRAWN = 40_000, 2_000, 768, 1_000
LAYERS = ("emb", *map(str, range(1, 13)))
GB_ALL, GB_LAYER = ROWS * WIDTH * 2 * len(LAYERS) / 1e9, ROWS * WIDTH * 2 / 1e9
ROUNDS, WRITES = 9, 3
Blocks = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Layout:
    """A way to store: `write` into an empty folder; `open` it; read a layer; gather rows of a layer.

    `raw` gives float16 in memory of its own, (rows, width); `float32` and `gather` give float32.
    """

    write: Callable[[Path, Blocks], None]
    open: Callable[[Path], Any]
    raw: Callable[[Any, str], NDArray[Any]]
    float32: Callable[[Any, str], NDArray[Any]]
    gather: Callable[[Any, str, NDArray[np.int64]], NDArray[Any]]


@cache
def _described() -> tuple[Settings, Description, ShardFacts]:
    """Return what the manifest and the records of the dataset say besides its rows: as for one text, but for the shape."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "text.txt"
        source.write_text("A text.\n")
        dataset = lw.extract(source, Path(folder) / "one.lw")
        manifest, record = dataset.manifest, next(dataset.shards)
    (source_entry,) = manifest.sources
    description = replace(
        manifest.part(Description),
        layers=LAYERS,
        blocks=12,
        width=WIDTH,
        model=replace(manifest.model, blocks=12, width=WIDTH),
        sources=(replace(source_entry, shards=ROWS // BLOCK),),
    )
    return replace(manifest.settings, layers=LAYERS), description, record.part(ShardFacts)


def _write_layerwise(folder: Path, blocks: Blocks) -> None:
    docs = np.arange(BLOCK)
    settings, description, facts = _described()
    with DatasetWriter(folder, settings) as writer:
        for number in range(ROWS // BLOCK):
            shard = writer.begin(LAYERS, BLOCK, WIDTH, "float16")
            for layer, block in blocks.items():
                shard.put(layer, docs, block)
            names = pa.table({"doc": docs + number * BLOCK})
            shard.commit(names, names, facts)
        writer.finish(description)


def _write_npy(folder: Path, blocks: Blocks) -> None:
    head = {"descr": "<f2", "fortran_order": False, "shape": (ROWS, WIDTH)}
    files = {layer: open(folder / f"{layer}.npy", "wb") for layer in LAYERS}  # noqa: SIM115
    for file in files.values():
        np.lib.format.write_array_header_1_0(file, head)
    for _ in range(ROWS // BLOCK):
        for layer, block in blocks.items():
            block.astype("<f2").tofile(files[layer])
    for file in files.values():
        file.close()


def _open_npy(folder: Path) -> dict[str, NDArray[Any]]:
    return {layer: np.load(folder / f"{layer}.npy", mmap_mode="r") for layer in LAYERS}


def _batch(blocks: Blocks) -> pa.RecordBatch:
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(block.astype("<f2").reshape(-1)), WIDTH)
        for block in blocks.values()
    ]
    return pa.record_batch(columns, names=list(LAYERS))


def _write_arrow(folder: Path, blocks: Blocks) -> None:
    with pa.ipc.new_file(folder / "rows.arrow", _batch(blocks).schema) as writer:
        for _ in range(ROWS // BLOCK):
            writer.write_batch(_batch(blocks))


def _open_arrow(folder: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(folder / "rows.arrow"))).read_all()


def _write_parquet(folder: Path, blocks: Blocks) -> None:
    options = {"compression": "none", "use_dictionary": False}
    with pq.ParquetWriter(folder / "rows.parquet", _batch(blocks).schema, **options) as writer:
        for _ in range(ROWS // BLOCK):
            writer.write_batch(_batch(blocks))


def _column(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of vectors as one array in memory of its own, (rows, width)."""
    out = np.empty((len(column), WIDTH), np.float16)
    begin = 0
    for chunk in column.chunks:
        out[begin : begin + len(chunk)] = chunk.flatten().to_numpy().reshape(-1, WIDTH)
        begin += len(chunk)
    return out


def _write_hdf5(folder: Path, blocks: Blocks) -> None:
    import h5py

    with h5py.File(folder / "rows.h5", "w") as file:
        for layer in LAYERS:
            file.create_dataset(layer, (ROWS, WIDTH), "<f2")
        for begin in range(0, ROWS, BLOCK):
            for layer, block in blocks.items():
                file[layer][begin : begin + BLOCK] = block.astype("<f2")


def _open_hdf5(folder: Path) -> Any:
    import h5py

    return h5py.File(folder / "rows.h5", "r")


def _gather_hdf5(file: Any, layer: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    ascending, back = np.unique(rows, return_inverse=True)  # it takes ascending numbers only, each once
    values: NDArray[Any] = file[layer][ascending].astype(np.float32)[back]
    return values


def _write_zarr(folder: Path, blocks: Blocks) -> None:
    import zarr

    group = zarr.open_group(folder / "rows.zarr", mode="w")
    for layer in LAYERS:
        group.create_array(
            layer, shape=(ROWS, WIDTH), chunks=(BLOCK, WIDTH), dtype="float16", compressors=None
        )
    for begin in range(0, ROWS, BLOCK):
        for layer, block in blocks.items():
            group[layer][begin : begin + BLOCK] = block.astype("<f2")


def _open_zarr(folder: Path) -> Any:
    import zarr

    return zarr.open_group(folder / "rows.zarr", mode="r")


def _read_parquet(file: pq.ParquetFile, layer: str) -> NDArray[Any]:
    return _column(file.read([layer])[layer])


def _layouts() -> dict[str, Layout]:
    """Return the layouts whose library is installed."""
    found = {
        "layerwise": Layout(
            _write_layerwise,
            lw.open_dataset,
            lambda dataset, layer: dataset.layer(layer, raw=True),
            lambda dataset, layer: dataset.layer(layer),
            lambda dataset, layer, rows: dataset.layer(layer, rows=rows),
        ),
        "npy, a file per layer, mapped": Layout(
            _write_npy,
            _open_npy,
            lambda files, layer: np.array(files[layer]),
            lambda files, layer: files[layer].astype(np.float32),
            lambda files, layer, rows: files[layer][rows].astype(np.float32),
        ),
        "Arrow IPC, a column per layer, mapped": Layout(
            _write_arrow,
            _open_arrow,
            lambda t, layer: _column(t[layer]),
            lambda t, layer: _column(t[layer]).astype(np.float32),
            lambda t, layer, rows: _column(t[layer].take(pa.array(rows))).astype(np.float32),
        ),
        "Parquet, a column per layer": Layout(
            _write_parquet,
            lambda folder: pq.ParquetFile(folder / "rows.parquet", memory_map=True),
            _read_parquet,
            lambda file, layer: _read_parquet(file, layer).astype(np.float32),
            lambda file, layer, rows: _read_parquet(file, layer)[rows].astype(np.float32),
        ),
    }
    if importlib.util.find_spec("h5py"):
        found["HDF5, a dataset per layer"] = Layout(
            _write_hdf5,
            _open_hdf5,
            lambda file, layer: file[layer][:],
            lambda file, layer: file[layer][:].astype(np.float32),
            _gather_hdf5,
        )
    if importlib.util.find_spec("zarr"):
        found["zarr, an array per layer"] = Layout(
            _write_zarr,
            _open_zarr,
            lambda group, layer: group[layer][:],
            lambda group, layer: group[layer][:].astype(np.float32),
            lambda group, layer, rows: group[layer].oindex[rows].astype(np.float32),
        )
    return found


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    kept = run()
    taken = time.perf_counter() - start
    del kept
    return taken


def _write(layouts: dict[str, Layout], folder: Path, blocks: Blocks) -> dict[str, list[float]]:
    """Write every layout several times; the last one stays."""
    taken: dict[str, list[float]] = {name: [] for name in layouts}

    def write(layout: Layout, place: Path) -> None:
        layout.write(place, blocks)
        for path in place.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())

    _described()  # loads a model, which isn't timed
    for _ in range(WRITES):
        for number, (name, layout) in enumerate(layouts.items()):
            place = folder / str(number)
            if place.exists():
                shutil.rmtree(place)
            place.mkdir()
            taken[name].append(_seconds(partial(write, layout, place)))
    return taken


def _read(layout: Layout, place: Path, layer: str, rows: NDArray[np.int64]) -> dict[str, float]:
    """Measure one round of one layout: every figure on a handle of its own."""
    taken = {"open": _seconds(lambda: layout.open(place))}
    for name, way in (("raw", layout.raw), ("float32", layout.float32)):
        handle = layout.open(place)
        taken[name] = _seconds(partial(way, handle, layer))
    handle = layout.open(place)
    taken["gather"] = _seconds(lambda: layout.gather(handle, layer, rows))
    return taken


def main() -> None:
    """Measure and print."""
    heading(
        f"storage: {GB_ALL:.1f} GB, {ROWS:,} rows x {len(LAYERS)} layers x {WIDTH} float16, warm cache, "
        f"medians of {ROUNDS} interleaved rounds (writing: {WRITES})",
        "h5py",
        "zarr",
    )
    chance = np.random.default_rng(0)
    blocks = {layer: chance.standard_normal((BLOCK, WIDTH), np.float32) for layer in LAYERS}
    layouts = _layouts()
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in layouts}
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        folder = Path(name)
        written = _write(layouts, folder, blocks)
        _check(layouts, folder, blocks, chance)
        for turn in range(ROUNDS):
            layer, rows = LAYERS[5 * turn % len(LAYERS)], chance.integers(0, ROWS, DRAWN)
            for number, (name, layout) in enumerate(layouts.items()):
                figures[name].append(_read(layout, folder / str(number), layer, rows))
    table = [("layout", "write GB/s", "open ms", "read GB/s", "read as float32", "gather ms")]
    middle = {
        name: {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}
        for name, runs in figures.items()
    }
    for name, m in middle.items():
        table.append(
            (
                name,
                f"{GB_ALL / statistics.median(written[name]):.2f}",
                f"{m['open'] * 1e3:.2f}",
                f"{GB_LAYER / m['raw']:.2f}",
                f"{GB_LAYER / m['float32']:.2f}",
                f"{m['gather'] * 1e3:.1f}",
            )
        )
    show(table, right=(1, 2, 3, 4, 5))
    print(f"GB of stored bytes; reading: one layer, all rows; gathering: {DRAWN:,} random rows of one layer")
    ours = middle["layerwise"]
    show_goals(
        [
            Goal("read one layer as float32", GB_LAYER / ours["float32"], 2, " GB/s"),
            Goal("read one layer as stored", GB_LAYER / ours["raw"], 2, " GB/s"),
            Goal(f"gather {DRAWN:,} random rows", ours["gather"] * 1e3, 20, " ms", True),
        ]
    )


def _check(layouts: dict[str, Layout], folder: Path, blocks: Blocks, chance: np.random.Generator) -> None:
    """Make sure that every layout gives back what was written, all of it; this warms the cache too."""
    rows = chance.integers(0, ROWS, DRAWN)
    for number, (name, layout) in enumerate(layouts.items()):
        handle = layout.open(folder / str(number))
        for layer in LAYERS:
            right = blocks[layer].astype(np.float16).astype(np.float32)
            whole = layout.float32(handle, layer)
            if not np.array_equal(whole, np.tile(right, (ROWS // BLOCK, 1))):
                raise SystemExit(f"{name} doesn't give back what was written: layer {layer}")
            if not np.array_equal(layout.gather(handle, layer, rows), right[rows % BLOCK]):
                raise SystemExit(f"{name} gathers other rows than were asked for: layer {layer}")


if __name__ == "__main__":
    main()
