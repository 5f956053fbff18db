"""Compare ways of running a model with plain one-text forwards of it, when it is loaded."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from layerwise.array_types import I64
from layerwise.encode import forwards, hf, reach
from layerwise.encode.batches import Batch, LayerSets, Packing, Sequences, batches
from layerwise.encode.first_block import NamedTensors, Place, same_inputs
from layerwise.encode.probes import Probes
from layerwise.encode.taps import OnLayer
from layerwise.errors import ModelError

# The errors that a model's code may raise when it is run in a way that it wasn't written for.
_MODEL_CODE_ERRORS = (
    *(RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError),
    UnboundLocalError,
)
# Relative difference of numbers that are computed in the same way. Mixtures of experts group tokens by expert, and
# sums of another order are rounded differently.
_UNCHANGED = 1e-6
# The same for 16 bits. A tolerance above it doesn't show everything.
_COARSE = 1e-3
Layers = list[torch.Tensor]


class ModelRunner(Protocol):
    """A way of running a model; see `engine.Engine`."""

    packing: Packing

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
    """Reference layers of the probes, from plain forwards, for comparison with those of an engine.

    Attributes:
        blocks, width: the number of blocks, and of numbers per vector.
        causal: whether each token attends only to itself and to tokens before it.
    """

    def __init__(self, model: nn.Module, probes: Probes, name: str) -> None:
        """Compute the reference layers; the model must be as it was loaded.

        Raises:
            ModelError: the model is no text model.
        """
        self._model, self._probes = model, probes
        self._references, self.causal = _references(model, probes.texts, name)
        self.blocks, self.width = len(self._references[0]) - 1, self._references[0][0].shape[1]

    def agrees(self, engine: ModelRunner, tolerance: float) -> bool:
        """Return whether all layers of the probes, batched together, are those of one-text forwards."""
        texts = self._probes.texts
        groups = self._probes.groups(engine.packing)
        with reach.recorded() as reaches:
            agrees = all(
                self._agrees_on_batch(
                    engine, [self._references[n] for n in group], texts.select(group), tolerance
                )
                for group in groups
            ) and _same_first_block_inputs(engine, self._probes.longest(engine.packing), tolerance)
        return agrees and reaches.agree() and (tolerance < _COARSE or self._separates(engine))

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
                    if not _close(list(before[number].values()), after[number], 0, _COARSE):
                        return False
        except (*_MODEL_CODE_ERRORS, ModelError):
            return False
        return True

    def _layers_together(self, engine: ModelRunner, texts: Sequences) -> list[dict[int, torch.Tensor]]:
        """Return the layers of each text, encoded in one batch where the engine puts them together."""
        sizes = texts.lengths()
        of_texts: list[dict[int, torch.Tensor]] = [{} for _ in sizes]
        for batch in engine.batches(texts, sum(sizes) * len(sizes)):
            states = _layers_of(engine, texts, batch, frozenset(range(self.blocks + 1)))
            for window, begin in zip(batch.windows.tolist(), engine.begins(batch).tolist(), strict=True):
                for layer, hidden in sorted(states.items()):
                    of_texts[window][layer] = hidden[begin : begin + sizes[window]].float().cpu()
        return of_texts

    def agrees_on_plain(self, engine: ModelRunner, tolerance: float) -> bool:
        """Return the same for the two plain probes only."""
        return self._agrees_on_batch(engine, self._references, self._probes.plain, tolerance)

    def unpackable_tokens(self, engine: ModelRunner, plain_attention: str, tolerance: float) -> I64:
        """Return the special tokens whose texts can't be packed with others; none if no text at all can.

        ESM is an example: it scales all embeddings of a row by the share of mask tokens in it.

        Args:
            engine: an engine that packs texts with any tokens.
            plain_attention: the name of the attention of plain forwards.
            tolerance: of the comparison.
        """
        tokens, texts = self._probes.special
        hf.use_attention(self._model, plain_attention)
        references = [plain_layers(self._model, texts, n) for n in range(len(texts.ids))]
        hf.use_packed_attention(self._model)
        packable = [
            self._agrees_on_batch(engine, [references[0], references[n]], texts.select((0, n)), tolerance)
            for n in range(1, len(references))
        ]
        return tokens[~np.array(packable, dtype=bool)] if any(packable) else tokens[:0]

    def agrees_after_leaving(self, engine: ModelRunner, tolerance: float) -> bool:
        """Return whether the layers of the probes are right also if one of them leaves the forward early."""
        probes = self._probes.plain
        (batch,) = batches(probes.lengths(), sum(probes.lengths()), "packed")
        depths = sorted({0, self.blocks // 2} - {self.blocks})
        try:
            return all(
                self._agrees_after_depth(engine, probes, batch, staying, depth, tolerance)
                for depth in depths
                for staying in range(len(probes.ids))
            )
        except (*_MODEL_CODE_ERRORS, ModelError):
            return False

    def _agrees_after_depth(
        self, engine: ModelRunner, probes: Sequences, batch: Batch, staying: int, depth: int, tolerance: float
    ) -> bool:
        """Return the same for a batch in which the window `staying` stays to the end and the others leave at `depth`."""
        all_layers = frozenset(range(self.blocks + 1))
        ordered = batch.by_depth(np.where(batch.windows == staying, self.blocks, depth))
        windows = ordered.windows.tolist()
        layers = [all_layers if window == staying else frozenset({depth}) for window in windows]
        states = _layers_of(engine, probes, ordered, layers)
        shallow = {layer: states[layer] for layer in range(depth + 1)}
        return all(
            _close(self._references[window], states if window == staying else shallow, begin, tolerance)
            for window, begin in zip(windows, engine.begins(ordered).tolist(), strict=True)
        )

    def _agrees_on_batch(
        self, engine: ModelRunner, references: list[Layers], texts: Sequences, tolerance: float
    ) -> bool:
        """Return whether texts in one batch have the layers that each has alone."""
        layers = frozenset(range(self.blocks + 1))
        try:
            # With this budget all texts fit into one batch, even padded to the longest.
            for batch in engine.batches(texts, sum(texts.lengths()) * len(texts.ids)):
                states = _layers_of(engine, texts, batch, layers)
                for window, begin in zip(batch.windows.tolist(), engine.begins(batch).tolist(), strict=True):
                    if not _close(references[window], states, begin, tolerance):
                        return False
        except (*_MODEL_CODE_ERRORS, ModelError):
            return False
        return True


def is_causal(model: nn.Module) -> bool | None:
    """Return whether each token attends only to itself and to tokens before it; None for a model that doesn't run."""
    texts = Sequences([np.array([1, 2, 3]), np.array([1, 3, 2])], None)
    try:
        with hf.without_reports():
            first, second = (plain_layers(model, texts, number) for number in range(2))
    except _MODEL_CODE_ERRORS:
        return None
    return _close(first, dict(enumerate(second)), 0, _UNCHANGED, tokens=1)


