"""Checking a dataset's bytes: any changed, missing, truncated or unexpected one is found."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise.errors import DatasetError
from layerwise.place import place
from layerwise.progress import SILENT, Tracker
from layerwise.store import work
from layerwise.store.layout import KINDS, Folder
from layerwise.store.manifest import read_manifest
from layerwise.store.reader import Shard
from layerwise.store.records import Records


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: in which file, by its path within the dataset, and what."""

    file: str
    what: str


def check_files(path: str | Path, track: Tracker = SILENT) -> list[Problem]:
    """Compare every file of a finished dataset with its manifest; an empty list says that all is right.

    Args:
        path: the folder of the dataset.
        track: reports the shards that are checked.

    Raises:
        DatasetError: there is no finished dataset to check, or one of a newer format. A manifest that is
            damaged is a problem, not an error.
    """
    folder = Folder(place(path))
    try:
        manifest = read_manifest(folder)
    except DatasetError as error:
        changed = [] if folder.settings.exists() else list(_check_manifest(folder))
        if not changed:
            raise
        return [*changed, Problem(folder.manifest.name, str(error))] if folder.manifest.exists() else changed
    problems = list(_check_manifest(folder))
    entry = manifest["shards"]
    wrong = _compare(folder.root / entry["name"], entry)
    if wrong:
        return [*problems, Problem(entry["name"], f"{wrong}; what it says of the shards can't be used")]
    records = Records(folder, entry)
    try:
        numbers = range(len(records))
        for number, _ in track.each(numbers, (f"checking shard {number}" for number in numbers)):
            problems += _check_shard(Shard(folder, manifest, records, number))
    except DatasetError as error:
        problems.append(Problem(entry["name"], str(error)))
    return problems + list(_unexpected(folder, entry))


def _check_manifest(folder: Folder) -> Iterator[Problem]:
    if not folder.manifest.exists():
        if folder.checksum.exists():
            yield Problem(folder.manifest.name, f"is missing, and {folder.checksum.name} is there")
        return
    wanted = f"{hashlib.sha256(folder.manifest.read_bytes()).hexdigest()}  {folder.manifest.name}\n"
    if not folder.checksum.exists():
        yield Problem(folder.checksum.name, "is missing, so the manifest can't be checked")
    elif folder.checksum.read_bytes() != wanted.encode() and not work.finish_was_cut(folder):
        yield Problem(folder.manifest.name, f"doesn't have the SHA-256 in {folder.checksum.name}")


def _check_shard(shard: Shard) -> Iterator[Problem]:
    whole = True
    for kind in KINDS:
        path = shard.folder.shard(shard.number, kind)
        what = _compare(path, shard.record["files"][kind])
        if what:
            whole = False
            yield Problem(_name(shard.folder, path), what)
    if whole:  # what isn't the file that was written needn't fit the manifest
        yield from _check_contents(shard)


def _compare(path: Path, entry: dict[str, Any]) -> str | None:
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            return f"has {size:,} bytes where the manifest says {entry['bytes']:,}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return None if digest == entry["sha256"] else "has changed: its SHA-256 isn't that of the manifest"


def _check_contents(shard: Shard) -> Iterator[Problem]:
    checks: dict[str, Callable[[], object]] = {
        "tensors": lambda: shard.tensors,
        "index": lambda: shard.table("index"),
        "texts": lambda: shard.table("texts"),
    }
    for kind, check in checks.items():
        try:
            check()
        except DatasetError as error:
            yield Problem(_name(shard.folder, shard.folder.shard(shard.number, kind)), str(error))


def _unexpected(folder: Folder, entry: dict[str, Any]) -> Iterator[Problem]:
    wanted = {folder.shard(number, kind).name for number in range(entry["count"]) for kind in KINDS}
    inside = sorted(folder.shards.iterdir()) if folder.shards.is_dir() else []
    strange = [path for path in inside if path.name not in wanted]
    if folder.settings.exists():  # shards are being added, or made again
        strange = [path for path in strange if work.shard_number(path.name) is None]
    else:
        strange += [
            path for path in sorted(folder.root.glob("shards-*.parquet")) if path.name != entry["name"]
        ]
    for path in strange:
        yield Problem(_name(folder, path), "isn't in the manifest")


def _name(folder: Folder, path: Path) -> str:
    return path.relative_to(folder.root).as_posix()
