"""What a writer finds in its folder: nothing, work to go on with, a dataset, or a reason to refuse."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from layerwise._util import json_checks
from layerwise._util.guarded import SHARDS, read_bytes, read_json
from layerwise._util.paths import is_read_only, is_remote
from layerwise._util.progress import SILENT, Tracker
from layerwise.choices import DTYPES
from layerwise.errors import DatasetError, OutputError
from layerwise.store import disk
from layerwise.store.layout import FORMAT, KINDS, VERSION, Folder, check_version, from_json, to_json
from layerwise.store.manifest import OWN, REQUIRED, refuse_entry
from layerwise.store.records import Record, wrong_entry

_END = "*-of-*.end.json"
_SHARD = rf"(\d+)\.(?:{'|'.join(map(re.escape, KINDS.values()))}|json)"
_OF_SHARD = re.compile(rf"{_SHARD}|\.{_SHARD}(?:\.[0-9a-f]{{8}})?\.part")
_NOTED: json_checks.Schema = {
    "settings": json_checks.mapping,
    "adding": json_checks.optional(json_checks.list_of(json_checks.text)),
}
_ENDED: json_checks.Schema = {
    "share": lambda value: (
        json_checks.list_of(json_checks.whole())(value) and len(value) == 2 and value[0] < value[1]
    ),
    "shards": json_checks.whole(0, SHARDS),
    "texts": json_checks.whole(),
    "manifest": lambda value: _begun(value),
}
_OURS = {"shards", "work", ".lock", "manifest.json", "manifest.json.sha256"}


def _begun(value: Any) -> bool:
    """Tell whether this is the part of a manifest that is known before the shards are summed up."""
    whole = isinstance(value, dict) and value.keys() >= REQUIRED and not value.keys() & OWN
    return whole and json_checks.one_of(DTYPES)(value["dtype"])


def _is_ours(name: str) -> bool:
    return name in _OURS or (name.startswith("shards-") and name.endswith(".parquet"))


def refuse_foreign(folder: Folder) -> None:
    """Check that a dataset may be written here; changes nothing.

    Raises:
        OutputError: a file stands there, or a folder with things in it that aren't a dataset of ours, or links, or
            it is a place that can only be read.
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
        strange = [path for path in _files(root) if not (disk.is_aside(path) or _is_ours(path.name))]
        for inner in (folder.work, folder.shards):
            strange += [path for path in _files(inner) if not (disk.is_aside(path) or _of_several(path.name))]
    if strange:
        name = strange[0].relative_to(root)
        raise OutputError(f"{root} holds {name} and is no dataset; give a new or an empty folder")


def _of_several(name: str) -> bool:
    """Tell whether a file in work/ is that of one of several writers."""
    return fnmatch(name, "*-of-*.lock") or fnmatch(name, _END)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def begin(folder: Folder, settings: Record, adding: Sequence[str] | None = None) -> None:
    """Make the folders, and note the settings; where shards are being added, from what sources."""
    for path in (folder.shards, folder.work):
        disk.make_folder(path)
    disk.sync_folder(folder.root)
    there = from_json(folder.settings) if folder.settings.exists() else None
    if there is not None:
        check_version(there, folder.settings)
    noted = {"format": FORMAT, "version": VERSION, "settings": settings}
    if adding is not None:
        noted["adding"] = list(adding)
    if adding is None or (there is not None and "adding" not in there):
        disk.write_file(folder.settings, to_json(noted))
    elif not disk.write_new(folder.settings, to_json(noted)):
        check_adding(folder, adding)  # in a store, which has no locks, this is what keeps others away


def check_adding(folder: Folder, sources: Sequence[str]) -> None:
    """Check that what is being added is of the sources that are to be added now; more may follow them.

    Raises:
        DatasetError: it is of others.
    """
    before = _noted(folder.settings).get("adding") if folder.settings.exists() else None
    if before is not None and list(sources[: len(before)]) != before:
        raise DatasetError(
            f"an unfinished --append of {' '.join(before)} stands in {folder.root}; give that, as it was, to go on "
            f"with it, or remove {folder.work} to give it up"
        )


