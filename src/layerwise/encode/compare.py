"""Ways of running a model, compared with plain one-text forwards of it when it is loaded."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from layerwise.encode import hf
from layerwise.encode.batches import Batch, Ints, Packing, Sequences, Wanted, batches
from layerwise.encode.entering import Entered, Place, alike
from layerwise.encode.probes import Probes
from layerwise.encode.taps import OnLayer
from layerwise.errors import ModelError

# What foreign model code may raise when it is run in a way that it wasn't written for.
_UNFIT = (
    *(RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError),
    UnboundLocalError,
)
Layers = list[torch.Tensor]


class Engine(Protocol):
    """A way of running a model; see `encode.engine.Engine`."""

    packing: Packing

    def batches(self, sequences: Sequences, budget: int) -> list[Batch]:
        """Return which windows go through the model together."""
        ...

    def begins(self, batch: Batch) -> Ints:
        """Return where each window of a batch begins."""
        ...

    def run(self, sequences: Sequences, batch: Batch, layers: Wanted, on_layer: OnLayer) -> None:
        """Run one batch; `on_layer` gets each layer that any window wants."""
        ...

    def inputs(self, texts: Sequences, batch: Batch) -> dict[str, Any]:
        """Return what the model is called with for the texts of a batch."""
        ...

    def alone(self, text: Sequences) -> dict[str, Any]:
        """Return what the model is called with for one text by itself."""
        ...

    def entering(self, inputs: dict[str, Any]) -> Entered:
        """Return what reaches the first block of the model."""
        ...


class Comparison:
    """The layers of the probes by plain forwards, and whether an engine gives the same.

    Attributes:
        blocks, width: the shape of the layer axis.
    """

    def __init__(self, model: nn.Module, probes: Probes, name: str) -> None:
        """Run a model, which nothing has changed yet, on each probe.

        Raises:
            ModelError: no text encoder.
        """
        self._model, self._probes = model, probes
        self._references = _references(model, probes.texts, name)
        self.blocks, self.width = len(self._references[0]) - 1, self._references[0][0].shape[1]

    def agrees(self, engine: Engine, tolerance: float) -> bool:
        """Tell whether all layers of the probes, batched together, are those of one-text forwards."""
        texts = self._probes.texts
        groups = self._probes.groups(engine.packing)
        return all(
            self._together(engine, [self._references[n] for n in group], texts.of(group), tolerance)
            for group in groups
        ) and _enter_alike(engine, self._probes.longest(engine.packing), tolerance)

    def agrees_on_plain(self, engine: Engine, tolerance: float) -> bool:
        """Tell the same of the two plain probes."""
        return self._together(engine, self._references, self._probes.plain, tolerance)

    def lonely(self, engine: Engine, usual: str, tolerance: float) -> Ints:
        """Return the special tokens whose texts can't be packed with others, unless that are all of them.

        ESM scales all embeddings of a row by the share of masks in it.

        Args:
            engine: packs, and takes the texts of all tokens together as yet.
            usual: the attention of plain forwards.
            tolerance: of the comparison.
        """
        numbers, texts = self._probes.special
        hf.use_attention(self._model, usual)
        alone = [plain_layers(self._model, texts, n) for n in range(len(texts.ids))]
        hf.use_packed_attention(self._model)
        together = [
            self._together(engine, [alone[0], alone[n]], texts.of((0, n)), tolerance)
            for n in range(1, len(alone))
        ]
        return numbers[~np.array(together, dtype=bool)] if any(together) else numbers[:0]

    def leave_rightly(self, engine: Engine, tolerance: float) -> bool:
        """Tell whether the layers of the probes are right also where one of them leaves the forward early."""
        probes = self._probes.plain
        (batch,) = batches(probes.lengths(), sum(probes.lengths()), "packed")
        depths = sorted({0, self.blocks // 2} - {self.blocks})
        try:
            return all(
                self._leaves_rightly(engine, probes, batch, longest, depth, tolerance)
                for depth in depths
                for longest in range(len(probes.ids))
            )
        except (*_UNFIT, ModelError):
            return False

    def _leaves_rightly(
        self, engine: Engine, probes: Sequences, batch: Batch, longest: int, depth: int, tolerance: float
    ) -> bool:
        """Tell it for a batch of which one text stays to the end, and the others leave at a depth."""
        every = frozenset(range(self.blocks + 1))
        order = batch.by_depth(np.where(batch.windows == longest, self.blocks, depth))
        windows = order.windows.tolist()
        layers = [every if window == longest else frozenset({depth}) for window in windows]
        states = _layers_of(engine, probes, order, layers)
        left = {layer: states[layer] for layer in range(depth + 1)}
        return all(
            _close(self._references[window], states if window == longest else left, begin, tolerance)
            for window, begin in zip(windows, engine.begins(order).tolist(), strict=True)
        )

    def _together(self, engine: Engine, references: list[Layers], texts: Sequences, tolerance: float) -> bool:
        """Tell whether texts in one batch have the layers that each has alone."""
        layers = frozenset(range(self.blocks + 1))
        try:
            for batch in engine.batches(texts, sum(texts.lengths()) * len(texts.ids)):
                states = _layers_of(engine, texts, batch, layers)
                for window, begin in zip(batch.windows.tolist(), engine.begins(batch).tolist(), strict=True):
                    if not _close(references[window], states, begin, tolerance):
                        return False
        except (*_UNFIT, ModelError):
            return False
        return True


def plain_layers(model: nn.Module, texts: Sequences, number: int) -> Layers:
    """Return the layers of one of some texts by a plain forward."""
    return hf.plain_states(model, texts.ids[number], texts.types[number] if texts.types is not None else None)


def _layers_of(engine: Engine, texts: Sequences, batch: Batch, layers: Wanted) -> dict[int, torch.Tensor]:
    states: dict[int, torch.Tensor] = {}
    engine.run(texts, batch, layers, states.__setitem__)
    return states


def _enter_alike(engine: Engine, texts: Sequences, tolerance: float) -> bool:
    """Tell whether what reaches the first block is the same for texts of great length together and alone."""
    if engine.packing == "even":
        return True
    (batch,) = batches(texts.lengths(), sum(texts.lengths()) * len(texts.ids), engine.packing)
    windows = batch.windows.tolist()
    try:
        inputs = engine.inputs(texts.of(windows), batch)
        together = engine.entering(inputs)
        return all(
            alike(engine.entering(engine.alone(texts.of([window]))), together, place, tolerance)
            for place, window in zip(_places(engine, batch, inputs), windows, strict=True)
        )
    except (*_UNFIT, ModelError):
        return False


def _places(engine: Engine, batch: Batch, inputs: dict[str, Any]) -> list[Place]:
    rows, total = inputs["input_ids"].shape
    begins, lengths = engine.begins(batch).tolist(), batch.lengths.tolist()
    if engine.packing == "packed":
        return [Place(0, rows, begin, length, total) for begin, length in zip(begins, lengths, strict=True)]
    return [Place(row, rows, 0, length, total) for row, length in enumerate(lengths)]


def _close(
    reference: list[torch.Tensor], layers: dict[int, torch.Tensor], begin: int, tolerance: float
) -> bool:
    for layer, hidden in layers.items():
        expected = reference[layer]
        got = hidden[begin : begin + len(expected)].float().cpu()
        if not (got - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max())):
            return False
    return True


def _references(model: nn.Module, texts: Sequences, name: str) -> list[Layers]:
    """Return the layers of each probe, after making sure that they are those of a text encoder."""
    ids = texts.ids[0].copy()
    ids[1] = ids[2] if ids[2] != ids[1] else ids[0]
    try:
        states = [plain_layers(model, texts, number) for number in range(len(texts.ids))]
        changed = plain_layers(model, Sequences([ids], texts.types), 0)
    except _UNFIT as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"model {name!r} doesn't run on text alone ({line[:200]}); a text encoder is needed"
        ) from None
    if not states[0]:
        raise ModelError(
            f"model {name!r} gives no layers; its config.json must name at least one block (num_hidden_layers)"
        )
    for number, layers in enumerate(states):
        if any(layer.shape != (len(texts.ids[number]), states[0][0].shape[1]) for layer in layers):
            raise ModelError(
                f"model {name!r} changes the length or width of its layers on the way; it isn't supported"
            )
    if not all(bool(layer.isfinite().all()) for layer in states[0]):
        raise ModelError(
            f"model {name!r} gives numbers that aren't finite; its weights are damaged, fetch them again"
        )
    # In an encoder what stands first sees what stands right behind it, however local its attention is.
    if torch.equal(states[0][-1][0], changed[-1][0]):
        raise ModelError(
            f"model {name!r} is a decoder-only model: a token sees only what stands before it; "
            "layerwise takes encoders such as minilm, bert-base-uncased or xlm-roberta-base"
        )
    return states
