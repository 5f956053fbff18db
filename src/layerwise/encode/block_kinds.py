"""How many of the first blocks of a model have one of every kind of its blocks.

Ways of running a model are compared with plain forwards when it is loaded (`compare`). Blocks of one kind treat
padding, positions and neighbours alike, as they run the same code, so most texts of the comparison end after the first
blocks. Blocks differ in kind if their modules, the shapes of their parameters or their settings differ (a window, rotary
positions, experts), or the entries of the configuration that has one per block (`layer_types`).
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from layerwise.encode.taps import Tap

_FEWEST = 2  # so that a block gets the output of another
_INTERNAL = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
_SIMPLE = (type(None), bool, int, float, str)
BlockDescription = dict[tuple[str, str], Any]


def depth_of_all_kinds(model: nn.Module, taps: Sequence[Tap] | None) -> int | None:
    """Return the number of first blocks that include every kind of block, at least 2; None if it isn't known.

    Args:
        model: the model.
        taps: the tap of every layer; None if they aren't known.
    """
    blocks = len(taps) - 1 if taps is not None else 0
    if taps is None or blocks <= _FEWEST:
        return None
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == blocks]
    # The last tap may be a norm after all blocks.
    if not any(
        all(tap.module in set(block.modules()) for tap, block in zip(taps[1:-1], of, strict=False))
        for of in lists
    ):
        return None
    descriptions = [
        {
            (f"{number}.{path}", attribute): value
            for number, of in enumerate(lists)
            for (path, attribute), value in _description(of[block]).items()
        }
        | _of_configuration(model, block, blocks)
        for block in range(blocks)
    ]
    numbers = _block_numbers(descriptions)
    kinds = [
        tuple(sorted((key, repr(value)) for key, value in description.items() if key not in numbers))
        for description in descriptions
    ]
    return min(blocks, max(_FEWEST, 1 + max(map(kinds.index, kinds))))


def _description(block: nn.Module) -> BlockDescription:
    """Return the modules of a block, the shapes of their tensors, and their settings."""
    description: BlockDescription = {}
    for path, module in block.named_modules():
        description[path, ""] = type(module).__qualname__
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            description[path, name] = (tuple(tensor.shape), tensor.dtype)
        for name, value in vars(module).items():
            if name not in _INTERNAL and "_hooks" not in name:
                description[path, name] = _setting(value)
    return description


def _setting(value: Any) -> Any:
    """Return an attribute of a module, or the name of its type where it is no setting."""
    if isinstance(value, _SIMPLE):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(map(_setting, value))
    if isinstance(value, dict):
        return tuple((str(key), _setting(item)) for key, item in value.items())
    return getattr(value, "__qualname__", type(value).__qualname__)


def _of_configuration(model: nn.Module, block: int, blocks: int) -> BlockDescription:
    """Return the entries for a block of all lists of the configuration that have one entry per block."""
    config: Any = getattr(model, "config", None)
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return {
        ("config", name): _setting(value[block])
        for name, value in vars(text_config).items()
        if isinstance(value, (list, tuple)) and len(value) == blocks
    }


def _block_numbers(descriptions: Sequence[BlockDescription]) -> set[tuple[str, str]]:
    """Return the attributes that hold the number of the block, counted from any number."""
    return {
        key
        for key, value in descriptions[0].items()
        if type(value) is int
        and all(
            type(description.get(key)) is int and description[key] - value == number
            for number, description in enumerate(descriptions)
        )
    }
