"""Small datasets whose vectors are known, written by the writer itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from layerwise.mixes import F32
from layerwise.store.reader import LayerDataset, open_dataset
from layerwise.store.writer import DatasetWriter

LAYERS = ("emb", "1", "2")


WIDTH = 5


SETTINGS = {"model": {"sha256": "ab" * 32, "name": "tiny"}, "dtype": "float16", "layers": list(LAYERS)}


def vectors(shard: int, rows: int) -> dict[str, F32]:
    rng = np.random.default_rng(shard)
    return {
        layer: rng.normal(size=(rows, WIDTH)).astype(np.float32) * (k + 1) for k, layer in enumerate(LAYERS)
    }


def tables_of(start: int, rows: int) -> tuple[pa.Table, pa.Table]:
    """The index and texts of some text-level rows, with a carried column."""
    docs = np.arange(start, start + rows)
    text = pa.array([f"text {doc} ü" for doc in docs], pa.string())
    label = pa.array([("pos", "neg", "neg")[doc % 3] for doc in docs], pa.string())
    doc, line = pa.array(docs), pa.array(docs + 1)
    index = pa.table({"doc": doc, "text": text, "label": label})
    return index, pa.table({"doc": doc, "id": pa.nulls(rows), "line": line, "text": text, "label": label})


def write_shard(writer: DatasetWriter, rows: int, dtype: str = "float16") -> None:
    """Write the next shard: its rows in an order of its own, in parts."""
    number = len(writer.committed)
    start = sum(record["rows"] for record in writer.committed.values())
    order = np.random.default_rng(rows).permutation(rows)
    shard = writer.begin(LAYERS, rows, WIDTH, dtype)
    for layer, values in vectors(number, rows).items():
        for some in np.array_split(order, 3):
            shard.put(layer, some, values[some])
    index, texts = tables_of(start, rows)
    shard.commit(index, texts, {"counts": {"tokens": 3 * rows}, "input": f"digest {number}"})


def describe(dtype: str) -> dict[str, Any]:
    about = {
        "layers": list(LAYERS),
        "level": "text",
        "pool": "mean",
        "blocks": 2,
        "width": WIDTH,
        "dtype": dtype,
    }
    return {**about, "model": "tiny"}


def make(out: Path, sizes: Sequence[int] = (7, 0, 4), dtype: str = "float16") -> LayerDataset:
    """Write a whole dataset with shards of these sizes."""
    with DatasetWriter(out, {**SETTINGS, "dtype": dtype}) as writer:
        for rows in sizes[len(writer.committed) :]:
            write_shard(writer, rows, dtype)
        if not writer.finished:
            writer.finish(describe(dtype))
    return open_dataset(out)


def contents(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def written(sizes: Sequence[int], layer: str) -> F32:
    return np.concatenate([vectors(number, rows)[layer] for number, rows in enumerate(sizes)])
