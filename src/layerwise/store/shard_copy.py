"""Shards of other datasets as shards of one: their tensors byte for byte, their texts are renumbered."""

import hashlib
from pathlib import Path

import pyarrow as pa

from layerwise._util.guarded import digest_regular, open_regular
from layerwise._util.paths import faults, reason
from layerwise.errors import DatasetError
from layerwise.store import disk
from layerwise.store.layout import Folder
from layerwise.store.records import FileEntry, ShardFacts, ShardRecord
from layerwise.store.shard import commit_shard
from layerwise.store.tables import written_table

_BLOCK = 1 << 22


def copy_shard(source: Folder, record: ShardRecord, target: Folder, number: int, docs: int) -> ShardRecord:
    """Copy a shard under another number; returns its new record.

    Args:
        source, record: the dataset of the shard, and its record.
        target, number: the dataset that it is copied to, and its number there.
        docs: what is added to the numbers of its texts.

    Raises:
        DatasetError: a file that has changed since it was written.
        OutputError: a place that can't be written to.
    """
    aside = disk.aside(target.shard(number, "tensors"), private=True)
    size, digest = _copy(source.shard(record.number, "tensors"), aside)
    tensors = record.files.tensors
    if (size, digest) != (tensors.bytes, tensors.sha256):
        disk.remove(aside)
        raise _changed(source, record, "tensors")
    index, texts = (_moved(source, record, kind, docs) for kind in ("index", "texts"))
    entry = FileEntry(name=target.shard(number, "tensors").name, bytes=size, sha256=digest)
    return commit_shard(target, number, entry, index, texts, record.part(ShardFacts), record.error)


def _copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file, synced; return its bytes and its SHA-256."""
    state, size = hashlib.sha256(), 0
    try:
        file = open_regular(source)  # before `disk.writing`, because its errors aren't errors of writing
    except faults() as error:
        raise _unreadable(source, error) from error
    with file, disk.writing(target), disk.create(target) as into:
        while block := file.read(_BLOCK):
            state.update(block)
            size += into.write(block)
        into.flush()
        disk.sync(into.fileno(), target)
    return size, state.hexdigest()


def _moved(source: Folder, record: ShardRecord, kind: str, docs: int) -> pa.Table:
    path = source.shard(record.number, kind)
    try:
        digest = digest_regular(path)
    except faults() as error:
        raise _unreadable(path, error) from error
    if digest != record.files.of(kind).sha256:
        raise _changed(source, record, kind)
    table = written_table(path)
    if "doc" not in table.column_names or table["doc"].type != pa.int64() or table["doc"].null_count:
        raise DatasetError(f"{path} is damaged: it has no column 'doc' of numbers; restore it from a copy")
    place = table.column_names.index("doc")
    moved = pa.array(table["doc"].to_numpy() + docs, pa.int64())
    return table.set_column(place, "doc", moved)


def _unreadable(path: Path, error: BaseException) -> DatasetError:
    return DatasetError(f"can't read {path}: {reason(error)}; run `layerwise verify {path.parent.parent}`")


def _changed(source: Folder, record: ShardRecord, kind: str) -> DatasetError:
    path = source.shard(record.number, kind)
    return DatasetError(f"{path} has changed since it was written; run `layerwise verify {source.root}`")
