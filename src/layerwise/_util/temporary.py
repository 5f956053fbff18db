"""Temporary folders; those of a process that was killed are removed by the next one that makes, or looks for, any."""

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

import filelock

_PREFIX = "layerwise-"
_LOCK = ".lock"  # held for as long as the folder is used
_MARK = ".layerwise"  # there once the lock was taken: from then on a lock that nobody holds is that of a dead process


class TemporaryFolder:
    """A temporary folder of this process, and what stands in it, until it is closed."""

    def __init__(self) -> None:
        """Make it, after removing those of processes that were killed."""
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
        """Remove it; twice is once."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def sweep() -> None:
    """Remove the temporary folders of this user's processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, filelock.Timeout):
            if _is_own(folder) and (folder / _MARK).is_file():
                filelock.FileLock(folder / _LOCK).acquire(timeout=0).lock.release()
                shutil.rmtree(folder, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    """Tell whether this is a folder, and no link to one, that this user made: anybody may write beside it."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == getattr(os, "getuid", lambda: found.st_uid)()
