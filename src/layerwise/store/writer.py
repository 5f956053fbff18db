"""Writing a dataset shard by shard, so that it can be killed at any moment and gone on with.

with DatasetWriter(out, settings) as writer:
    shard = writer.begin(layers, rows, width, dtype)
    shard.put("6", row_numbers, vectors)      # every row of every layer once, in any order
    shard.commit(index, texts, {"counts": {"pieces": 120}, "input": digest})
    writer.finish({"layers": …, "level": …, "pool": …, "blocks": …, "width": …, "dtype": …})
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layerwise.errors import DatasetError
from layerwise.store import disk, work
from layerwise.store.dtypes import F32
from layerwise.store.layout import FORMAT, KINDS, VERSION, Folder, to_json
from layerwise.store.manifest import OWN, REQUIRED, check_manifest, read_manifest
from layerwise.store.tables import table_bytes
from layerwise.store.tensors import TensorWriter
from layerwise.store.work import Record


class DatasetWriter:
    """The one writer of a dataset; holds its lock until it is closed.

    `finished` says that there is nothing to do: a manifest of the same settings is there. `committed` are
    the records of the shards that are safe on the disk, in order.
    """

    finished: bool
    committed: list[Record]

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        """Open `out`, new, unfinished or finished.

        Args:
            out: the folder of the dataset; made when it isn't there.
            settings: everything that can change a stored byte, as JSON holds it.

        Raises:
            OutputError: a file or a foreign folder, or a place that can't be written to.
            DatasetError: in use, made with other settings, of a newer format, or damaged.
        """
        self._folder = Folder(Path(out))
        self._settings: Record = json.loads(to_json(settings))
        self._open: ShardWriter | None = None
        work.refuse_foreign(self._folder)
        self._made = not self._folder.root.exists()
        with disk.writing(self._folder.root):
            self._folder.root.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(self._folder.lock, thread_local=False)
        if self._folder.manifest.exists():
            self._look_at_finished()
            return
        self._acquire()
        try:
            self._look_at_unfinished()
        except BaseException:
            self._lock.release()
            raise

    def _acquire(self) -> None:
        with disk.writing(self._folder.lock):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                what = f"{self._folder.root} is in use: another process is writing it"
                raise DatasetError(f"{what}; wait for it, or take another output folder") from None

    def _look_at_finished(self) -> None:
        manifest = read_manifest(self._folder)
        work.check_settings(self._folder.manifest, self._settings, self._folder.root)
        self.finished, self.committed = True, manifest["shards"]
        work.check_files_there(self._folder, self.committed)
        if self._folder.work.exists():  # killed between its last two steps; nobody needs it any more
            with suppress(OSError), self._lock.acquire(timeout=0):
                work.clear_work(self._folder)

    def _look_at_unfinished(self) -> None:
        if self._folder.manifest.exists():  # finished by another process since we looked
            self._look_at_finished()
            return
        with disk.writing(self._folder.root):
            self.finished, self.committed = False, work.read_records(self._folder)
            if self.committed:
                work.check_settings(self._folder.settings, self._settings, self._folder.root)
            else:  # nothing depends on the settings of a run that committed nothing
                work.begin(self._folder, self._settings)
            work.sweep(self._folder, self.committed)

    def begin(self, layers: Sequence[str], rows: int, width: int, dtype: str) -> "ShardWriter":
        """Return the writer of the next shard, whose number is `len(committed)`.

        Raises:
            OutputError: no room for the whole shard on the disk, or a place that can't be written to.
        """
        if self.finished or self._open is not None:
            raise ValueError("a finished dataset takes no shard, and an unfinished one takes one at a time")
        self._open = ShardWriter(self, self._folder, len(self.committed), tuple(layers), rows, width, dtype)
        return self._open

    def _closed(self, record: Record | None) -> None:
        self._open = None
        if record is not None:
            self.committed.append(record)

    def drop_last(self) -> Record:
        """Forget the last committed shard, so that it can be written again; returns its record."""
        if self.finished or self._open is not None or not self.committed:
            raise ValueError(
                "only the last committed shard of unfinished work can be dropped, between shards"
            )
        number = len(self.committed) - 1
        with disk.writing(self._folder.record(number)):
            disk.remove(self._folder.record(number))
            disk.sync_folder(self._folder.work)
            for kind in KINDS:
                disk.remove(self._folder.shard(number, kind))
        return self.committed.pop()

    def finish(self, manifest: dict[str, Any]) -> Record:
        """Write the manifest, which makes a dataset of the shards; returns it.

        Args:
            manifest: at least `layers`, `level`, `pool`, `blocks`, `width` and `dtype`; provenance besides.
                Added are `format`, `version`, `settings`, `shards` (their records), `totals` (texts, rows
                and the sums of the records' counts) and `error` (per layer, the largest over the shards).

        Raises:
            OutputError: a place that can't be written to; what was committed is kept.
        """
        if self.finished or self._open is not None:
            raise ValueError("the dataset is finished, or a shard is still open")
        whole = self._whole(manifest)
        data, folder = to_json(whole), self._folder
        line = f"{hashlib.sha256(data).hexdigest()}  {folder.manifest.name}\n"
        with disk.writing(folder.manifest):
            disk.write_aside(folder.manifest, data)
            disk.write_aside(folder.checksum, line.encode())
            disk.rename(disk.aside(folder.checksum), folder.checksum)
            disk.rename(disk.aside(folder.manifest), folder.manifest)
            disk.sync_folder(folder.root)
            self.finished = True
            work.clear_work(folder)
        return whole

    def _whole(self, manifest: dict[str, Any]) -> Record:
        missing, taken = REQUIRED - manifest.keys(), OWN & manifest.keys()
        if missing or taken:
            raise ValueError(f"a manifest needs {sorted(missing)} and gets {sorted(taken)} from the writer")
        own = {"format": FORMAT, "version": VERSION, "settings": self._settings, "shards": self.committed}
        sums = {"totals": _totals(self.committed), "error": _errors(self.committed, manifest["layers"])}
        whole: Record = json.loads(to_json({**manifest, **own, **sums}))
        check_manifest(whole, self._folder.manifest)
        return whole

    def close(self) -> None:
        """Abandon an open shard, and let go of the lock; what was committed stays, and nothing else."""
        nothing = not self.finished and not self.committed
        try:
            if self._open is not None:
                self._open.abandon()
            if nothing:
                work.clear_work(self._folder)
        finally:
            self._lock.release()
        if nothing and self._made:
            work.remove_empty(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ShardWriter:
    """Writes one shard; nothing of it counts before `commit` has returned."""

    def __init__(
        self,
        writer: DatasetWriter,
        folder: Folder,
        number: int,
        layers: tuple[str, ...],
        rows: int,
        width: int,
        dtype: str,
    ) -> None:
        self.number, self.rows = number, rows
        self._writer, self._folder = writer, folder
        self._tensors = TensorWriter(disk.aside(folder.shard(number, "tensors")), layers, rows, width, dtype)

    def put(self, layer: str, rows: NDArray[np.int64], values: F32) -> None:
        """Write some rows of one layer: `values` (k, width) belong to the row numbers `rows` (k,).

        Raises:
            OutputError: a value that the type at rest can't hold, or a disk that can't be written to.
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
        files = self._write({"index": index, "texts": texts})
        error = {
            layer: {"max_abs": most, "max_rel": share}
            for layer, (most, share) in self._tensors.losses.items()
        }
        own = {
            "number": self.number,
            "texts": texts.num_rows,
            "rows": self.rows,
            "files": files,
            "error": error,
        }
        whole: Record = json.loads(to_json({"counts": {}, **record, **own}))
        path = self._folder.record(self.number)
        with disk.writing(path):
            disk.write_file(path, to_json(whole))
        self._writer._closed(whole)
        return whole

    def _write(self, tables: dict[str, pa.Table]) -> Record:
        size, digest = self._tensors.close()
        files = {"tensors": self._entry("tensors", size, digest)}
        with disk.writing(self._folder.shards):
            for kind, table in tables.items():
                data = table_bytes(table)
                files[kind] = self._entry(kind, len(data), hashlib.sha256(data).hexdigest())
                disk.write_aside(self._folder.shard(self.number, kind), data)
            for kind in KINDS:
                path = self._folder.shard(self.number, kind)
                disk.rename(disk.aside(path), path)
            disk.sync_folder(self._folder.shards)
        return files

    def _entry(self, kind: str, size: int, digest: str) -> Record:
        return {"name": self._folder.shard(self.number, kind).name, "bytes": size, "sha256": digest}

    def abandon(self) -> None:
        """Throw away what was put; a shard whose commit record stands is left alone."""
        self._tensors.discard()
        self._writer._closed(None)
        if self._folder.record(self.number).exists():
            return  # interrupted in the last moment of its commit
        for kind in KINDS:
            path = self._folder.shard(self.number, kind)
            with suppress(OSError):  # what stays is swept up when the work is gone on with
                disk.remove(disk.aside(path))
                disk.remove(path)


def _totals(records: list[Record]) -> dict[str, Any]:
    totals: dict[str, Any] = {}
    for record in records:
        for name, count in {**record["counts"], "texts": record["texts"], "rows": record["rows"]}.items():
            totals[name] = totals.get(name, 0) + count
    return {"texts": 0, "rows": 0, **totals}


def _errors(records: list[Record], layers: Sequence[str]) -> dict[str, Any]:
    kinds = ("max_abs", "max_rel")
    return {
        layer: {
            kind: max((record["error"][layer][kind] for record in records), default=0.0) for kind in kinds
        }
        for layer in layers
    }
