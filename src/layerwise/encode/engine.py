"""Run batches of windows through a model and deliver each requested layer; settle at load how that is done.

One text per forward by plain transformers is right and slow. Faster are batches without padding (`attention`) and
oneDNN's matrix products (`linear`). But a family may treat padding, positions or neighbours in its own way, and then
its vectors would be slightly wrong without any error. So `Engine` tries the ways at load, the fastest first, and keeps
the first whose layers agree with plain forwards on the probes (`compare`, `probes`). No family is named here.

Several threads may run one engine at the same time: the state of a forward is in its arguments and in `taps.Forward`.
Some families, however, change their model in a forward (BigBird, rotary positions that grow), so that the next text
would get other vectors. Their forwards run one at a time, and the model is restored after each (`model_state`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from layerwise._util.locks import new_lock
from layerwise._util.threads import computing
from layerwise.arguments import argument
from layerwise.array_types import F32, I64
from layerwise.encode import forwards, int8, linear, model_state
from layerwise.encode.attention import NAME, NARROW, Runs, head_size
from layerwise.encode.batches import Batch, LayerKey, LayerSets, Packing, Sequences, batches
from layerwise.encode.compare import Comparison
from layerwise.encode.first_block import NamedTensors, block_inputs
from layerwise.encode.hf import loading, modules, reports
from layerwise.encode.probes import Probes
from layerwise.encode.references import plain_layers, read_references
from layerwise.encode.sited_model import SitedModel
from layerwise.encode.taps import Collected, Forward, OnLayer, Taps, block_of
from layerwise.encode.thread_invariance import make_thread_invariant
from layerwise.encode.transfer import to_device
from layerwise.errors import ModelError
from layerwise.tolerance import COMPUTED

_CALIBRATION_BUDGET = 1024  # tokens of a batch while int8 scales are computed
_ROUND = 64  # packed batches are filled up to a multiple of this number of tokens


class Engine:
    """Runs batches through one model.

    Attributes:
        packing: `packed` (no padding, with `attention.packed_attention`), `padded`, `even` (only equal lengths
            together), or `single` (one text at a time).
        leaves: whether a window leaves a forward after the deepest layer that it needs.
        products: `onednn` (reordered weights), `int8`, or `torch`.
        blocks, width: the number of blocks, and of numbers per vector.
        final_norm: whether the last layer is normed and the others are not.
        causal: whether each token attends only to itself and to tokens before it.
    """

    def __init__(
        self,
        loaded: loading.Loaded,
        precision: str,
        probes: Probes,
        name: str,
        samples: Sequences | None = None,
    ) -> None:
        """Settle how the model is run.

        Args:
            loaded, precision, name: the model.
            probes: texts on which all ways are compared with plain forwards.
            samples: for int8, texts from which the scales of inputs are computed.

        Raises:
            ModelError: no text model, one that int8 changes too much, or one that no way of running gets right.
        """
        self._model, self._padding_idx, self._name = loaded.model, loaded.padding_idx, name
        self._head_size = head_size(loaded.model)
        self._forward_lock, self._copy_lock = new_lock(), new_lock()
        self._eager: nn.Module | None = None
        self._sited: SitedModel | None = None
        self.leaves = False
        # Whether forwards change the model. Until the probes have shown that, assume that they do.
        self._is_stateful, self._was_changed = True, False
        self._pad_id = getattr(loaded.config, "pad_token_id", None) or 0
        self.device = next(loaded.model.parameters()).device
        self.packing: Packing = "even"
        self.products = "torch"
        self._unpackable_tokens: I64 = np.empty(0, dtype=np.int64)
        comparison = Comparison(loaded.model, probes, name)
        references = comparison.references
        self._text, self._layer_taps = probes.plain.select([0]), references.taps
        self.blocks, self.width, self.causal = references.blocks, references.width, references.causal
        if self.causal:
            modules.without_cache(self._model)
        if self.device.type == "cpu":
            make_thread_invariant(self._model)
        # Before linear layers are replaced: a layer with a hook stays.
        self._taps = Taps(references.taps, self._model) if references.taps is not None else Collected()
        modules.use_linear_layers(self._model)
        self.final_norm = self._taps.final_norm
        # The packing is settled before int8 changes the numbers, so that its tolerance needn't be that of int8.
        exact = "fp32" if samples is not None else precision
        self._settle(comparison, COMPUTED[exact], repack=samples is None)
        if samples is not None:
            self._to_int8(samples)
            if not comparison.agrees_on_plain(self, COMPUTED["int8"]):
                raise ModelError(
                    f"model {name!r} has too large an error in int8; use {argument('precision', 'bf16')} or fp32"
                )
            self.leaves = self.leaves and comparison.agrees_after_leaving(self, COMPUTED["int8"])
        self._is_stateful = self._was_changed

    def token_table(self) -> F32:
        """Return the embedding of every token, float32 (vocabulary, width of the table)."""
        return modules.token_table(self._model)

    def attention(self, sequences: Sequences) -> dict[int, torch.Tensor] | None:
        """Return each block's attention in the one window of `sequences`; see `forwards.attention_maps`."""
        types = sequences.types[0] if sequences.types is not None else None
        with self._copy_lock:
            if self._eager is None or self._is_stateful:
                with self._model_restored(self._model):
                    self._eager = modules.eager_copy(self._model)
            # Such a model must be adapted to a text of this length before the forward that returns the maps.
            if self._is_stateful and self._eager is not None:
                forwards.adapt_to_text(self._eager, sequences.ids[0])
            return forwards.attention_maps(self._eager, sequences.ids[0], types, self.blocks)

    def sited(self) -> SitedModel:
        """Return the copy of the model that delivers sites; it is made, and its sites are found, at the first call."""
        with self._copy_lock:
            if self._sited is None:
                taps = self._layer_taps if isinstance(self._taps, Taps) else None
                with self._model_restored(self._model):
                    self._sited = SitedModel(self._model, taps, self._text, self._run_on_text)
            return self._sited

    def _run_on_text(self, model: nn.Module, text: Sequences) -> None:
        (batch,) = batches(text.lengths(), 1, self.packing)
        model(**self.inputs(text, batch))

    def batches(self, sequences: Sequences, budget: int, depths: I64 | None = None) -> list[Batch]:
        """Return which windows go through the model together, at most `budget` tokens each; see `batches`.

        With `depths`, windows of different depths share a batch only if they can leave the forward at their own depth.
        """
        lengths = np.array(sequences.lengths(), dtype=np.int64)
        alone = np.array([self._is_unpackable(ids) for ids in sequences.ids], dtype=bool)
        shared = np.flatnonzero(~alone)
        classes = [shared]
        if depths is not None and not self.leaves:
            classes = [shared[depths[shared] == depth] for depth in np.unique(depths[shared])]
        # `batches` numbers the windows that it gets.
        shared_batches = [
            Batch(windows[batch.windows], batch.lengths)
            for windows in classes
            for batch in batches(
                lengths[windows], budget, self.packing, None if depths is None else depths[windows]
            )
        ]
        return shared_batches + [Batch(np.array([n]), lengths[[n]]) for n in np.flatnonzero(alone)]

    def _is_unpackable(self, ids: I64) -> bool:
        """Return whether a window must be alone in its forward."""
        return len(self._unpackable_tokens) > 0 and bool(np.isin(ids, self._unpackable_tokens).any())

    def begins(self, batch: Batch) -> I64:
        """Return where each window of a batch begins on the axis of tokens, padding included."""
        sizes = (
            batch.lengths if self.packing == "packed" else np.full_like(batch.lengths, batch.lengths.max())
        )
        return np.subtract(np.cumsum(sizes), sizes)

    def run(self, sequences: Sequences, batch: Batch, layers: LayerSets, on_layer: OnLayer) -> None:
        """Run one batch until all of `layers` are computed.

        `on_layer` gets each layer that any window needs as (tokens of the batch, width), padding included, as soon as
        its block is done. Windows that need different layers must be in the order of `Batch.by_depth`. If the engine
        `leaves`, a layer then holds the tokens of the remaining windows only, which are the first of the batch.

        Raises:
            ModelError: a layer wasn't delivered.
        """
        inputs = self.inputs(sequences.select(batch.windows.tolist()), batch)
        # Only needed without taps: the model then keeps all layers in memory to the end.
        inputs["output_hidden_states"] = isinstance(self._taps, Collected)
        forward = self._forward(batch, layers, inputs, on_layer)
        model, taps = self._hooked(forward.layers)
        with self._model_restored(model), torch.inference_mode():
            taps.run(lambda: model(**inputs), forward)
        # The embeddings and the values of the first block need no attention.
        needs_attention = not forward.layers <= {0, "value.1"}
        if self.packing == "packed" and needs_attention and not inputs["lw_runs"].calls:
            raise ModelError(
                f"model {self._name!r} accepts the attention {NAME!r} and doesn't call it; load it again, and if "
                "that doesn't help report it"
            )

    def _hooked(self, layers: frozenset[LayerKey]) -> tuple[nn.Module, Taps | Collected]:
        """Return the model, and the hooks on it that deliver these layers and sites."""
        if any(isinstance(key, str) for key in layers):
            sited = self.sited()
            if sited.taps is not None:
                return sited.model, sited.taps
        return self._model, self._taps

    @contextmanager
    def _model_restored(self, model: nn.Module) -> Iterator[None]:
        """Restore the model after the block, one block at a time, unless no forward changes it."""
        if self.packing == "packed" and not self._is_stateful:
            yield
            return
        # torch's products of very small heads depend on the number of threads; `packed_attention` pads such heads.
        one_thread = self.packing != "packed" and self.device.type == "cpu" and self._head_size < NARROW
        with self._forward_lock, reports.without_reports(), computing(1 if one_thread else None):
            restore = model_state.snapshot(model)
            try:
                yield
            finally:
                self._was_changed |= restore()

    def _forward(self, batch: Batch, layers: LayerSets, inputs: dict[str, Any], on_layer: OnLayer) -> Forward:
        """Return the state of a forward at its beginning; arguments as of `run`, and those of the model."""
        length = inputs["input_ids"].shape[1]

        def flat(layer: LayerKey, hidden: torch.Tensor) -> None:
            # BigBird pads texts to a multiple of its block size.
            on_layer(layer, hidden[:, :length].flatten(0, 1))

        if isinstance(layers, frozenset):
            return Forward(layers, flat)
        union = frozenset().union(*layers)
        if len(layers) != len(batch.windows) or not all(layers):
            raise ValueError(
                f"{len(layers)} sets of layers for {len(batch.windows)} windows; give each window one"
            )
        if not self.leaves:
            return Forward(union, flat)
        depths = np.array([max(map(block_of, keys)) for keys in layers])
        if (np.diff(depths) > 0).any():
            raise ValueError("a batch of windows that need different layers must have the deepest ones first")
        ends = np.cumsum(batch.lengths)
        remaining_after = {
            int(depth): int(ends[np.flatnonzero(depths > depth)[-1]])
            for depth in set(depths[depths < depths[0]])
        }
        return Forward(union, flat, length, remaining_after, inputs["lw_runs"])

    def inputs(self, texts: Sequences, batch: Batch) -> dict[str, Any]:
        """Return the arguments of the model's forward for the texts of a batch, in its order."""
        if self.packing != "packed":
            return self._padded(texts.ids, texts.types)
        if len(texts.ids) == 1 and self._is_unpackable(texts.ids[0]):
            return self.inputs_alone(texts)
        return self._packed(texts.ids, texts.types, batch)

    def inputs_alone(self, text: Sequences) -> dict[str, Any]:
        """Return the arguments of the model's forward for one text without any other, and without fill tokens."""
        runs = (
            {"lw_runs": Runs([(1, len(text.ids[0]))], causal=self.causal)} if self.packing == "packed" else {}
        )
        return {**self._padded(text.ids, text.types), **runs}

    def first_block_inputs(self, inputs: dict[str, Any]) -> NamedTensors:
        """Return the tensors that reach the first block of the model called with `inputs`; none if that isn't known."""
        block = self._taps.first_block
        if block is None:
            return {}
        with self._model_restored(self._model), torch.inference_mode():
            return block_inputs(block, lambda: self._model(**inputs))

    def _packed(self, ids: Sequence[I64], types: Sequence[I64] | None, batch: Batch) -> dict[str, Any]:
        """Return the arguments of the forward for texts in one row, filled up with texts of one token."""
        # If batches have few different sizes, torch can reuse memory and kernels of the batch before.
        fill = -int(batch.lengths.sum()) % _ROUND

        def row(parts: Sequence[I64], fill_value: int) -> torch.Tensor:
            numbers = np.concatenate([*parts, np.full(fill, fill_value)])
            return to_device(torch.from_numpy(numbers)[None], self.device)

        inputs: dict[str, Any] = {
            "input_ids": row(ids, self._pad_id),
            "position_ids": row(
                [self._positions(ids, batch)], 0 if self._padding_idx is None else self._padding_idx + 1
            ),
            "lw_runs": Runs(batch.runs() + ([(fill, 1)] if fill else []), causal=self.causal),
        }
        if types is not None:
            inputs["token_type_ids"] = row(types, 0)
        return inputs

    def _positions(self, ids: Sequence[I64], batch: Batch) -> I64:
        """Return the position of each token in its text, numbered as the model does it for a text alone."""
        begins = np.repeat(self.begins(batch), batch.lengths)
        if self._padding_idx is None:
            return np.arange(len(begins)) - begins
        # As `create_position_ids_from_input_ids` of transformers.
        counted = np.concatenate(ids) != self._padding_idx
        counts = np.concatenate([[0], np.cumsum(counted)])
        positions: I64 = (counts[1:] - counts[begins]) * counted + self._padding_idx
        return positions

    def _padded(self, ids: Sequence[I64], types: Sequence[I64] | None) -> dict[str, Any]:
        """Return the arguments of the forward for texts in rows, padded to the longest."""
        longest = max(map(len, ids))

        def rows(parts: Sequence[I64], fill_value: int) -> torch.Tensor:
            numbers = np.full((len(parts), longest), fill_value)
            for row, part in zip(numbers, parts, strict=True):
                row[: len(part)] = part
            return to_device(torch.from_numpy(numbers), self.device)

        inputs = {
            "input_ids": rows(ids, self._pad_id),
            "attention_mask": rows([np.ones_like(part) for part in ids], 0),
        }
        if types is not None:
            inputs["token_type_ids"] = rows(types, 0)
        return inputs

    def _settle(self, comparison: Comparison, tolerance: float, *, repack: bool) -> None:
        """Choose the fastest packing and products whose layers agree with plain one-text forwards on the probes.

        Raises:
            ModelError: no packing agrees, not even one text at a time.
        """
        plain_attention = modules.use_packed_attention(self._model)
        fast = repack and self.device.type == "cpu" and linear.available(next(self._model.parameters()).dtype)
        packings: tuple[Packing, ...] = ("packed", "padded", "even", "single")
        for self.packing in packings:
            if self.packing == "padded":
                modules.use_attention(self._model, plain_attention)
            if self._products_agree(comparison, tolerance, fast=fast):
                return
            # Perhaps only texts with certain tokens can't be packed: these then run alone.
            if self.packing == "packed" and comparison.agrees_on_plain(self, tolerance):
                self._unpackable_tokens = comparison.unpackable_tokens(self, plain_attention, tolerance)
                if len(self._unpackable_tokens) and self._products_agree(comparison, tolerance, fast=fast):
                    return
                self._unpackable_tokens = self._unpackable_tokens[:0]
        # Perhaps the taps disagree: use the layers in `hidden_states`.
        self._taps = Collected()
        for self.packing in ("even", "single"):
            if comparison.agrees(self, tolerance):
                return
        raise ModelError(
            f"model {self._name!r} gives other layers in every way of batching, and with its layers read one text at a "
            "time, than in plain forward passes of transformers; use another model, or report this one"
        )

    def _products_agree(self, comparison: Comparison, tolerance: float, *, fast: bool) -> bool:
        """Use oneDNN's products if the layers then agree, else torch's; return whether the layers agree."""
        if fast:
            before = [(module, dict(module.named_children())) for module in self._model.modules()]
            linear.repack(self._model)
            self.products = "onednn"
            if self._agrees(comparison, tolerance):
                return True
            for module, children in before:
                for name, child in children.items():
                    setattr(module, name, child)
            self.products = "torch"
        return self._agrees(comparison, tolerance)

    def _agrees(self, comparison: Comparison, tolerance: float) -> bool:
        """Return whether the layers agree; let windows leave the forward early if they then agree."""
        self.leaves = self.packing == "packed"
        if self.leaves and comparison.agrees(self, tolerance):
            return True
        self.leaves = False
        return comparison.agrees(self, tolerance)

    def _to_int8(self, samples: Sequences) -> None:
        """Replace the model's linear layers by int8 ones, with scales from the inputs that `samples` cause."""

        def run() -> None:
            for batch in batches(samples.lengths(), _CALIBRATION_BUDGET, self.packing):
                self.run(samples, batch, frozenset(range(self.blocks + 1)), lambda layer, hidden: None)

        int8.convert(self._model, run)
        linear.repack(self._model)
        self.products = "int8"


