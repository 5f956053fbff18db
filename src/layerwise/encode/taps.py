"""Where each layer comes out of a model, and how to stop once the last one that is wanted has come.

transformers hands out all layers at the end of a full forward. A tap takes each layer at the moment its
block is done: it is the n-th output of one module, found once by comparing every module's outputs with
`hidden_states` on a probe.

A model is shared by threads. What belongs to one forward (which layers are wanted, how often each module was
called, who is still in the batch) is a `Forward`; the hooks find the one of the thread that they run in.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from layerwise.errors import ModelError

OnLayer = Callable[[int, torch.Tensor], None]


@dataclass(frozen=True, slots=True)
class Tap:
    """Layer = what the module gives back the `call`-th time it is called in one forward (0-based)."""

    module: nn.Module
    call: int


class Stop(Exception):
    """Raised inside a forward to end it early."""


def find_taps(model: nn.Module, forward: Callable[[], Any]) -> list[Tap] | None:
    """Return the tap of every layer, or `None` where a layer is no module's output.

    `forward` runs the model once and returns its output with `hidden_states`.
    """
    calls: list[tuple[nn.Module, int, torch.Tensor]] = []
    counts: dict[nn.Module, int] = {}

    def record(module: nn.Module, _: Any, output: Any) -> None:
        call = counts.get(module, 0)
        counts[module] = call + 1
        hidden = first_tensor(output)
        if hidden is not None and hidden.dim() == 3:
            calls.append((module, call, hidden.clone()))

    handles = [module.register_forward_hook(record) for module in model.modules() if module is not model]
    try:
        states = forward().hidden_states
    finally:
        for handle in handles:
            handle.remove()
    taps = []
    for state in states:
        same = [
            (m, call)
            for m, call, hidden in calls
            if hidden.shape == state.shape and torch.equal(hidden, state)
        ]
        if not same:
            return None
        # The outermost module around the first that gives the layer; what only passes it on belongs to the next one.
        first = same[0][0]
        taps.append(next(Tap(*tap) for tap in reversed(same) if first in set(tap[0].modules())))
    return taps


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return the hidden state in a module's output: the tensor itself or the first of a tuple."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


class Leaving(Protocol):
    """The texts of a packed batch, of which some leave the forward before the others."""

    def keep(self, tokens: int) -> None:
        """Keep the texts that make up the first `tokens` tokens."""


@dataclass(eq=False)
class Forward:
    """One forward: what is wanted of it, and how far it has come.

    Attributes:
        wanted: positions on the layer axis.
        on_layer: takes each wanted layer as soon as it is there.
        tokens: how many tokens are in the batch at the beginning; 0 where no text may leave.
        stays: after which layers texts leave, and how many tokens stay, those at the beginning of the batch.
        runs: the texts of the batch, which are told.
        arrived: the layers that came.
    """

    wanted: frozenset[int]
    on_layer: OnLayer
    tokens: int = 0
    stays: Mapping[int, int] = field(default_factory=dict)
    runs: Leaving | None = None
    arrived: set[int] = field(default_factory=set)
    calls: dict[nn.Module, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deepest = max(self.wanted)
        self.left = self.tokens

    def call_of(self, module: nn.Module) -> int:
        """Return how often a module was called before in this forward, and count this call."""
        before = self.calls.get(module, 0)
        self.calls[module] = before + 1
        return before

    def take(self, layer: int, hidden: torch.Tensor) -> None:
        """Hand a layer over if it is wanted."""
        if layer in self.wanted:
            self.arrived.add(layer)
            self.on_layer(layer, hidden)

    def leave(self, layer: int, output: Any) -> Any:
        """Return what a module gave back for a layer without the texts that leave there; `None` if none does."""
        if layer not in self.stays:
            return None
        before, self.left = self.left, self.stays[layer]
        if self.runs is not None:
            self.runs.keep(self.left)
        return _cut(output, before, self.left)

    def cut(self, inputs: Any) -> Any:
        """Return a module's inputs without the texts that have left."""
        return inputs if self.left == self.tokens else _cut(inputs, self.tokens, self.left)

    def check(self) -> None:
        """Raise ModelError where a wanted layer didn't come."""
        lacking = sorted(self.wanted - self.arrived)
        if lacking:
            raise ModelError(
                f"the model's forward ended without layer {', '.join(map(str, lacking))}, which was asked for; it "
                "runs in another way than when it was loaded: load it again, and if that doesn't help report it"
            )


