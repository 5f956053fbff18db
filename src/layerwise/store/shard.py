"""Writing one shard: its files under temporary names, then renamed, then its record, which commits it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layerwise._util.guarded import digest_regular
from layerwise._util.paths import is_remote
from layerwise.array_types import F32
from layerwise.errors import DatasetError
from layerwise.store import disk
from layerwise.store.json_object import WrongEntryError
from layerwise.store.layout import KINDS, Folder, damaged, from_json, to_json
from layerwise.store.manifest import read_manifest
from layerwise.store.records import (
    FileEntry,
    ShardFacts,
    ShardFiles,
    ShardRecord,
    StorageError,
    shard_record,
)
from layerwise.store.tables import table_bytes
from layerwise.store.tensors import TensorWriter
from layerwise.widths import Widths


class ShardWriter:
    """Writes one shard; it is part of the dataset only after `commit` has returned.

    Made by `DatasetWriter.begin`, or by a process that writes on behalf of one.
    """

    def __init__(
        self,
        folder: Folder,
        number: int,
        layers: Sequence[str],
        rows: int,
        widths: Widths,
        dtype: str,
        closed: Callable[[ShardRecord | None], None] = lambda record: None,
    ) -> None:
        """Begin; `closed` is called with the record when it is committed, with `None` when it is abandoned."""
        self.number, self.rows = number, rows
        self._closed, self._folder = closed, folder
        path = disk.aside(folder.shard(number, "tensors"), private=True)
        self._tensors = TensorWriter(path, tuple(layers), rows, widths, dtype)

    def put(self, layer: str, rows: NDArray[np.int64], values: F32) -> None:
        """Write some rows of one layer: `values` (k, width) belong to the row numbers `rows` (k,).

        Raises:
            OutputError: a value that the stored type can't hold, or a disk that can't be written to.
        """
        self._tensors.put(layer, rows, values)

    def commit(self, index: pa.Table, texts: pa.Table, facts: ShardFacts) -> ShardRecord:
        """Make the shard part of the dataset, once all its rows are put; returns its commit record.

        Args:
            index: a row per vector.
            texts: a row per text.
            facts: of the record.

        Raises:
            OutputError: a place that can't be written to; earlier shards are kept.
        """
        if index.num_rows != self.rows:
            raise ValueError(f"an index of {index.num_rows} rows for {self.rows} vectors")
        size, digest = self._tensors.close()
        path = self._folder.shard(self.number, "tensors")
        tensors = FileEntry(name=path.name, bytes=size, sha256=digest)
        error = {
            layer: StorageError(max_abs=largest, max_rel=share)
            for layer, (largest, share) in self._tensors.losses.items()
        }
        record = commit_shard(self._folder, self.number, tensors, index, texts, facts, error)
        self._closed(record)
        return record

    def abandon(self) -> None:
        """Remove what was written; a shard that has a commit record is left alone."""
        self._tensors.discard()
        self._closed(None)
        paths = [self._folder.shard(self.number, kind) for kind in KINDS]
        leftovers = [disk.aside(path, private=True) for path in paths]
        # An interrupted commit may be complete; and in an object store others may be about to commit the shard.
        if not is_remote(self._folder.root) and not self._is_recorded():
            leftovers += paths
        for path in leftovers:
            with suppress(OSError):  # what stays is removed when the work is continued
                disk.remove(path)

    def _is_recorded(self) -> bool:
        """Return whether the shard is committed, or of a finished dataset that is being repaired."""
        if self._folder.record(self.number).exists():
            return True
        manifest = self._folder.manifest
        return manifest.exists() and self.number < read_manifest(self._folder).shards.count


def commit_shard(
    folder: Folder,
    number: int,
    tensors: FileEntry,
    index: pa.Table,
    texts: pa.Table,
    facts: ShardFacts,
    error: Mapping[str, StorageError],
) -> ShardRecord:
    """Rename the files of a shard to their final names, and commit it; returns its record.

    The file of its tensors must be complete and synced, under its temporary name.

    Args:
        folder, number: of the shard.
        tensors: the file of tensors.
        index, texts: the tables.
        facts, error: of the record.
    """
    files: dict[str, Any] = {"tensors": tensors}
    with disk.writing(folder.shards):
        for kind, table in (("index", index), ("texts", texts)):
            path, data = folder.shard(number, kind), table_bytes(table)
            digest = hashlib.sha256(data).hexdigest()
            files[kind] = FileEntry(name=path.name, bytes=len(data), sha256=digest)
            disk.write_aside(path, data, private=True)
        for kind in KINDS:
            path = folder.shard(number, kind)
            disk.rename(disk.aside(path, private=True), path)
        disk.sync_folder(folder.shards)
    record = ShardRecord(
        **vars(facts),
        number=number,
        texts=texts.num_rows,
        rows=index.num_rows,
        files=ShardFiles(**files),
        error=error,
    )
    with disk.writing(folder.record(number)):
        if not disk.write_new(folder.record(number), to_json(record.to_json())):
            return _settled(folder, record)
    return record


def _settled(folder: Folder, record: ShardRecord) -> ShardRecord:
    """Return the record of a shard that another process has committed at the same time.

    On another kind of machine it writes other bytes. If the files are those of this process, `record` replaces its
    record.

    Raises:
        DatasetError: some files are of the other process, and some of this one.
    """
    path = folder.record(record.number)
    try:
        other = shard_record(from_json(path), record.number)
    except WrongEntryError as error:
        raise damaged(path, str(error)) from None
    if _fits_files(folder, other):
        return other
    if not _fits_files(folder, record):
        raise DatasetError(
            f"shard {record.number} of {folder.root} was written twice at the same time, in different ways; remove "
            f"{path} and start the same command again"
        )
    disk.write_file(path, to_json(record.to_json()))
    return record


def _fits_files(folder: Folder, record: ShardRecord) -> bool:
    """Return whether the files of a shard have the hashes in a record."""
    return all(
        digest_regular(folder.shard(record.number, kind)) == record.files.of(kind).sha256 for kind in KINDS
    )
