"""Finishing a dataset that several workers wrote: its manifest is written when every shard exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from layerwise._util.display import count_of
from layerwise._util.paths import place
from layerwise._util.progress import SILENT, Tracker
from layerwise.errors import DatasetError
from layerwise.store import DatasetWriter, LayerDataset, open_dataset, staging
from layerwise.store.layout import Folder
from layerwise.store.records import ShardRecord
from layerwise.store.staging import ShareEnd

_NAMED = 10  # missing shards that are named


def finish_dataset(path: str | Path, track: Tracker = SILENT) -> LayerDataset:
    """Write the manifest of a dataset whose shards all exist; see `api.finish`."""
    folder = Folder(place(path))
    if folder.manifest.exists() and not staging.numbers(folder):
        return open_dataset(path)
    settings = staging.stored_settings(folder)
    if not folder.manifest.exists():
        for entry, command in ((settings.merged, "merge"), (settings.derived, "pool")):
            if entry is not None:
                raise DatasetError(
                    f"{folder.root} was started by `layerwise {command}`; run that command again to finish it"
                )
    with DatasetWriter(folder.root, settings, track=track) as writer:
        if not writer.finished:
            ends = staging.read_ends(folder)
            _check_agreed(folder, ends)
            _check_whole(ends[0], writer.committed)
            writer.finish(ends[0].description)
    return open_dataset(path)


def _check_agreed(folder: Folder, ends: Sequence[ShareEnd]) -> None:
    """Check that at least one worker has read the whole source, and that all of these read the same one."""
    if not ends:
        raise DatasetError(
            f"{folder.root} isn't ready: no worker has read the whole source; "
            "run each `layerwise extract … --num-workers N --worker-index I` to its end"
        )
    for end in ends[1:]:
        if (end.shards, end.texts) != (ends[0].shards, ends[0].texts):
            counts = [
                f"worker {each.share[0]} read {count_of(each.texts, 'text')}" for each in (ends[0], end)
            ]
            raise DatasetError(
                f"the workers of {folder.root} didn't read the same source: {' and '.join(counts)}; "
                "restore the source and run all workers again, or start again in a new folder"
            )


def _check_whole(end: ShareEnd, committed: Mapping[int, ShardRecord]) -> None:
    count = end.share[1]
    missing = [number for number in range(end.shards) if number not in committed]
    if missing:
        workers = sorted({number % count for number in missing})
        named = ", ".join(map(str, missing[:_NAMED])) + (" …" if len(missing) > _NAMED else "")
        raise DatasetError(
            f"{len(missing)} of {count_of(end.shards, 'shard')} are missing ({named}); run again worker "
            f"{', '.join(map(str, workers))} of {count}"
        )
    texts = sum(record.texts for record in committed.values())
    if texts != end.texts or len(committed) != end.shards:
        raise DatasetError(
            f"the shards hold {count_of(texts, 'text')} and the source had {end.texts:,}; start again in a new folder"
        )
