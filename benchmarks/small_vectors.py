"""`make results`: what a search in small vectors finds, for every layer of minilm on Banking77; rewrites its table.

Recall@10 against exact search by the cosine of the centred rows, as `export` measures it: training rows to fit on and to
search in besides the test rows, of which 1,000 are queries. Raw bits are the signs of the numbers without centring, of the
same queries. Without ../shared nothing is done.
"""

import csv
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, put, show

import layerwise as lw
from layerwise._util.versions import versions
from layerwise.recall import NearestRows, recall_of
from layerwise.store.search_rows import QUERIES, SEED
from layerwise.transforms import unit_rows
from layerwise.wording import fixed

SOURCE = SHARED / "banking77"
FORMATS = ("binary", "int8", "pca:64", "pca:128", "faiss", "usearch")
NAMES = {"binary": "bits, centred", "int8": "int8 per row"}


def main() -> int:
    """Measure, print, and put the table in its place."""
    if not SOURCE.exists():
        print(f"left out: {SOURCE} isn't there", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory(prefix="layerwise-small-") as name:
        folder = Path(name)
        dataset = lw.extract(list(_records()), folder / "banking.lw", model="minilm", pool="mean")
        exports = {
            (layer, to): lw.export(
                dataset, folder / f"{layer}-{to.replace(':', '')}", to=to, mix=layer, split="part"
            )
            for layer in dataset.layers
            for to in FORMATS
        }
        raw = {layer: _raw_bits(dataset, layer) for layer in dataset.layers}
    rows = [("layer", "bits, raw", *(NAMES.get(to, to) for to in FORMATS))]
    for layer in dataset.layers:
        rows.append((layer, fixed(raw[layer]), *(fixed(_score(exports[layer, to])) for to in FORMATS)))
    rows.append(("bytes per row", "48", *(f"{_bytes(exports['6', to]):,.0f}" for to in FORMATS)))
    show(rows, right=range(1, len(rows[0])))
    note = (
        f"Recall@10 against exact search by the cosine of the centred rows: {QUERIES:,} queries of {_test(dataset):,} test "
        f"rows, {dataset.rows:,} rows searched, transforms fitted on the training rows; minilm, mean pool, stored as float16 "
        "(as float32 a row has 1,536 bytes)."
    )
    print(note)
    put(
        "small-vectors",
        f"{_markdown(rows)}\n\n{note}",
        versions(),
        SEED,
        "python benchmarks/small_vectors.py",
    )
    return 0


def _records() -> Iterator[dict[str, str]]:
    for part in ("train", "test"):
        with (SOURCE / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield {"text": row["text"], "part": part}


def _test(dataset: lw.LayerDataset) -> int:
    return len(dataset.where(part="test"))


def _score(exported: lw.Export) -> float:
    assert exported.small is not None
    assert exported.small.recall is not None
    return exported.small.recall.score


def _bytes(exported: lw.Export) -> float:
    assert exported.small is not None
    return exported.small.bytes_per_row


def _raw_bits(dataset: lw.LayerDataset, layer: str) -> float:
    """Return the recall of signs without centring, with the queries and the exact search of `export`."""
    values = dataset.layer(layer)
    test = dataset.where(part="test")
    queries = np.sort(np.random.default_rng(SEED).choice(test, QUERIES, replace=False))
    mean = dataset.layer(layer, rows=dataset.where(part="train")).mean(axis=0, dtype=np.float64)
    unit: Any = unit_rows((values - mean).astype(np.float32))
    signs = np.where(values > 0, np.float32(1), np.float32(-1))
    nearest = []
    for vectors in (unit, signs):
        rows = NearestRows(vectors[queries], queries, 10)
        for start in range(0, len(vectors), 4096):
            rows.add(start, vectors[start : start + 4096])
        nearest.append(rows.rows)
    return recall_of(nearest[0], nearest[1], len(values)).score


def _markdown(rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- |" + " ---: |" * (len(rows[0]) - 1))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
