"""Staging: the files of unfinished work in a dataset's folder, from which a killed run is continued.

An extraction takes hours and may be killed at any moment; without a record of the complete shards, the next run would
have to start from the beginning, or would read incomplete files. So a finished shard leaves a record in `work/`,
beside the settings that it was made with, and only a shard with a record counts. The functions here create these
files, read them again, refuse settings that don't fit them, and remove what a crash left. `docs/reference/format.md`, "How it is
written", has the order of the steps; `DatasetWriter` calls them, holding the lock.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

from layerwise._util import json_checks
from layerwise._util.guarded import SHARDS, read_json
from layerwise._util.paths import is_read_only, is_remote
from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.errors import DatasetError, OutputError
from layerwise.store import disk, manifest_file
from layerwise.store.json_object import JsonObject
from layerwise.store.layout import FORMAT, KINDS, VERSION, Folder, check_version, from_json, parsed, to_json
from layerwise.store.manifest import Description, Settings
from layerwise.store.records import ShardRecord, shard_record

_END = "*-of-*.end.json"
_SHARD = rf"(\d+)\.(?:{'|'.join(map(re.escape, KINDS.values()))}|json)"
_OF_SHARD = re.compile(rf"{_SHARD}|\.{_SHARD}(?:\.[0-9a-f]{{8}})?\.part")
_DECISIVE = ("model", "precision", "prompt", "context")
_ORIGINS = ("merged", "derived")  # settings that say of which datasets a dataset was made
_FILES = {"shards", "work", ".lock", "manifest.json", "manifest.json.sha256", "run.json"}


def _is_share(value: Any) -> bool:
    return json_checks.list_of(json_checks.whole())(value) and len(value) == 2 and value[0] < value[1]


@dataclass(frozen=True, kw_only=True)
class StagedSettings(JsonObject):
    """The file `work/settings.json`: the settings of unfinished work; `adding`: the sources that are being added."""

    format: str = FORMAT
    version: int = VERSION
    settings: Settings
    adding: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ShareEnd(JsonObject):
    """What one of several writers records when it has read the whole source.

    Attributes:
        share: its index, and how many writers there are.
        shards, texts: how many the whole source has.
        description: of the dataset that all of them make.
    """

    share: Annotated[tuple[int, ...], _is_share]
    shards: Annotated[int, json_checks.whole(0, SHARDS)]
    texts: int
    description: Description


def _belongs(name: str) -> bool:
    """Return whether a file or folder of this name in a dataset's folder is part of the dataset."""
    return name in _FILES or (name.startswith("shards-") and name.endswith(".parquet"))


def refuse_foreign(folder: Folder) -> None:
    """Check that a dataset may be written to this folder; changes nothing.

    Raises:
        OutputError: it is a file, it holds files that aren't part of a dataset or folders that are links, or it can only
            be read.
    """
    root = folder.root
    if is_read_only(root):
        raise OutputError(f"{root} can't be written to; write to a disk, then `hf upload` the folder")
    with disk.writing(root):
        if root.exists() and not root.is_dir():
            raise OutputError(f"{root} is a file; a dataset is a folder, give a new one")
        for inner in (folder.work, folder.shards):
            if not is_remote(root) and inner.is_symlink():
                raise OutputError(
                    f"{inner} is a link, and nothing is written through it; put a folder in its place"
                )
        if folder.manifest.exists() or folder.settings.exists():
            return
        strange = [path for path in _files(root) if not (disk.is_aside(path) or _belongs(path.name))]
        for inner in (folder.work, folder.shards):
            strange += [path for path in _files(inner) if not (disk.is_aside(path) or _of_several(path.name))]
    if strange:
        name = strange[0].relative_to(root)
        raise OutputError(f"{root} holds {name} and is no dataset; give a new or an empty folder")


