"""The forward: a batch of windows in, every wanted layer out, checked against plain transformers at load.

Several threads may run one engine at the same time. A packed forward keeps its state in the call. Some families
keep notes on the model while it runs (BigBird, rotary positions that grow), and do otherwise from then on: their
batches take turns, and each finds the model as it was loaded.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from layerwise._util.locks import new_lock
from layerwise._util.threads import computing
from layerwise.encode import hf, int8, linear
from layerwise.encode.attention import NARROW, Runs
from layerwise.encode.batches import Batch, Ints, Packing, Sequences, Wanted, batches
from layerwise.encode.compare import Comparison, plain_layers
from layerwise.encode.entering import Entered, entering
from layerwise.encode.probes import Probes
from layerwise.encode.steady import steady
from layerwise.encode.taps import Collected, Forward, OnLayer, Taps, find_taps
from layerwise.encode.transfer import to_device
from layerwise.errors import ModelError
from layerwise.tolerance import COMPUTED

_SAMPLED = 1024  # tokens of a batch while scales are found
_ROUND = 64  # packed batches are filled up to a multiple of so many tokens


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
        compared = Comparison(loaded.model, probes, name)
        self.blocks, self.width = compared.blocks, compared.width
        if self.device.type == "cpu":
            steady(self._model)
        self._taps = self._find_taps(probes.plain)
        self.final_norm = self._taps.final_norm
        exact = "fp32" if samples is not None else precision
        self._settle(compared, COMPUTED[exact], repack=samples is None)
        if samples is not None:
            self._to_int8(samples)
            if not compared.agrees_on_plain(self, COMPUTED["int8"]):
                raise ModelError(f"model {name!r} loses too much in int8; take --precision bf16 or fp32")
        self.leaves = self._windows_may_leave(compared, COMPUTED[precision])
        self._changes = self._changed

    def attention(self, sequences: Sequences) -> list[torch.Tensor] | None:
        """Return each block's attention in the one window of `sequences`; see `hf.attention_maps`."""
        types = sequences.types[0] if sequences.types is not None else None
        with self._copying:
            if self._eager is None or self._changes:
                with self._model_in_turn():
                    self._eager = hf.eager_copy(self._model)
            # What such a copy keeps of a forward is its own.
            if self._changes and self._eager is not None:
                hf.take_shape(self._eager, sequences.ids[0])
            return hf.attention_maps(self._eager, sequences.ids[0], types)

    def batches(self, sequences: Sequences, budget: int) -> list[Batch]:
        """Return which windows go through the model together, at most `budget` tokens each; see `batches`."""
        lengths = np.array(sequences.lengths(), dtype=np.int64)
        apart = np.array([self._is_apart(ids) for ids in sequences.ids], dtype=bool)
        shared = np.flatnonzero(~apart)
        shared_batches = [
            Batch(shared[batch.windows], batch.lengths)
            for batch in batches(lengths[shared], budget, self.packing)
        ]
        return shared_batches + [Batch(np.array([n]), lengths[[n]]) for n in np.flatnonzero(apart)]

    def _is_apart(self, ids: Ints) -> bool:
        """Tell whether a window can't share a forward with others."""
        return len(self._apart) > 0 and bool(np.isin(ids, self._apart).any())

    def begins(self, batch: Batch) -> Ints:
        """Return where each window of a batch begins on the axis of tokens, padding included."""
        sizes = (
            batch.lengths if self.packing == "packed" else np.full_like(batch.lengths, batch.lengths.max())
        )
        return np.subtract(np.cumsum(sizes), sizes)

    def run(self, sequences: Sequences, batch: Batch, wanted: Wanted, on_layer: OnLayer) -> None:
        """Run one batch up to the deepest of `wanted`.

        `on_layer` gets each layer that any window wants as (tokens of the batch, width), padding included, as soon
        as its block is done. A batch of windows that want different layers is one of `Batch.by_depth`: those that
        are done leave the forward where the engine `leaves`, and the tokens are then those of the windows that
        stay, at the beginning of the batch.

        Raises:
            ModelError: a wanted layer didn't come.
        """
        inputs = self.inputs(sequences.of(batch.windows.tolist()), batch)
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

    def inputs(self, texts: Sequences, batch: Batch) -> dict[str, Any]:
        """Return what the model is called with for the texts of a batch, in its order."""
        if self.packing != "packed":
            return self._padded(texts.ids, texts.types)
        if len(texts.ids) == 1 and self._is_apart(texts.ids[0]):
            return self.alone(texts)
        return self._packed(texts.ids, texts.types, batch)

    def alone(self, text: Sequences) -> dict[str, Any]:
        """Return what the model is called with for one text that shares its forward with no other, nor with filling."""
        runs = {"lw_runs": Runs([(1, len(text.ids[0]))])} if self.packing == "packed" else {}
        return {**self._padded(text.ids, text.types), **runs}

    def entering(self, inputs: dict[str, Any]) -> Entered:
        """Return what reaches the first block of the model, called with `inputs`; nothing where none is known."""
        block = self._taps.first_block
        if block is None:
            return {}
        with self._model_in_turn(), torch.inference_mode():
            return entering(block, lambda: self._model(**inputs))

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
        """Return the number of each token's position in its text, as the model numbers them by itself."""
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

    def _settle(self, compared: Comparison, tolerance: float, *, repack: bool) -> None:
        """Choose the fastest way that agrees with plain one-text forwards on the probes."""
        usual = hf.use_packed_attention(self._model)
        fast = repack and self.device.type == "cpu" and linear.available(next(self._model.parameters()).dtype)
        ways: tuple[Packing, ...] = ("packed", "padded", "even")
        for self.packing in ways:
            if self.packing == "padded":
                hf.use_attention(self._model, usual)
            if self._products_agree(compared, tolerance, fast=fast):
                return
            if self.packing == "packed" and compared.agrees_on_plain(self, tolerance):
                self._apart = compared.lonely(self, usual, tolerance)
                if len(self._apart) and self._products_agree(compared, tolerance, fast=fast):
                    return
                self._apart = self._apart[:0]
        self._taps = Collected()

    def _products_agree(self, compared: Comparison, tolerance: float, *, fast: bool) -> bool:
        """Take oneDNN's products if the layers agree with them, else torch's; tell whether they agree with these."""
        if fast:
            before = [(module, dict(module.named_children())) for module in self._model.modules()]
            linear.repack(self._model)
            self.products = "onednn"
            if compared.agrees(self, tolerance):
                return True
            for module, children in before:
                for name, child in children.items():
                    setattr(module, name, child)
            self.products = "torch"
        return compared.agrees(self, tolerance)

    def _windows_may_leave(self, compared: Comparison, tolerance: float) -> bool:
        self.leaves = self.packing == "packed"
        return self.leaves and compared.leave_rightly(self, tolerance)

    def _to_int8(self, samples: Sequences) -> None:
        def run() -> None:
            for batch in batches(samples.lengths(), _SAMPLED, self.packing):
                self.run(samples, batch, frozenset(range(self.blocks + 1)), lambda layer, hidden: None)

        int8.convert(self._model, run)
        linear.repack(self._model)
        self.products = "int8"


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
        compared = Comparison(loaded.model, probes, name)
        self.blocks, self.width = compared.blocks, compared.width
        self.device = next(loaded.model.parameters()).device

    def batches(self, sequences: Sequences, budget: int) -> list[Batch]:
        """Return one window after the other, whatever the budget."""
        return batches(sequences.lengths(), 1, self.packing)

    def begins(self, batch: Batch) -> Ints:
        """Return where the one window begins."""
        return np.zeros_like(batch.windows)

    def run(self, sequences: Sequences, batch: Batch, wanted: Wanted, on_layer: OnLayer) -> None:
        """Run one window through the whole model; `on_layer` gets each wanted layer as (tokens, width)."""
        (window,) = batch.windows.tolist()
        with self._turns, hf.without_reports():
            states = plain_layers(self._model, sequences, window)
        with torch.inference_mode():
            for layer in sorted(wanted if isinstance(wanted, frozenset) else wanted[0]):
                on_layer(layer, states[layer].to(self.device))