def check_settings(path: Path, settings: Record, root: Path) -> None:
    """Check that the manifest or settings file at `path` was made with these settings.

    Raises:
        DatasetError: naming the first setting that differs, and both values; or a newer format.
    """
    stored = _noted(path)
    found = difference(stored["settings"], settings)
    if found is None:
        return
    if "merged" in stored["settings"] and "merged" not in settings:
        raise DatasetError(
            f"what stands in {root} was begun by `layerwise merge`; start that again to finish it, or give another "
            "output folder"
        )
    name, there, here = found
    what = f"{root} holds a dataset made with other settings: {name} is {there} there and {here} here"
    raise DatasetError(f"{what}; give the same settings, or another output folder")


def difference(there: Any, here: Any, name: str = "") -> tuple[str, str, str] | None:
    """Return the first setting, by name, that differs, with both values as text; `None` when none does."""
    if isinstance(there, dict) and isinstance(here, dict):
        # Another model or precision changes much else; its name says most.
        for key in sorted({*there, *here}, key=lambda key: (key != "model", key != "precision", key)):
            path = f"{name}.{key}" if name else key
            if key not in there or key not in here:
                return path, _shown(there, key), _shown(here, key)
            found = difference(there[key], here[key], path)
            if found:
                return found
        return None
    return None if there == here else (name or "settings", _short(there), _short(here))


def _shown(settings: Record, key: str) -> str:
    return _short(settings[key]) if key in settings else "not set"


def _short(value: Any) -> str:
    text = " ".join(to_json(value).decode().split())
    return text if len(text) <= 80 else f"{text[:79]}…"


def numbers(folder: Folder, least: int = 0) -> list[int]:
    """Return the numbers of the shards that have a commit record, from `least` on."""
    found = sorted(int(path.stem) for path in folder.work.glob("*.json") if path.stem.isdecimal())
    return [number for number in found if number >= least]


def take_up(folder: Folder, is_own: Callable[[int], bool], track: Tracker = SILENT) -> dict[int, Record]:
    """Return the commit records of unfinished work by their numbers, in order, of those that are wanted.

    There may be gaps where there were several writers, or where a shard isn't whole, in a file or its record:
    then the record is removed, so that the shard is made again.
    """
    records = {}
    wanted = list(filter(is_own, numbers(folder)))
    for number, _ in track.each(wanted, (f"looking at shard {number}" for number in wanted)):
        record = _whole_record(folder, number)
        if record is None:
            disk.remove(folder.record(number))
        else:
            records[number] = record
    return records


def _whole_record(folder: Folder, number: int) -> Record | None:
    """Return the commit record of a shard; `None` when it is damaged, or a file isn't there in the size it gives."""
    try:
        record: Record = read_json(folder.record(number))
        sizes = {kind: folder.shard(number, kind).stat().st_size for kind in KINDS}
    except (ValueError, FileNotFoundError):
        return None
    whole = wrong_entry(record, number) is None
    return (
        record
        if whole and all(record["files"][kind]["bytes"] == size for kind, size in sizes.items())
        else None
    )


def stored_settings(folder: Folder) -> Record:
    """Return the settings of unfinished work.

    Raises:
        DatasetError: there is none.
    """
    if not folder.settings.exists():
        raise DatasetError(
            f"{folder.root} holds no unfinished work; it has no {folder.settings.name} in work/"
        )
    settings: Record = _noted(folder.settings)["settings"]
    return settings


def _noted(path: Path) -> Record:
    """Return what a manifest, or the settings of unfinished work, says, its settings being there."""
    stored = from_json(path)
    check_version(stored, path)
    refuse_entry(stored, json_checks.first_wrong(stored, _NOTED), path)
    return stored


def read_ends(folder: Folder) -> list[Record]:
    """Return what several writers left when they were through the source."""
    ends = {path: from_json(path) for path in sorted(folder.work.glob(_END))}
    for path, end in ends.items():
        refuse_entry(end, json_checks.first_wrong(end, _ENDED), path)
    return list(ends.values())


def check_files_there(folder: Folder, records: dict[int, Record], cure: str) -> None:
    """Check that every file of these shards is there and has its size; the contents aren't read.

    Raises:
        DatasetError: naming the first that isn't.
    """
    for number, record in records.items():
        for kind in KINDS:
            path = folder.shard(number, kind)
            try:
                wanted, got = int(record["files"][kind]["bytes"]), path.stat().st_size
            except (KeyError, TypeError, ValueError):
                raise DatasetError(
                    f"the record of shard {number} in {folder.root} is damaged; {cure}"
                ) from None
            except OSError as error:
                raise DatasetError(f"{path} is missing ({error.strerror}); {cure}") from error
            if got != wanted:
                what = f"{path} has {got:,} bytes where {wanted:,} were written"
                raise DatasetError(f"{what}; {cure}")


