"""Deliver each layer of a forward as soon as its block is done, and stop after the last layer that is needed.

transformers returns all layers at the end of a full forward. All of them would stay in memory until then, and the
blocks after the deepest requested layer would be computed for nothing. A tap is a hook that delivers a layer when
the module that computes it returns. Which module that is differs between families (a block, or a norm after it;
ALBERT calls one block again and again). So `find_taps` compares the outputs of all modules with `hidden_states` on a
probe, once at load. Where a layer is the output of no module, `Collected` reads the layers from `hidden_states`.

Texts of a packed batch may need different layers. A text leaves the forward after its deepest layer: the hooks cut
the hidden state, and later the inputs of each block, to the texts that remain.

Several threads may share one model and its hooks. The state of one forward is therefore a `Forward`, and a hook uses
the `Forward` of the thread that it runs in.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from layerwise.encode.batches import LayerKey
from layerwise.errors import ModelError
from layerwise.layers import depth

OnLayer = Callable[[LayerKey, torch.Tensor], None]


@dataclass(frozen=True, slots=True)
class Tap:
    """A layer is the output of `module` when it is called for the `call`-th time in one forward, counted from 0.

    With `of_input`, it is the input of that call: embeddings that are added outside any module.
    """

    module: nn.Module
    call: int
    of_input: bool = False


@dataclass(frozen=True, slots=True)
class SiteTap:
    """A site is the output of `module` when it is called for the `call`-th time, or the last `width` numbers of it."""

    module: nn.Module
    call: int
    width: int


def block_of(key: LayerKey) -> int:
    """Return the number of the block that gives a layer or a site; 0 for the embeddings."""
    return key if isinstance(key, int) else depth(key)


class Stop(Exception):
    """Raised inside a forward to end it early."""


def find_taps(model: nn.Module, forward: Callable[[], Any]) -> list[Tap] | None:
    """Return the tap of every layer; None if a layer isn't the output of any module.

    Args:
        model: the model.
        forward: runs the model once and returns its output with `hidden_states`.
    """
    first_inputs: dict[nn.Module, torch.Tensor] = {}

    def record_input(module: nn.Module, args: Any, kwargs: Any) -> None:
        hidden = first_tensor([*args, *kwargs.values()])
        if hidden is not None:
            first_inputs.setdefault(module, hidden.clone())

    handles = [
        module.register_forward_pre_hook(record_input, with_kwargs=True) for module in _inner_modules(model)
    ]
    try:
        output, calls = _recorded(model, forward)
    finally:
        for handle in handles:
            handle.remove()
    states = hidden_states(output)
    taps = [_tap(state, calls) for state in states]
    if len(taps) > 1 and taps[0] is None and taps[1] is not None:
        block = taps[1].module
        if block in first_inputs and _same(first_inputs[block], states[0]):
            taps[0] = Tap(block, 0, of_input=True)
    complete = [tap for tap in taps if tap is not None]
    return complete if len(complete) == len(taps) else None


def norm_after_layers(model: nn.Module, forward: Callable[[], Any]) -> nn.Module | None:
    """Return the norm whose output is `last_hidden_state` where `hidden_states` end before it; None where they don't.

    The arguments are those of `find_taps`.
    """
    output, calls = _recorded(model, forward)
    last = output.last_hidden_state
    tap = None if _same(last, hidden_states(output)[-1]) else _tap(last, calls)
    return tap.module if tap is not None and _is_norm(tap) else None


def _recorded(
    model: nn.Module, forward: Callable[[], Any]
) -> tuple[Any, list[tuple[nn.Module, int, torch.Tensor]]]:
    """Return the output of a model, and all calls of its modules with the hidden states that they return, in order."""
    calls: list[tuple[nn.Module, int, torch.Tensor]] = []
    counts: dict[nn.Module, int] = {}

    def record(module: nn.Module, _: Any, output: Any) -> None:
        call = counts.get(module, 0)
        counts[module] = call + 1
        hidden = first_tensor(output)
        if hidden is not None and hidden.dim() == 3:
            # A copy, because later modules may change the tensor in place.
            calls.append((module, call, hidden.clone()))

    handles = [module.register_forward_hook(record) for module in _inner_modules(model)]
    try:
        return forward(), calls
    finally:
        for handle in handles:
            handle.remove()


def _inner_modules(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if module is not model]


def record_layers(taps: Sequence[Tap], run_model: Callable[[], Any], *, stops: bool) -> list[torch.Tensor]:
    """Return the outputs that the first layers of a model have in a forward.

    Args:
        taps: those of these layers, from layer 0 on.
        run_model: runs the model once.
        stops: whether the forward ends after the last of these layers.

    Raises:
        ModelError: the forward ends without one of these layers.
    """
    layers: dict[int, torch.Tensor] = {}
    counts: dict[nn.Module, int] = {}
    places = {(tap.module, tap.call): layer for layer, tap in enumerate(taps) if not tap.of_input}

    def record(module: nn.Module, _: Any, output: Any) -> None:
        call = counts[module] = counts.get(module, -1) + 1
        layer, hidden = places.get((module, call)), first_tensor(output)
        if layer is not None and hidden is not None:
            layers[layer] = hidden.clone()
            if stops and layer == len(taps) - 1:
                raise Stop

    def record_input(_: nn.Module, args: Any, kwargs: Any) -> None:
        hidden = first_tensor([*args, *kwargs.values()])
        if hidden is not None:
            layers.setdefault(0, hidden.clone())

    handles = [module.register_forward_hook(record) for module in dict.fromkeys(tap.module for tap in taps)]
    if taps[0].of_input:
        handles.append(taps[0].module.register_forward_pre_hook(record_input, with_kwargs=True))
    try:
        run_model()
    except Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if len(layers) < len(taps):
        raise ModelError("the model's forward ends without a layer that it gave before; use another model")
    return [layers[layer] for layer in range(len(taps))]


def _tap(state: torch.Tensor, calls: list[tuple[nn.Module, int, torch.Tensor]]) -> Tap | None:
    """Return the tap of a layer, given all calls of modules with their outputs; None if no module outputs it."""
    matches = [(module, call) for module, call, hidden in calls if _same(hidden, state)]
    if not matches:
        return None
    # Later modules may pass the layer on unchanged (dropout, a norm that is the identity): they belong to the next
    # layer. Of the modules around the first match the outermost is the block.
    first = matches[0][0]
    return next(Tap(*match) for match in reversed(matches) if first in set(match[0].modules()))


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)


def hidden_states(output: Any) -> tuple[torch.Tensor, ...]:
    """Return the layers in a model's output; of a model without blocks, for which transformers gives none, the only one."""
    return tuple(output.hidden_states) or (output.last_hidden_state,)


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return the hidden state in a module's output: the tensor, or the first of a tuple; None if that is no tensor."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


