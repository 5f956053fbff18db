"""The facts about a dataset that `info` shows."""

from pathlib import Path
from typing import Any

from layerwise._util.display import count_of
from layerwise.errors import DatasetError
from layerwise.results import Facts
from layerwise.store import LayerDataset, open_dataset
from layerwise.store.dtypes import itemsize
from layerwise.store.layout import Folder
from layerwise.store.manifest import Manifest
from layerwise.store.tables import joint_schema
from layerwise.widths import shown_width


def dataset_facts(path: str | Path) -> Facts:
    """Return the manifest of a dataset with its path, the number of its shards, sizes in bytes, and what was measured.

    `seconds` and `finished` are `None` when they aren't known; `run_problem` then says why. `tables` are the columns of
    the `index` and of the `texts`; `None` where the first shard's tables can't be read.

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
        "tables": _tables(dataset),
        "bytes": manifest["totals"]["bytes"],
        "bytes_per_layer": dataset.rows * max(dataset.widths.values()) * itemsize(dataset.dtype),
        "width_of_layers": dataset.widths,
    }
    return Facts(f"Dataset {path}", content, _summary(content))


def _tables(dataset: LayerDataset) -> dict[str, list[str]] | None:
    """Return the columns of the first shard's tables, and all carried columns, by table."""
    folder, tables = Folder(dataset.path), {}
    try:
        for kind, carried in _carried(dataset.manifest).items():
            files = [folder.shard(0, kind)] if dataset.manifest.shards.count else []
            tables[kind] = list(dict.fromkeys([*joint_schema(files, dataset.path).names, *carried]))
    except DatasetError:
        return None
    return tables


def _carried(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Return the carried columns of each table: see `schema.index_table` and `schema.texts_table`."""
    text, word = manifest.columns.text, manifest.columns.word
    index = {"text": text, "word": word}.get(manifest.level, ())
    return {"index": index, "texts": text if manifest.level == "word" else text + word}


def _summary(content: dict[str, Any]) -> tuple[str, ...]:
    totals, model = content["totals"], content["model"]
    layers, pool = content["layers"], f", pool {content['pool']}" if content["pool"] else ""
    return (
        f"{count_of(totals['rows'], 'row')} × {count_of(len(layers), 'layer')} × {shown_width(content['width_of_layers'])}, "
        f"level {content['level']}{pool}, stored as {content['dtype']}",
        f"{count_of(totals['texts'], 'text')} of {count_of(totals['tokens'], 'token')} ({totals['unknown']:,} unknown), "
        f"in {count_of(content['shards'], 'shard')}",
        f"layers {', '.join(layers)}",
        f"model {model['id']} ({model['family']}, {count_of(model['blocks'], 'block')})",
    )
