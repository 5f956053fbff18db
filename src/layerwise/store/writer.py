"""Writing a dataset shard by shard, so that it can be killed at any moment and continued.

with DatasetWriter(out, settings) as writer:
    shard = writer.begin(layers, rows, widths, dtype)
    shard.put("6", row_numbers, vectors)      # every row of every layer once, in any order
    shard.commit(index, texts, ShardFacts(…))
    writer.finish(Description(…))
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from layerwise._util.guarded import parse_json
from layerwise._util.paths import faults, is_remote, place
from layerwise._util.progress import SILENT, Tracker
from layerwise.errors import DatasetError, OutputError
from layerwise.store import disk, locks, manifest_file, staging
from layerwise.store.layout import KINDS, Folder, to_json
from layerwise.store.manifest import (
    Description,
    Manifest,
    Settings,
    manifest_of,
    parse_manifest,
    read_manifest,
)
from layerwise.store.records import Records, ShardRecord, records_bytes
from layerwise.store.run import read_run, run_file
from layerwise.store.shard import ShardWriter
from layerwise.widths import Widths

Share = tuple[int, int]
_PATIENCE = 20.0  # seconds that one of several writers waits for the lock of the dataset


class DatasetWriter:
    """The one writer of a dataset; holds its lock until it is closed.

    Attributes:
        finished: whether there is nothing to do, as a manifest of the same settings exists.
        committed: the records of the shards that are safe on the disk, by their numbers.
        manifest: that of a finished dataset, also of one that is added to.
        records: the records of a finished dataset.
    """

    finished: bool
    committed: dict[int, ShardRecord]
    manifest: Manifest | None = None
    records: Records | None = None
    _others_wait = False  # whether shards of an unfinished addition stay in work/ while others are repaired

    def __init__(
        self,
        out: Path,
        settings: Settings,
        share: Share | None = None,
        *,
        adding: Sequence[str] | None = None,
        repairs: bool = False,
        track: Tracker = SILENT,
    ) -> None:
        """Open `out`, new, unfinished or finished.

        Args:
            out: the folder of the dataset; created if it doesn't exist.
            settings: everything that can change a stored byte.
            share: (index, count) of one of several writers that work at the same time, each on the shards
                whose number has the remainder `index` by `count`; without it there is only one writer.
            adding: open a finished dataset so that shards of these sources can be added; it stays
                unchanged until `finish`.
            repairs: open a finished dataset, files of which are damaged, so that shards can be made again.
            track: reports which shards of unfinished work are looked at.

        Raises:
            OutputError: a file or a foreign folder, or a place that can't be written to.
            DatasetError: in use, made with other settings, of another format version, or damaged; or shards of other
                sources are being added.
        """
        self._folder = Folder(place(out))
        self._settings = settings
        self._share, self._adding, self._repairs, self._track = share, adding, repairs, track
        self._reopens = repairs or adding is not None
        self._open: ShardWriter | None = None
        staging.refuse_foreign(self._folder)
        self._created = not self._folder.root.exists()
        with disk.writing(self._folder.root, disk.AGAIN if self._created else disk.KEPT):
            disk.make_folder(self._folder.root)
        self._lock = locks.lock_of(self._folder.lock)
        if self._folder.manifest.exists() and not self._reopens:
            self._look_at_finished()
            return
        # Others of several writers hold it for a moment only.
        locks.acquire(self._folder, self._lock, "another process", 0 if share is None else _PATIENCE)
        try:
            self._look_at_unfinished()
        except BaseException:
            self._lock.release()
            raise

    @property
    def base(self) -> int:
        """How many shards the finished dataset has."""
        return len(self.records) if self.records is not None else 0

    def _is_own(self, number: int) -> bool:
        return self._share is None or number % self._share[1] == self._share[0]

    def _look_at_finished(self) -> None:
        if self._folder.work.exists():
            with suppress(OSError), self._lock.acquire(timeout=0):
                manifest_file.complete(self._folder)
        self.manifest = read_manifest(self._folder)
        staging.check_settings(self._folder, self.manifest.settings, self._settings)
        self.finished = True
        self.records = Records(self._folder, self.manifest.shards)
        self.committed = dict(enumerate(self.records))
        if not self._repairs:
            remedy = "restore it from a copy, or make it again with `layerwise repair`"
            staging.check_files_exist(self._folder, self.committed, remedy)
        # The folder work/ is left of a writer that was killed between its last two steps. It isn't needed, unless
        # shards are being added. In an object store, which has no locks, it may be that of another writer.
        has_work = self._folder.work.exists() and not is_remote(self._folder.root)
        if has_work and not staging.numbers(self._folder, len(self.committed)):
            with suppress(OSError), self._lock.acquire(timeout=0):
                self._tidy(self.manifest)

    def _tidy(self, manifest: Manifest) -> None:
        staging.sweep(self._folder, range(manifest.shards.count), self._is_own)
        staging.clear_records(self._folder, manifest.shards.name)
        staging.clear_work(self._folder)

    def _look_at_reopened(self) -> None:
        with disk.writing(self._folder.root):
            locks.check_alone(self._folder)
        self._look_at_finished()
        self.finished = False
        with disk.writing(self._folder.root):
            added = staging.take_up(self._folder, lambda number: number >= self.base)
            if added and self._adding is not None:
                staging.check_adding(self._folder, self._adding)
            self._others_wait = self._repairs and bool(added)
            if not self._others_wait:
                staging.begin(self._folder, self._settings, self._adding)
            staging.sweep(self._folder, {**self.committed, **added}, self._is_own)
            if not self._repairs:
                self.committed |= added

    def _look_at_unfinished(self) -> None:
        if self._folder.manifest.exists():
            # Shards are to be added, or another process has just finished it.
            (self._look_at_reopened if self._reopens else self._look_at_finished)()
            return
        self.finished = False
        with disk.writing(self._folder.root):
            if self._share is not None:
                self._look_at_share(self._share)
                return
            locks.check_alone(self._folder)
            self.committed = staging.take_up(self._folder, self._is_own, self._track)
            if self.committed:
                self._check_staged()
            else:  # nothing depends on the settings of a run that committed nothing
                staging.begin(self._folder, self._settings)
            staging.sweep(self._folder, self.committed, self._is_own)

    def _check_staged(self) -> None:
        staging.check_settings(self._folder, staging.stored_settings(self._folder), self._settings)

    def _look_at_share(self, share: Share) -> None:
        """Acquire the lock of one of several writers, then release that of the dataset, for which others wait."""
        locks.check_alone(self._folder, share[1])
        lock = locks.hold_share(self._folder, share)  # before its files are read or removed
        try:
            if self._folder.settings.exists():
                self._check_staged()
            else:
                staging.begin(self._folder, self._settings)
            self._lock.release()
            self.committed = staging.take_up(self._folder, self._is_own, self._track)
            staging.sweep(self._folder, self.committed, self._is_own, alone=False)
        except BaseException:
            lock.release()
            raise
        self._lock = lock

    def begin(
        self, layers: Sequence[str], rows: int, widths: Widths, dtype: str, number: int | None = None
    ) -> "ShardWriter":
        """Return the writer of a shard; without its `number`, of the one after the last.

        Raises:
            OutputError: no room for the whole shard on the disk, or a place that can't be written to.
        """
        if self.finished or self._open is not None:
            raise ValueError("a finished dataset takes no shard, and an unfinished one takes one at a time")
        number = max(self.committed, default=-1) + 1 if number is None else number
        if number in self.committed or not self._is_own(number):
            raise ValueError(f"shard {number} is committed already, or another writer's")
        self._open = ShardWriter(self._folder, number, layers, rows, widths, dtype, self._closed)
        return self._open

    def _closed(self, record: ShardRecord | None) -> None:
        self._open = None
        if record is not None:
            self.add(record)

    def add(self, record: ShardRecord) -> None:
        """Add a shard that was committed on behalf of this writer, by a `ShardWriter` elsewhere."""
        self.committed[record.number] = record

    def drop_last(self) -> ShardRecord:
        """Remove the last committed shard, so that it can be written again; returns its record."""
        if self.finished or self._open is not None or not self.committed:
            raise ValueError(
                "only the last committed shard of unfinished work can be dropped, between shards"
            )
        number = max(self.committed)
        with disk.writing(self._folder.record(number)):
            disk.remove(self._folder.record(number))
            disk.sync_folder(self._folder.work)
            for kind in KINDS:
                disk.remove(self._folder.shard(number, kind))
        return self.committed.pop(number)

    def end_share(self, end: staging.ShareEnd) -> None:
        """Note, for `finish`, what one of several writers knows after it has read the whole source."""
        assert self._share is not None
        path = self._folder.share_end(self._share)
        with disk.writing(path):
            disk.write_file(path, to_json(end.to_json()))
            staging.clear_ends(self._folder, self._share[1])

    def finish(self, description: Description) -> Manifest:
        """Write the manifest, which completes the dataset; returns it.

        Args:
            description: what the manifest says besides settings, and what follows from the records of the shards.

        Raises:
            OutputError: a place that can't be written to; what was committed is kept.
        """
        if self.finished or self._open is not None:
            raise ValueError("the dataset is finished, or a shard is still open")
        folder, earlier = self._folder, self.manifest
        if sorted(self.committed) != list(range(len(self.committed))):
            raise ValueError(f"shards are missing; committed are {sorted(self.committed)}")
        records = [self.committed[number] for number in sorted(self.committed)]
        table, entry = records_bytes(records)
        if earlier is not None and read_manifest(folder) != earlier:
            raise DatasetError(f"{folder.root} was changed by another process; start the same command again")
        manifest = manifest_of(description, self._settings, records, entry)
        data = to_json(manifest.to_json())
        self._check_readable(data)
        run = run_file(records, read_run(folder, 0 if earlier is None else earlier.shards.count))
        with disk.writing(folder.manifest):
            disk.write_file(folder.root / entry.name, table)
            disk.write_file(folder.run, to_json(run.to_json()))
            manifest_file.write_manifest(folder, data)
            self.finished = True
            if not self._others_wait:
                self._tidy(manifest)
        return manifest

    def _check_readable(self, data: bytes) -> None:
        """Refuse to write a manifest that is too large to be read, such as one that lists very many skipped records."""
        try:
            value = parse_json(data)
        except ValueError as error:
            what = f"the manifest of {self._folder.root} can't be written: {error}"
            raise OutputError(
                f"{what}; correct the source, so that fewer records are skipped, and start again in a new folder"
            ) from None
        parse_manifest(value, self._folder.manifest)

    def close(self) -> None:
        """Abandon an open shard, and release the lock; what was committed stays, and nothing else."""
        try:
            if self._open is not None:
                self._open.abandon()
            is_unused = self._committed_nothing()
            if is_unused:
                self._undo()
        finally:
            self._lock.release()
        if is_unused and self._created:
            staging.remove_empty(self._folder)

    def _committed_nothing(self) -> bool:
        if self.finished or self._share is not None or len(self.committed) != self.base:
            return False
        # A process that writes for this writer may have committed a shard which it hasn't reported yet.
        return not staging.numbers(self._folder, self.base)

    def _undo(self) -> None:
        """Remove what opening the writer created."""
        if is_remote(self._folder.root):
            # It has no locks: the other files may be those of another writer.
            if self._adding is not None:
                with suppress(*faults()):
                    disk.remove(self._folder.settings)
        elif not (self._others_wait or manifest_file.is_cut_off(self._folder)):
            with suppress(*faults()):
                staging.sweep(self._folder, range(self.base), self._is_own)
            self._tidy(self.manifest) if self.manifest is not None else staging.clear_work(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