def _cut(value: Any, tokens: int, left: int) -> Any:
    """Return tensors with an axis of `tokens` tokens, as packed batches have it, cut to the first `left` of them."""
    if isinstance(value, torch.Tensor):
        if value.dim() > 1 and value.shape[:2] == (1, tokens):
            return value[:, :left]
        if value.dim() > 2 and value.shape[:3] == (1, 1, tokens):
            return value[:, :, :left]
        return value
    if type(value) in (list, tuple):
        return type(value)(_cut(item, tokens, left) for item in value)
    if type(value) is dict:
        return {name: _cut(item, tokens, left) for name, item in value.items()}
    return value


class _Current(threading.local):
    """The forward that this thread is in."""

    forward: Forward | None = None


class Taps:
    """Hooks on a model that hand each wanted layer over as soon as it is there.

    Attributes:
        final_norm: the last layer comes from a norm after the last block.
        first_block: the module that gives layer 1.
    """

    def __init__(self, taps: list[Tap], model: nn.Module) -> None:
        self._layers: dict[nn.Module, dict[int, int]] = {}
        for layer, tap in enumerate(taps):
            self._layers.setdefault(tap.module, {})[tap.call] = layer
        self._current = _Current()
        for module in self._layers:
            module.register_forward_hook(self._after)
        for module in _blocks(model, self._layers):
            module.register_forward_pre_hook(self._before, with_kwargs=True)
        self.first_block = taps[1].module if len(taps) > 1 else None
        self.final_norm = _is_norm(taps[-1]) and (len(taps) < 3 or not _is_norm(taps[-2]))

    def run(self, model: Callable[[], Any], forward: Forward) -> None:
        """Run `model` up to the deepest layer that `forward` wants, giving it each layer.

        Raises:
            ModelError: a wanted layer didn't come.
        """
        before, self._current.forward = self._current.forward, forward
        try:
            model()
        except Stop:
            pass
        finally:
            self._current.forward = before
        forward.check()

    def _before(self, _: nn.Module, args: Any, kwargs: Any) -> Any:
        forward = self._current.forward
        if forward is None or forward.left == forward.tokens:
            return None
        return forward.cut(args), forward.cut(kwargs)

    def _after(self, module: nn.Module, _: Any, output: Any) -> Any:
        forward = self._current.forward
        if forward is None:
            return None
        layer = self._layers[module].get(forward.call_of(module))
        hidden = first_tensor(output)
        if layer is None or hidden is None:
            return None
        forward.take(layer, hidden)
        if layer >= forward.deepest:
            raise Stop
        return forward.leave(layer, output)


def _blocks(model: nn.Module, taps: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the modules that get a hidden state: those of the taps, and those that stand in a list with one."""
    modules = set(taps)
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and modules & set(m)]
    return list(dict.fromkeys([*modules, *(block for blocks in lists for block in blocks)]))


class Collected:
    """The same face for models whose layers are no module's output: the whole forward, then the layers."""

    final_norm = False
    first_block = None

    def run(self, model: Callable[[], Any], forward: Forward) -> None:
        """Run `model`, then give `forward` each layer that it wants."""
        for layer, hidden in enumerate(model().hidden_states):
            forward.take(layer, hidden)
        forward.check()


def _is_norm(tap: Tap) -> bool:
    return not any(
        isinstance(module, nn.Linear) or hasattr(module, "packed") for module in tap.module.modules()
    )
