"""Everything that must survive a crash passes through here: aside, sync, rename, remove.

A file is written as `.NAME.part` in the folder it will stand in, synced, renamed, and the folder synced; where
several processes may write the same one, as `.NAME.OWN.part`. Of an object store it is written in a temporary
folder here, and put there in the place of being renamed, which is at once or not at all. Errors of the
operating system become one line for people. Nothing here knows what the files mean.
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

from layerwise._util.paths import faults, is_remote, put_new, reason, upload
from layerwise._util.temporary import TemporaryFolder
from layerwise.errors import OutputError

_CURES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space in your quota",
    errno.EROFS: "take a place that can be written to",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ELOOP: "remove the link that stands there",
}
AGAIN = "{cure} and start the same command again"
_OWN = secrets.token_hex(4)  # this process
KEPT = f"what was committed is kept; {AGAIN}"


def reached(event: str, path: Path) -> None:
    """Do nothing: called before each `sync`, `rename` and `remove`.

    Crash tests put a function of their own in its place, to count these points and to stop at one.
    """


@contextmanager
def writing(path: Path, then: str = KEPT) -> Iterator[None]:
    """Turn an OSError into an OutputError that names `path`, the fault, and `then`, what to do about it."""
    try:
        yield
    except faults() as error:
        cure = _CURES.get(getattr(error, "errno", None) or 0, "mend that")
        raise OutputError(f"can't write {path}: {reason(error)}; {then.format(cure=cure)}") from error


def aside(path: Path, *, own: bool = False) -> Path:
    """Return where a file is written until it is whole, beside it, or here for an object store.

    `own`: by this process and no other.
    """
    name = f".{path.name}.{_OWN}.part" if own else f".{path.name}.part"
    return _waiting_room(str(path.parent)) / name if is_remote(path) else path.with_name(name)


@functools.cache
def _waiting_room(url: str) -> Path:
    """Return a temporary folder for what will be put to `url`; it goes with the process."""
    folder = TemporaryFolder()
    atexit.register(folder.close)
    return folder.path


def is_aside(path: Path) -> bool:
    """Return whether this is a file that was being written."""
    return path.name.startswith(".") and path.name.endswith(".part")


def check_new(path: Path) -> None:
    """Make sure that nothing stands where something is to be written, and that it can be written there.

    Raises:
        OutputError: something does, or it can't.
    """
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path} is there already; give a new name, or remove it first")
    near = next((folder for folder in path.absolute().parents if folder.exists()), Path("/"))
    with writing(path, AGAIN), tempfile.TemporaryDirectory(dir=near):
        pass


@contextmanager
def new(path: Path) -> Iterator[Path]:
    """Give a place aside for a new file or folder, which is put at `path` when all went well, else removed.

    Raises:
        OutputError: something stands at `path`, or it can't be written to.
    """
    check_new(path)
    part = aside(path)
    above = [folder for folder in path.absolute().parents if not folder.exists()]
    with writing(path, AGAIN):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear(part)
            yield part
            rename(part, path)
            sync_folder(path.parent)
        except BaseException:  # also when interrupted: nothing half-made stays
            _clear(part)
            for folder in above:
                with suppress(OSError):
                    folder.rmdir()
            raise


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
    """Put `source` in the place of `target`, at once or not at all."""
    reached("rename", target)
    if is_remote(target):
        upload(source, target)
        source.unlink()
    else:
        source.replace(target)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    reached("remove", path)
    path.unlink(missing_ok=True)


def create(path: Path) -> BinaryIO:
    """Open a new file for writing in the place of whatever stands there: a link is removed, and not followed."""
    path.unlink(missing_ok=True)
    return open(path, "xb")


def create_unbuffered(path: Path) -> FileIO:
    """Open a new file as `create` does, for reading as well, every write of which goes to the system at once."""
    path.unlink(missing_ok=True)
    return open(path, "x+b", buffering=0)


def write_synced(path: Path, data: bytes, name: Path | None = None) -> None:
    """Write `data` to a new file, where a folder stands aside as a whole; `name`: what it will be called."""
    with create(path) as file:
        file.write(data)
        file.flush()
        sync(file.fileno(), name or path)


def write_aside(path: Path, data: bytes, *, own: bool = False) -> None:
    """Write `data` beside `path`, synced, and leave the renaming to the caller; `own`: see `aside`."""
    part = aside(path, own=own)
    try:
        write_synced(part, data, path)
    except OSError:  # a full disk has no room for half a file
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_file(path: Path, data: bytes, *, own: bool = False) -> None:
    """Write `data` to `path` so that a crash leaves the whole file or none; `own`: see `aside`."""
    write_aside(path, data, own=own)
    rename(aside(path, own=own), path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> bool:
    """Write `data` to `path`; in an object store only where nothing stands, and tell whether that was so."""
    if is_remote(path):
        reached("rename", path)
        return put_new(path, data)
    write_file(path, data, own=True)
    return True


def make_folder(path: Path) -> None:
    """Make a folder, and those above it; an object store has none."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)