def plain_layers(model: nn.Module, texts: Sequences, number: int) -> Layers:
    """Return the layers of text `number` by a plain forward."""
    type_ids = texts.types[number] if texts.types is not None else None
    return forwards.plain_states(model, texts.ids[number], type_ids)


def _layers_of(
    engine: ModelRunner, texts: Sequences, batch: Batch, layers: LayerSets
) -> dict[int, torch.Tensor]:
    states: dict[int, torch.Tensor] = {}
    engine.run(texts, batch, layers, states.__setitem__)
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
    except (*_MODEL_CODE_ERRORS, ModelError):
        return False


def _places(engine: ModelRunner, batch: Batch, inputs: dict[str, Any]) -> list[Place]:
    """Return the place of each window in a batch."""
    rows, total = inputs["input_ids"].shape
    begins, lengths = engine.begins(batch).tolist(), batch.lengths.tolist()
    if engine.packing == "packed":
        return [Place(0, rows, begin, length, total) for begin, length in zip(begins, lengths, strict=True)]
    return [Place(row, rows, 0, length, total) for row, length in enumerate(lengths)]


def _close(
    reference: Layers,
    layers: dict[int, torch.Tensor],
    begin: int,
    tolerance: float,
    tokens: int | None = None,
) -> bool:
    """Return whether the layers of a text that begins at token `begin` of a batch are those of `reference`.

    With `tokens`, compare only so many tokens, the first of the text.
    """
    for layer, hidden in layers.items():
        expected = reference[layer][:tokens]
        actual = hidden[begin : begin + len(expected)].float().cpu()
        # Not written with `>`, so that NaN counts as a difference.
        if not (actual - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max())):
            return False
    return True


def _references(model: nn.Module, texts: Sequences, name: str) -> tuple[list[Layers], bool]:
    """Return the layers of each probe by plain forwards, and whether they are causal.

    Raises:
        ModelError: they aren't the layers of a text model.
    """
    # The first probe with another second token.
    ids = texts.ids[0].copy()
    ids[1] = ids[2] if ids[2] != ids[1] else ids[0]
    try:
        states = [plain_layers(model, texts, number) for number in range(len(texts.ids))]
        changed = plain_layers(model, Sequences([ids], texts.types), 0)
    except _MODEL_CODE_ERRORS as error:
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
                f"model {name!r} changes the length or width from layer to layer, which isn't supported"
            )
    if not all(bool(layer.isfinite().all()) for layer in states[0]):
        raise ModelError(
            f"model {name!r} gives numbers that aren't finite; its weights are damaged, fetch them again"
        )
    # In an encoder the first token attends to the second, however local its attention is; in a decoder only to itself.
    return states, _close(changed, dict(enumerate(states[0])), 0, _UNCHANGED, tokens=1)
