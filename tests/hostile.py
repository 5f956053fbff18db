"""Datasets and heads that somebody has changed on purpose: what was changed is signed anew, so that all hashes fit."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.errors import DatasetError
from layerwise.store.header import read_header
from layerwise.store.layout import KINDS, Folder, to_json
from layerwise.store.records import records_bytes, summed
from layerwise.store.tables import read_table

Change = Callable[[Any], None]


def sign(out: Path, change: Change = lambda manifest: None, records: Change = lambda records: None) -> None:
    """Write the records and the manifest of a dataset anew, with the hashes of what stands there, and changed."""
    folder = Folder(out)
    manifest = json.loads(folder.manifest.read_bytes())
    (path,) = out.glob("shards-*.parquet")
    known = [json.loads(record) for record in read_table(path)["record"].to_pylist()]
    for record in known:
        for kind in KINDS:
            data = folder.shard(record["number"], kind).read_bytes()
            record["files"][kind].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    records(known)
    data, entry = records_bytes(known)
    path.unlink()
    (out / entry["name"]).write_bytes(data)
    manifest["shards"] = entry
    with suppress(DatasetError):  # records that were changed beyond what can be summed
        manifest |= summed(known, manifest["layers"])
    change(manifest)
    write_manifest(out, to_json(manifest))


def write_manifest(out: Path, data: bytes) -> None:
    """Write a manifest and its hash."""
    folder = Folder(out)
    folder.manifest.write_bytes(data)
    folder.checksum.write_text(f"{hashlib.sha256(data).hexdigest()}  {folder.manifest.name}\n")


def poke(out: Path, layer: str, row: int, value: float, shard: int = 0) -> None:
    """Put a number into a row of a layer of a dataset stored as float16 or float32, and sign it."""
    path = Folder(out).shard(shard, "tensors")
    with path.open("r+b") as file:
        spans, start = read_header(file, path.stat().st_size)
        span = spans[layer]
        number = np.array([value], {"F16": "<f2", "F32": "<f4"}[span.dtype])
        file.seek(start + span.start + row * span.shape[1] * number.itemsize)
        file.write(number.tobytes())
    sign(out)
