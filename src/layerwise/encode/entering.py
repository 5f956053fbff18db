"""What reaches the first block of a model, embeddings, positions and masks: it depends on lengths, and costs little."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwise.encode.taps import Stop

# Left out where nothing is masked, and where nobody gives positions: what a model makes of these is in other tensors.
_OPTIONAL = {"attention_mask", "position_ids"}
Entered = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands in a batch: its row of how many, where it begins in it, its length and that of a row."""

    row: int
    rows: int
    begin: int
    length: int
    total: int


def entering(module: nn.Module, model: Callable[[], Any]) -> Entered:
    """Run `model` up to `module`, and return the tensors that it is called with, by name."""
    entered: Entered = {}

    def take(_: nn.Module, args: Any, kwargs: Any) -> None:
        names = list(inspect.signature(module.forward).parameters)
        named = dict(zip([*names, *map(str, range(len(names), len(args)))], args, strict=False))
        entered.update(_tensors("", named | kwargs))
        raise Stop

    handle = module.register_forward_pre_hook(take, prepend=True, with_kwargs=True)
    try:
        model()
    except Stop:
        pass
    finally:
        handle.remove()
    return entered


def alike(alone: Entered, together: Entered, place: Place, tolerance: float) -> bool:
    """Tell whether what reaches the first block is the same for a text alone and in a batch.

    Masks are compared by their names: of a batch with padding they are others.
    """
    if alone.keys() - _OPTIONAL != together.keys() - _OPTIONAL:
        return False
    return all(
        _same(tensor, _own(together[name], tensor.shape, place), tolerance)
        for name, tensor in alone.items()
        if name in together and "mask" not in name
    )


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _tensors(f"{name}.{key}" if name else str(key), part)
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _tensors(f"{name}.{number}" if name else str(number), part)


def _own(tensor: torch.Tensor, alone: torch.Size, place: Place) -> torch.Tensor:
    """Return what of a tensor of a batch belongs to one text: of its row, and on the axes of tokens its stretch.

    `alone` is the shape of the same tensor for the text alone.
    """
    for axis, (size, names) in enumerate(zip(tensor.shape, alone, strict=False)):
        if (size, names) == (place.total, place.length):
            tensor = tensor.narrow(axis, place.begin, place.length)
        elif axis == 0 and (size, names) == (place.rows, 1):
            tensor = tensor.narrow(0, place.row, 1)
    return tensor


def _same(first: torch.Tensor, second: torch.Tensor, tolerance: float) -> bool:
    if first.shape != second.shape:
        return False
    if not first.numel():
        return True
    difference = (first.double() - second.double()).abs().max()
    return bool(difference <= tolerance * max(1.0, float(first.double().abs().max())))
