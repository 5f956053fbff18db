"""Small datasets whose vectors are known, written by the writer itself."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from layerwise.array_types import F32
from layerwise.store.manifest import (
    Description,
    Machine,
    ModelEntry,
    ModelHashes,
    Reading,
    Settings,
    ShardRule,
    SourceEntry,
    Tolerance,
    UnusedFiles,
)
from layerwise.store.reader import LayerDataset, open_dataset
from layerwise.store.records import ColumnNames, Counts, ShardFacts
from layerwise.store.writer import DatasetWriter

LAYERS = ("emb", "1", "2")
WIDTH = 5
HASHES = {"weights": "ab" * 32, "tokenizer": "cd" * 32, "config": "ef" * 32}


def settings_of(dtype: str = "float16", layers: Sequence[str] = LAYERS) -> Settings:
    """The settings of a small dataset."""
    return Settings(
        model=ModelHashes.from_json(HASHES),
        layers=tuple(layers),
        level="text",
        pool="mean",
        special_tokens=True,
        precision="fp32",
        dtype=dtype,
        long="window",
        max_length=512,
        overlap=64,
        device="cpu",
        engine={"packing": "packed", "products": "torch"},
        batch_tokens=4096,
        reading=Reading(format="txt", text=None, words=None, id=None, columns=None, encoding="utf-8"),
        no_text=False,
        keep=(),
        shard=ShardRule(texts=1000, characters=1000000),
    )


SETTINGS = settings_of()


def facts(tokens: int = 0, input: str | None = None) -> ShardFacts:
    """What the maker of a shard knows about it."""
    counts = Counts(
        tokens=tokens,
        windows=0,
        windowed_texts=0,
        unknown=0,
        truncated_tokens=0,
        truncated_texts=0,
        dropped_words=0,
        lost_words=0,
        special_only_texts=0,
    )
    return ShardFacts(input=input, counts=counts, columns=ColumnNames())


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
    start = sum(record.rows for record in writer.committed.values())
    order = np.random.default_rng(rows).permutation(rows)
    shard = writer.begin(LAYERS, rows, WIDTH, dtype)
    for layer, values in vectors(number, rows).items():
        for some in np.array_split(order, 3):
            shard.put(layer, some, values[some])
    index, texts = tables_of(start, rows)
    shard.commit(index, texts, facts(3 * rows, f"digest {number}"))


def describe(
    dtype: str = "float16", shards: int = 0, *, layers: Sequence[str] = LAYERS, width: int = WIDTH
) -> Description:
    """The description of a dataset of so many shards."""
    model = ModelEntry.from_json(
        HASHES
        | {"id": "tiny", "revision": None, "family": "bert", "blocks": 2, "width": width, "max_length": 512}
        | {"default_pool": "mean", "last_layer": "normed", "not_applied": []}
        | {"unused": UnusedFiles(tensors=(), files=()).to_json()}
    )
    return Description(
        layers=tuple(layers),
        level="text",
        pool="mean",
        blocks=2,
        width=width,
        dtype=dtype,
        model=model,
        tolerance=Tolerance(rule="as it is", value=1e-5),
        skipped=(),
        notices=(),
        versions={},
        machine=Machine(processor="x86_64", system="Linux"),
        sources=(SourceEntry(files=("texts.txt",), shards=shards),),
    )


def make(out: Path, sizes: Sequence[int] = (7, 0, 4), dtype: str = "float16") -> LayerDataset:
    """Write a whole dataset with shards of these sizes."""
    with DatasetWriter(out, settings_of(dtype)) as writer:
        for rows in sizes[len(writer.committed) :]:
            write_shard(writer, rows, dtype)
        if not writer.finished:
            writer.finish(describe(dtype, len(sizes)))
    return open_dataset(out)


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a dataset but what was measured while it was made, which differs from run to run."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "run.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def written(sizes: Sequence[int], layer: str) -> F32:
    return np.concatenate([vectors(number, rows)[layer] for number, rows in enumerate(sizes)])