class ShrinkingBatch(Protocol):
    """The texts of a packed batch, some of which leave the forward before the others."""

    def keep(self, tokens: int) -> None:
        """Keep the texts that make up the first `tokens` tokens."""


@dataclass(eq=False)
class Forward:
    """The state of one forward.

    Attributes:
        layers: the positions of the layers, and the names of the sites, to deliver.
        on_layer: called with each of these as soon as it is computed.
        tokens: the number of tokens of the batch at the beginning; 0 if no text may leave.
        remaining_after: the number of tokens that remain, for each layer after which texts leave. They are the first
            tokens of the batch.
        runs: the texts of the batch; cut whenever some leave.
        delivered: the layers that were delivered.
        calls: the number of calls of each module so far.
    """

    layers: frozenset[LayerKey]
    on_layer: OnLayer
    tokens: int = 0
    remaining_after: Mapping[int, int] = field(default_factory=dict)
    runs: ShrinkingBatch | None = None
    delivered: set[LayerKey] = field(default_factory=set)
    calls: dict[nn.Module, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deepest = max(map(block_of, self.layers))
        self.remaining = self.tokens

    @property
    def is_done(self) -> bool:
        """Whether everything was delivered."""
        return len(self.delivered) == len(self.layers)

    def count_call(self, module: nn.Module) -> int:
        """Count a call of a module, and return the number of its calls before."""
        before = self.calls.get(module, 0)
        self.calls[module] = before + 1
        return before

    def deliver(self, layer: LayerKey, hidden: torch.Tensor) -> None:
        """Pass a layer or a site to `on_layer` if it is one of `layers`."""
        if layer in self.layers:
            self.delivered.add(layer)
            self.on_layer(layer, hidden)

    def cut_output(self, layer: LayerKey, output: Any) -> Any:
        """Return the output for a layer without the texts that leave after it; None if no text leaves."""
        if not isinstance(layer, int) or layer not in self.remaining_after:
            return None
        before, self.remaining = self.remaining, self.remaining_after[layer]
        if self.runs is not None:
            self.runs.keep(self.remaining)
        return _cut(output, before, self.remaining)

    def cut_inputs(self, inputs: Any) -> Any:
        """Return the inputs of a module without the texts that have left."""
        return inputs if self.remaining == self.tokens else _cut(inputs, self.tokens, self.remaining)

    def check(self) -> None:
        """Raise ModelError if one of `layers` wasn't delivered."""
        missing = sorted(self.layers - self.delivered, key=lambda key: (block_of(key), str(key)))
        if missing:
            raise ModelError(
                f"the model's forward ended without layer {', '.join(map(str, missing))}, which was requested; it "
                "behaves differently than at load: load it again, and if that doesn't help report it"
            )


def _cut(value: Any, tokens: int, remaining: int) -> Any:
    """Cut all tensors of a packed batch of `tokens` tokens to the `remaining` first tokens; leave other values."""
    if isinstance(value, torch.Tensor):
        if value.dim() > 1 and value.shape[:2] == (1, tokens):
            return value[:, :remaining]
        # Positions and rotary angles may have an axis of heads before that of tokens.
        if value.dim() > 2 and value.shape[:3] == (1, 1, tokens):
            return value[:, :, :remaining]
        return value
    if type(value) in (list, tuple):
        return type(value)(_cut(item, tokens, remaining) for item in value)
    if type(value) is dict:
        return {name: _cut(item, tokens, remaining) for name, item in value.items()}
    return value


class _Current(threading.local):
    """The forward that this thread runs, if any."""

    forward: Forward | None = None


class Taps:
    """Hooks on a model that deliver each layer, and each site, as soon as it is computed.

    Attributes:
        final_norm: whether the last layer is the output of a norm after the last block.
        first_block: the module whose output is layer 1.
    """

    def __init__(
        self, taps: Sequence[Tap], model: nn.Module, sites: Mapping[str, SiteTap] | None = None
    ) -> None:
        self._layers: dict[nn.Module, dict[int, LayerKey]] = {}
        self._sites = sites or {}
        self._embedded = taps[0].module if taps[0].of_input else None
        for layer, tap in enumerate(taps):
            if not tap.of_input:
                self._layers.setdefault(tap.module, {})[tap.call] = layer
        self._current = _Current()
        for module in _blocks(model, self._layers):
            module.register_forward_pre_hook(self._before, with_kwargs=True)
        for name, site_tap in self._sites.items():
            self._layers.setdefault(site_tap.module, {})[site_tap.call] = name
        for module in self._layers:
            module.register_forward_hook(self._after)
        self.first_block = taps[1].module if len(taps) > 1 else None
        self.final_norm = final_norm(taps) is not None

    def run(self, run_model: Callable[[], Any], forward: Forward) -> None:
        """Run the model until `forward` has got each of its layers and sites.

        Raises:
            ModelError: a layer wasn't delivered.
        """
        before, self._current.forward = self._current.forward, forward
        try:
            run_model()
        except Stop:
            pass
        finally:
            self._current.forward = before
        forward.check()

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        forward = self._current.forward
        if forward is None:
            return None
        if module is self._embedded and not forward.calls.get(module):
            hidden = first_tensor([*args, *kwargs.values()])
            if hidden is not None:
                forward.deliver(0, hidden)
            if not forward.deepest:
                raise Stop
            forward.cut_output(0, None)
        if forward.remaining == forward.tokens:
            return None
        return forward.cut_inputs(args), forward.cut_inputs(kwargs)

    def _after(self, module: nn.Module, _: Any, output: Any) -> Any:
        forward = self._current.forward
        if forward is None:
            return None
        layer = self._layers[module].get(forward.count_call(module))
        hidden = first_tensor(output)
        if layer is None or hidden is None:
            return None
        if isinstance(layer, str):
            hidden = hidden[..., -self._sites[layer].width :].contiguous()
        forward.deliver(layer, hidden)
        if forward.is_done:
            raise Stop
        return forward.cut_output(layer, output)


def _blocks(model: nn.Module, taps: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the modules that get a hidden state: those of the taps, and all of a module list with one of them."""
    modules = set(taps)
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and modules & set(m)]
    return list(dict.fromkeys([*modules, *(block for blocks in lists for block in blocks)]))


class Collected:
    """The interface of `Taps` for other models: run the whole forward, then deliver the layers of `hidden_states`."""

    final_norm = False
    first_block = None

    def run(self, run_model: Callable[[], Any], forward: Forward) -> None:
        """Run the model to its end, then pass all layers to `forward`."""
        for layer, hidden in enumerate(hidden_states(run_model())):
            forward.deliver(layer, hidden)
        forward.check()


def final_norm(taps: Sequence[Tap]) -> nn.Module | None:
    """Return the norm after the last block, whose output is the last layer; None where the block gives it.

    In many families all layers are outputs of norms, and then the last one is no exception.
    """
    return taps[-1].module if _is_norm(taps[-1]) and (len(taps) < 3 or not _is_norm(taps[-2])) else None


def _is_norm(tap: Tap) -> bool:
    """Return whether the module of a tap is a norm: a block has matrices, perhaps repacked ones (`packed`)."""
    return not any(parameter.dim() > 1 for parameter in tap.module.parameters()) and not any(
        hasattr(module, "packed") for module in tap.module.modules()
    )
