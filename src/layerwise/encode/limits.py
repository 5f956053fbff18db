"""How many tokens a model takes at once, and how many entries its embedding table has.

The maximum length is stated in up to four places: the tokenizer's configuration, the model's configuration, the settings
of sentence-transformers, and the size of the table of absolute positions. The smallest number counts. Where two of
them contradict each other, the files are of different models, and the model isn't loaded. Otherwise the first long text
would end in an index error, or tokens would get the embeddings of others.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwise._util import json_checks
from layerwise.encode.checkpoint import Checkpoint
from layerwise.errors import ModelError

_UNBOUNDED = 1_000_000  # transformers gives tokenizers without a maximum 1e30
_FALLBACK_LENGTH = 512
# The names that configurations have for the number of positions.
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len")


@dataclass(frozen=True)
class PositionTable:
    """The table of absolute positions of a model: its number of entries, and its `padding_idx` (None if it has none).

    RoBERTa and related families don't count tokens of the number `padding_idx`, and start to count at the next number.
    """

    entries: int
    padding_idx: int | None


def position_table(model: nn.Module) -> PositionTable | None:
    """Return the table of absolute positions; None for a family without one."""
    for name, module in model.named_modules():
        last, weight = name.rsplit(".", 1)[-1], getattr(module, "weight", None)
        of_positions = ("position" in last or last == "wpe") and "rel" not in last
        # By the name of the class, because the embedding of I-BERT is no nn.Embedding.
        embeds = "Embedding" in type(module).__name__
        if of_positions and embeds and isinstance(weight, torch.Tensor) and weight.dim() == 2:
            return PositionTable(len(weight), getattr(module, "padding_idx", None))
    return None


def max_length(checkpoint: Checkpoint, config: Any, tokenizer: Any, table: PositionTable | None) -> int:
    """Return how many tokens the model takes at once, special ones included.

    Raises:
        ModelError: the folder states a maximum that exceeds the table of positions.
    """
    stated: Any = tokenizer.model_max_length
    if not json_checks.number(stated) or stated < 1:
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: model_max_length is {stated!r:.60} in its tokenizer_config.json; "
            "put the right file there"
        )
    limits = [int(stated)] if stated < _UNBOUNDED else []
    if table is None:
        return min(limits + stated_positions(config), default=_FALLBACK_LENGTH)
    if limits and limits[0] > table.entries:
        source = "tokenizer" if checkpoint.max_length is None else "sentence-transformers folder"
        raise ModelError(
            f"model {checkpoint.name!r}: its {source} allows {limits[0]} tokens and its table of positions has "
            f"{table.entries} entries, so they aren't of one model; use the files that belong together, or correct the "
            "maximum length"
        )
    usable = table.entries - (0 if table.padding_idx is None else table.padding_idx + 1)
    return min([*limits, *stated_positions(config), usable])


def stated_length(tokenizer: Any) -> int | None:
    """Return how many tokens a tokenizer allows; None where it states no number, or one that means no limit."""
    stated: Any = tokenizer.model_max_length
    return int(stated) if json_checks.number(stated) and 1 <= stated < _UNBOUNDED else None


def stated_positions(config: Any) -> list[int]:
    """Return the number of positions that a configuration states, as a list of one; an empty list if it states none."""
    # T5 has relative positions: the number in its configurations limits nothing.
    if getattr(config, "relative_attention_num_buckets", None) is not None:
        return []
    positions = [getattr(config, name, None) for name in _POSITIONS]
    return [int(number) for number in positions if isinstance(number, int) and number > 0][:1]


def vocabulary_size(checkpoint: Checkpoint, model: nn.Module, backend: Any) -> int:
    """Return the number of entries of the embedding table; the tokenizer's number where the model doesn't give it.

    Raises:
        ModelError: the tokenizer has a token without an entry.
    """
    vocabulary = backend.get_vocab(with_added_tokens=True)
    highest = max(vocabulary.values(), default=0)
    try:
        entries = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    except (NotImplementedError, AttributeError):  # code that comes with the model
        return highest + 1
    if highest >= entries:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer has {len(vocabulary)} tokens, up to number {highest}, and its "
            f"embedding table {entries} entries, so they aren't of one model; use the tokenizer that belongs to it"
        )
    return entries
