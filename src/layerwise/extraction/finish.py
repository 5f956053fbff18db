"""The manifest of a dataset, when every shard is there."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.paths import place
from layerwise._util.progress import SILENT, Tracker
from layerwise._util.versions import versions
from layerwise.errors import DatasetError
from layerwise.store import DatasetWriter, LayerDataset, work
from layerwise.store.described import open_described
from layerwise.store.layout import Folder
from layerwise.tolerance import measured_tolerance

if TYPE_CHECKING:
    from layerwise.extraction.shard_maker import About
    from layerwise.read.corpus import Corpus

_NAMED = 10  # missing shards that are named


def finish_dataset(path: str | Path, track: Tracker = SILENT) -> LayerDataset:
    """Write the manifest of a dataset whose shards are all there; see `api.finish`."""
    folder = Folder(place(path))
    if folder.manifest.exists() and not work.numbers(folder):
        return open_described(path)
    settings = work.stored_settings(folder)
    for name, command in (("merged", "merge"), ("derived", "pool")):
        if name in settings and not folder.manifest.exists():
            raise DatasetError(
                f"{folder.root} was begun by `layerwise {command}`; start that again to finish it"
            )
    with DatasetWriter(folder.root, settings, track=track) as writer:
        if not writer.finished:
            end = _agreed(folder)
            _check_whole(end, work.read_ends(folder), writer.committed)
            writer.finish(described(end["manifest"], writer.committed.values()))
    return open_described(path)


def _agreed(folder: Folder) -> Mapping[str, Any]:
    """Return what the workers found that have been through the source."""
    ends = work.read_ends(folder)
    if not ends:
        raise DatasetError(
            f"{folder.root} isn't ready: no worker has been through its source; "
            "run each `layerwise extract … --num-workers N --worker-index I` to its end"
        )
    for end in ends[1:]:
        if (end["shards"], end["texts"]) != (ends[0]["shards"], ends[0]["texts"]):
            counts = [f"worker {e['share'][0]} found {e['texts']:,} texts" for e in (ends[0], end)]
            raise DatasetError(
                f"the workers of {folder.root} didn't see the same source: {' and '.join(counts)}; "
                "put it back as it was and run them again, or start anew"
            )
    return ends[0]


def _check_whole(
    end: Mapping[str, Any], ends: Sequence[Mapping[str, Any]], committed: Mapping[int, Mapping[str, Any]]
) -> None:
    count = end["share"][1]
    missing = [number for number in range(end["shards"]) if number not in committed]
    if missing:
        workers = sorted({number % count for number in missing})
        named = ", ".join(map(str, missing[:_NAMED])) + (" …" if len(missing) > _NAMED else "")
        raise DatasetError(
            f"{len(missing)} of {end['shards']} shards are missing ({named}); run again worker "
            f"{', '.join(map(str, workers))} of {count}"
        )
    texts = sum(record["texts"] for record in committed.values())
    if texts != end["texts"] or len(committed) != end["shards"]:
        raise DatasetError(
            f"the shards hold {texts:,} texts and the source had {end['texts']:,}; start anew in another folder"
        )


def manifest_of(about: About, corpus: Corpus) -> dict[str, Any]:
    """Return what a manifest says that is known when the source has been read."""
    return {
        **about.manifest,
        "skipped": [asdict(record) for record in corpus.skipped],
        "notices": [*corpus.notices, *about.notes],
        "versions": versions(),
        "machine": {"processor": platform.machine(), "system": platform.system()},
    }


def columns_of(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the carried columns of several shards, of texts and of words, in the order in which they appear."""
    return {
        kind: list(
            dict.fromkeys(name for record in records for name in (record.get("columns") or {}).get(kind, ()))
        )
        for kind in ("text", "word")
    }


def described(manifest: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a manifest with what the records of all shards say, and the time."""
    several = list(records)
    whole = {
        **manifest,
        "columns": columns_of(several),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    errors = [record["int8_error"] for record in several if record.get("int8_error")]
    if errors:
        # A merged dataset has several: that of the part that is furthest off.
        limits = [measured_tolerance(error, manifest["dtype"]) for error in errors]
        whole["tolerance"] = max(limits, key=lambda limit: float(limit["value"]))
    return whole
