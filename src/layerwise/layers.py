"""Layer strings: which layers of a model the user asks for.

A layer is named `emb` (the output of the embedding block, position 0) or `1` … `L` (the output of
block k). The same strings work everywhere: `all`, `emb`, `8`, `-1`, `1,6,12`, and Python slices over
the positions 0 … L (`1:`, `-4:`, `9:13`, `::2`). An item may carry a site of a block: `attention.6`,
`mlp.-1`, `value.1:`. Nothing is clipped.
"""

import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.errors import RequestError

LayerSpec = str | SupportsIndex | Iterable[str | SupportsIndex]
SITES = ("value", "attention", "mlp")
"""The places inside a block that a vector may be taken from, in the order in which the block computes them."""
_MIX = re.compile(r"(\w+)\(((?:[a-z]+\.)?)(emb|[0-9]+)((?:,\2[0-9]+){2,})(;.*)?\)", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_SLICE = re.compile(r"([+-]?[0-9]{1,9})?:([+-]?[0-9]{1,9})?(?::([+-]?[0-9]{1,9})?)?")


def layer_names(blocks: int) -> tuple[str, ...]:
    """Return the names of all layers of a model with `blocks` blocks: `('emb', '1', …)`."""
    return ("emb", *map(str, range(1, blocks + 1)))


def depth(name: str) -> int:
    """Return the number of blocks that a layer needs: 0 for `emb`, k for block k and its sites.

    Raises:
        ValueError: no name of a layer.
    """
    return 0 if name == "emb" else int(name.rpartition(".")[2])


def site(name: str) -> str | None:
    """Return the site of a layer (`attention` of `attention.6`); None for `emb` and the output of a block."""
    return name.partition(".")[0] if "." in name else None


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return layers in the order of a dataset: `emb`, then block by block `value.k`, `attention.k`, `mlp.k`, `k`."""
    return tuple(sorted(names, key=lambda name: (depth(name), _rank(site(name)))))


def _rank(site_name: str | None) -> int:
    return len(SITES) if site_name is None else SITES.index(site_name)


def along_depth(names: Sequence[str]) -> tuple[str, ...]:
    """Return the layers that can be followed from block to block: `emb` and outputs, else the sites of the first kind.

    >>> along_depth(("emb", "value.1", "1", "value.2", "2")), along_depth(("value.1", "mlp.1", "value.2"))
    (('emb', '1', '2'), ('value.1', 'value.2'))
    """
    layers = tuple(name for name in names if site(name) is None)
    return layers or tuple(name for name in names if site(name) == site(names[0]))


def is_layer_of(name: str, blocks: int) -> bool:
    """Return whether a string is the name of a layer or site of a model with `blocks` blocks."""
    prefix, dot, number = name.rpartition(".")
    return number in layer_names(blocks) and (not dot or (prefix in SITES and number != "emb"))


def is_layer(text: str) -> bool:
    """Return whether a string has the form of one layer: `emb`, `8`, `-1`, `attention.6`, `mlp.-1`.

    >>> is_layer("value.-1"), is_layer("6"), is_layer("value.1:"), is_layer("emb.head")
    (True, True, False, False)
    """
    prefix, dot, number = text.rpartition(".")
    is_number = number.removeprefix("-").isdecimal()
    return (prefix in SITES and is_number) if dot else text == "emb" or is_number


def short_mix(mix: str) -> str:
    """Return the shortest form of a mix string: its layers as a slice, if they are three or more in sequence.

    It denotes the same mix. Other strings are returned unchanged. Everything that shows a mix uses this form.

    >>> short_mix("mean(9,10,11,12)"), short_mix("mean(mlp.1,mlp.2,mlp.3)"), short_mix("concat(1,6,12)")
    ('mean(9:13)', 'mean(mlp.1:4)', 'concat(1,6,12)')
    """
    match = _MIX.fullmatch(mix)
    if not match:
        return mix
    depths = [depth(name) for name in (match[3] + match[4]).split(",")]
    if depths != list(range(depths[0], depths[0] + len(depths))):
        return mix
    return f"{match[1]}({match[2]}{depths[0]}:{depths[-1] + 1}{match[5] or ''})"


def resolve_layers(
    spec: LayerSpec,
    blocks: int,
    stored: Sequence[str] | None = None,
    *,
    single: bool = False,
    name: str = "layers",
) -> tuple[str, ...]:
    """Return the layer names that `spec` selects, in its order.

    Args:
        spec: a layer string, a number, or a list, range or numpy array of either.
        blocks: the number of blocks of the model, L; strings always name the model's layers.
        stored: the available layers, where these are fewer than the model's.
        single: require exactly one layer.
        name: the argument that `spec` is the value of, for messages.

    Raises:
        RequestError: a layer that doesn't exist or isn't stored, a layer named twice, a broken string.
    """
    try:
        return select_layers(spec, blocks, stored, single=single)
    except RequestError as error:
        raise RequestError(f"{argument(name)} {spec!r}: {error}") from None


def select_layers(
    spec: LayerSpec, blocks: int, stored: Sequence[str] | None = None, *, single: bool = False
) -> tuple[str, ...]:
    """Return what `resolve_layers` returns; its errors don't name the argument, as `spec` may be part of one.

    Raises:
        RequestError: as of `resolve_layers`.
    """
    available = tuple(stored) if stored is not None else layer_names(blocks)
    names = tuple(_names(spec, blocks, available))
    for name in names:
        if name not in available and (stored is not None or site(name) is None):
            raise _refuse(f"layer {name} isn't stored", available)
    if len(set(names)) < len(names):
        raise _refuse("a layer is named twice", available)
    if single and len(names) != 1:
        raise RequestError(
            f"these are {count_of(len(names), 'layer')} where one is needed; give one of {', '.join(available)}"
        )
    return names


def _names(spec: LayerSpec, blocks: int, available: Sequence[str]) -> list[str]:
    if isinstance(spec, str) or (number := _number(spec)) is not None:
        return _named(spec if isinstance(spec, str) else str(number), blocks, available)
    if isinstance(spec, bytes | dict | set | frozenset) or not isinstance(spec, Iterable):
        raise _refuse("no layer is named", available)
    items = [item if isinstance(item, str) else _number(item) for item in _items(spec)]
    if not items or None in items:
        raise _refuse("no layer is named", available)
    return [name for item in items for name in _named(str(item), blocks, available)]


def _items(spec: Any) -> list[Any]:
    """Return the items of a list or a numpy array; a 0-d array has one item."""
    return [spec.item()] if getattr(spec, "shape", None) == () else list(spec)


def _named(text: str, blocks: int, available: Sequence[str]) -> list[str]:
    """Return the layers that a string names."""
    items = text.replace(" ", "").split(",")
    return [name for item in items for name in _of_item(item, blocks, available)]


def _of_item(item: str, blocks: int, available: Sequence[str]) -> list[str]:
    """Return the layers that one item of a string names, which has no comma."""
    if item == "all":
        return _all(available)
    prefix, dot, numbers = item.partition(".")
    if not (dot and prefix.isalpha()):
        return [layer_names(blocks)[position] for position in _positions(item, blocks, available)]
    if prefix not in SITES:
        raise _refuse(f"a block has no {prefix!r}; its sites are {', '.join(SITES)}", available)
    positions = _positions(numbers, blocks, available)
    if 0 in positions:
        raise _refuse(f"{item!r} includes emb, which has no sites; blocks 1 to {blocks} have", available)
    return [f"{prefix}.{position}" for position in positions]


def _all(available: Sequence[str]) -> list[str]:
    """Return `emb` and the outputs of blocks that are available."""
    layers = [name for name in available if site(name) is None]
    if not layers:
        raise _refuse("'all' are emb and the outputs of blocks, and none is stored", available)
    return layers


def _positions(item: str, blocks: int, available: Sequence[str]) -> list[int]:
    """Return the positions on the depth axis that a number, a slice or `emb` names."""
    return _slice(item, blocks, available) if ":" in item else [_position(item, blocks, available)]


def _number(spec: Any) -> int | None:
    """Return an integer of Python or numpy as `int`; `None` for anything else."""
    # `operator.index` would take True and False as numbers.
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


def _position(item: str, blocks: int, available: Sequence[str]) -> int:
    if item == "emb":
        return 0
    if not _NUMBER.fullmatch(item):
        raise _refuse(f"{item!r} isn't a layer", available)
    number = int(item)
    if not -blocks - 1 <= number <= blocks:
        raise _refuse(f"layer {number} doesn't exist", available)
    return number % (blocks + 1)


def _slice(text: str, blocks: int, available: Sequence[str]) -> list[int]:
    match = _SLICE.fullmatch(text)
    if not match:
        raise _refuse(f"{text!r} isn't a slice of layers", available)
    start, stop, step = (int(part) if part is not None else None for part in match.groups())
    if step == 0:
        raise _refuse("a slice can't step by 0", available)
    if start is not None and not -blocks - 1 <= start <= blocks:
        raise _refuse(f"layer {start} doesn't exist", available)
    if stop is not None and not -blocks - 1 <= stop <= blocks + 1:
        raise _refuse(f"a slice can't stop at {stop}", available)
    positions = list(range(blocks + 1)[slice(start, stop, step)])
    if not positions:
        raise _refuse("the slice is empty", available)
    return positions


def _refuse(why: str, available: Sequence[str]) -> RequestError:
    return RequestError(f"{why}; there are {', '.join(available)}")
