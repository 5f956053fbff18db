"""Opening a dataset of which provenance is wanted too, not only rows."""

from pathlib import Path
from typing import Any

from layerwise._util import json_checks
from layerwise._util.json_checks import (
    flag,
    list_of,
    map_of,
    mapping,
    nullable,
    number,
    object_of,
    one_of,
    optional,
    positive,
    sha256,
    text,
    whole,
)
from layerwise.choices import DTYPES, LEVELS, LONG, POOLS, PRECISIONS
from layerwise.errors import DatasetError
from layerwise.states import Layered
from layerwise.store import LayerDataset, open_dataset
from layerwise.store.layout import Folder
from layerwise.store.manifest import refuse_entry

_READS: json_checks.Schema = {
    "format": text,
    "text": lambda value: optional(text)(value) or list_of(text)(value),
    "words": optional(text),
    "id": optional(text),
    "columns": lambda value: optional(text)(value) or list_of(text)(value),
    "encoding": text,
    "separator": optional(text),
    "na": optional(list_of(text)),
    "sentence_id": optional(text),
    "join": optional(text),
    "classes": optional(list_of(text)),
}


def _reading(value: Any) -> bool:
    """Tell whether this says how a source is read, and nothing that `open_corpus` doesn't know."""
    return object_of(_READS)(value) and value.keys() <= _READS.keys()


_SUMS = (
    *("texts", "rows", "bytes", "seconds", "tokens", "dropped_words", "lost_words"),
    *("windowed_texts", "truncated_texts", "truncated_tokens"),
)
_DERIVED = {"manifest": sha256, "level": one_of(LEVELS), "pool": nullable(one_of(POOLS))}
_HASHES = {"weights": sha256, "tokenizer": sha256, "config": sha256}
_MERGED = optional(list_of(object_of({"manifest": sha256, "texts": whole()})))
_DESCRIBED: json_checks.Schema = {
    "model": {
        "id": text,
        "revision": nullable(text),
        "family": text,
        "blocks": whole(),
        "width": whole(1),
        **_HASHES,
        "max_length": optional(whole(1)),
        "last_layer": text,
    },
    "settings": {
        "model": _HASHES,
        "layers": list_of(text),
        "level": one_of(LEVELS),
        "pool": nullable(one_of(POOLS)),
        "special_tokens": flag,
        "precision": one_of(PRECISIONS),
        "dtype": one_of(DTYPES),
        "long": one_of(LONG),
        "max_length": whole(1),
        "overlap": nullable(whole()),
        "device": text,
        "engine": map_of(text),
        "reading": _reading,
        "no_text": flag,
        "keep": list_of(text),
        "shard": {"texts": whole(1), "characters": whole(1)},
        "batch_tokens": whole(1),
        "derived": optional(object_of(_DERIVED)),
        "merged": _MERGED,
    },
    "totals": dict.fromkeys(_SUMS, positive),
    "error": map_of(object_of({"max_abs": number, "max_rel": number})),
    "tolerance": {"value": positive, "layers": optional(map_of(positive))},
    "versions": map_of(text),
    "columns": {"text": list_of(text), "word": list_of(text)},
    "skipped": list_of(mapping),
    "notices": list_of(text),
    "finished": text,
    "sources": list_of(object_of({"files": list_of(text), "shards": whole(), "reading": optional(_reading)})),
    "derived": optional(object_of(_DERIVED)),
    "merged": _MERGED,
}
# What stands twice, so that readers of either are told the same.
_TWICE = {
    **{f"settings.{name}": name for name in ("layers", "level", "pool", "dtype", "derived")},
    **{f"settings.model.{name}": f"model.{name}" for name in _HASHES},
    **{f"model.{name}": name for name in ("blocks", "width")},
}


def open_rows(rows: Layered | str | Path) -> Layered:
    """Return rows to look at, of a dataset, its folder, or in memory; stored ones that aren't finite are refused."""
    opened = open_dataset(rows) if isinstance(rows, str | Path) else rows
    return opened.checked() if isinstance(opened, LayerDataset) else opened


def open_described(path: str | Path) -> LayerDataset:
    """Open a dataset whose manifest says where it comes from, as every one that `extract` and `pool` make.

    Raises:
        DatasetError: no dataset, or a manifest that lacks something of that.
    """
    return described(open_dataset(path))


def described(dataset: LayerDataset) -> LayerDataset:
    """Return a dataset that is open already, if its manifest says where it comes from; errors as `open_described`."""
    manifest, path = dataset.manifest, Folder(dataset.path).manifest
    refuse_entry(manifest, json_checks.first_wrong(manifest, _DESCRIBED), path)
    for name, other in _TWICE.items():
        first, two = json_checks.entry(manifest, name), json_checks.entry(manifest, other)
        if first != two:
            what = f"{name} is {first!r:.60} and {other} is {two!r:.60}"
            raise DatasetError(f"{path} is damaged: {what}; restore it from a copy")
    shards = sum(source["shards"] for source in manifest["sources"])
    if shards != manifest["shards"]["count"]:
        what = f"its sources have {shards:,} shards in all, and there are {manifest['shards']['count']:,}"
        raise DatasetError(f"{path} is damaged: {what}; restore it from a copy")
    return dataset
