"""The layers of the probes by plain one-text forwards of a model as it was loaded: what all ways are compared with.

A forward through all blocks takes as long as reading all weights, and this is done at each start. So only the two plain
probes go through all blocks. The others end after the first blocks that include every kind of block (`block_kinds`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from layerwise.array_types import I64
from layerwise.encode import forwards
from layerwise.encode.batches import Sequences
from layerwise.encode.block_kinds import depth_of_all_kinds
from layerwise.encode.forwards import MODEL_CODE_ERRORS, Layers
from layerwise.encode.hf import reports
from layerwise.encode.probes import CHANGED, PLAIN, Probes
from layerwise.encode.same_layers import same_layers
from layerwise.encode.taps import Tap
from layerwise.errors import ModelError

# Relative difference of numbers that are computed in the same way. Mixtures of experts group tokens by expert, and
# sums of another order are rounded differently.
_UNCHANGED = 1e-6


@dataclass(frozen=True)
class References:
    """The layers of the probes.

    Attributes:
        layers: those of each probe, each of shape (tokens, width): all layers of the plain probes, those up to
            `depth` of the others.
        taps: where the layers come from; None for a model with a layer that is the output of no module.
        depth: the number of first blocks that include every kind of block; all blocks if that isn't known.
        blocks, width: the number of blocks, and of numbers per vector.
        causal: whether each token attends only to itself and to tokens before it.
    """

    layers: list[Layers]
    taps: list[Tap] | None
    depth: int
    blocks: int
    width: int
    causal: bool


def read_references(model: nn.Module, probes: Probes, name: str) -> References:
    """Return the layers of the probes; the model must be as it was loaded.

    Raises:
        ModelError: they aren't the layers of a text model; `name` is the model's.
    """
    try:
        references = _read(model, probes.texts)
    except MODEL_CODE_ERRORS as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"model {name!r} doesn't run on text alone ({line[:200]}); a text encoder is needed"
        ) from None
    _check(references, probes.texts, name)
    return references


def plain_layers(model: nn.Module, texts: Sequences, number: int) -> Layers:
    """Return the layers of text `number` by a plain forward."""
    return forwards.plain_states(model, *_text(texts, number))


def first_layers(
    model: nn.Module, texts: Sequences, number: int, taps: Sequence[Tap] | None, depth: int
) -> Layers:
    """Return the layers up to `depth` of text `number` by a plain forward, which ends there; all without `taps`."""
    if taps is None or depth + 1 >= len(taps):
        return plain_layers(model, texts, number)
    return forwards.first_states(model, *_text(texts, number), taps[: depth + 1])


def _read(model: nn.Module, texts: Sequences) -> References:
    first, taps = forwards.states_with_taps(model, *_text(texts, 0))
    blocks = len(first) - 1
    depth = depth_of_all_kinds(model, taps)
    if taps is None or depth is None:
        second, same = plain_layers(model, texts, 1), False
    else:
        second, same = forwards.states_if_tapped(model, *_text(texts, 1), taps)
    if depth is None or not same:
        depth = blocks
    others = [first_layers(model, texts, number, taps, depth) for number in range(len(PLAIN), len(texts.ids))]
    # In an encoder the first token attends to the second, however local its attention is; in a decoder only to itself.
    width = first[0].shape[-1] if first else 0
    return References(
        [first, second, *others],
        taps,
        depth,
        blocks,
        width,
        causal=same_layers(first, dict(enumerate(others[CHANGED - len(PLAIN)])), 0, _UNCHANGED, tokens=1),
    )


def is_causal(model: nn.Module) -> bool | None:
    """Return whether each token attends only to itself and to tokens before it; None for a model that doesn't run."""
    texts = Sequences([np.array([1, 2, 3]), np.array([1, 3, 2])], None)
    try:
        with reports.without_reports():
            first, second = (plain_layers(model, texts, number) for number in range(2))
    except MODEL_CODE_ERRORS:
        return None
    return same_layers(first, dict(enumerate(second)), 0, _UNCHANGED, tokens=1)


def _text(texts: Sequences, number: int) -> tuple[I64, I64 | None]:
    """Return the numbers of the tokens of a text, and of their segments."""
    return texts.ids[number], None if texts.types is None else texts.types[number]


def _check(references: References, texts: Sequences, name: str) -> None:
    """Raise ModelError for layers that aren't those of a text model."""
    if not references.layers[0]:
        raise ModelError(
            f"model {name!r} gives no layers; its config.json must name at least one block (num_hidden_layers)"
        )
    for layers, ids in zip(references.layers, texts.ids, strict=True):
        if any(layer.shape != (len(ids), references.width) for layer in layers):
            raise ModelError(
                f"model {name!r} changes the length or width from layer to layer, which isn't supported; use another model"
            )
    if not all(bool(layer.isfinite().all()) for layer in references.layers[0]):
        raise ModelError(
            f"model {name!r} gives numbers that aren't finite; its weights are damaged, fetch them again"
        )
