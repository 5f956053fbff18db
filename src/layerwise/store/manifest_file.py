"""The manifest and its hash on disk, replaced so that a crash leaves the old pair, or one that can be completed.

Two files can't be replaced at once. The next manifest is written aside first, then the hash is replaced, then the
manifest. If the process is killed in between, the hash is that of the next manifest, which shows this state; the old
manifest stays complete all the time.
"""

import hashlib
from pathlib import Path

from layerwise._util.guarded import read_bytes
from layerwise._util.paths import is_remote
from layerwise.store import disk
from layerwise.store.layout import Folder


def checksum_line(folder: Folder, data: bytes) -> bytes:
    """Return the content of the file beside a manifest that holds `data`: its SHA-256, as `sha256sum` writes it."""
    return f"{hashlib.sha256(data).hexdigest()}  {folder.manifest.name}\n".encode()


def next_manifest(folder: Folder) -> Path:
    """Return the path of the next manifest until it replaces the old one."""
    return folder.work / folder.manifest.name if is_remote(folder.root) else disk.aside(folder.manifest)


def write_manifest(folder: Folder, data: bytes) -> None:
    """Write a manifest and its hash."""
    if is_remote(folder.root):
        disk.write_file(next_manifest(folder), data)
    else:
        disk.write_aside(folder.manifest, data)
    disk.write_aside(folder.checksum, checksum_line(folder, data))
    disk.rename(disk.aside(folder.checksum), folder.checksum)
    _replace(folder)


def is_cut_off(folder: Folder) -> bool:
    """Return whether `write_manifest` was killed before its last step: the hash is that of the next manifest."""
    part = next_manifest(folder)
    if not (part.is_file() and folder.checksum.is_file()):
        return False
    try:
        return read_bytes(folder.checksum) == checksum_line(folder, read_bytes(part))
    except ValueError:  # larger than any manifest
        return False


def complete(folder: Folder) -> None:
    """Take the last step of a `write_manifest` that was killed before it."""
    if is_cut_off(folder):
        _replace(folder)


def _replace(folder: Folder) -> None:
    if is_remote(folder.root):
        disk.write_file(folder.manifest, next_manifest(folder).read_bytes())
    else:
        disk.rename(next_manifest(folder), folder.manifest)
        disk.sync_folder(folder.root)
