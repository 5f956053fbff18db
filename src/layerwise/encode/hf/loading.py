"""Load a model with its tokenizer, ready to run; or describe it without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from layerwise.encode.adapter_files import head_notes
from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.devices import check_process
from layerwise.encode.hf.reports import quiet
from layerwise.encode.hf.tokenizer import load_tokenizer
from layerwise.encode.hf.weights import NOT_LAYERS, PROJECTION, load_config, load_weights
from layerwise.encode.limits import (
    max_length,
    position_table,
    stated_length,
    stated_positions,
    vocabulary_size,
)
from layerwise.encode.model_errors import model_errors
from layerwise.encode.python_tokenizers import PythonBackend
from layerwise.encode.tokenizer_checks import casing_notes, mismatch_notes, vocabulary_notes
from layerwise.encode.weight_names import blocks_of_weights
from layerwise.errors import ModelError
from layerwise.wording import Message

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# int8 weights are made from fp32 ones, see `int8`.
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}
# What the package reads from a tokenizer after it was loaded.
_TOKENIZER_ATTRIBUTES = (
    "unk_token_id",
    "cls_token_id",
    "pad_token_id",
    "mask_token_id",
    "all_special_ids",
    "model_input_names",
)


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer, ready to run.

    Attributes:
        model: the encoder, on its device, in evaluation mode, without gradients.
        config, tokenizer: those of transformers.
        backend: the tokenizer of the `tokenizers` library, without truncation and padding, or a `PythonBackend`.
        max_length: tokens that the model takes at once, special ones included.
        vocabulary_size: the number of entries of the embedding table.
        padding_idx: that of the table of positions, or None. RoBERTa and related families don't count this token
            when they number positions, and begin with the next number.
        unused: names of tensors of the weights that no layer needs; several with a common start are `START.*`.
        notes: what the user should know.
        untrained: names of tensors of the model that the weights lack, so that they hold random numbers; no layer needs
            them.
    """

    model: nn.Module
    config: PretrainedConfig
    tokenizer: Any
    backend: Any
    max_length: int
    vocabulary_size: int
    padding_idx: int | None
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()


def load(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: str = "fp32",
    trust_remote_code: bool = False,
) -> Loaded:
    """Load an encoder and its tokenizer.

    Raises:
        ModelError: no text encoder, weights that lack a layer, a tokenizer that can't be used.
    """
    check_process(device, checkpoint.name)
    with quiet(), model_errors(checkpoint):
        config = load_config(checkpoint, trust_remote_code)
        model, unused, untrained = load_weights(checkpoint, config, _TYPES[precision], trust_remote_code)
        _check_blocks(checkpoint, config, unused)
        tokenizer, backend = load_tokenizer(checkpoint, trust_remote_code)
        # Where the unknown token isn't in the vocabulary, transformers looks it up without end: it should fail here.
        for name in _TOKENIZER_ATTRIBUTES:
            getattr(tokenizer, name)
    with model_errors(checkpoint):
        model = model.to(device).eval().requires_grad_(False)
        table = position_table(model)
        padding_idx = None if table is None else table.padding_idx
        entries = vocabulary_size(checkpoint, model, backend)
        return Loaded(
            model,
            config,
            tokenizer,
            backend,
            max_length(checkpoint, config, tokenizer, table),
            entries,
            padding_idx,
            unused,
            casing_notes(checkpoint, backend)
            + mismatch_notes(config, tokenizer, padding_idx)
            + vocabulary_notes(checkpoint, backend, entries)
            + _projection_notes(checkpoint, unused)
            + _block_notes(checkpoint, config, model, unused)
            + head_notes(checkpoint.name, unused),
            untrained,
        )


def load_model(
    checkpoint: Checkpoint, *, trust_remote_code: bool = False
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the model with its weights in their own type, and the names of the tensors that no layer needs."""
    with quiet(), model_errors(checkpoint):
        config = load_config(checkpoint, trust_remote_code)
        model, unused, _ = load_weights(checkpoint, config, "auto", trust_remote_code)
        return model.eval().requires_grad_(False), unused


def describe(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> dict[str, Any]:
    """Return family, blocks, width and position limit from the configuration alone, without the weights."""
    with quiet(), model_errors(checkpoint):
        config = load_config(checkpoint, trust_remote_code)
        text = config.get_text_config()
        blocks = getattr(text, "num_hidden_layers", None)
        return {
            "family": config.model_type,
            "blocks": int(blocks) if blocks is not None else None,
            "width": getattr(text, "hidden_size", None),
            "positions": next(iter(stated_positions(text)), None),
        }


def describe_tokenizer(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> dict[str, Any]:
    """Return the class of a tokenizer, whether it gives offsets, and how many tokens it allows; or its `problem`."""
    try:
        with quiet(), model_errors(checkpoint):
            tokenizer, backend = load_tokenizer(checkpoint, trust_remote_code)
    except ModelError as error:
        return {"class": None, "offsets": None, "max_length": None, "problem": str(error)}
    return {
        "class": type(tokenizer).__name__,
        "offsets": not isinstance(backend, PythonBackend),
        "max_length": stated_length(tokenizer),
    }


def _check_blocks(checkpoint: Checkpoint, config: PretrainedConfig, unused: Sequence[str]) -> None:
    """Raise ModelError where the configuration names no block and the weights have tensors beside the embeddings."""
    names = [name for name in unused if not any(part in name for part in NOT_LAYERS)]
    if names and getattr(config.get_text_config(), "num_hidden_layers", None) == 0:
        raise ModelError(
            f"model {checkpoint.name!r} gives no layers but emb, and its weights have {names[0]}; its config.json must name "
            "their number of blocks (num_hidden_layers)"
        )


def _projection_notes(checkpoint: Checkpoint, unused: tuple[str, ...]) -> tuple[str, ...]:
    if not any(PROJECTION in name for name in unused):
        return ()
    return (Message("note.model.projection", model=repr(checkpoint.name), projection=PROJECTION),)


def _block_notes(
    checkpoint: Checkpoint, config: PretrainedConfig, model: nn.Module, unused: tuple[str, ...]
) -> tuple[Message, ...]:
    blocks: int = getattr(config.get_text_config(), "num_hidden_layers", None) or 0
    stored = blocks_of_weights(model, blocks, unused) if blocks else 0
    if stored == blocks:
        return ()
    return (Message("note.model.blocks", model=repr(checkpoint.name), stored=stored, blocks=blocks),)
