"""Compare ways of running a model with plain one-text forwards of it, when it is loaded."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from layerwise.array_types import I64
from layerwise.encode import reach
from layerwise.encode.batches import Batch, LayerKey, LayerSets, Packing, Sequences, batches
from layerwise.encode.first_block import NamedTensors, Place, same_inputs
from layerwise.encode.forwards import MODEL_CODE_ERRORS, Layers
from layerwise.encode.hf import modules
from layerwise.encode.probes import CHANGED, PLAIN, SINGLE, Probes
from layerwise.encode.references import first_layers, read_references
from layerwise.encode.same_layers import same_layers
from layerwise.encode.taps import OnLayer
from layerwise.errors import ModelError

# A relative difference of 16 bits. A tolerance above it doesn't show everything.
_COARSE = 1e-3


class ModelRunner(Protocol):
    """A way of running a model; see `engine.Engine`."""

    packing: Packing
    leaves: bool

    def batches(self, sequences: Sequences, budget: int) -> list[Batch]:
        """Return which windows go through the model together."""
        ...

    def begins(self, batch: Batch) -> I64:
        """Return where each window of a batch begins."""
        ...

    def run(self, sequences: Sequences, batch: Batch, layers: LayerSets, on_layer: OnLayer) -> None:
        """Run one batch; `on_layer` gets each layer that any window needs."""
        ...

    def inputs(self, texts: Sequences, batch: Batch) -> dict[str, Any]:
        """Return the arguments of the model's forward for the texts of a batch."""
        ...

    def inputs_alone(self, text: Sequences) -> dict[str, Any]:
        """Return the arguments of the model's forward for one text by itself."""
        ...

    def first_block_inputs(self, inputs: dict[str, Any]) -> NamedTensors:
        """Return the tensors that reach the first block of the model."""
        ...


