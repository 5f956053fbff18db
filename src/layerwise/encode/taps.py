"""Where each layer comes out of a model, and how to stop once the last one that is wanted has come.

transformers hands out all layers at the end of a full forward. A tap takes each layer at the moment its
block is done: it is the n-th output of one module, found once by comparing every module's outputs with
`hidden_states` on a probe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

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
        # The outermost module that gives the layer fires last.
        same = [
            (m, call)
            for m, call, hidden in calls
            if hidden.shape == state.shape and torch.equal(hidden, state)
        ]
        if not same:
            return None
        taps.append(Tap(*same[-1]))
    return taps


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return the hidden state in a module's output: the tensor itself or the first of a tuple."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


class Taps:
    """Hooks on a model that hand each wanted layer over as soon as it is there.

    Attributes:
        final_norm: the last layer comes from a norm after the last block.
    """

    def __init__(self, taps: list[Tap]) -> None:
        self._layers: dict[nn.Module, dict[int, int]] = {}
        for layer, tap in enumerate(taps):
            self._layers.setdefault(tap.module, {})[tap.call] = layer
        for module in self._layers:
            module.register_forward_hook(self._hook)
        self._calls: dict[nn.Module, int] = {}
        self._wanted: frozenset[int] = frozenset()
        self._on_layer: OnLayer | None = None
        self.final_norm = _is_norm(taps[-1]) and (len(taps) < 3 or not _is_norm(taps[-2]))

    def run(self, forward: Callable[[], Any], wanted: frozenset[int], on_layer: OnLayer) -> None:
        """Run `forward` up to the deepest layer in `wanted`, giving each wanted one to `on_layer`."""
        self._calls, self._wanted, self._on_layer = {}, wanted, on_layer
        try:
            forward()
        except Stop:
            pass
        finally:
            self._on_layer = None

    def _hook(self, module: nn.Module, _: Any, output: Any) -> None:
        if self._on_layer is None:
            return
        call = self._calls.get(module, 0)
        self._calls[module] = call + 1
        layer = self._layers[module].get(call)
        if layer is None:
            return
        hidden = first_tensor(output)
        if layer in self._wanted and hidden is not None:
            self._on_layer(layer, hidden)
        if layer >= max(self._wanted):
            raise Stop


class Collected:
    """The same face for models whose layers are no module's output: the whole forward, then the layers."""

    final_norm = False

    def run(self, forward: Callable[[], Any], wanted: frozenset[int], on_layer: OnLayer) -> None:
        """Run `forward`, then give each wanted layer to `on_layer`."""
        states: Mapping[int, torch.Tensor] = dict(enumerate(forward().hidden_states))
        for layer in sorted(wanted):
            on_layer(layer, states[layer])


def _is_norm(tap: Tap) -> bool:
    return not any(
        isinstance(module, nn.Linear) or hasattr(module, "packed") for module in tap.module.modules()
    )