def _of_several(name: str) -> bool:
    """Return whether a file of this name in `work/` is that of one of several writers."""
    return fnmatch(name, "*-of-*.lock") or fnmatch(name, _END)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def begin(folder: Folder, settings: Settings, adding: Sequence[str] | None = None) -> None:
    """Create the folders, and write the settings; where shards are being added, also the names of their sources."""
    for path in (folder.shards, folder.work):
        disk.make_folder(path)
    disk.sync_folder(folder.root)
    earlier = from_json(folder.settings) if folder.settings.exists() else None
    if earlier is not None:
        check_version(earlier, folder.settings)
    sources = None if adding is None else tuple(adding)
    data = to_json(StagedSettings(settings=settings, adding=sources).to_json())
    if adding is None or (earlier is not None and "adding" not in earlier):
        disk.write_file(folder.settings, data)
    elif not disk.write_new(folder.settings, data):
        check_adding(folder, adding)  # in an object store, which has no locks, this refuses a second writer


def check_adding(folder: Folder, sources: Sequence[str]) -> None:
    """Check that `sources` begins with the sources of the unfinished addition, if there is one.

    Raises:
        DatasetError: it begins with others.
    """
    earlier = _staged(folder.settings).adding if folder.settings.exists() else None
    if earlier is not None and tuple(sources[: len(earlier)]) != earlier:
        raise DatasetError(
            f"{folder.root} holds an unfinished {argument('append')} of {' '.join(earlier)}; give that source, unchanged, "
            f"to continue it, or remove {folder.work} to cancel it"
        )


def check_settings(folder: Folder, stored: Settings, settings: Settings) -> None:
    """Check that the dataset in a folder, finished or not, was made with these settings.

    Raises:
        DatasetError: naming the first setting that differs, and both values.
    """
    differing = difference(stored.to_json(), settings.to_json())
    if differing is None:
        return
    if stored.merged is not None and settings.merged is None and not folder.manifest.exists():
        raise DatasetError(
            f"the dataset in {folder.root} was started by `layerwise merge`; run that command again to finish it, or give "
            "another output folder"
        )
    name, stored_value, value = differing
    if name.partition(".")[0] in _ORIGINS:  # their values are hashes, which tell a user nothing
        raise DatasetError(
            f"{folder.root} holds a dataset that this command didn't make; give another output folder"
        )
    what = f"{folder.root} holds a dataset made with other settings: {name} is {stored_value} in it and {value} here"
    raise DatasetError(f"{what}; give the same settings, or another output folder")


def difference(stored: Any, value: Any, name: str = "") -> tuple[str, str, str] | None:
    """Return the first setting, by name, that differs, with both values as text; `None` when none does."""
    if isinstance(stored, dict) and isinstance(value, dict):
        # Another model, precision or prompt changes other settings as well, so it is named first.
        for key in sorted({*stored, *value}, key=lambda key: (*(key != first for first in _DECISIVE), key)):
            path = f"{name}.{key}" if name else key
            if key not in stored or key not in value:
                return path, _shown(stored, key), _shown(value, key)
            differing = difference(stored[key], value[key], path)
            if differing:
                return differing
        return None
    return None if stored == value else (name or "settings", _short(stored), _short(value))


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return _short(settings[key]) if key in settings else "not set"


