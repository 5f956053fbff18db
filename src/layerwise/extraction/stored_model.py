"""The model of a dataset, loaded again: for its texts to be encoded as they were, by the same model or one like it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise import choices, encode
from layerwise.errors import ModelError
from layerwise.store import LayerDataset

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.request import Request
    from layerwise.layers import LayerSpec
    from layerwise.store.manifest import Manifest, Settings

HASHES = ("weights", "tokenizer", "config")


def model_name(manifest: Manifest, model: str | Path | None) -> tuple[str | Path, str | None]:
    """Return the name and the revision to load the model of a dataset by; `model`: where it is now, if elsewhere."""
    return (manifest.model.id, manifest.model.revision) if model is None else (model, None)


def load_stored_model(
    dataset: LayerDataset,
    *,
    remedy: str,
    model: str | Path | None = None,
    hashes: Sequence[str] = HASHES,
    plain: bool = False,
    **loading: Any,
) -> Encoder:
    """Return the model that a dataset was made by.

    Args:
        dataset: on disk.
        remedy: what the user should do if it is another one.
        model: where the model is now, if not under its name in the manifest.
        hashes: which of `HASHES` must be the same.
        plain: whether it runs as plain transformers do.
        loading: further arguments of `load_encoder`.

    Raises:
        ModelError: no model of that name, or one whose hashes differ.
    """
    name, revision = model_name(dataset.manifest, model)
    load = encode.load.load_plain_encoder if plain else encode.load.load_encoder
    encoder: Encoder = load(name, revision=revision, **loading)
    for part in hashes:
        if encoder.hashes[part] != getattr(dataset.manifest.model, part):
            raise ModelError(
                f"model {encoder.checkpoint.name!r} isn't the one of the dataset: its {part} differs; {remedy}"
            )
    return encoder


def stored_request(encoder: Encoder, settings: Settings, layers: LayerSpec | None = None) -> Request:
    """Return the request that a dataset was made with; `layers`: others than its own."""
    return encoder.request(
        settings.layers if layers is None else layers,
        settings.level,
        settings.pool,
        special_tokens=settings.special_tokens,
        long=settings.long,
        max_length=settings.max_length,
        overlap=choices.recorded_overlap(settings.long, settings.overlap),
    )
