"""The forward: a batch of windows in, every wanted layer out, checked against plain transformers at load.

Several threads may run one engine at the same time. A packed forward keeps its state in the call. Of the other
families some keep notes on the model while it runs (BigBird, rotary positions that grow), so that their batches
take turns.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from layerwise.encode import hf, int8, linear
from layerwise.encode.attention import Runs
from layerwise.encode.batches import Batch, Packing, batches
from layerwise.encode.taps import Collected, Forward, Taps, find_taps
from layerwise.encode.transfer import to_device
from layerwise.errors import ModelError
from layerwise.locks import new_lock
from layerwise.tolerance import COMPUTED

# What foreign model code may raise when it is run in a way that it wasn't written for.
_UNFIT = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError)


_SAMPLED = 1024  # pieces of a batch while scales are found
_ROUND = 64  # packed batches are filled up to a multiple of so many pieces


Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sequences:
    """Windows ready for the model: piece numbers and, where the model takes them, segment numbers."""

    ids: Sequence[Ints]
    types: Sequence[Ints] | None

    def lengths(self) -> list[int]:
        """Return the pieces of each window."""
        return [len(ids) for ids in self.ids]


OnLayer = Callable[[int, torch.Tensor], None]
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

    together = True  # windows share a forward

    def __init__(
        self,
        loaded: hf.Loaded,
        precision: str,
        probes: Sequences,
        name: str,
        samples: Sequences | None = None,
    ) -> None:
        """Find out how the model can be run.

        Args:
            loaded, precision, name: the model.
            probes: two texts, on which all ways are compared with plain forwards.
            samples: for int8, texts from which the scales of inputs are found.

        Raises:
            ModelError: no text encoder, or one that int8 changes too much.
        """
        self._model, self._first, self._name = loaded.model, loaded.first_position, name
        self._turns, self._copying = new_lock(), new_lock()
        self._eager: nn.Module | None = None
        self.leaves = False
        self._pad = getattr(loaded.config, "pad_token_id", None) or 0
        self.device = next(loaded.model.parameters()).device
        self.packing: Packing = "even"
        self.products = "torch"
        reference = _references(loaded.model, probes, name)
        self.blocks, self.width = len(reference[0]) - 1, reference[0][0].shape[1]
        self._taps = self._find_taps(probes)
        self.final_norm = self._taps.final_norm
        exact = "fp32" if samples is not None else precision
        self._settle(reference, probes, COMPUTED[exact], repack=samples is None)
        if samples is not None:
            self._to_int8(samples, reference, probes, name)
        self.leaves = self._leave_rightly(reference, probes, COMPUTED[precision])

    def attention(self, sequences: Sequences) -> list[torch.Tensor] | None:
        """Return each block's attention in the one window of `sequences`; see `hf.attention_maps`."""
        types = sequences.types[0] if sequences.types is not None else None
        with self._copying:
            if self._eager is None:
                self._eager = hf.eager_copy(self._model)
            # What such a copy keeps of a forward is its own.
            return hf.attention_maps(self._eager, sequences.ids[0], types)

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
        ids = [sequences.ids[w] for w in batch.windows.tolist()]
        types = [sequences.types[w] for w in batch.windows.tolist()] if sequences.types is not None else None
        packed = self.packing == "packed"
        inputs = self._packed(ids, types, batch) if packed else self._padded(ids, types)
        inputs["output_hidden_states"] = isinstance(self._taps, Collected)
        forward = self._forward(batch, wanted, inputs, on_layer)
        turn = contextlib.nullcontext() if packed else self._turns
        with turn, torch.inference_mode():
            self._taps.run(lambda: self._model(**inputs), forward)
        if packed and forward.deepest and not inputs["lw_runs"].calls:
            raise ModelError(f"model {self._name!r} takes the name of our attention and doesn't call it")

    def _forward(self, batch: Batch, wanted: Wanted, inputs: dict[str, Any], on_layer: OnLayer) -> Forward:
        """Return what is to be kept of one forward."""

        def flat(layer: int, hidden: torch.Tensor) -> None:
            on_layer(layer, hidden.flatten(0, 1))

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
        return Forward(every, flat, inputs["input_ids"].shape[1], stays, inputs["lw_runs"])

    def _packed(self, ids: list[Ints], types: list[Ints] | None, batch: Batch) -> dict[str, Any]:
        # Batches of few different sizes let the memory and the kernels of one serve the next.
        filler = -int(batch.lengths.sum()) % _ROUND

        def row(parts: Sequence[Ints], end: int) -> torch.Tensor:
            numbers = np.concatenate([*parts, np.full(filler, end)])
            return to_device(torch.from_numpy(numbers)[None], self.device)

        begins = np.repeat(self.begins(batch), batch.lengths)
        inputs: dict[str, Any] = {
            "input_ids": row(ids, self._pad),
            "position_ids": row([np.arange(len(begins)) - begins + self._first], self._first),
            "lw_runs": Runs(batch.runs() + ([(filler, 1)] if filler else [])),
        }
        if types is not None:
            inputs["token_type_ids"] = row(types, 0)
        return inputs

    def _padded(self, ids: list[Ints], types: list[Ints] | None) -> dict[str, Any]:
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
        with torch.inference_mode():
            taps = find_taps(self._model, lambda: self._model(**inputs, output_hidden_states=True))
        return Taps(taps, self._model) if taps is not None else Collected()

    def _settle(
        self, reference: list[list[torch.Tensor]], probes: Sequences, tolerance: float, *, repack: bool
    ) -> None:
        """Choose the fastest way that agrees with plain one-text forwards on the probes."""
        usual = hf.use_packed_attention(self._model)
        self.packing = "packed"
        if not self._agrees(reference, probes, tolerance):
            hf.use_attention(self._model, usual)
            self.packing = "padded"
            if not self._agrees(reference, probes, tolerance):
                self.packing = "even"
                if not self._agrees(reference, probes, tolerance):
                    self._taps = Collected()
        dtype = next(self._model.parameters()).dtype
        if repack and self.device.type == "cpu" and linear.available(dtype):
            self._repack(reference, probes, tolerance)

    def _to_int8(
        self, samples: Sequences, reference: list[list[torch.Tensor]], probes: Sequences, name: str
    ) -> None:
        def run() -> None:
            for batch in batches(samples.lengths(), _SAMPLED, self.packing):
                self.run(samples, batch, frozenset(range(self.blocks + 1)), lambda layer, hidden: None)

        int8.convert(self._model, run)
        linear.repack(self._model)
        self.products = "int8"
        if not self._agrees(reference, probes, COMPUTED["int8"]):
            raise ModelError(f"model {name!r} loses too much in int8; take --precision bf16 or fp32")

    def _repack(self, reference: list[list[torch.Tensor]], probes: Sequences, tolerance: float) -> None:
        before = [(module, dict(module.named_children())) for module in self._model.modules()]
        linear.repack(self._model)
        self.products = "onednn"
        if not self._agrees(reference, probes, tolerance):
            for module, children in before:
                for name, child in children.items():
                    setattr(module, name, child)
            self.products = "torch"

    def _agrees(self, reference: list[list[torch.Tensor]], probes: Sequences, tolerance: float) -> bool:
        """Tell whether all layers of the probes, batched together, are those of one-text forwards."""
        wanted = frozenset(range(self.blocks + 1))
        try:
            for batch in batches(probes.lengths(), sum(probes.lengths()) * len(probes.ids), self.packing):
                found = self._layers_of(probes, batch, wanted)
                for window, begin in zip(batch.windows.tolist(), self.begins(batch).tolist(), strict=True):
                    if not _close(reference[window], found, begin, tolerance):
                        return False
        except (*_UNFIT, ModelError):
            return False
        return True

    def _leave_rightly(
        self, reference: list[list[torch.Tensor]], probes: Sequences, tolerance: float
    ) -> bool:
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
                        if not _close(reference[window], own, begin, tolerance):
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
    together = False
    final_norm = False

    def __init__(
        self,
        loaded: hf.Loaded,
        precision: str,
        probes: Sequences,
        name: str,
        samples: Sequences | None = None,
    ) -> None:
        self._model, self._name, self._turns = loaded.model, name, new_lock()
        reference = _references(loaded.model, probes, name)
        self.blocks, self.width = len(reference[0]) - 1, reference[0][0].shape[1]
        self.device = next(loaded.model.parameters()).device

    def begins(self, batch: Batch) -> Ints:
        """Return where the one window begins."""
        return np.zeros_like(batch.windows)

    def run(self, sequences: Sequences, batch: Batch, wanted: Wanted, on_layer: OnLayer) -> None:
        """Run one window through the whole model; `on_layer` gets each wanted layer as (pieces, width)."""
        (window,) = batch.windows.tolist()
        types = sequences.types[window] if sequences.types is not None else None
        with self._turns:
            states = hf.plain_states(self._model, sequences.ids[window], types)
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


def _references(model: nn.Module, probes: Sequences, name: str) -> list[list[torch.Tensor]]:
    """Return the layers of each probe, after making sure that they are those of a text encoder."""

    def plain(number: int, ids: Ints) -> list[torch.Tensor]:
        return hf.plain_states(model, ids, probes.types[number] if probes.types is not None else None)

    try:
        states = [plain(number, ids) for number, ids in enumerate(probes.ids)]
        ids = probes.ids[0].copy()
        ids[-2] = ids[-3] if ids[-3] != ids[-2] else ids[0]
        changed = plain(0, ids)
    except _UNFIT as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"model {name!r} doesn't run on text alone ({line[:200]}); a text encoder is needed"
        ) from None
    for number, layers in enumerate(states):
        if any(layer.shape != (len(probes.ids[number]), states[0][0].shape[1]) for layer in layers):
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
