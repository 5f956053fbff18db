"""A finished dataset, for the commands that write one and do nothing when they are run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layerwise import api
from layerwise._util.paths import place
from layerwise.cli import output

if TYPE_CHECKING:
    from layerwise.store import LayerDataset


def manifest_bytes(out: str) -> bytes | None:
    """Return the bytes of the manifest at `out`; `None` without a finished dataset."""
    path = place(out) / "manifest.json"
    return path.read_bytes() if path.is_file() else None


def dataset_facts(dataset: LayerDataset) -> Mapping[str, Any]:
    """Return what `info` returns; print a note on stderr if the duration of the run isn't known."""
    facts = api.info.info(dataset)
    if facts["run_problem"] is not None:
        output.print_note(f"the duration of the run isn't known: {facts['run_problem']}")
    return facts
