"""The manifest: what a dataset is, and when it is one."""

from pathlib import Path
from typing import Any

from layerwise._util import json_checks
from layerwise._util.guarded import BLOCKS, SHARDS, WIDTH
from layerwise._util.paths import faults, reason
from layerwise.choices import DTYPES, LEVELS, POOLS
from layerwise.errors import DatasetError
from layerwise.layers import layer_names
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
    wrong = json_checks.first_wrong(manifest, _READ)
    if wrong is None and not set(manifest["layers"]) <= set(layer_names(manifest["blocks"])):
        wrong = "layers"
    if wrong is None and (manifest.get("pool") is None) != (manifest["level"] == "token"):
        wrong = "pool"
    if wrong is None and not _named_by_hash(manifest["shards"]):
        wrong = "shards"
    refuse_entry(manifest, wrong, path)


def refuse_entry(value: dict[str, Any], wrong: str | None, path: Path) -> None:
    """Refuse a file of a dataset by the entry of it that makes no sense, if there is one.

    Raises:
        DatasetError: naming file and entry.
    """
    if wrong is not None:
        got = repr(json_checks.entry(value, wrong))[:80]
        raise DatasetError(f"{path} is damaged: {wrong} is {got}; restore it from a copy")


def _layers(value: Any) -> bool:
    return bool(value) and json_checks.list_of(json_checks.text)(value) and len(set(value)) == len(value)


def _named_by_hash(entry: dict[str, Any]) -> bool:
    """Tell whether the file of records has the name that follows from its hash: it can't point outside its folder."""
    return bool(entry["name"] == f"shards-{entry['sha256'][:12]}.parquet")


_READ: json_checks.Schema = {
    "blocks": json_checks.whole(0, BLOCKS),
    "width": json_checks.whole(1, WIDTH),
    "dtype": json_checks.one_of(DTYPES),
    "level": json_checks.one_of(LEVELS),
    "pool": json_checks.nullable(json_checks.one_of(POOLS)),
    "layers": _layers,
    "shards": json_checks.object_of(
        {
            "name": json_checks.text,
            "sha256": json_checks.sha256,
            "count": json_checks.whole(0, SHARDS),
            "bytes": json_checks.whole(),
        }
    ),
}
