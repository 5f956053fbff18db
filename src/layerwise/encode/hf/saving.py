"""Write models, configurations and tokenizers as transformers does."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.hf.loading import Loaded
from layerwise.encode.hf.modules import shared_copy
from layerwise.encode.hf.reports import quiet

_OF_SYSTEM = re.compile(r"\(os error (\d+)\)")  # how safetensors names errors of the operating system
# The shape of decoders in `save_random`.
_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 2048,
    "max_position_embeddings": 2048,
}


def save_model(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype, folder: Path
) -> None:
    """Write configuration and weights of a model; `tensors` are the weights, all floating ones of type `dtype`.

    Raises:
        OSError: they can't be written.
    """
    saved: Any = shared_copy(model)
    try:
        with quiet():
            saved.config.dtype = dtype
            saved.save_pretrained(folder, state_dict=dict(tensors))
    except SafetensorError as error:
        number = _OF_SYSTEM.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from None


def save_config(model: nn.Module, folder: Path) -> None:
    """Write the configuration of a model."""
    saved: Any = shared_copy(model)
    with quiet():
        saved.config.architectures = [type(model).__name__]
        saved.config.save_pretrained(folder)


def save_tokenizer(loaded: Loaded, folder: Path) -> None:
    """Write the tokenizer of a model as transformers does."""
    with quiet():
        loaded.tokenizer.save_pretrained(folder)


def save_random(folder: Path, tokenizer_from: Checkpoint, family: str = "bert") -> None:
    """Write a model of 12 blocks and width 768 with random weights, and a tokenizer for it.

    Args:
        folder: where.
        tokenizer_from: the model whose tokenizer is used.
        family: `bert` (the base shape); or `llama` or `qwen3`, with 12 heads, 4 heads of keys and values, and gated
            layers of width 2,048.
    """
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_from.folder)
        decoder = {"vocab_size": len(tokenizer), "num_key_value_heads": 4, "head_dim": 64}
        settings = {} if family == "bert" else _BASE | decoder
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model(family, **settings)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
