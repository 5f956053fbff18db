"""Write what a cut is, for programs: `layerwise.json`, which `info` reads."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from layerwise._util.versions import versions
from layerwise.cutting.card import source_name
from layerwise.cutting.facts import FORMAT, NAME, VERSION, folder_bytes
from layerwise.cutting.result import CutModel
from layerwise.encode.cut_source import CutSource
from layerwise.store import disk
from layerwise.store.layout import to_json

_LEFT_OUT = (
    "out",
    "bytes",
    "score",
    "notes",
    "messages",
)  # what changes with its place, or stands in the card


def described(written: CutModel, source: CutSource, folder: Path, **further: Any) -> CutModel:
    """Write what a cut is beside it, and return the cut with the size of its whole folder.

    Args:
        written: the cut.
        source: the model that it was cut from; the file has its name without the folders above it.
        folder: where it is written.
        **further: what only some cuts have, as JSON values.
    """
    content = {name: value for name, value in written.to_json().items() if name not in _LEFT_OUT}
    content["source"] = _without_folders(written.source) | {"id": source_name(source)}
    origin = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}
    entries = {"format": FORMAT, "version": VERSION, **content, **further, **origin}
    disk.write_file(folder / NAME, to_json(entries))
    return replace(written, bytes=folder_bytes(folder))


def _without_folders(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a model without the folder of its adapter."""
    adapter = facts.get("adapter")
    kept = {} if adapter is None else {"adapter": {"kind": adapter["kind"], "weights": adapter["weights"]}}
    return {**facts, **kept}
