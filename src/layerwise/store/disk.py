"""Writing files so that a crash leaves a whole file or none: write aside, sync, rename; and removing them.

A file is written as `.NAME.part` in the folder it belongs to, synced, renamed, and the folder synced; where several
processes may write the same one, as `.NAME.PROCESS.part`. For an object store it is written in a temporary folder on
this machine, and uploaded instead of renamed, which happens at once or not at all. Errors of the operating system become
one line for the user. Nothing here knows what the files mean.
"""

import atexit
import errno
import functools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import filelock

from layerwise._util.paths import faults, is_remote, put_new, reason, upload
from layerwise._util.temporary import TemporaryFolder
from layerwise.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space in your quota",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ELOOP: "remove the link in its place",
}
AGAIN = "{remedy} and start the same command again"
_PROCESS = secrets.token_hex(4)  # this process
KEPT = f"what was committed is kept; {AGAIN}"


def reached(event: str, path: Path) -> None:
    """Do nothing; called before each `sync`, `rename` and `remove`.

    Crash tests replace this function, to count these points and to stop at one of them.
    """


@contextmanager
def writing(path: Path, then: str = KEPT) -> Iterator[None]:
    """Turn an OSError into an OutputError that names `path`, the fault, and `then`, what to do about it."""
    try:
        yield
    except faults() as error:
        remedy = _REMEDIES.get(getattr(error, "errno", None) or 0, "correct this")
        raise OutputError(f"can't write {path}: {reason(error)}; {then.format(remedy=remedy)}") from error


def aside(path: Path, *, private: bool = False) -> Path:
    """Return where a file is written until it is whole: beside it, or on this machine for an object store.

    `private`: under a name that no other process uses.
    """
    name = f".{path.name}.{_PROCESS}.part" if private else f".{path.name}.part"
    return _upload_folder(str(path.parent)) / name if is_remote(path) else path.with_name(name)


@functools.cache
def _upload_folder(url: str) -> Path:
    """Return a temporary folder for files that will be uploaded to `url`; it is removed at exit."""
    folder = TemporaryFolder()
    atexit.register(folder.close)
    return folder.path


def is_aside(path: Path) -> bool:
    """Return whether a path is that of a file that is being written."""
    return path.name.startswith(".") and path.name.endswith(".part")


def check_new(path: Path) -> None:
    """Check that nothing exists at a path, and that it can be written to.

    Raises:
        OutputError: a file or folder exists, or the path can't be written to.
    """
    _refuse_existing(path)
    near = next((folder for folder in path.absolute().parents if folder.exists()), Path("/"))
    with writing(path, AGAIN), tempfile.TemporaryDirectory(dir=near):
        pass


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path} already exists; give a new name, or remove it first")


@contextmanager
def new(path: Path) -> Iterator[Path]:
    """Yield a path aside for a new file or folder, which is moved to `path` at the end, or removed after an error.

    Raises:
        OutputError: something exists at `path`, or it can't be written to.
    """
    check_new(path)
    part = aside(path)
    above = [folder for folder in path.absolute().parents if not folder.exists()]
    with writing(path, AGAIN):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path):
                try:
                    _clear(part)
                    yield part
                    _sync_files(part)
                    _refuse_existing(path)
                    rename(part, path)
                    sync_folder(path.parent)
                except BaseException:  # also when interrupted: no incomplete file stays
                    _clear(part)
                    raise
        except BaseException:
            for folder in above:
                with suppress(OSError):
                    folder.rmdir()
            raise


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from writing to a path until the end of the block; an object store has no locks.

    Raises:
        OutputError: another process, or another thread of this one, writes to it.
    """
    if is_remote(path):
        yield
        return
    file = path.with_name(f".{path.name}.lock")
    lock = filelock.FileLock(file, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise OutputError(
            f"{path} is in use: another process is writing it; wait until it ends, or give a new name"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()
        lock.release()


def _sync_files(path: Path) -> None:
    """Wait until a file, or the files of a folder, are on the disk, whoever wrote them."""
    for file in [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        remove(path)


def sync(descriptor: int, path: Path) -> None:
    """Wait until the file is on the disk."""
    reached("sync", path)
    os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk; a no-op where folders can't be opened (Windows)."""
    reached("sync", path)
    if os.name == "nt" or is_remote(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse to sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Move `source` to `target`, replacing it, at once or not at all."""
    reached("rename", target)
    if is_remote(target):
        upload(source, target)
        source.unlink()
    else:
        source.replace(target)


def remove(path: Path) -> None:
    """Remove a file, if it exists."""
    reached("remove", path)
    path.unlink(missing_ok=True)


def create(path: Path) -> BinaryIO:
    """Open a new file for writing, replacing what exists: a link is removed, and not followed."""
    path.unlink(missing_ok=True)
    return open(path, "xb")


def create_unbuffered(path: Path) -> FileIO:
    """Open a new file as `create` does, unbuffered, and for reading as well."""
    path.unlink(missing_ok=True)
    return open(path, "x+b", buffering=0)


def write_synced(path: Path, data: bytes, name: Path | None = None) -> None:
    """Write `data` to a new file, synced; `name`: the path that errors name, where `path` will be renamed."""
    with create(path) as file:
        file.write(data)
        file.flush()
        sync(file.fileno(), name or path)


def write_aside(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write `data` beside `path`, synced; the caller renames it; `private`: see `aside`."""
    part = aside(path, private=private)
    try:
        write_synced(part, data, path)
    except OSError:  # the incomplete file would take space on a full disk
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_file(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write `data` to `path` so that a crash leaves the whole file or none; `private`: see `aside`."""
    write_aside(path, data, private=private)
    rename(aside(path, private=private), path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> bool:
    """Write `data` to `path`, in an object store only if nothing exists there; return whether it was written."""
    if is_remote(path):
        reached("rename", path)
        return put_new(path, data)
    write_file(path, data, private=True)
    return True


def make_folder(path: Path) -> None:
    """Create a folder, and those above it; an object store has none."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)
