"""One dataset of several that were made in the same way: their shards byte for byte, their texts numbered anew."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from layerwise._util.paths import place
from layerwise._util.progress import Tracker
from layerwise._util.versions import versions
from layerwise.errors import DatasetError, RequestError
from layerwise.extraction.provenance import entries_of
from layerwise.store import DatasetWriter, LayerDataset
from layerwise.store.described import open_described
from layerwise.store.layout import Folder
from layerwise.store.merge import copy_shard
from layerwise.store.tables import joint_schema
from layerwise.store.work import difference

# What may differ: it says how texts came to be there, and leaves their vectors alone.
_FREE = ("reading", "shard", "merged")


def merge_datasets(
    datasets: Sequence[LayerDataset | str | Path], out: str | Path, track: Tracker
) -> LayerDataset:
    """Write the rows of several datasets, one after the other, to the dataset `out`; see `api.merge`."""
    several = [open_described(d.path if isinstance(d, LayerDataset) else d) for d in datasets]
    if len(several) < 2:
        raise RequestError(f"merge needs at least two datasets; got {len(several)}")
    for other in several[1:]:
        _check_same(several[0], other)
    merged = [{"manifest": d.sha256, "texts": d.text_count} for d in several]
    settings = {**several[0].manifest["settings"], "merged": merged}
    with DatasetWriter(place(out), settings) as writer:
        if not writer.finished:
            _check_columns(several, place(out))
            _copy(several, writer, Folder(place(out)), track)
            writer.finish(_manifest(several, merged))
    return open_described(out)


def _copy(several: Sequence[LayerDataset], writer: DatasetWriter, target: Folder, track: Tracker) -> None:
    steps = iter(track.each(*_shards(several)))
    number = docs = 0
    for dataset in several:
        for record in dataset.shards:
            next(steps)
            if number not in writer.committed:
                writer.add(copy_shard(Folder(dataset.path), record, target, number, docs))
            number += 1
        docs += dataset.text_count


def _shards(several: Sequence[LayerDataset]) -> tuple[range, list[str]]:
    """Return numbers for all shards of datasets, and what to call each."""
    names = [
        f"shard {number} of {dataset.path}"
        for dataset in several
        for number in range(dataset.manifest["shards"]["count"])
    ]
    return range(len(names)), names


def _check_same(first: LayerDataset, other: LayerDataset) -> None:
    differing = difference(_bound(first.manifest["settings"]), _bound(other.manifest["settings"]))
    if differing is not None:
        name, first_value, here = differing
        raise DatasetError(
            f"{first.path} and {other.path} were made with different settings: {name} is {first_value} in the first "
            f"and {here} in the second; extract one of them anew"
        )


def _check_columns(several: Sequence[LayerDataset], out: Path) -> None:
    """Check that the tables of all shards can be read as one."""
    for kind in ("texts", "index"):
        counted = [(Folder(dataset.path), dataset.manifest["shards"]["count"]) for dataset in several]
        joint_schema((f.shard(number, kind) for f, count in counted for number in range(count)), out)


def _bound(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that have to be the same."""
    bound = {name: value for name, value in settings.items() if name not in _FREE}
    # The two texts of a pair have an even number and the next; an odd number of texts before would part them.
    bound["pairs"] = isinstance(settings.get("reading", {}).get("text"), list)
    if bound.get("derived"):
        bound["derived"] = {name: bound["derived"].get(name) for name in ("level", "pool")}
    return bound


def _manifest(several: Sequence[LayerDataset], merged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    manifests = [dataset.manifest for dataset in several]
    kept = ("model", "layers", "blocks", "width", "level", "pool", "dtype", "machine")
    columns = {
        kind: list(dict.fromkeys(name for manifest in manifests for name in manifest["columns"][kind]))
        for kind in ("text", "word")
    }
    # Where the error was measured, that of the set that is furthest off.
    loosest = max(
        (manifest["tolerance"] for manifest in manifests), key=lambda tolerance: float(tolerance["value"])
    )
    derived = {"derived": manifests[0]["derived"]} if manifests[0].get("derived") else {}
    return {
        **{name: manifests[0][name] for name in kept if name in manifests[0]},
        **derived,
        "tolerance": loosest,
        "columns": columns,
        "skipped": [record for manifest in manifests for record in manifest["skipped"]],
        "notices": list(dict.fromkeys(notice for manifest in manifests for notice in manifest["notices"])),
        "sources": [
            {"reading": manifest["settings"]["reading"], **entry}
            for manifest in manifests
            for entry in entries_of(manifest)
        ],
        "merged": list(merged),
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
