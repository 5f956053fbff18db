"""What results say of where they come from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from layerwise.states import Layered
from layerwise.store import LayerDataset
from layerwise.versions import versions


def about(dataset: Layered) -> dict[str, Any]:
    """Return versions, the date, and which dataset it is: its folder, model and hash; none for rows in memory."""
    made: dict[str, Any] = {
        "versions": versions(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "level": dataset.level,
        "pool": dataset.pool,
    }
    if isinstance(dataset, LayerDataset):
        model = dataset.manifest.get("model")
        made["dataset"] = {"path": str(dataset.path), "sha256": dataset.sha256, "model": model}
    return made
