"""The locks of a dataset's writers: one process alone, or one for each share; an object store has no locks."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import filelock

from layerwise._util.paths import is_remote
from layerwise.errors import DatasetError
from layerwise.store import disk
from layerwise.store.layout import Folder


class _NoLock:
    """A lock that is always free, for an object store, which has none; there a record is written only if none exists."""

    def __init__(self, path: Path) -> None:
        self.lock_file = str(path)

    def acquire(self, timeout: float = 0) -> Any:
        return nullcontext()

    def release(self) -> None:
        pass


Lock = filelock.BaseFileLock | _NoLock


def lock_of(path: Path) -> Lock:
    """Return the lock of a file."""
    return _NoLock(path) if is_remote(path) else filelock.FileLock(path, thread_local=False)


def hold_share(folder: Folder, share: tuple[int, int]) -> Lock:
    """Acquire and return the lock of one of several writers; it is held until it is released or deleted.

    Raises:
        DatasetError: another process holds it.
    """
    lock = lock_of(folder.share_lock(share))
    acquire(folder, lock, f"another process with worker index {share[0]} of {share[1]}")
    return lock


def acquire(folder: Folder, lock: Lock, who: str, timeout: float = 0) -> None:
    """Acquire a lock of a dataset.

    Raises:
        DatasetError: another process, described by `who`, holds it.
    """
    with disk.writing(Path(lock.lock_file)):
        try:
            lock.acquire(timeout=timeout)
        except filelock.Timeout:
            what = f"{folder.root} is in use: {who} is writing it"
            raise DatasetError(f"{what}; wait until it ends, or give another output folder") from None


def check_alone(folder: Folder, count: int = 0) -> None:
    """Check that no worker is writing, except one of `count` workers; the caller holds the lock of the dataset.

    Raises:
        DatasetError: another worker is writing.
    """
    for path in sorted(folder.work.glob("*-of-*.lock")):
        if path.stem.endswith(f"-of-{count}"):
            continue
        lock = lock_of(path)
        acquire(folder, lock, f"worker {path.stem.replace('-', ' ')}")
        lock.release()
