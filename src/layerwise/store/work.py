"""What a writer finds in its folder: nothing, work to go on with, a dataset, or a reason to refuse."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from layerwise.errors import DatasetError, OutputError
from layerwise.store import disk
from layerwise.store.layout import FORMAT, KINDS, VERSION, Folder, check_version, from_json, to_json

Record = dict[str, Any]
_OURS = {"shards", "work", ".lock", "manifest.json", "manifest.json.sha256"}


def refuse_foreign(folder: Folder) -> None:
    """Check that a dataset may be written here; changes nothing.

    Raises:
        OutputError: a file stands there, or a folder with things in it that aren't a dataset of ours.
    """
    root = folder.root
    if root.exists() and not root.is_dir():
        raise OutputError(f"{root} is a file; a dataset is a folder, give a new one")
    if folder.manifest.exists() or folder.settings.exists():
        return
    with disk.writing(root):
        strange = [path for path in _files(root) if not disk.is_aside(path) and path.name not in _OURS]
        for inner in (folder.work, folder.shards):
            strange += [path for path in _files(inner) if not disk.is_aside(path)]
    if strange:
        name = strange[0].relative_to(root)
        raise OutputError(f"{root} holds {name} and is no dataset; give a new or an empty folder")


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def begin(folder: Folder, settings: Record) -> None:
    """Make the folders, and note the settings."""
    for path in (folder.shards, folder.work):
        path.mkdir(exist_ok=True)
    disk.sync_folder(folder.root)
    if folder.settings.exists():
        check_version(from_json(folder.settings), folder.settings)
    disk.write_file(folder.settings, to_json({"format": FORMAT, "version": VERSION, "settings": settings}))


def check_settings(path: Path, settings: Record, root: Path) -> None:
    """Check that the manifest or settings file at `path` was made with these settings.

    Raises:
        DatasetError: naming the first setting that differs, and both values; or a newer format.
    """
    stored = from_json(path)
    check_version(stored, path)
    found = difference(stored.get("settings"), settings)
    if found is None:
        return
    name, there, here = found
    what = f"{root} holds a dataset made with other settings: {name} is {there} there and {here} here"
    raise DatasetError(f"{what}; give the same settings, or another output folder")


def difference(there: Any, here: Any, name: str = "") -> tuple[str, str, str] | None:
    """Return the first setting, by name, that differs, with both values as text; `None` when none does."""
    if isinstance(there, dict) and isinstance(here, dict):
        # Another model changes much else; its name says most.
        for key in sorted({*there, *here}, key=lambda key: (key != "model", key)):
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


def read_records(folder: Folder) -> list[Record]:
    """Return the commit records of unfinished work, in order.

    Raises:
        DatasetError: a record that is damaged or missing, or a file of a shard that is missing or cut.
    """
    numbers = sorted(int(path.stem) for path in folder.work.glob("*.json") if path.stem.isdigit())
    for expected, number in enumerate(numbers):
        if number != expected:
            missing = folder.record(expected)
            raise DatasetError(
                f"{missing} is missing, and later ones are there; start anew in another folder"
            )
    records = [from_json(folder.record(number)) for number in numbers]
    check_files_there(folder, records)
    return records


def check_files_there(folder: Folder, records: list[Record]) -> None:
    """Check that every file of these shards is there and has its size; the contents aren't read.

    Raises:
        DatasetError: naming the first that isn't.
    """
    for number, record in enumerate(records):
        for kind in KINDS:
            path = folder.shard(number, kind)
            try:
                wanted, got = int(record["files"][kind]["bytes"]), path.stat().st_size
            except (KeyError, TypeError, ValueError):
                raise DatasetError(f"the record of shard {number} in {folder.root} is damaged") from None
            except OSError as error:
                raise DatasetError(f"{path} is missing ({error.strerror}); restore it from a copy") from error
            if got != wanted:
                what = f"{path} has {got:,} bytes where {wanted:,} were written"
                raise DatasetError(f"{what}; restore it from a copy")


def sweep(folder: Folder, records: list[Record]) -> None:
    """Remove what a crash left: files that were being written, and shards without a commit record."""
    kept = {folder.shard(number, kind).name for number in range(len(records)) for kind in KINDS}
    inside = [*_files(folder.work), *_files(folder.shards)]
    left = [disk.aside(folder.manifest), disk.aside(folder.checksum), *filter(disk.is_aside, inside)]
    left += [path for path in _files(folder.shards) if _is_shard_file(path.name) and path.name not in kept]
    for path in left:
        if path.exists():
            disk.remove(path)


def _is_shard_file(name: str) -> bool:
    number, _, rest = name.partition(".")
    return number.isdigit() and rest in KINDS.values()


def remove_empty(folder: Folder) -> None:
    """Remove a folder in which nothing was committed, with its lock."""
    with suppress(OSError):
        folder.shards.rmdir()
        folder.lock.unlink(missing_ok=True)
        folder.root.rmdir()


def clear_work(folder: Folder) -> None:
    """Remove the folder of unfinished work, the settings last; it is only a matter of tidiness."""
    with suppress(OSError):
        for path in _files(folder.work):
            if disk.is_aside(path) or (path.suffix == ".json" and path.stem.isdigit()):
                disk.remove(path)
        disk.remove(folder.settings)
        folder.work.rmdir()
