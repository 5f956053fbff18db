"""Which blocks of a model stay: those up to a layer, without some that are left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.layers import LayerSpec, depth, layer_names, resolve_layers, site


@dataclass(frozen=True)
class CutPlan:
    """Which blocks of a model stay.

    Attributes:
        at: the layer of the model that the cut ends at; 0 for the embeddings alone.
        dropped: the numbers of the blocks up to there that are left out, ascending.
    """

    at: int
    dropped: tuple[int, ...] = ()

    @property
    def blocks(self) -> int:
        """The number of blocks that stay."""
        return self.at - len(self.dropped)

    @property
    def layer(self) -> str:
        """The name of the layer that the cut ends at."""
        return "emb" if self.at == 0 else str(self.at)


def cut_plan(at: LayerSpec | None, drop: LayerSpec | None, blocks: int) -> CutPlan:
    """Return which blocks of a model stay.

    Args:
        at: the layer that the cut ends at; by default the last one.
        drop: blocks that are left out.
        blocks: the number of blocks of the model.

    Raises:
        RequestError: a layer or block that the model doesn't have, or blocks after the cut.
    """
    end = blocks if at is None else _depth(at, blocks)
    dropped = () if drop is None else _dropped(drop, end, blocks)
    return CutPlan(end, dropped)


def _depth(at: LayerSpec, blocks: int) -> int:
    (name,) = resolve_layers(at, blocks, single=True, name="at")
    if site(name) is not None:
        raise RequestError(
            f"{argument('at', at)} is a site inside of block {depth(name)}, and a model is cut after a block; give one of "
            f"{', '.join(layer_names(blocks))}"
        )
    return depth(name)


def _dropped(drop: Any, end: int, blocks: int) -> tuple[int, ...]:
    names = resolve_layers(drop, blocks, name="drop")
    if end == 0:
        raise RequestError(
            f"{argument('drop', drop)} leaves out blocks, and the embeddings alone have none; leave it out"
        )
    wrong = next((name for name in names if name == "emb" or site(name) is not None), None)
    if wrong is not None:
        raise RequestError(f"{argument('drop')} {drop!r}: {wrong} is no block; give blocks, 1 to {end}")
    beyond = [name for name in names if depth(name) > end]
    if beyond:
        raise RequestError(
            f"{argument('drop')} {drop!r}: block {beyond[0]} is not part of a model that ends at layer {end}; give blocks, "
            f"1 to {end}"
        )
    return tuple(sorted(map(depth, names)))


def at_of_layers(layers: Sequence[str], at: LayerSpec | None, blocks: int) -> LayerSpec:
    """Return where to cut a model that must give some layers: after the deepest of them, unless `at` says where.

    Raises:
        RequestError: a layer beyond `at`.
    """
    deepest = max(layers, key=depth)
    if at is None:
        return depth(deepest)
    if depth(deepest) > _depth(at, blocks):
        raise RequestError(
            f"{argument('at', at)} ends before layer {deepest}, which is mixed; give {depth(deepest)} or leave it out"
        )
    return at