def _short(value: Any) -> str:
    text = " ".join(to_json(value).decode().split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def numbers(folder: Folder, least: int = 0) -> list[int]:
    """Return the numbers of the shards that have a commit record, from `least` on."""
    recorded = sorted(int(path.stem) for path in folder.work.glob("*.json") if path.stem.isdecimal())
    return [number for number in recorded if number >= least]


def take_up(folder: Folder, is_own: Callable[[int], bool], track: Tracker = SILENT) -> dict[int, ShardRecord]:
    """Return the commit records of unfinished work by their numbers, in order, of the shards that `is_own` selects.

    Numbers may be missing between them: shards of other writers, and shards of which a file or the record is
    incomplete. The record of such a shard is removed, so that the shard is made again.
    """
    records = {}
    selected = list(filter(is_own, numbers(folder)))
    for number, _ in track.each(selected, (f"looking at shard {number}" for number in selected)):
        record = _whole_record(folder, number)
        if record is None:
            disk.remove(folder.record(number))
        else:
            records[number] = record
    return records


def _whole_record(folder: Folder, number: int) -> ShardRecord | None:
    """Return the commit record of a shard; `None` when it is damaged, or a file doesn't have the size that it states."""
    try:
        record = shard_record(read_json(folder.record(number)), number)
        sizes = {kind: folder.shard(number, kind).stat().st_size for kind in KINDS}
    except (ValueError, FileNotFoundError):
        return None
    return record if all(record.files.of(kind).bytes == size for kind, size in sizes.items()) else None


def stored_settings(folder: Folder) -> Settings:
    """Return the settings of unfinished work.

    Raises:
        DatasetError: there is none.
    """
    if not folder.root.exists():
        raise DatasetError(f"{folder.root} doesn't exist; give the folder that `extract --out` wrote")
    if not folder.settings.exists():
        raise DatasetError(
            f"{folder.root} holds no unfinished work; it has no {folder.settings.name} in work/"
        )
    return _staged(folder.settings).settings


def _staged(path: Path) -> StagedSettings:
    value = from_json(path)
    check_version(value, path)
    return parsed(StagedSettings, value, path)


def read_ends(folder: Folder) -> list[ShareEnd]:
    """Return what several writers recorded when they had read the source."""
    return [parsed(ShareEnd, from_json(path), path) for path in sorted(folder.work.glob(_END))]


def check_files_exist(folder: Folder, records: Mapping[int, ShardRecord], remedy: str) -> None:
    """Check that every file of these shards exists and has its size; the contents aren't read.

    Raises:
        DatasetError: naming the first that doesn't, and `remedy`, what to do about it.
    """
    for number, record in records.items():
        for kind in KINDS:
            path, size = folder.shard(number, kind), record.files.of(kind).bytes
            try:
                got = path.stat().st_size
            except OSError as error:
                raise DatasetError(f"{path} is missing ({error.strerror}); {remedy}") from error
            if got != size:
                raise DatasetError(f"{path} has {got:,} bytes where {size:,} were written; {remedy}")


def clear_ends(folder: Folder, count: int) -> None:
    """Remove the `ShareEnd` files of runs with another number of writers: the source may have been another one."""
    for path in folder.work.glob(_END):
        if not path.name.endswith(f"-of-{count}.end.json"):
            disk.remove(path)


def sweep(
    folder: Folder, records: Iterable[int], is_own: Callable[[int], bool], *, alone: bool = True
) -> None:
    """Remove what a crash left: files that were being written, and shards without a commit record.

    Args:
        folder: the dataset.
        records: the numbers of the shards that have a record.
        is_own: selects the shards of this writer; nothing that belongs to others is removed.
        alone: whether it is the only writer.

    In an object store, which has no locks, nothing is removed: another writer may be about to commit a file. A file that
    nobody commits is overwritten later.
    """
    if is_remote(folder.root):
        return
    kept = set(records)
    for path in [*_files(folder.root), *_files(folder.work), *_files(folder.shards)]:
        number = shard_number(path.name)
        if number is None:
            asides = map(disk.aside, (folder.manifest, folder.checksum, folder.run, folder.settings))
            is_leftover = alone and path in asides
        else:
            is_leftover = is_own(number) and (
                disk.is_aside(path) or (path.parent == folder.shards and number not in kept)
            )
        if is_leftover:
            disk.remove(path)


def shard_number(name: str) -> int | None:
    """Return the number of the shard that a file, or one that was being written, belongs to."""
    match = _OF_SHARD.fullmatch(name)
    return int(match[1] or match[2]) if match else None


def remove_empty(folder: Folder) -> None:
    """Remove a folder in which nothing was committed, with its lock; an object store has no folders."""
    if is_remote(folder.root):
        return
    with suppress(OSError):
        folder.shards.rmdir()
        folder.lock.unlink(missing_ok=True)
        folder.root.rmdir()


def clear_work(folder: Folder) -> None:
    """Remove the folder of unfinished work, the settings last; a failure is ignored, because the folder does no harm."""
    with suppress(OSError):
        for path in _files(folder.work):
            numbered = path.suffix == ".json" and path.stem.isdigit()
            if (
                disk.is_aside(path)
                or numbered
                or _of_several(path.name)
                or path == manifest_file.next_manifest(folder)
            ):
                disk.remove(path)
        disk.remove(folder.settings)
        if not is_remote(folder.work):
            folder.work.rmdir()


def clear_records(folder: Folder, name: str) -> None:
    """Remove the files of records of earlier versions of a dataset; the file `name` stays."""
    with suppress(OSError):
        for path in _files(folder.root):
            if path.name != name and path.name.startswith("shards-") and _belongs(path.name):
                disk.remove(path)
