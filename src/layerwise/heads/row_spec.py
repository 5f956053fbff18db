"""Describe how the rows of a dataset were encoded, so that new texts can be encoded in the same way."""

from typing import Any

from layerwise.columns import is_paired
from layerwise.errors import DatasetError
from layerwise.store import LayerDataset

_MODEL = ("id", "revision", "family", "blocks", "width", "weights", "tokenizer", "config")


def describe_rows(dataset: LayerDataset) -> dict[str, Any]:
    """Return `level`, `pool`, `special_tokens`, `long`, `max_length`, `overlap`, `precision`, `words_pool`.

    `words_pool` is the pool of the words if texts were pooled from word rows (`layerwise pool`), else `None`.

    Raises:
        DatasetError: a manifest without one of these.
    """
    manifest = dataset.manifest
    settings, derived = manifest["settings"], manifest.get("derived") or {}
    names = ("special_tokens", "long", "max_length", "overlap", "precision")
    missing = [name for name in names if name not in settings]
    if missing or not isinstance(derived, dict):
        entry = missing[0] if missing else "derived"
        raise DatasetError(
            f"{dataset.path}/manifest.json doesn't say {entry}, so new texts can't be given the same rows; "
            "restore it from a copy, or extract again"
        )
    rows = {name: settings[name] for name in names}
    words = derived.get("pool") if derived.get("level") == "word" else None
    return {"level": dataset.level, "pool": dataset.pool, **rows, "words_pool": words}


def describe_model(dataset: LayerDataset) -> dict[str, Any]:
    """Return the model of a dataset: its id, revision, family, blocks, width and hashes.

    Raises:
        DatasetError: a manifest without one of these.
    """
    model = {**dataset.manifest["model"], "blocks": dataset.blocks, "width": dataset.width}
    for name in _MODEL:
        if name not in model:
            raise DatasetError(
                f"{dataset.path}/manifest.json doesn't say the model's {name}; restore it from a copy"
            )
    return {name: model[name] for name in _MODEL}


def describe_pairs(dataset: LayerDataset) -> tuple[str, str] | None:
    """Return the names of the two texts of each record, or `None` where rows are single texts."""
    if not is_paired(dataset):
        return None
    first, second = next(dataset.parts()).index["part"][:2].to_pylist()
    return str(first), str(second)
