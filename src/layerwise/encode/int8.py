"""int8 products on a CPU: integer weights with a scale per output, inputs as uint8 codes with fixed scales.

Usual int8 inference computes the scale of an input from the batch. The vectors of a text would then depend on its
neighbours. Here each channel of an input has a fixed shift and spread, computed once at load from built-in texts
(`int8_samples`). (Only the rounding of a code that lies between two steps may still differ, if a product before it
sums in another order.)

Two kinds of outliers would cost most of the precision:
- channels that are larger than others in all texts. Their spread is moved to the weights, so that neither inputs nor
  weights have outliers (SmoothQuant, Xiao et al. 2023);
- a few channels between the two layers of a feed-forward block that are many times larger than all others ("massive
  activations", Sun et al. 2024). These are computed in float32, beside the product.

The operators are those that torch's compiler emits. They are private in name, so `refusal` looks for them. It also
compares a product with its exact result: without VNNI instructions oneDNN adds pairs of products in 16 bits, which
overflows without an error.
"""

import functools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layerwise.encode.linear import fusable, isa_limit, median_seconds

_ROWS = 2048  # the number of input rows that the layout of the weights is optimised for
_HIGHEST = 255  # codes are 0 … 255
_SHARE = 0.6  # SmoothQuant's share (alpha) of an outlier's size that moves to the weights
# How far an input may exceed the range of the samples before it is clipped, as a factor: behind a norm, and elsewhere.
# The output of attention exceeds it most in short texts, where a token attends to few others.
_MARGIN, _WIDE_MARGIN = 1.15, 1.75
# Numbers of channels of a feed-forward layer that aren't rounded: those with the largest activations in the samples,
# and those with the largest weights, whose activations are large in a few texts only.
_LARGEST, _HEAVIEST = 24, 8
_GELU_MINIMUM = -0.17
_TINY = 1e-5

# Rows, inputs and outputs of the products that are compared with exact ones; oneDNN chooses its kernel by the number of
# rows. All sums stay below 2**24, so that float32 holds them exactly, in any order of summation.
_CHECKED_ROWS = (1, 2, 16, 200)
_INNER, _OUTER = 256, 16
_EXACT = 1e-6


def available() -> bool:
    """Return whether this torch has the operators and they compute right products on this processor."""
    return refusal() is None


@functools.cache
def refusal() -> str | None:
    """Return why int8 can't be computed in this process, to follow the name of the option; None if it can.

    Checks the operators and the processor's instructions (VNNI), then computes a few products, because the environment
    may allow oneDNN less than the processor has (ONEDNN_MAX_CPU_ISA).
    """
    has_operators = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    names = ("qlinear_prepack", "qlinear_pointwise")
    if not (has_operators and all(hasattr(torch.ops.onednn, name) for name in names)):
        return "needs the int8 products of oneDNN, which this build of torch lacks"
    if not torch.cpu._is_vnni_supported():
        return "needs a processor with VNNI instructions"
    for rows in _CHECKED_ROWS:
        error = _relative_error(rows)
        if error > _EXACT:
            problem = f"is off by {error:.0%} of the largest number" if math.isfinite(error) else "fails"
            limit = f" (ONEDNN_MAX_CPU_ISA is {isa})" if (isa := isa_limit()) else ""
            return f"needs oneDNN to use VNNI instructions{limit}: a product of {rows} x {_INNER} codes {problem} here"
    return None


