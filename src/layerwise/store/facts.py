"""What a dataset is, as `info` shows it."""

from pathlib import Path
from typing import Any

from layerwise.store.described import open_described
from layerwise.store.dtypes import itemsize


def dataset_facts(path: str | Path) -> dict[str, Any]:
    """Return the manifest of a dataset with its path, the number of its shards, and sizes in bytes.

    Raises:
        DatasetError: no dataset, an unfinished one, or a damaged manifest.
    """
    dataset = open_described(path)
    manifest = dataset.manifest
    return {
        "kind": "dataset",
        "path": str(path),
        **manifest,
        "shards": manifest["shards"]["count"],
        "seconds": manifest["totals"]["seconds"],
        "bytes": manifest["totals"]["bytes"],
        "bytes_per_layer": dataset.rows * dataset.width * itemsize(dataset.dtype),
    }
