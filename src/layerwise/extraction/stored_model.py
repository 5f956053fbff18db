"""Loading the model of a dataset again, to encode texts with the settings of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise import choices, encode
from layerwise.arguments import argument
from layerwise.errors import ModelError
from layerwise.store import LayerDataset

if TYPE_CHECKING:
    from layerwise.encode.checkpoint import Checkpoint
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.request import Request
    from layerwise.layers import LayerSpec
    from layerwise.store.manifest import Manifest, Settings

HASHES = ("weights", "tokenizer", "config")


def model_name(manifest: Manifest, model: str | Path | None) -> tuple[str | Path, str | None]:
    """Return the name and the revision by which to load the model of a dataset; `model`: where it is now, if it has moved."""
    return (manifest.model.id, manifest.model.revision) if model is None else (model, None)


def adapter_name(manifest: Manifest, model: str | Path | None, adapter: str | Path | None) -> str | None:
    """Return the adapter to load with the model of a dataset; `model`, `adapter`: where they are now, if they have moved."""
    stored = None if manifest.model.adapter is None else manifest.model.adapter.folder
    folder = None if adapter is None else str(adapter)
    return encode.adapter_files.stored_adapter(stored, model, folder)


def load_stored_model(
    dataset: LayerDataset,
    *,
    remedy: str,
    code_remedy: str | None = "use a dataset that was made without it",
    model: str | Path | None = None,
    hashes: Sequence[str] = HASHES,
    plain: bool = False,
    **loading: Any,
) -> Encoder:
    """Return the model that a dataset was made by.

    Args:
        dataset: on disk.
        remedy: what the user should do if it is another model.
        code_remedy: what the user should do if the dataset was made with code of the model, where `loading` has no
            `trust_remote_code`.
        model: where the model is now, if not under its name in the manifest.
        hashes: which of `HASHES` must be the same.
        plain: whether it runs one text at a time by plain transformers.
        loading: further arguments of `load_encoder`; notes of prompts aren't logged, as the dataset has its own.

    Raises:
        ModelError: no model of that name, or one whose hashes differ.
    """
    name, revision = model_name(dataset.manifest, model)
    loading.setdefault("random", dataset.manifest.model.random)
    adapter = loading["adapter"] = adapter_name(dataset.manifest, model, loading.get("adapter"))
    load = encode.load.load_plain_encoder if plain else encode.load.load_without_prompts
    if "trust_remote_code" in loading:
        code_remedy = None
    try:
        encoder: Encoder = load(name, revision=revision, **loading)
    except ModelError:
        # transformers can't load some models without their own code.
        checkpoint = None if code_remedy is None else _checkpoint_or_none(name, revision, adapter)
        if checkpoint is not None and _differs_by_code(checkpoint, dataset.manifest):
            raise _code_error(checkpoint, code_remedy) from None
        raise
    for part in hashes:
        if encoder.hashes[part] != getattr(dataset.manifest.model, part):
            if part == "config" and _differs_by_code(encoder.checkpoint, dataset.manifest):
                raise _code_error(encoder.checkpoint, code_remedy)
            raise ModelError(
                f"model {encoder.checkpoint.name!r} isn't the one of the dataset: its {part} differs; {remedy}"
            )
    return encoder


def _checkpoint_or_none(name: str | Path, revision: str | None, adapter: str | None) -> Checkpoint | None:
    """Return the files of a model; None if they can't be used."""
    try:
        # Nothing is loaded, so a pickle is harmless.
        return encode.checkpoint.find_checkpoint(name, revision, adapter=adapter, allow_pickle=True)
    except ModelError:
        return None


def _differs_by_code(checkpoint: Checkpoint, manifest: Manifest) -> bool:
    """Return whether a model has the configuration of a dataset's model, and differs in whether its code is run."""
    if not checkpoint.files.code:
        return False
    return replace(checkpoint, code=not checkpoint.code).hashes()["config"] == manifest.model.config


def _code_error(checkpoint: Checkpoint, code_remedy: str | None) -> ModelError:
    """Return the error that a dataset was made with code of the model which isn't run, or without code which is run."""
    name = repr(checkpoint.name)
    if checkpoint.code:
        return ModelError(
            f"the dataset was made without the code of model {name}, and here that code is run; "
            f"leave {argument('trust_remote_code')} out"
        )
    if code_remedy is not None:
        return ModelError(
            f"the dataset was made with the code of model {name}, which can't be run here; {code_remedy}"
        )
    return ModelError(
        f"the dataset was made with the code of model {name}, and here that code isn't run; "
        f"give {argument('trust_remote_code', True)} if you trust it"
    )


def stored_request(
    encoder: Encoder, settings: Settings, layers: LayerSpec | None = None, *, level: str | None = None
) -> Request:
    """Return the request that a dataset was made with; `layers`, `level`: others than its own."""
    request = encoder.request(
        settings.layers if layers is None else layers,
        settings.level if level is None else level,
        settings.pool if level is None else None,
        special_tokens=settings.special_tokens,
        long=settings.long,
        max_length=settings.max_length,
        overlap=choices.recorded_overlap(settings.long, settings.overlap),
        prompt=settings.prompt or "",
        word_split=settings.word_split,
    )
    return encoder.with_context(request, settings.context)
