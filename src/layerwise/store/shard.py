"""Writing one shard: aside, then in its place, then its record, which commits it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layerwise._util.guarded import digest_regular
from layerwise._util.paths import is_remote
from layerwise.errors import DatasetError
from layerwise.store import disk
from layerwise.store.dtypes import F32
from layerwise.store.layout import KINDS, Folder, from_json, to_json
from layerwise.store.manifest import read_manifest, refuse_entry
from layerwise.store.records import Record, wrong_entry
from layerwise.store.tables import table_bytes
from layerwise.store.tensors import TensorWriter


class ShardWriter:
    """Writes one shard; nothing of it counts before `commit` has returned.

    Made by `DatasetWriter.begin`, or by a process that writes on behalf of one.
    """

    def __init__(
        self,
        folder: Folder,
        number: int,
        layers: Sequence[str],
        rows: int,
        width: int,
        dtype: str,
        closed: Callable[[Record | None], None] = lambda record: None,
    ) -> None:
        """Begin; `closed` is called with the record when it is committed, with `None` when it is abandoned."""
        self.number, self.rows = number, rows
        self._closed, self._folder = closed, folder
        place = disk.aside(folder.shard(number, "tensors"), own=True)
        self._tensors = TensorWriter(place, tuple(layers), rows, width, dtype)

    def put(self, layer: str, rows: NDArray[np.int64], values: F32) -> None:
        """Write some rows of one layer: `values` (k, width) belong to the row numbers `rows` (k,).

        Raises:
            OutputError: a value that the stored type can't hold, or a disk that can't be written to.
        """
        self._tensors.put(layer, rows, values)

    def commit(self, index: pa.Table, texts: pa.Table, record: dict[str, Any]) -> Record:
        """Make the shard part of the dataset, once all its rows are put; returns its commit record.

        Args:
            index: a row per vector.
            texts: a row per text.
            record: what else is worth knowing, such as `counts` (names to numbers) and `input` (a digest).

        Raises:
            OutputError: a place that can't be written to; earlier shards are kept.
        """
        if index.num_rows != self.rows:
            raise ValueError(f"an index of {index.num_rows} rows for {self.rows} vectors")
        counts = record.get("counts", {})
        if not all(isinstance(count, int | float) for count in counts.values()):
            raise ValueError(f"counts are numbers, which are summed up at the end, and these are {counts}")
        error = {
            layer: {"max_abs": most, "max_rel": share}
            for layer, (most, share) in self._tensors.losses.items()
        }
        tensors, tables = self._tensors.close(), {"index": index, "texts": texts}
        whole = commit_shard(self._folder, self.number, tensors, tables, {**record, "error": error})
        self._closed(whole)
        return whole

    def abandon(self) -> None:
        """Throw away what was put; a shard whose commit record stands is left alone."""
        self._tensors.discard()
        self._closed(None)
        paths = [self._folder.shard(self.number, kind) for kind in KINDS]
        left = [disk.aside(path, own=True) for path in paths]
        # Interrupted in the last moment of its commit; and in an object store others may be about to commit it.
        if not is_remote(self._folder.root) and not self._is_known():
            left += paths
        for path in left:
            with suppress(OSError):  # what stays is swept up when the work is gone on with
                disk.remove(path)

    def _is_known(self) -> bool:
        """Tell whether the shard is committed, or of a finished dataset that is being mended."""
        if self._folder.record(self.number).exists():
            return True
        manifest = self._folder.manifest
        return manifest.exists() and self.number < read_manifest(self._folder)["shards"]["count"]


def commit_shard(
    folder: Folder, number: int, tensors: tuple[int, str], tables: dict[str, pa.Table], record: Record
) -> Record:
    """Put a shard in its place and commit it, its tensors standing aside whole and synced; returns its record.

    Args:
        folder, number: of the shard.
        tensors: bytes and SHA-256 of the file of tensors.
        tables: `index` and `texts`.
        record: what else is to be known of it.
    """

    def entry(kind: str, size: int, digest: str) -> Record:
        return {"name": folder.shard(number, kind).name, "bytes": size, "sha256": digest}

    files = {"tensors": entry("tensors", *tensors)}
    with disk.writing(folder.shards):
        for kind, table in tables.items():
            data = table_bytes(table)
            files[kind] = entry(kind, len(data), hashlib.sha256(data).hexdigest())
            disk.write_aside(folder.shard(number, kind), data, own=True)
        for kind in KINDS:
            path = folder.shard(number, kind)
            disk.rename(disk.aside(path, own=True), path)
        disk.sync_folder(folder.shards)
    shape = {"texts": tables["texts"].num_rows, "rows": tables["index"].num_rows}
    whole: Record = json.loads(to_json({"counts": {}, **record, "number": number, **shape, "files": files}))
    with disk.writing(folder.record(number)):
        if not disk.write_new(folder.record(number), to_json(whole)):
            return _others(folder, whole)
    return whole


def _others(folder: Folder, own: Record) -> Record:
    """Return the record of a shard that another process has committed at the same time.

    On another kind of machine its bytes are others. Where ours stand in their place, ours is the record.

    Raises:
        DatasetError: some files are its and some ours.
    """
    path = folder.record(own["number"])
    record = from_json(path)
    refuse_entry(record, wrong_entry(record, own["number"]), path)
    if _stand(folder, record):
        return record
    if not _stand(folder, own):
        raise DatasetError(
            f"shard {own['number']} of {folder.root} was written twice at the same time, in different ways; remove "
            f"{path} and start the same command again"
        )
    disk.write_file(path, to_json(own))
    return own


def _stand(folder: Folder, record: Record) -> bool:
    """Tell whether the files of a shard are those of a record."""
    return all(
        digest_regular(folder.shard(record["number"], kind)) == file["sha256"]
        for kind, file in record["files"].items()
    )