def clear_ends(folder: Folder, count: int) -> None:
    """Remove what writers left that were of another number than `count`: the source may have been another then."""
    for path in folder.work.glob(_END):
        if not path.name.endswith(f"-of-{count}.end.json"):
            disk.remove(path)


def sweep(
    folder: Folder, records: Iterable[int], is_own: Callable[[int], bool], *, alone: bool = True
) -> None:
    """Remove what a crash left: files that were being written, and shards without a commit record.

    Of several writers (not `alone`) each removes only what has to do with shards of its own. In an object store, which has no
    locks, nothing is removed: another may be about to commit it, and what nobody commits is written over.
    """
    if is_remote(folder.root):
        return
    kept = set(records)
    for path in [*_files(folder.root), *_files(folder.work), *_files(folder.shards)]:
        number = shard_number(path.name)
        if number is None:
            asides = map(disk.aside, (folder.manifest, folder.checksum, folder.settings))
            left = alone and path in asides
        else:
            left = is_own(number) and (
                disk.is_aside(path) or (path.parent == folder.shards and number not in kept)
            )
        if left:
            disk.remove(path)


def shard_number(name: str) -> int | None:
    """Return the number of the shard that a file, or one that was being written, belongs to."""
    found = _OF_SHARD.fullmatch(name)
    return int(found[1] or found[2]) if found else None


def remove_empty(folder: Folder) -> None:
    """Remove a folder in which nothing was committed, with its lock; an object store has no folders."""
    if is_remote(folder.root):
        return
    with suppress(OSError):
        folder.shards.rmdir()
        folder.lock.unlink(missing_ok=True)
        folder.root.rmdir()


def clear_work(folder: Folder) -> None:
    """Remove the folder of unfinished work, the settings last; it is only a matter of tidiness."""
    with suppress(OSError):
        for path in _files(folder.work):
            numbered = path.suffix == ".json" and path.stem.isdigit()
            if disk.is_aside(path) or numbered or _of_several(path.name) or path == following(folder):
                disk.remove(path)
        disk.remove(folder.settings)
        if not is_remote(folder.work):
            folder.work.rmdir()


def following(folder: Folder) -> Path:
    """Return where the next version of a manifest stands before it takes the place of the last one."""
    return folder.work / folder.manifest.name if is_remote(folder.root) else disk.aside(folder.manifest)


def write_following(folder: Folder, data: bytes) -> None:
    """Write the next version of a manifest where it waits for its hash."""
    if is_remote(folder.root):
        disk.write_file(following(folder), data)
    else:
        disk.write_aside(folder.manifest, data)


def complete(folder: Folder) -> None:
    """Take the last step of a `finish` that was cut off before it: the new hash is in place, its manifest isn't."""
    if finish_was_cut(folder):
        replace_manifest(folder)


def replace_manifest(folder: Folder) -> None:
    """Put the next version of the manifest, whose hash is in place, where it belongs."""
    if is_remote(folder.root):
        disk.write_file(folder.manifest, following(folder).read_bytes())
    else:
        disk.rename(following(folder), folder.manifest)
        disk.sync_folder(folder.root)


def finish_was_cut(folder: Folder) -> bool:
    """Return whether the next version of a manifest stands aside, whole, with its hash in place already."""
    part = following(folder)
    if not (part.is_file() and folder.checksum.is_file()):
        return False
    try:
        return read_bytes(folder.checksum) == checksum_line(folder, read_bytes(part))
    except ValueError:  # too large to be ours
        return False


def checksum_line(folder: Folder, data: bytes) -> bytes:
    """Return what stands beside a manifest that holds `data`: its SHA-256, as `sha256sum` writes it."""
    return f"{hashlib.sha256(data).hexdigest()}  {folder.manifest.name}\n".encode()


def clear_records(folder: Folder, name: str) -> None:
    """Remove the files of records but that called `name`: those of earlier versions of a dataset."""
    with suppress(OSError):
        for path in _files(folder.root):
            if path.name != name and path.name.startswith("shards-") and _is_ours(path.name):
                disk.remove(path)