class PlainEngine:
    """The reference: one window per forward of unchanged transformers, every layer from `hidden_states`."""

    packing: Packing = "even"
    products = "torch"
    final_norm = False

    def __init__(
        self,
        loaded: loading.Loaded,
        precision: str,
        probes: Probes,
        name: str,
        samples: Sequences | None = None,
    ) -> None:
        self._model, self._forward_lock = loaded.model, new_lock()
        references = read_references(loaded.model, probes, name)
        self._text, self._layer_taps = probes.plain.select([0]), references.taps
        self._sited: SitedModel | None = None
        self.blocks, self.width, self.causal = references.blocks, references.width, references.causal
        self.device = next(loaded.model.parameters()).device

    def token_table(self) -> F32:
        """Return the embedding of every token, float32 (vocabulary, width of the table)."""
        return modules.token_table(self._model)

    def batches(self, sequences: Sequences, budget: int, depths: I64 | None = None) -> list[Batch]:
        """Return one window per batch, whatever budget and depths."""
        return batches(sequences.lengths(), 1, self.packing)

    def begins(self, batch: Batch) -> I64:
        """Return where the only window begins."""
        return np.zeros_like(batch.windows)

    def run(self, sequences: Sequences, batch: Batch, layers: LayerSets, on_layer: OnLayer) -> None:
        """Run one window through the whole model; `on_layer` gets each of `layers` as (tokens, width)."""
        (window,) = batch.windows.tolist()
        keys = layers if isinstance(layers, frozenset) else layers[0]
        sites = frozenset(key for key in keys if isinstance(key, str))
        if sites:
            self._run_sites(sequences.select([window]), sites, on_layer)
        if sites == keys:
            return
        with self._forward_lock, reports.without_reports():
            states = plain_layers(self._model, sequences, window)
        with torch.inference_mode():
            for layer in sorted(key for key in keys if isinstance(key, int)):
                on_layer(layer, states[layer].to(self.device))

    def sited(self) -> SitedModel:
        """Return the copy of the model that delivers sites; it is made, and its sites are found, at the first call."""
        with self._forward_lock, reports.without_reports():
            if self._sited is None:
                self._sited = SitedModel(self._model, self._layer_taps, self._text, _run_plain)
            return self._sited

    def _run_sites(self, text: Sequences, sites: frozenset[LayerKey], on_layer: OnLayer) -> None:
        """Run one window through the copy with sites."""
        sited, tokens = self.sited(), len(text.ids[0])
        forward = Forward(sites, lambda key, hidden: on_layer(key, hidden[0, :tokens]))
        if sited.taps is not None:
            with self._forward_lock, reports.without_reports(), torch.inference_mode():
                sited.taps.run(lambda: _run_plain(sited.model, text), forward)


def _run_plain(model: nn.Module, text: Sequences) -> None:
    types = None if text.types is None else text.types[0]
    forwards.run_plain(model, text.ids[0], types)
