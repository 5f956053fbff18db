"""Datasets and heads that somebody has changed on purpose: what was changed is signed anew, so that all hashes fit."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from layerwise.errors import DatasetError
from layerwise.store.header import read_header
from layerwise.store.json_object import WrongEntryError, as_json
from layerwise.store.layout import KINDS, Folder, to_json
from layerwise.store.records import ShardRecord, errors_of, records_name, totals_of
from layerwise.store.tables import read_table, table_bytes

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
    data, entry = raw_records(known)
    path.unlink()
    (out / entry["name"]).write_bytes(data)
    manifest["shards"] = entry
    with suppress(DatasetError, WrongEntryError):  # records that were changed beyond what can be summed
        typed = [ShardRecord.from_json(record) for record in known]
        manifest["totals"] = totals_of(typed).to_json()
        manifest["error"] = as_json(errors_of(typed, manifest["layers"]))
    change(manifest)
    write_manifest(out, to_json(manifest))


def raw_records(records: list[dict[str, Any]]) -> tuple[bytes, dict[str, Any]]:
    """The file of records that may make no sense, and its entry in the manifest."""
    columns = {name: pa.array([record[name] for record in records], pa.int64()) for name in ("texts", "rows")}
    columns["record"] = pa.array([json.dumps(record) for record in records], pa.string())
    data = table_bytes(pa.table(columns))
    digest = hashlib.sha256(data).hexdigest()
    return data, {"name": records_name(digest), "count": len(records), "bytes": len(data), "sha256": digest}


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
