"""Where a result comes from: versions, the date, and the dataset."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from layerwise._util.versions import versions
from layerwise.states import Layered
from layerwise.store import LayerDataset


def provenance_of(dataset: Layered) -> dict[str, Any]:
    """Return versions, the date, and which dataset a result is of: its hash, and on disk its folder and model."""
    source: dict[str, Any] = {"sha256": fingerprint(dataset)}
    if isinstance(dataset, LayerDataset):
        source |= {"path": str(dataset.path), "model": dataset.manifest.model.to_json()}
    return {
        "versions": versions(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "level": dataset.level,
        "pool": dataset.pool,
        "dataset": source,
    }


def extraction_speed(dataset: Layered) -> float | None:
    """Return the tokens per second of a process when the dataset was extracted.

    `None` for rows in memory, where the time isn't known, and for a dataset that was pooled from another one.
    """
    if not isinstance(dataset, LayerDataset) or dataset.manifest.derived is not None:
        return None
    seconds = dataset.run.total
    return dataset.manifest.totals.tokens / seconds if seconds else None


def fingerprint(dataset: Layered) -> str:
    """Return a hash that identifies rows: of the manifest of a dataset, or of the deepest layer of states in memory."""
    if isinstance(dataset, LayerDataset):
        return dataset.sha256
    shape = f"{dataset.layers} {dataset.rows} {dataset.level} {dataset.pool}"
    return hashlib.sha256(shape.encode() + dataset.layer(dataset.layers[-1]).tobytes()).hexdigest()
