"""The facts about a dataset that `info` shows."""

from pathlib import Path
from typing import Any

from layerwise.results import Facts
from layerwise.store import open_dataset
from layerwise.store.dtypes import itemsize


def dataset_facts(path: str | Path) -> Facts:
    """Return the manifest of a dataset with its path, the number of its shards, sizes in bytes, and what was measured.

    `seconds` and `finished` are `None` when they aren't known; `run_problem` then says why.

    Raises:
        DatasetError: no dataset, an unfinished one, or a damaged manifest.
    """
    dataset = open_dataset(path)
    manifest, run = dataset.manifest.to_json(), dataset.run
    content = {
        "kind": "dataset",
        "path": str(path),
        **manifest,
        "shards": manifest["shards"]["count"],
        "totals": {**manifest["totals"], "seconds": run.total},
        "seconds": run.total,
        "finished": run.finished,
        "run_problem": run.problem,
        "bytes": manifest["totals"]["bytes"],
        "bytes_per_layer": dataset.rows * dataset.width * itemsize(dataset.dtype),
    }
    return Facts(f"Dataset {path}", content, _summary(content))


def _summary(content: dict[str, Any]) -> tuple[str, ...]:
    totals, model = content["totals"], content["model"]
    layers, pool = content["layers"], f", pool {content['pool']}" if content["pool"] else ""
    return (
        f"{totals['rows']:,} rows × {len(layers)} layers × {content['width']}, level {content['level']}{pool}, "
        f"stored as {content['dtype']}",
        f"{totals['texts']:,} texts of {totals['tokens']:,} tokens ({totals['unknown']:,} unknown), "
        f"in {content['shards']:,} shards",
        f"layers {', '.join(layers)}",
        f"model {model['id']} ({model['family']}, {model['blocks']} blocks)",
    )
