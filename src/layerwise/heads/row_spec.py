"""Describe how the rows of a dataset were encoded, so that new texts can be encoded in the same way."""

from typing import Any

from layerwise.columns import is_paired
from layerwise.store import LayerDataset

_MODEL = ("id", "revision", "family", "blocks", "width", "weights", "tokenizer", "config")


def describe_rows(dataset: LayerDataset) -> dict[str, Any]:
    """Return `level`, `pool`, `special_tokens`, `long`, `max_length`, `overlap`, `precision`, `words_pool`.

    `words_pool` is the pool of the words if texts were pooled from word rows (`layerwise pool`), else `None`.

    """
    settings, derived = dataset.manifest.settings, dataset.manifest.derived
    names = ("special_tokens", "long", "max_length", "overlap", "precision")
    rows = {name: getattr(settings, name) for name in names}
    words = derived.pool if derived is not None and derived.level == "word" else None
    return {"level": dataset.level, "pool": dataset.pool, **rows, "words_pool": words}


def describe_model(dataset: LayerDataset) -> dict[str, Any]:
    """Return the model of a dataset: its id, revision, family, blocks, width and hashes."""
    return {name: getattr(dataset.manifest.model, name) for name in _MODEL}


def describe_pairs(dataset: LayerDataset) -> tuple[str, str] | None:
    """Return the names of the two texts of each record, or `None` where rows are single texts."""
    if not is_paired(dataset):
        return None
    first, second = next(dataset.parts()).index["part"][:2].to_pylist()
    return str(first), str(second)