def _relative_error(rows: int) -> float:
    """Return the maximum error of a product of so many rows, as a share of its largest number; inf if it fails.

    Codes are 200 … 255 and weights ±127 with pairs of equal sign, so that the sum of two products doesn't fit 16 bits.
    Both forms in use are computed: to float32, and through GELU to codes, which may be off by one.
    """
    row, channel, output = torch.arange(rows)[:, None], torch.arange(_INNER), torch.arange(_OUTER)[:, None]
    codes = 200 + (row * 31 + channel * 7) % 56
    integers = 127 * (1 - 2 * ((channel // 2 * (output + 1) // 3) % 2))
    exact = ((codes - _InputCodes.zero) @ integers.T).double()
    largest = float(exact.abs().max())
    step, out, zero = 8 / largest, 8.2 / 240, 10
    exact_codes = (nn.functional.gelu(exact * step) / out + zero).round().clamp(0, _HIGHEST)
    try:
        weights = _Weights(integers.float(), torch.zeros(_OUTER, dtype=torch.float32))
        code_bytes = codes.to(torch.uint8)
        product = weights.times(code_bytes, 1.0, _InputCodes.zero, (1.0, 0, torch.float32))
        fused = weights.times(code_bytes, step, _InputCodes.zero, (out, zero, torch.uint8), gelu=True)
    except RuntimeError:  # no such kernel on this processor
        return math.inf
    steps = float((fused.double() - exact_codes).abs().max())
    return max(float((product.double() - exact).abs().max()) / largest, (steps - 1) / _HIGHEST)


def convert(model: nn.Module, run: Callable[[], object]) -> None:
    """Replace every `torch.nn.Linear` that is called when `run` runs the model, in place.

    A linear layer followed by an exact GELU and another linear layer becomes one module with them. A hooked layer
    stays, because its output is a layer of the model.
    """
    ranges = _input_ranges(model, run)
    cache = _CodeCache()
    for module in list(model.modules()):
        pair = _feed_forward(module, ranges)
        if pair is not None:
            first, second = pair
            merged = FeedForward(first, second, ranges[first], ranges[second])
            # BERT calls `intermediate`, then `output.dense`. The merged module replaces the second call.
            module.get_submodule("output").dense = merged
            module.intermediate = nn.Identity()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child in ranges and not child._forward_hooks:
                setattr(module, name, QuantisedLinear(child, ranges[child], cache))


@dataclass(eq=False)
class _InputRange:
    """The range of an input that one or more linear layers share.

    Attributes:
        low, high: the extremes of each channel in the samples, (width,).
        layers: the linear layers.
        margin: the factor by which other inputs may exceed the range before they are clipped.
    """

    low: Tensor
    high: Tensor
    layers: list[nn.Linear]
    margin: float


def _input_ranges(model: nn.Module, run: Callable[[], object]) -> dict[nn.Module, _InputRange]:
    """Return the input range of every linear layer in `run`; layers that get the same tensor object share theirs."""
    ranges: dict[nn.Module, _InputRange] = {}
    last: tuple[Tensor, _InputRange] | None = None
    normed: Tensor | None = None

    def note_norm(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal normed
        normed = output

    def widen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Widen the range of a layer by its input."""
        nonlocal last
        assert isinstance(module, nn.Linear)
        x = inputs[0]
        if last is not None and last[0] is x:
            shared = last[1]
            if module not in ranges:
                ranges[module] = shared
                shared.layers.append(module)
            return
        low, high = x.flatten(0, -2).amin(0), x.flatten(0, -2).amax(0)
        # The output of a norm varies little between texts.
        margin = _MARGIN if x is normed else _WIDE_MARGIN
        widened = ranges.get(module) or _InputRange(low, high, [module], margin)
        widened.low, widened.high = torch.minimum(widened.low, low), torch.maximum(widened.high, high)
        ranges[module] = widened
        last = (x, widened)

    hooks = [m.register_forward_pre_hook(widen) for m in model.modules() if type(m) is nn.Linear]
    hooks += [
        m.register_forward_hook(note_norm) for m in model.modules() if type(m).__name__.endswith("Norm")
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return ranges


def _feed_forward(
    module: nn.Module, ranges: dict[nn.Module, _InputRange]
) -> tuple[nn.Linear, nn.Linear] | None:
    """Return both linear layers of a feed-forward block as in BERT; None for another module."""
    inner = getattr(module, "intermediate", None)
    outer = getattr(getattr(module, "output", None), "dense", None)
    if inner is None or fusable(inner) is None or type(outer) is not nn.Linear:
        return None
    first = inner.dense
    return (first, outer) if first in ranges and outer in ranges and first.bias is not None else None


class _CodeCache(threading.local):
    """The codes of the last input of each thread, because query, key and value have the same input.

    They are deleted after the last of these layers, as they may be large.
    """

    def __init__(self) -> None:
        self.last: tuple[Tensor, int, Tensor] | None = None
        self.remaining = 0

    def __reduce__(self) -> tuple[type["_CodeCache"], tuple[()]]:
        return _CodeCache, ()

    def codes(self, x: Tensor, codes: "_InputCodes", group: int, layers: int) -> Tensor:
        """Return the codes of `x` (…, width), uint8, for one of the `layers` layers of a group with the same input."""
        if self.last is None or self.last[0] is not x or self.last[1] != group:
            self.last, self.remaining = (x, group, codes.encode(x)), layers
        cached = self.last[2]
        self.remaining -= 1
        if self.remaining <= 0:
            self.last = None
        return cached


class _InputCodes:
    """The conversion of an input to codes: x · factor + shift, rounded and clipped to 0 … 255.

    A code stands for (code - `zero`) · `step` · `spread` + `center`, where `spread` and `center` are (width,).
    """

    zero = 128

    def __init__(self, inputs: _InputRange) -> None:
        self.center = (inputs.high + inputs.low) / 2
        half = ((inputs.high - inputs.low) / 2).clamp_min(_TINY) * inputs.margin
        weights = torch.stack([layer.weight.detach().abs().amax(0) for layer in inputs.layers]).amax(0)
        self.spread = half**_SHARE / weights.clamp_min(_TINY) ** (1 - _SHARE)
        self.step = float((half / self.spread).max()) / (_HIGHEST - self.zero)
        factor = 1 / (self.spread * self.step)
        self._factor, self._shift = factor, self.zero + 0.5 - self.center * factor

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of `x` (…, width), uint8."""
        # The conversion to integers truncates. The shift includes one half, so the result is rounded.
        return torch.addcmul(self._shift, x, self._factor).clamp_(0, _HIGHEST).to(torch.uint8)


class _Weights:
    """Weights (outputs, inputs) as integers with a scale per output, in the layout of the operator."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        scale = weight.abs().amax(1).clamp_min(1e-12) / 127
        codes = (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(codes, [_ROWS, weight.shape[1]])
        self._scale, self._bias = scale, bias.clone()
        self._zeros = torch.zeros(len(scale), dtype=torch.int32)

    def times(
        self, codes: Tensor, step: float, zero: int, out: tuple[float, int, torch.dtype], gelu: bool = False
    ) -> Tensor:
        """Return the product with `codes`, whose step and zero are given; `out` is step, zero and type of the result."""
        after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        operands = (codes, step, zero, self._packed, self._scale, self._zeros, self._bias)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(*operands, *out, *after)
        return product


def _bias(linear: nn.Linear) -> Tensor:
    bias: Tensor | None = linear.bias
    return torch.zeros(linear.out_features, dtype=torch.float32) if bias is None else bias.detach()


class QuantisedLinear(nn.Module):
    """`torch.nn.Linear` in int8: (…, in_features) to (…, out_features), float32."""

    def __init__(self, linear: nn.Linear, inputs: _InputRange, cache: _CodeCache) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        # Some families read the type of `weight`, none reads its numbers.
        self.weight = torch.empty(0, dtype=linear.weight.dtype)
        self._codes, self._cache, self._group = _InputCodes(inputs), cache, id(inputs)
        # `convert` doesn't replace hooked layers, so they don't use the cache.
        self._layers = sum(not layer._forward_hooks for layer in inputs.layers)
        weight = linear.weight.detach()
        # Codes stand for differences from `center`, whose product with the weights is constant.
        bias = _bias(linear) + weight @ self._codes.center
        self._weights = _Weights(weight * self._codes.spread, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return about `x` times the weight plus the bias."""
        codes = self._cache.codes(x, self._codes, self._group, self._layers)
        return self._weights.times(codes, self._codes.step, _InputCodes.zero, (1.0, 0, torch.float32))


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between them, in int8; the values between them stay codes."""

    def __init__(
        self, first: nn.Linear, second: nn.Linear, before: _InputRange, between: _InputRange
    ) -> None:
        super().__init__()
        self.weight = torch.empty(0, dtype=first.weight.dtype)
        self._codes = _InputCodes(before)
        weight = first.weight.detach()
        self._first = _Weights(weight * self._codes.spread, _bias(first) + weight @ self._codes.center)
        rounded = between.high.clone()
        exact = torch.cat(
            [
                _remove_largest(rounded, weight.norm(dim=1), _HEAVIEST),
                _remove_largest(rounded, rounded, _LARGEST),
            ]
        )
        largest = max(float(rounded.max()), _TINY) * _MARGIN
        self._step = (largest - _GELU_MINIMUM) / _HIGHEST
        self._zero = round(-_GELU_MINIMUM / self._step)
        second_weight = second.weight.detach().clone()
        self._exact = (weight[exact].clone(), _bias(first)[exact].clone(), second_weight[:, exact].T.clone())
        # `forward` adds the product of these channels in float32.
        second_weight[:, exact] = 0
        self._second = _Weights(second_weight, _bias(second))

    def forward(self, x: Tensor) -> Tensor:
        """Return about second(gelu(first(x)))."""
        flat = x.flatten(0, -2)
        out = (self._step, self._zero, torch.uint8)
        between = self._first.times(
            self._codes.encode(flat), self._codes.step, _InputCodes.zero, out, gelu=True
        )
        product = self._second.times(between, self._step, self._zero, (1.0, 0, torch.float32))
        weight, bias, second_weight = self._exact
        exact = nn.functional.gelu(nn.functional.linear(flat, weight, bias))
        return product.addmm_(exact, second_weight).view(*x.shape[:-1], -1)


def _remove_largest(channels: Tensor, by: Tensor, count: int) -> Tensor:
    """Return the numbers of the `count` channels with the largest values in `by`, and set these `channels` to 0."""
    largest = by.topk(min(count, len(channels) // 2)).indices
    channels[largest] = 0
    return largest


def ceiling(precision: str, device: str, repeats: int = 7) -> float:
    """Return the billion operations per second of an int8 matrix product (2048 x 768 by 768 x 3072) on this machine.

    The time is the median of `repeats` runs of the product alone, from codes to float32.
    """
    weights = _Weights(torch.randn(3072, 768, dtype=torch.float32), torch.zeros(3072, dtype=torch.float32))
    codes = torch.randint(0, _HIGHEST, (_ROWS, 768)).to(torch.uint8)
    seconds = median_seconds(
        lambda: weights.times(codes, 0.02, 128, (1.0, 0, torch.float32)), device, repeats
    )
    return 2 * _ROWS * 768 * 3072 / 1e9 / seconds
