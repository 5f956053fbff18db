"""Make a model of some of the blocks of another: its configuration for fewer blocks, and the weights of those that stay.

Nothing is known here about single families. transformers builds the model that the changed configuration describes, each
tensor of it must be one of the source under the number that its block had, and `cut_parity` compares the layers. A
family in which that isn't so is refused by its name.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwise.encode.cut_source import CutSource
from layerwise.encode.forwards import MODEL_CODE_ERRORS
from layerwise.encode.hf import reports, weights
from layerwise.errors import ModelError

# Entries of configurations that are lists of something else than blocks; of the second by the end of their names.
_NOT_OF_BLOCKS, _OF_TOKENS = ("architectures",), ("_token_id", "_token_ids")


@dataclass(frozen=True)
class ShortModel:
    """A model of some of the blocks of another.

    Attributes:
        model: the model, in float32.
        at: the layer of the source that its last block gives.
        kept: the numbers of the source's blocks that it has, ascending, counted from 1.
        zeroed: names of tensors that hold a number per block, and no layer needs; they are zeros.
    """

    model: nn.Module
    at: int
    kept: tuple[int, ...]
    zeroed: tuple[str, ...] = ()


def short_model(source: CutSource, at: int, dropped: Sequence[int] = ()) -> ShortModel:
    """Return the model that ends at layer `at` of another, without the blocks `dropped`, which are counted from 1.

    Raises:
        ModelError: a family whose blocks can't be cut.
    """
    kept = tuple(number for number in range(1, at + 1) if number not in dropped)
    if len(kept) == source.blocks:
        return ShortModel(source.model, at, kept)
    try:
        with reports.quiet(), torch.inference_mode():
            return _build(source, at, kept)
    except (*MODEL_CODE_ERRORS, ArithmeticError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise refused(source, at, kept, f"transformers builds no such model ({line[:150]})") from None


def refused(source: CutSource, at: int, kept: Sequence[int], why: str) -> ModelError:
    """Return the error for a model that can't be cut in this way."""
    what = f"at layer {at}" if len(kept) == at else f"to its blocks {', '.join(map(str, kept)) or 'none'}"
    return ModelError(
        f"model {source.name!r} ({source.family}) can't be cut {what}: {why}; choose another layer, or use the whole model "
        "with the layers that you need"
    )


def _build(source: CutSource, at: int, kept: tuple[int, ...]) -> ShortModel:
    config = short_config(source.loaded.config, source.blocks, kept, un_normed=_ends_before_norm(source, at))
    tensors = _kept_tensors(source.model, source.blocks, kept)
    shapes = weights.shapes_of(type(source.model), config)
    zeroed = [name for name in shapes if name in tensors and tensors[name].shape != shapes[name]]
    of_blocks = [name for name in zeroed if _block_number(name, _block_lists(source.model, source.blocks))]
    missing = sorted(set(shapes) - set(tensors)) + of_blocks
    surplus = sorted(set(tensors) - set(shapes))
    if missing or surplus:
        what = f"has no {missing[0]}" if missing else f"has no place for {surplus[0]}"
        raise refused(source, at, kept, f"the shorter model {what}, as not all blocks are alike")
    tensors |= {name: torch.zeros(shapes[name]) for name in zeroed}
    return ShortModel(weights.model_of_tensors(type(source.model), config, tensors), at, kept, tuple(zeroed))


def _ends_before_norm(source: CutSource, at: int) -> bool:
    """Return whether the last layer of a cut is one that the source gives before its last norm."""
    return source.final_norm is not None and (at < source.blocks or not source.ends_with_norm)


def short_config(config: Any, blocks: int, kept: Sequence[int], *, un_normed: bool) -> Any:
    """Return a configuration for some of the blocks of a model.

    Args:
        config: that of the model.
        blocks: the number of its blocks.
        kept: the numbers of the blocks that stay, counted from 1.
        un_normed: whether the last of `hidden_states` is the output of the last block, and not of the norm after it.
    """
    short = copy.deepcopy(config)
    text = short.get_text_config()
    for name, value in list(vars(text).items()):
        if isinstance(value, list | tuple) and len(value) == blocks and not _is_of_others(name):
            setattr(text, name, type(value)(value[number - 1] for number in kept))
    text.num_hidden_layers = len(kept)
    for part in {id(part): part for part in (short, text)}.values():
        if getattr(part, "use_cache", False):
            part.use_cache = False  # for texts that are generated; with few blocks it may be refused
        if un_normed:
            part.tie_last_hidden_states = False
        for name in ("auto_map", "dtype"):
            if hasattr(part, name):
                setattr(part, name, None)
    return short


def _is_of_others(name: str) -> bool:
    """Return whether an entry of a configuration is no list of blocks, however long it is."""
    return name in _NOT_OF_BLOCKS or name.endswith(_OF_TOKENS)


def _block_lists(model: nn.Module, blocks: int) -> list[str]:
    """Return the paths of the lists with a module per block; lists inside of these have other modules."""
    paths: list[str] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in paths)
        if isinstance(module, nn.ModuleList) and len(module) == blocks and not inside:
            paths.append(path)
    return paths


def _block_number(name: str, lists: Sequence[str]) -> tuple[str, int, str] | None:
    """Return the list, the number from 1, and the rest of the name of a tensor of a block; None for other tensors."""
    for path in lists:
        if name.startswith(f"{path}."):
            number, rest = name[len(path) + 1 :].split(".", 1)
            return path, int(number) + 1, rest
    return None


def _kept_tensors(model: nn.Module, blocks: int, kept: Sequence[int]) -> dict[str, torch.Tensor]:
    """Return the tensors of a model by the names that they have when only the blocks `kept` stay."""
    lists = _block_lists(model, blocks)
    places = {number: place for place, number in enumerate(kept)}
    tensors = {}
    for name, tensor in model.state_dict().items():
        block = _block_number(name, lists)
        if block is None:
            tensors[name] = tensor
        elif block[1] in places:
            tensors[f"{block[0]}.{places[block[1]]}.{block[2]}"] = tensor
    return tensors


def stored_size(short: ShortModel, source: CutSource) -> tuple[int, int]:
    """Return the number of parameters of a cut as it is stored, and their bytes; shared ones count once."""
    tensors = _trained(short, source).values()
    counts = {(tensor.data_ptr(), tensor.shape): tensor.numel() for tensor in tensors}
    parameters = sum(counts.values())
    return parameters, parameters * source.stored_type.itemsize


def _trained(short: ShortModel, source: CutSource) -> dict[str, torch.Tensor]:
    """Return the tensors of a cut by name, without those that the source's weights lack, such as those of a pooler."""
    return {
        name: tensor
        for name, tensor in short.model.state_dict().items()
        if name not in source.loaded.untrained
    }


def stored_tensors(short: ShortModel, source: CutSource) -> dict[str, torch.Tensor]:
    """Return the tensors to store by name, floating ones of the type `source.stored_type`."""
    return {
        name: (tensor.to(source.stored_type) if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in _trained(short, source).items()
    }
