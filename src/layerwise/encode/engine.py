"""The forward: a batch of windows in, every wanted layer out, checked against plain transformers at load.

Several threads may run one engine at the same time. A packed forward keeps its state in the call. Some families
keep notes on the model while it runs (BigBird, rotary positions that grow), and do otherwise from then on: their
batches take turns, and each finds the model as it was loaded.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from layerwise.encode import hf, int8, linear
from layerwise.encode.attention import NARROW, Runs
from layerwise.encode.batches import Batch, Ints, Packing, Sequences, batches
from layerwise.encode.entering import Entered, Place, alike, entering
from layerwise.encode.probes import Probes
from layerwise.encode.steady import steady
from layerwise.encode.taps import Collected, Forward, Taps, find_taps
from layerwise.encode.transfer import to_device
from layerwise.errors import ModelError
from layerwise.locks import new_lock
from layerwise.threads import computing
from layerwise.tolerance import COMPUTED

# What foreign model code may raise when it is run in a way that it wasn't written for.
_UNFIT = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError)


_SAMPLED = 1024  # pieces of a batch while scales are found
_ROUND = 64  # packed batches are filled up to a multiple of so many pieces


OnLayer = Callable[[int, torch.Tensor], None]
References = list[list[torch.Tensor]]
Wanted = frozenset[int] | Sequence[frozenset[int]]
"""Positions on the layer axis: the same for all windows of a batch, or of each, in the order of the batch."""


class Engine:
    """Runs batches through one model.

    Attributes:
        packing: `packed` (no padding, our attention), `padded`, or `even` (only equal lengths together).
        leaves: windows leave a forward when the deepest layer that they are wanted for is done.
        products: `onednn` (reordered weights), `int8`, or `torch`.
        blocks, width: the shape of the layer axis.
        final_norm: the last layer is normed, the others are not.
    """

    def __init__(
        self,
        loaded: hf.Loaded,
        precision: str,
        probes: Probes,
        name: str,
        samples: Sequences | None = None,
    ) -> None:
        """Find out how the model can be run.

        Args:
            loaded, precision, name: the model.
            probes: texts on which all ways are compared with plain forwards.
            samples: for int8, texts from which the scales of inputs are found.

        Raises:
            ModelError: no text encoder, or one that int8 changes too much.
        """
        self._model, self._skipped, self._name = loaded.model, loaded.skipped, name
        self._head = hf.head_size(loaded.model)
        self._turns, self._copying = new_lock(), new_lock()
        self._eager: nn.Module | None = None
        self.leaves = False
        # Whether forwards change the model; until it is known they take turns.
        self._changes, self._changed = True, False
        self._pad = getattr(loaded.config, "pad_token_id", None) or 0
        self.device = next(loaded.model.parameters()).device
        self.packing: Packing = "even"
        self.products = "torch"
        self._apart: Ints = np.empty(0, dtype=np.int64)
        references = _references(loaded.model, probes, name)
        self.blocks, self.width = len(references[0]) - 1, references[0][0].shape[1]
        if self.device.type == "cpu":
            steady(self._model)
        self._taps = self._find_taps(probes.plain)
        self.final_norm = self._taps.final_norm
        exact = "fp32" if samples is not None else precision
        self._settle(references, probes, COMPUTED[exact], repack=samples is None)
        if samples is not None:
            self._to_int8(samples, references, probes.plain, name)
        self.leaves = self._leave_rightly(references, probes.plain, COMPUTED[precision])
        self._changes = self._changed

    def attention(self, sequences: Sequences) -> list[torch.Tensor] | None:
        """Return each block's attention in the one window of `sequences`; see `hf.attention_maps`."""
        types = sequences.types[0] if sequences.types is not None else None
        with self._copying:
            if self._eager is None:
                self._eager = hf.eager_copy(self._model)
            # What such a copy keeps of a forward is its own.
            return hf.attention_maps(self._eager, sequences.ids[0], types)

    def batches(self, sequences: Sequences, budget: int) -> list[Batch]:
        """Return which windows go through the model together, at most `budget` pieces each; see `batches`."""
        lengths = np.array(sequences.lengths(), dtype=np.int64)
        apart = np.array([self._is_apart(ids) for ids in sequences.ids], dtype=bool)
        shared = np.flatnonzero(~apart)
        found = [
            Batch(shared[batch.windows], batch.lengths)
            for batch in batches(lengths[shared], budget, self.packing)
        ]
        return found + [Batch(np.array([n]), lengths[[n]]) for n in np.flatnonzero(apart)]

    def _is_apart(self, ids: Ints) -> bool:
        """Tell whether a window can't share a forward with others."""
        return len(self._apart) > 0 and bool(np.isin(ids, self._apart).any())

    def begins(self, batch: Batch) -> Ints:
        """Return where each window of a batch begins on the axis of pieces, padding included."""
        sizes = (
            batch.lengths if self.packing == "packed" else np.full_like(batch.lengths, batch.lengths.max())
        )
        return np.subtract(np.cumsum(sizes), sizes)

    def run(self, sequences: Sequences, batch: Batch, wanted: Wanted, on_layer: OnLayer) -> None:
        """Run one batch up to the deepest of `wanted`.

        `on_layer` gets each layer that any window wants as (pieces of the batch, width), padding included, as soon
        as its block is done. A batch of windows that want different layers is one of `Batch.by_depth`: those that
        are done leave the forward where the engine `leaves`, and the pieces are then those of the windows that
        stay, at the beginning of the batch.

        Raises:
            ModelError: a wanted layer didn't come.
        """
        inputs = self._inputs(sequences.of(batch.windows.tolist()), batch)
        inputs["output_hidden_states"] = isinstance(self._taps, Collected)
        forward = self._forward(batch, wanted, inputs, on_layer)
        with self._model_in_turn(), torch.inference_mode():
            self._taps.run(lambda: self._model(**inputs), forward)
        if self.packing == "packed" and forward.deepest and not inputs["lw_runs"].calls:
            raise ModelError(f"model {self._name!r} takes the name of our attention and doesn't call it")

    @contextmanager
    def _model_in_turn(self) -> Iterator[None]:
        """Leave the model as it was, one forward after the other, unless it is known that none changes it."""
        if self.packing == "packed" and not self._changes:
            yield
            return
        # Products of heads of 8 numbers go by the number of threads; ours are widened.
        alone = self.packing != "packed" and self.device.type == "cpu" and self._head < NARROW
        with self._turns, hf.without_reports(), computing(1 if alone else None):
            put_back = hf.remember(self._model)
            try:
                yield
            finally:
                self._changed |= put_back()

    def _forward(self, batch: Batch, wanted: Wanted, inputs: dict[str, Any], on_layer: OnLayer) -> Forward:
        """Return what is to be kept of one forward."""

        length = inputs["input_ids"].shape[1]

        def flat(layer: int, hidden: torch.Tensor) -> None:
            # BigBird fills texts up to whole blocks.
            on_layer(layer, hidden[:, :length].flatten(0, 1))

        if isinstance(wanted, frozenset):
            return Forward(wanted, flat)
        every = frozenset().union(*wanted)
        if len(wanted) != len(batch.windows) or not all(wanted):
            raise ValueError(
                f"{len(wanted)} sets of layers for {len(batch.windows)} windows; give each window one"
            )
        if not self.leaves:
            return Forward(every, flat)
        depths = np.array([max(layers) for layers in wanted])
        if (np.diff(depths) > 0).any():
            raise ValueError("a batch of windows that want different layers has the deepest ones first")
        ends = np.cumsum(batch.lengths)
        stays = {
            int(depth): int(ends[np.flatnonzero(depths > depth)[-1]])
            for depth in set(depths[depths < depths[0]])
        }
        return Forward(every, flat, length, stays, inputs["lw_runs"])

    def _inputs(self, texts: Sequences, batch: Batch) -> dict[str, Any]:
        """Return what the model is called with for the texts of a batch, in its order."""
        if self.packing != "packed":
            return self._padded(texts.ids, texts.types)
        if len(texts.ids) == 1 and self._is_apart(texts.ids[0]):
            return self._alone(texts)
        return self._packed(texts.ids, texts.types, batch)

    def _alone(self, text: Sequences) -> dict[str, Any]:
        """Return what the model is called with for one text that is packed with no other, nor with filling."""
        return {**self._padded(text.ids, text.types), "lw_runs": Runs([(1, len(text.ids[0]))])}

    def _packed(self, ids: Sequence[Ints], types: Sequence[Ints] | None, batch: Batch) -> dict[str, Any]:
        # Batches of few different sizes let the memory and the kernels of one serve the next.
        filler = -int(batch.lengths.sum()) % _ROUND

        def row(parts: Sequence[Ints], end: int) -> torch.Tensor:
            numbers = np.concatenate([*parts, np.full(filler, end)])
            return to_device(torch.from_numpy(numbers)[None], self.device)

        inputs: dict[str, Any] = {
            "input_ids": row(ids, self._pad),
            "position_ids": row(
                [self._positions(ids, batch)], 0 if self._skipped is None else self._skipped + 1
            ),
            "lw_runs": Runs(batch.runs() + ([(filler, 1)] if filler else [])),
        }
        if types is not None:
            inputs["token_type_ids"] = row(types, 0)
        return inputs

    def _positions(self, ids: Sequence[Ints], batch: Batch) -> Ints:
        """Return the number of each piece's position in its text, as the model numbers them by itself."""
        begins = np.repeat(self.begins(batch), batch.lengths)
        if self._skipped is None:
            return np.arange(len(begins)) - begins
        # As `create_position_ids_from_input_ids` of transformers.
        counted = np.concatenate(ids) != self._skipped
        so_far = np.concatenate([[0], np.cumsum(counted)])
        positions: Ints = (so_far[1:] - so_far[begins]) * counted + self._skipped
        return positions

    def _padded(self, ids: Sequence[Ints], types: Sequence[Ints] | None) -> dict[str, Any]:
        longest = max(map(len, ids))

        def block(parts: Sequence[Ints], fill: int) -> torch.Tensor:
            filled = np.full((len(parts), longest), fill)
            for line, part in zip(filled, parts, strict=True):
                line[: len(part)] = part
            return to_device(torch.from_numpy(filled), self.device)

        inputs = {
            "input_ids": block(ids, self._pad),
            "attention_mask": block([np.ones_like(part) for part in ids], 0),
        }
        if types is not None:
            inputs["token_type_ids"] = block(types, 0)
        return inputs

    def _find_taps(self, probes: Sequences) -> Taps | Collected:
        inputs = self._padded([probes.ids[0]], [probes.types[0]] if probes.types is not None else None)
        with self._model_in_turn(), torch.inference_mode():
            taps = find_taps(self._model, lambda: self._model(**inputs, output_hidden_states=True))
        return Taps(taps, self._model) if taps is not None else Collected()

    def _settle(self, references: References, probes: Probes, tolerance: float, *, repack: bool) -> None:
        """Choose the fastest way that agrees with plain one-text forwards on the probes."""
        usual = hf.use_packed_attention(self._model)
        fast = repack and self.device.type == "cpu" and linear.available(next(self._model.parameters()).dtype)
        ways: tuple[Packing, ...] = ("packed", "padded", "even")
        for self.packing in ways:
            if self.packing == "padded":
                hf.use_attention(self._model, usual)
            if fast and self._repack(references, probes, tolerance):
                return
            if self._agrees(references, probes, tolerance):
                return
            if self.packing == "packed" and self._set_apart(references, probes, usual, tolerance):
                if fast and self._repack(references, probes, tolerance):
                    return
                if self._agrees(references, probes, tolerance):
                    return
                self._apart = self._apart[:0]
        self._taps = Collected()

    def _set_apart(self, references: References, probes: Probes, usual: str, tolerance: float) -> bool:
        """Find the special tokens whose texts can't be packed with others; tell whether there are some.

        ESM scales all embeddings of a row by the share of masks in it.
        """
        numbers, texts = probes.special
        hf.use_attention(self._model, usual)
        alone = [_plain(self._model, texts, n) for n in range(len(texts.ids))]
        hf.use_packed_attention(self._model)
        together = [
            self._together([alone[0], alone[n]], texts.of((0, n)), tolerance) for n in range(1, len(alone))
        ]
        if all(together) or not any(together):
            return False
        self._apart = numbers[~np.array(together)]
        return True

    def _to_int8(self, samples: Sequences, references: References, probes: Sequences, name: str) -> None:
        def run() -> None:
            for batch in batches(samples.lengths(), _SAMPLED, self.packing):
                self.run(samples, batch, frozenset(range(self.blocks + 1)), lambda layer, hidden: None)

        int8.convert(self._model, run)
        linear.repack(self._model)
        self.products = "int8"
        if not self._together(references, probes, COMPUTED["int8"]):
            raise ModelError(f"model {name!r} loses too much in int8; take --precision bf16 or fp32")

    def _repack(self, references: References, probes: Probes, tolerance: float) -> bool:
        """Take oneDNN's products if the layers agree with them; tell whether they do."""
        before = [(module, dict(module.named_children())) for module in self._model.modules()]
        linear.repack(self._model)
        self.products = "onednn"
        if self._agrees(references, probes, tolerance):
            return True
        for module, children in before:
            for name, child in children.items():
                setattr(module, name, child)
        self.products = "torch"
        return False

    def _agrees(self, references: References, probes: Probes, tolerance: float) -> bool:
        """Tell whether all layers of the probes, batched together, are those of one-text forwards."""
        return all(
            self._together([references[n] for n in group], probes.texts.of(group), tolerance)
            for group in probes.groups(self.packing)
        ) and self._enter_alike(probes.longest, tolerance)

    def _together(self, references: References, texts: Sequences, tolerance: float) -> bool:
        """Tell whether texts in one batch have the layers that each has alone."""
        wanted = frozenset(range(self.blocks + 1))
        try:
            for batch in self.batches(texts, sum(texts.lengths()) * len(texts.ids)):
                found = self._layers_of(texts, batch, wanted)
                for window, begin in zip(batch.windows.tolist(), self.begins(batch).tolist(), strict=True):
                    if not _close(references[window], found, begin, tolerance):
                        return False
        except (*_UNFIT, ModelError):
            return False
        return True

    def _enter_alike(self, texts: Sequences, tolerance: float) -> bool:
        """Tell whether what reaches the first block is the same for texts of great length together and alone."""
        block = self._taps.first_block
        if block is None or self.packing == "even":
            return True
        (batch,) = batches(texts.lengths(), sum(texts.lengths()) * len(texts.ids), self.packing)
        try:
            inputs = self._inputs(texts.of(batch.windows.tolist()), batch)
            together = self._entering(block, inputs)
            for place, window in zip(self._places(batch, inputs), batch.windows.tolist(), strict=True):
                own = texts.of([window])
                alone = self._alone(own) if self.packing == "packed" else self._padded(own.ids, own.types)
                if not alike(self._entering(block, alone), together, place, tolerance):
                    return False
        except (*_UNFIT, ModelError):
            return False
        return True

    def _places(self, batch: Batch, inputs: dict[str, Any]) -> list[Place]:
        rows, total = inputs["input_ids"].shape
        begins, lengths = self.begins(batch).tolist(), batch.lengths.tolist()
        if self.packing == "packed":
            return [
                Place(0, rows, begin, length, total) for begin, length in zip(begins, lengths, strict=True)
            ]
        return [Place(row, rows, 0, length, total) for row, length in enumerate(lengths)]

    def _entering(self, block: nn.Module, inputs: dict[str, Any]) -> Entered:
        with self._model_in_turn(), torch.inference_mode():
            return entering(block, lambda: self._model(**inputs))

    def _leave_rightly(self, references: References, probes: Sequences, tolerance: float) -> bool:
        """Tell whether the layers of the probes are right also where one of them leaves the forward early."""
        if self.packing != "packed":
            return False
        self.leaves = True
        (batch,) = batches(probes.lengths(), sum(probes.lengths()), "packed")
        every = frozenset(range(self.blocks + 1))
        try:
            for depth in sorted({0, self.blocks // 2} - {self.blocks}):
                for longest in range(len(probes.ids)):
                    stays = batch.windows == longest
                    order = batch.by_depth(np.where(stays, self.blocks, depth))
                    wanted = [every if w == longest else frozenset({depth}) for w in order.windows.tolist()]
                    found = self._layers_of(probes, order, wanted)
                    for window, begin in zip(
                        order.windows.tolist(), self.begins(order).tolist(), strict=True
                    ):
                        own = found if window == longest else {n: found[n] for n in range(depth + 1)}
                        if not _close(references[window], own, begin, tolerance):
                            return False
        except (*_UNFIT, ModelError):
            return False
        return True

    def _layers_of(self, probes: Sequences, batch: Batch, wanted: Wanted) -> dict[int, torch.Tensor]:
        found: dict[int, torch.Tensor] = {}
        self.run(probes, batch, wanted, found.__setitem__)
        return found


class PlainEngine:
    """One window per forward of unchanged transformers, every layer from `hidden_states`: the reference."""

    packing: Packing = "even"
    products = "torch"
    final_norm = False

    def __init__(
        self,
        loaded: hf.Loaded,
        precision: str,
        probes: Probes,
        name: str,
        samples: Sequences | None = None,
    ) -> None:
        self._model, self._name, self._turns = loaded.model, name, new_lock()
        references = _references(loaded.model, probes, name)
        self.blocks, self.width = len(references[0]) - 1, references[0][0].shape[1]
        self.device = next(loaded.model.parameters()).device

    def batches(self, sequences: Sequences, budget: int) -> list[Batch]:
        """Return one window after the other, whatever the budget."""
        return batches(sequences.lengths(), 1, self.packing)

    def begins(self, batch: Batch) -> Ints:
        """Return where the one window begins."""
        return np.zeros_like(batch.windows)

    def run(self, sequences: Sequences, batch: Batch, wanted: Wanted, on_layer: OnLayer) -> None:
        """Run one window through the whole model; `on_layer` gets each wanted layer as (pieces, width)."""
        (window,) = batch.windows.tolist()
        with self._turns, hf.without_reports():
            states = _plain(self._model, sequences, window)
        with torch.inference_mode():
            for layer in sorted(wanted if isinstance(wanted, frozenset) else wanted[0]):
                on_layer(layer, states[layer].to(self.device))


def _close(
    reference: list[torch.Tensor], layers: dict[int, torch.Tensor], begin: int, tolerance: float
) -> bool:
    for layer, hidden in layers.items():
        expected = reference[layer]
        got = hidden[begin : begin + len(expected)].float().cpu()
        if not (got - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max())):
            return False
    return True


def _references(model: nn.Module, probes: Probes, name: str) -> References:
    """Return the layers of each probe, after making sure that they are those of a text encoder."""
    texts = probes.texts
    ids = texts.ids[0].copy()
    ids[-2] = ids[-3] if ids[-3] != ids[-2] else ids[0]
    try:
        states = [_plain(model, texts, number) for number in range(len(texts.ids))]
        changed = _plain(model, Sequences([ids], texts.types), 0)
    except _UNFIT as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"model {name!r} doesn't run on text alone ({line[:200]}); a text encoder is needed"
        ) from None
    for number, layers in enumerate(states):
        if any(layer.shape != (len(texts.ids[number]), states[0][0].shape[1]) for layer in layers):
            raise ModelError(
                f"model {name!r} changes the length or width of its layers on the way; it isn't supported"
            )
    # In an encoder what stands first sees what stands behind it.
    if torch.equal(states[0][-1][0], changed[-1][0]):
        raise ModelError(
            f"model {name!r} is a decoder-only model: a piece sees only what stands before it; "
            "layerwise takes encoders such as minilm, bert-base-uncased or xlm-roberta-base"
        )
    return states


def _plain(model: nn.Module, texts: Sequences, number: int) -> list[torch.Tensor]:
    """Return the layers of one of some texts by a plain forward."""
    return hf.plain_states(model, texts.ids[number], texts.types[number] if texts.types is not None else None)
