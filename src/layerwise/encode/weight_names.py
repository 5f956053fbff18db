"""The tensors of a model's weights that no layer needs: heads, poolers, a decoder."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from safetensors import safe_open
from torch import nn

from layerwise.encode.checkpoint import Checkpoint

POOLER = "pooler."


def unused_names(checkpoint: Checkpoint, model: nn.Module, info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tensors that no layer needs, in order; see `_grouped` for the form `NAME.*`.

    Args:
        checkpoint: the files of the weights.
        model: the model loaded from them.
        info: the loading report of transformers, with `unexpected_keys` and `missing_keys`.
    """
    present = set(model.state_dict())
    poolers = {name for name in present if POOLER in name}
    # A checkpoint with a head has the encoder's tensors under a prefix: bert.encoder…
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    # transformers leaves names out of its report that match these patterns of the model.
    unreported = [
        re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    ]
    left_out = {
        name
        for name in _tensor_names(checkpoint)
        if name.removeprefix(prefix) not in present and any(pattern.search(name) for pattern in unreported)
    }
    unused = {*info["unexpected_keys"], *left_out, *(poolers - set(info["missing_keys"]))}
    used = present - poolers
    return _grouped(unused, used | {prefix + name for name in used})


def blocks_of_weights(model: nn.Module, blocks: int, unused: Iterable[str]) -> int:
    """Return the number of blocks that the weights have, of which the model has `blocks`; see `unused_names`."""
    lists = [name for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == blocks]
    further = [re.compile(rf"(?:^|\.){re.escape(name)}\.(\d+)(?:\.|$)") for name in lists]
    matches = [match for name in unused for pattern in further if (match := pattern.search(name))]
    return max([blocks, *(int(match[1]) + 1 for match in matches)])


def _tensor_names(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield the names of the tensors in a model's safetensors files."""
    for name in checkpoint.files.weights:
        if name.endswith(".safetensors"):
            with safe_open(checkpoint.files.root / name, "pt") as file:
                yield from file.keys()


def _grouped(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return names in order, where several with a common start that no other name has become one: `START.*`."""
    starts_of_others = {start for name in others for start in _starts(name)}
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        start = next((start for start in _starts(name) if start not in starts_of_others), name)
        groups.setdefault(start, []).append(name)
    return tuple(members[0] if len(members) == 1 else f"{start}.*" for start, members in groups.items())


def _starts(name: str) -> Iterator[str]:
    """Yield what a dotted name starts with: `a`, `a.b`, `a.b.c`."""
    return (name[: match.start()] for match in re.finditer(r"\.|$", name))
