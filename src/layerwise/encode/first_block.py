"""The tensors that reach the first block of a model: embeddings, positions, masks. A check of very long texts.

A way of batching is compared with plain forwards at load (`compare`). For texts of the maximum length that would take
long, because attention grows with the square of the length. What depends on the length, however, are the numbers of
positions and the masks, and both are computed before the first block. So a forward of the longest texts is stopped
there, and its tensors are compared: once for a text alone, once for the text in a batch. Without this check, wrong
positions beyond the length of the other probes would go unnoticed, and give wrong vectors of long texts only.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwise.encode.taps import Stop

# Left out of a call where nothing is masked, or where the caller gives no positions. The tensors that a model computes
# from them have other names.
_OPTIONAL = {"attention_mask", "position_ids"}
NamedTensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a text in a batch.

    Attributes:
        row, rows: its row, and the number of rows of the batch.
        begin, length: where it begins in its row, and its number of tokens.
        total: the tokens of a row.
    """

    row: int
    rows: int
    begin: int
    length: int
    total: int


def block_inputs(block: nn.Module, run_model: Callable[[], Any]) -> NamedTensors:
    """Return the tensors that `block` is called with when `run_model` runs the model, by name; stop there."""
    tensors: NamedTensors = {}

    def collect(_: nn.Module, args: Any, kwargs: Any) -> None:
        # The same argument may be passed by position or by name. Positions beyond the signature become names as well.
        names = list(inspect.signature(block.forward).parameters)
        named = dict(zip([*names, *map(str, range(len(names), len(args)))], args, strict=False))
        tensors.update(_tensors("", named | kwargs))
        raise Stop

    handle = block.register_forward_pre_hook(collect, prepend=True, with_kwargs=True)
    try:
        run_model()
    except Stop:
        pass
    finally:
        handle.remove()
    return tensors


def same_inputs(alone: NamedTensors, together: NamedTensors, place: Place, tolerance: float) -> bool:
    """Return whether a block gets the same tensors for a text alone and for the text in a batch.

    Masks are compared by name only, because a batch with padding has other masks.
    """
    if alone.keys() - _OPTIONAL != together.keys() - _OPTIONAL:
        return False
    return all(
        _close(tensor, _part(together[name], tensor.shape, place), tolerance)
        for name, tensor in alone.items()
        if name in together and "mask" not in name
    )


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield all tensors in nested arguments, with dotted names."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _tensors(f"{name}.{number}" if name else str(number), item)


def _part(tensor: torch.Tensor, alone: torch.Size, place: Place) -> torch.Tensor:
    """Return the part of a batch's tensor that belongs to one text: its row, and its tokens on all axes of tokens.

    `alone` is the shape of the same tensor for the text alone.
    """
    # A mask, or a table of relative positions, may have two axes of tokens.
    for axis, (size, size_alone) in enumerate(zip(tensor.shape, alone, strict=False)):
        if (size, size_alone) == (place.total, place.length):
            tensor = tensor.narrow(axis, place.begin, place.length)
        elif axis == 0 and (size, size_alone) == (place.rows, 1):
            tensor = tensor.narrow(0, place.row, 1)
    return tensor


def _close(first: torch.Tensor, second: torch.Tensor, tolerance: float) -> bool:
    if first.shape != second.shape:
        return False
    if not first.numel():
        return True
    difference = (first.double() - second.double()).abs().max()
    return bool(difference <= tolerance * max(1.0, float(first.double().abs().max())))
