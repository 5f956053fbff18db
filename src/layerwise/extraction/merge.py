"""Merging datasets that were made in the same way: their tensors are copied, their texts are renumbered."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerwise._util.paths import place
from layerwise._util.progress import Tracker
from layerwise._util.versions import versions
from layerwise.arguments import argument
from layerwise.errors import DatasetError, RequestError
from layerwise.extraction.sources import reading_of
from layerwise.store import DatasetWriter, LayerDataset, open_dataset
from layerwise.store.layout import Folder
from layerwise.store.manifest import Description, MergedDataset, Settings
from layerwise.store.shard_copy import copy_shard
from layerwise.store.staging import difference
from layerwise.store.tables import joint_schema

# The settings that may differ: they describe how texts were read, and change no vector.
_FREE = ("reading", "shard", "merged")


def merge_datasets(
    datasets: Sequence[LayerDataset | str | Path], out: str | Path, track: Tracker
) -> LayerDataset:
    """Write the rows of several datasets, one after the other, to the dataset `out`; see `api.merge`."""
    if isinstance(datasets, str | Path | LayerDataset) or not isinstance(datasets, Iterable):
        raise RequestError(
            f"{argument('datasets')} {datasets!r:.60} is no list; give at least two datasets, or their folders"
        )
    several = [open_dataset(d.path if isinstance(d, LayerDataset) else d) for d in datasets]
    if len(several) < 2:
        raise RequestError(f"merge needs at least two datasets; got {len(several)}")
    for other in several[1:]:
        _check_same(several[0], other)
    merged = tuple(MergedDataset(manifest=d.sha256, texts=d.text_count) for d in several)
    settings = replace(several[0].manifest.settings, merged=merged)
    with DatasetWriter(place(out), settings) as writer:
        if not writer.finished:
            _check_columns(several, place(out))
            _copy(several, writer, Folder(place(out)), track)
            writer.finish(_description(several, merged))
    return open_dataset(out)


def _copy(several: Sequence[LayerDataset], writer: DatasetWriter, target: Folder, track: Tracker) -> None:
    steps = iter(track.each(*_shards(several)))
    number = docs = 0
    for dataset in several:
        seconds = dataset.run.seconds
        for record in dataset.shards:
            next(steps)
            if number not in writer.committed:
                timed = replace(record, seconds=seconds.get(record.number))
                writer.add(copy_shard(Folder(dataset.path), timed, target, number, docs))
            number += 1
        docs += dataset.text_count


def _shards(several: Sequence[LayerDataset]) -> tuple[range, list[str]]:
    """Return the numbers of all shards after merging, and a name of each for the display of progress."""
    names = [
        f"shard {number} of {dataset.path}"
        for dataset in several
        for number in range(dataset.manifest.shards.count)
    ]
    return range(len(names)), names


def _check_same(first: LayerDataset, other: LayerDataset) -> None:
    differing = difference(_bound(first.manifest.settings), _bound(other.manifest.settings))
    if differing is not None:
        name, first_value, second_value = differing
        raise DatasetError(
            f"{first.path} and {other.path} were made with different settings: {name} is {first_value} in the first "
            f"and {second_value} in the second; extract one of them again, with the settings of the other"
        )


def _check_columns(several: Sequence[LayerDataset], out: Path) -> None:
    """Check that the tables of all shards can be read as one."""
    for kind in ("texts", "index"):
        counted = [(Folder(dataset.path), dataset.manifest.shards.count) for dataset in several]
        joint_schema((f.shard(number, kind) for f, count in counted for number in range(count)), out)


def _bound(settings: Settings) -> dict[str, Any]:
    """Return the settings that have to be the same."""
    bound = {name: value for name, value in settings.to_json().items() if name not in _FREE}
    # Texts 2n and 2n + 1 are a pair. After an odd number of single texts that would no longer be true.
    bound["pairs"] = settings.reading.paired
    bound["joint_pairs"] = settings.reading.text if settings.reading.joint else None
    if settings.derived is not None:
        bound["derived"] = {"level": settings.derived.level, "pool": settings.derived.pool}
    return bound


def _description(several: Sequence[LayerDataset], merged: tuple[MergedDataset, ...]) -> Description:
    manifests = [dataset.manifest for dataset in several]
    description = replace(
        manifests[0].part(Description),
        # Where the error was measured (int8): the tolerance of the dataset with the largest one.
        tolerance=max((manifest.tolerance for manifest in manifests), key=lambda each: each.value),
        skipped=tuple(record for manifest in manifests for record in manifest.skipped),
        sources=tuple(
            replace(entry, reading=reading_of(manifest.settings, entry))
            for manifest in manifests
            for entry in manifest.sources
        ),
        merged=merged,
        versions=versions(),
    )
    return description.with_notices(notice for manifest in manifests for notice in manifest.notice_messages)
