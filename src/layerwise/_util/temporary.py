"""Temporary folders; the next process that creates one, or calls `sweep`, removes those of killed processes."""

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

import filelock

_PREFIX = "layerwise-"
_LOCK = ".lock"  # held while the folder is in use
_MARK = (
    ".layerwise"  # created after the lock is taken: from then on, a free lock means that the process is dead
)


class TemporaryFolder:
    """A temporary folder of this process, removed with its contents on `close`."""

    def __init__(self) -> None:
        """Create the folder, after removing those of killed processes."""
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = filelock.FileLock(self.path / _LOCK, thread_local=False)
        self._lock.acquire()
        (self.path / _MARK).touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder; idempotent."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def sweep() -> None:
    """Remove the temporary folders of killed processes of this user."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, filelock.Timeout):
            if _is_own(folder) and (folder / _MARK).is_file():
                filelock.FileLock(folder / _LOCK).acquire(timeout=0).lock.release()
                shutil.rmtree(folder, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    """Return whether this is a folder of this user, not a link: other users may write to the same parent."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == getattr(os, "getuid", lambda: status.st_uid)()
