"""Layer strings: which layers of a model are meant.

A layer is named `emb` (the output of the embedding block, position 0) or `1` … `L` (the output of
block k). The same strings work everywhere: `all`, `emb`, `8`, `-1`, `1,6,12`, and Python slices over
the positions 0 … L (`1:`, `-4:`, `9:13`, `::2`). Nothing is clipped.
"""

import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

from layerwise.errors import RequestError

LayerSpec = str | SupportsIndex | Iterable[str | SupportsIndex]
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_SLICE = re.compile(r"([+-]?[0-9]{1,9})?:([+-]?[0-9]{1,9})?(?::([+-]?[0-9]{1,9})?)?")


def layer_names(blocks: int) -> tuple[str, ...]:
    """Return the names of all layers of a model with `blocks` blocks: `('emb', '1', …)`."""
    return ("emb", *map(str, range(1, blocks + 1)))


def resolve_layers(
    spec: LayerSpec, blocks: int, stored: Sequence[str] | None = None, *, single: bool = False
) -> tuple[str, ...]:
    """Return the layer names that `spec` means, in the order it gives them.

    Args:
        spec: a layer string, a number, or a list, range or numpy array of either.
        blocks: the number of blocks of the model, L; strings always name the model's layers.
        stored: the layers that there are, where these are fewer than the model's.
        single: demand exactly one layer.

    Raises:
        RequestError: a layer that doesn't exist or isn't stored, a layer named twice, a broken string.
    """
    there = tuple(stored) if stored is not None else layer_names(blocks)
    positions = _positions(spec, blocks, there)
    every, stored_names = layer_names(blocks), set(there)
    names = tuple(every[p] for p in positions)
    for name in names:
        if name not in stored_names:
            raise _refuse(spec, f"layer {name} isn't stored", there)
    if len(set(names)) < len(names):
        raise _refuse(spec, "a layer is named twice", there)
    if single and len(names) != 1:
        raise RequestError(
            f"layers {spec!r} are {len(names)} layers where one is needed; take one of {', '.join(there)}"
        )
    return names


def _positions(spec: LayerSpec, blocks: int, there: Sequence[str]) -> list[int]:
    if isinstance(spec, str) or (number := _number(spec)) is not None:
        return _named(spec if isinstance(spec, str) else str(number), spec, blocks, there)
    if isinstance(spec, bytes | dict | set | frozenset) or not isinstance(spec, Iterable):
        raise _refuse(spec, "no layer is named", there)
    items = [item if isinstance(item, str) else _number(item) for item in _items(spec)]
    if not items or None in items:
        raise _refuse(spec, "no layer is named", there)
    return [p for item in items for p in _named(str(item), spec, blocks, there)]


def _items(spec: Any) -> list[Any]:
    """Return what a list, or an array of numpy, even one without an axis, holds."""
    return [spec.item()] if getattr(spec, "shape", None) == () else list(spec)


def _named(text: str, spec: LayerSpec, blocks: int, there: Sequence[str]) -> list[int]:
    """Return the positions that a string names; `spec` is what it is a part of."""
    text = text.replace(" ", "")
    if text == "all":
        return [_position(name, spec, blocks, there) for name in there]
    if ":" in text:
        return _slice(text, spec, blocks, there)
    return [_position(item, spec, blocks, there) for item in text.split(",")]


def _number(spec: Any) -> int | None:
    """Return a whole number of Python's or numpy's; `None` for anything else."""
    if (
        isinstance(spec, bool)
        or "bool" in str(getattr(spec, "dtype", ""))
        or getattr(spec, "shape", ()) != ()
    ):
        return None
    try:
        return operator.index(spec)
    except TypeError:
        return None


def _position(item: str, spec: LayerSpec, blocks: int, there: Sequence[str]) -> int:
    if item == "emb":
        return 0
    if not _NUMBER.fullmatch(item):
        raise _refuse(spec, f"{item!r} is no layer", there)
    number = int(item)
    if not -blocks - 1 <= number <= blocks:
        raise _refuse(spec, f"layer {number} doesn't exist", there)
    return number % (blocks + 1)


def _slice(text: str, spec: LayerSpec, blocks: int, there: Sequence[str]) -> list[int]:
    match = _SLICE.fullmatch(text)
    if not match:
        raise _refuse(spec, "that is no slice of layers", there)
    start, stop, step = (int(part) if part is not None else None for part in match.groups())
    if step == 0:
        raise _refuse(spec, "a slice can't step by 0", there)
    if start is not None and not -blocks - 1 <= start <= blocks:
        raise _refuse(spec, f"layer {start} doesn't exist", there)
    if stop is not None and not -blocks - 1 <= stop <= blocks + 1:
        raise _refuse(spec, f"a slice can't stop at {stop}", there)
    positions = list(range(blocks + 1)[slice(start, stop, step)])
    if not positions:
        raise _refuse(spec, "that slice is empty", there)
    return positions


def _refuse(spec: LayerSpec, why: str, there: Sequence[str]) -> RequestError:
    return RequestError(f"layers {spec!r}: {why}; there are {', '.join(there)}")
