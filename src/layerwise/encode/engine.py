"""The forward: a batch of windows in, every wanted layer out, checked against plain transformers at load."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from layerwise.encode import attention, hf, int8, linear
from layerwise.encode.batches import Batch, Packing, batches
from layerwise.encode.taps import Collected, Taps, find_taps
from layerwise.encode.transfer import to_device
from layerwise.errors import ModelError
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


class Engine:
    """Runs batches through one model.

    Attributes:
        packing: `packed` (no padding, our attention), `padded`, or `even` (only equal lengths together).
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
        self._model, self._first = loaded.model, loaded.first_position
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

    def attention(self, sequences: Sequences) -> list[torch.Tensor] | None:
        """Return each block's attention in the one window of `sequences`; see `hf.attention_maps`."""
        types = sequences.types[0] if sequences.types is not None else None
        return hf.attention_maps(self._model, sequences.ids[0], types)

    def begins(self, batch: Batch) -> Ints:
        """Return where each window of a batch begins on the axis of pieces, padding included."""
        sizes = (
            batch.lengths if self.packing == "packed" else np.full_like(batch.lengths, batch.lengths.max())
        )
        return np.subtract(np.cumsum(sizes), sizes)

    def run(self, sequences: Sequences, batch: Batch, wanted: frozenset[int], on_layer: OnLayer) -> None:
        """Run one batch up to the deepest of `wanted` (positions on the layer axis).

        `on_layer` gets each wanted layer as (pieces of the batch, width), padding included, as soon as its
        block is done.
        """
        ids = [sequences.ids[w] for w in batch.windows.tolist()]
        types = [sequences.types[w] for w in batch.windows.tolist()] if sequences.types is not None else None
        inputs = self._packed(ids, types, batch) if self.packing == "packed" else self._padded(ids, types)
        inputs["output_hidden_states"] = isinstance(self._taps, Collected)
        with torch.inference_mode():
            self._taps.run(
                lambda: self._model(**inputs),
                wanted,
                lambda layer, hidden: on_layer(layer, hidden.flatten(0, 1)),
            )

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
            "lw_runs": batch.runs() + ([(filler, 1)] if filler else []),
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
        return Taps(taps) if taps is not None else Collected()

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
        seen = _CountedCalls()
        try:
            with seen:
                for batch in batches(probes.lengths(), sum(probes.lengths()) * len(probes.ids), self.packing):
                    layers: dict[int, torch.Tensor] = {}
                    self.run(probes, batch, wanted, layers.__setitem__)
                    for window, begin in zip(
                        batch.windows.tolist(), self.begins(batch).tolist(), strict=True
                    ):
                        if not _close(reference[window], layers, begin, tolerance):
                            return False
        except _UNFIT:
            return False
        return self.packing != "packed" or seen.calls > 0


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
        self._model = loaded.model
        reference = _references(loaded.model, probes, name)
        self.blocks, self.width = len(reference[0]) - 1, reference[0][0].shape[1]
        self.device = next(loaded.model.parameters()).device

    def begins(self, batch: Batch) -> Ints:
        """Return where the one window begins."""
        return np.zeros_like(batch.windows)

    def run(self, sequences: Sequences, batch: Batch, wanted: frozenset[int], on_layer: OnLayer) -> None:
        """Run one window through the whole model; `on_layer` gets each wanted layer as (pieces, width)."""
        (window,) = batch.windows.tolist()
        types = sequences.types[window] if sequences.types is not None else None
        states = hf.plain_states(self._model, sequences.ids[window], types)
        with torch.inference_mode():
            for layer in sorted(wanted):
                on_layer(layer, states[layer].to(self.device))


class _CountedCalls:
    """Counts how often our attention is called: some families take its name and never call it."""

    def __enter__(self) -> "_CountedCalls":
        self.before = attention.calls()
        return self

    def __exit__(self, *_: object) -> None:
        self.calls = attention.calls() - self.before


def _close(
    reference: list[torch.Tensor], layers: dict[int, torch.Tensor], begin: int, tolerance: float
) -> bool:
    for layer, expected in enumerate(reference):
        got = layers[layer][begin : begin + len(expected)].float().cpu()
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