class Comparison:
    """Compares engines with the layers of the probes by plain forwards.

    Attributes:
        references: these layers.
    """

    def __init__(self, model: nn.Module, probes: Probes, name: str) -> None:
        """Compute the reference layers; the model must be as it was loaded.

        Raises:
            ModelError: the model is no text model.
        """
        self._model, self._probes = model, probes
        self.references = read_references(model, probes, name)

    def agrees(self, engine: ModelRunner, tolerance: float) -> bool:
        """Return whether the layers of the probes, batched together, are those of one-text forwards.

        If the engine `leaves`, some of them leave the forward early.
        """
        with reach.recorded() as reaches:
            agrees = (
                self._agrees_in_first_blocks(engine, tolerance)
                and _same_first_block_inputs(engine, self._probes.longest(engine.packing), tolerance)
                and (self.agrees_after_leaving if engine.leaves else self.agrees_on_plain)(engine, tolerance)
            )
        return agrees and reaches.agree() and (tolerance < _COARSE or self._separates(engine))

    def _agrees_in_first_blocks(self, engine: ModelRunner, tolerance: float) -> bool:
        """Return whether all probes together have the right layers up to the depth of `References`."""
        depth, layers = self.references.depth, self.references.layers
        return all(
            self._agrees_on_batch(
                engine, [layers[n] for n in group], self._probes.texts.select(group), tolerance, depth
            )
            for group in self._probes.groups(engine.packing)
        )

    def _separates(self, engine: ModelRunner) -> bool:
        """Return whether the layers of texts stay the same when the texts beside them in the batch are others.

        With 16 bits the tolerance is so large that a few tokens of a neighbour, mixed into a text, may stay below it.
        """
        if engine.packing in ("even", "single"):
            return True
        texts = self._probes.texts.select(range(len(self._probes.texts.ids) - 1))
        types = texts.types
        tokens = np.concatenate(self._probes.plain.ids)
        order = np.argsort(np.argsort(texts.lengths(), kind="stable"), kind="stable")

        def layers(shifts: I64) -> list[dict[int, torch.Tensor]]:
            ids = [
                np.resize(np.roll(tokens, shift), len(text_ids))
                for text_ids, shift in zip(texts.ids, shifts, strict=True)
            ]
            return self._layers_together(engine, Sequences(ids, types))

        try:
            before = layers(order)
            # Every second text is another, so that those between them have other neighbours on both sides.
            for kept in (0, 1):
                after = layers(np.where(order % 2 == kept, order, order + len(order)))
                for number in np.flatnonzero(order % 2 == kept).tolist():
                    if not same_layers(list(before[number].values()), after[number], 0, _COARSE):
                        return False
        except (*MODEL_CODE_ERRORS, ModelError):
            return False
        return True

    def _layers_together(self, engine: ModelRunner, texts: Sequences) -> list[dict[int, torch.Tensor]]:
        """Return the layers of each text, encoded in one batch where the engine puts them together."""
        sizes = texts.lengths()
        of_texts: list[dict[int, torch.Tensor]] = [{} for _ in sizes]
        for batch in engine.batches(texts, sum(sizes) * len(sizes)):
            states = _layers_of(engine, texts, batch, frozenset(range(self.references.depth + 1)))
            for window, begin in zip(batch.windows.tolist(), engine.begins(batch).tolist(), strict=True):
                for layer, hidden in sorted(states.items()):
                    of_texts[window][layer] = hidden[begin : begin + sizes[window]].float().cpu()
        return of_texts

    def agrees_on_plain(self, engine: ModelRunner, tolerance: float) -> bool:
        """Return whether all layers of the two plain probes, batched together, are those of one-text forwards."""
        blocks, layers = self.references.blocks, self.references.layers
        return self._agrees_on_batch(engine, layers, self._probes.plain, tolerance, blocks)

    def unpackable_tokens(self, engine: ModelRunner, plain_attention: str, tolerance: float) -> I64:
        """Return the special tokens whose texts can't be packed with others; none if no text at all can.

        ESM is an example: it scales all embeddings of a row by the share of mask tokens in it.

        Args:
            engine: an engine that packs texts with any tokens.
            plain_attention: the name of the attention of plain forwards.
            tolerance: of the comparison.
        """
        tokens, texts = self._probes.special
        modules.use_attention(self._model, plain_attention)
        taps, depth = self.references.taps, self.references.depth
        layers = [first_layers(self._model, texts, n, taps, depth) for n in range(len(texts.ids))]
        modules.use_packed_attention(self._model)
        packable = [
            self._agrees_on_batch(engine, [layers[0], layers[n]], texts.select((0, n)), tolerance, depth)
            for n in range(1, len(layers))
        ]
        return tokens[~np.array(packable, dtype=bool)] if any(packable) else tokens[:0]

    def agrees_after_leaving(self, engine: ModelRunner, tolerance: float) -> bool:
        """Return the same for a batch that other probes leave: one after the embeddings, one after further blocks."""
        blocks = self.references.blocks
        depths = dict.fromkeys(PLAIN, blocks)
        depths |= {CHANGED: min(blocks // 2, self.references.depth), SINGLE: 0}
        texts = self._probes.texts.select(depths)
        references = [self.references.layers[number] for number in depths]
        deepest = np.array(list(depths.values()))
        (batch,) = batches(texts.lengths(), sum(texts.lengths()), "packed")
        ordered = batch.by_depth(deepest[batch.windows])
        windows = ordered.windows.tolist()
        layer_sets = [frozenset(range(int(deepest[window]) + 1)) for window in windows]
        try:
            states = _layers_of(engine, texts, ordered, layer_sets)
            return all(
                same_layers(references[window], {n: states[n] for n in layers}, begin, tolerance)
                for window, layers, begin in zip(
                    windows, layer_sets, engine.begins(ordered).tolist(), strict=True
                )
            )
        except (*MODEL_CODE_ERRORS, ModelError):
            return False

    def _agrees_on_batch(
        self, engine: ModelRunner, references: list[Layers], texts: Sequences, tolerance: float, depth: int
    ) -> bool:
        """Return whether texts in one batch have the layers up to `depth` that each has alone."""
        layers = frozenset(range(depth + 1))
        try:
            # With this budget all texts fit into one batch, even padded to the longest.
            for batch in engine.batches(texts, sum(texts.lengths()) * len(texts.ids)):
                states = _layers_of(engine, texts, batch, layers)
                for window, begin in zip(batch.windows.tolist(), engine.begins(batch).tolist(), strict=True):
                    if not same_layers(references[window], states, begin, tolerance):
                        return False
        except (*MODEL_CODE_ERRORS, ModelError):
            return False
        return True


def _layers_of(
    engine: ModelRunner, texts: Sequences, batch: Batch, layers: LayerSets
) -> dict[int, torch.Tensor]:
    states: dict[int, torch.Tensor] = {}

    def keep(layer: LayerKey, hidden: torch.Tensor) -> None:
        states[int(layer)] = hidden

    engine.run(texts, batch, layers, keep)
    return states


def _same_first_block_inputs(engine: ModelRunner, texts: Sequences, tolerance: float) -> bool:
    """Return whether the tensors that reach the first block are the same for texts together and alone."""
    if engine.packing in ("even", "single"):
        return True
    (batch,) = batches(texts.lengths(), sum(texts.lengths()) * len(texts.ids), engine.packing)
    windows = batch.windows.tolist()
    try:
        inputs = engine.inputs(texts.select(windows), batch)
        together = engine.first_block_inputs(inputs)
        for place, window in zip(_places(engine, batch, inputs), windows, strict=True):
            alone = engine.first_block_inputs(engine.inputs_alone(texts.select([window])))
            if not same_inputs(alone, together, place, tolerance):
                return False
        return True
    except (*MODEL_CODE_ERRORS, ModelError):
        return False


def _places(engine: ModelRunner, batch: Batch, inputs: dict[str, Any]) -> list[Place]:
    """Return the place of each window in a batch."""
    rows, total = inputs["input_ids"].shape
    begins, lengths = engine.begins(batch).tolist(), batch.lengths.tolist()
    if engine.packing == "packed":
        return [Place(0, rows, begin, length, total) for begin, length in zip(begins, lengths, strict=True)]
    return [Place(row, rows, 0, length, total) for row, length in enumerate(lengths)]
