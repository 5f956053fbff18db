"""The manifest: what a dataset is, and when it is one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from layerwise.errors import DatasetError
from layerwise.layers import layer_names
from layerwise.names import DTYPES, LEVELS
from layerwise.place import faults, reason
from layerwise.store.layout import Folder, check_version, from_json

REQUIRED = {"layers", "level", "pool", "blocks", "width", "dtype"}
OWN = {"format", "version", "settings", "shards", "totals", "error"}


def read_manifest(folder: Folder) -> dict[str, Any]:
    """Return the manifest of a finished dataset, checked for sense; its hash isn't (see `verify`).

    Raises:
        DatasetError: no dataset, an unfinished one, a newer format, or a damaged manifest.
    """
    try:
        _check_there(folder)
    except faults() as error:
        raise DatasetError(f"can't read {folder.root}: {reason(error)}; mend that and try again") from error
    manifest = from_json(folder.manifest)
    check_version(manifest, folder.manifest)
    check_manifest(manifest, folder.manifest)
    return manifest


def _check_there(folder: Folder) -> None:
    root = folder.root
    if not root.is_dir():
        what = "is a file" if root.exists() else "doesn't exist"
        raise DatasetError(f"{root} {what}; a dataset is the folder that `layerwise extract --out` writes")
    if not folder.manifest.exists():
        if folder.settings.exists():
            what = f"{root} is unfinished: it has no manifest yet"
            raise DatasetError(f"{what}; start the same `layerwise extract` command again to go on")
        raise DatasetError(f"{root} is no dataset: it has no {folder.manifest.name}; is it another folder?")


def check_manifest(manifest: dict[str, Any], path: Path) -> None:
    """Check what a reader relies on.

    Raises:
        DatasetError: naming the first entry that makes no sense.
    """
    checks: dict[str, Callable[[Any], bool]] = {
        "blocks": _count,
        "width": lambda value: _count(value) and value > 0,
        "dtype": lambda value: value in DTYPES,
        "level": lambda value: value in LEVELS,
        "pool": lambda value: value is None or isinstance(value, str),
        "layers": lambda value: _layers(value, manifest["blocks"]),
        "shards": _shards,
    }
    for name, right in checks.items():
        if name not in manifest or not right(manifest[name]):
            got = repr(manifest.get(name))[:80]
            raise DatasetError(f"{path} is damaged: {name} is {got}; restore it from a copy")


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _layers(value: Any, blocks: int) -> bool:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        return False
    known = layer_names(min(blocks, 10_000))  # a manifest can't make us hold a billion names
    return len(set(value)) == len(value) and set(value) <= set(known)


def _shards(value: Any) -> bool:
    try:
        # The name is checked, not followed: a manifest can't point outside its folder.
        named = value["name"] == f"shards-{value['sha256'][:12]}.parquet" and value["sha256"].isalnum()
        return named and len(value["sha256"]) == 64 and _count(value["count"]) and _count(value["bytes"])
    except (TypeError, KeyError, AttributeError):
        return False
