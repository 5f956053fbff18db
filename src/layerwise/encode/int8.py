"""int8 products on a CPU: integer weights with a scale per output, inputs as codes of fixed scales.

Each channel of an input has a fixed shift and spread, found once from texts that are built in, so that no
scale depends on what else is in the batch. (Sums that come in another order there may move a code that lies
on a border of rounding by one step.) Spreads are moved between inputs and weights so
that neither has outliers (SmoothQuant, Xiao et al. 2023). The few channels in which a feed-forward layer is
a multiple of all others ("massive activations", Sun et al. 2024) are computed beside, unrounded.

The operators are those that torch's compiler emits; they are private in name, so they are looked for, and a product
whose result is known is computed first: without VNNI instructions they add pairs of products in 16 bits, which overflow.
"""

import functools
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from layerwise.encode.linear import fusable, held_to, median_seconds

_ROWS = 2048  # the number of input rows that weights are laid out for
_HIGHEST = 255  # codes are 0 … 255
_SHARE = 0.6  # of an outlier's size that goes to the weights
# How far beyond what was seen an input may lie before it is clipped: one that comes from a norm, and any other.
# What attention gives lies far out where a text is short and its tokens look at few others.
_MARGIN, _WIDE = 1.15, 1.75
# Channels of a feed-forward layer that aren't rounded: those that were largest, and some with the largest weights,
# as these are large on the few texts that are about what they stand for.
_SEEN, _HEAVY = 24, 8
_GELU_LEAST = -0.17  # the minimum of GELU
_TINY = 1e-5


# Rows, inputs and outputs of the products that are compared with exact ones: the library chooses its kernels by the
# number of rows. All sums stay below 2**24, so that float32 holds them exactly, in whatever order they come.
_PROVED = (1, 2, 16, 200)
_INNER, _OUTER = 256, 16
_EXACT = 1e-6


def available() -> bool:
    """Tell whether this torch has the operators and they compute right products on this processor."""
    return refusal() is None


@functools.cache
def refusal() -> str | None:
    """Return why int8 can't be computed in this process, as the rest of "precision 'int8' …"; None if it can.

    Looks for the operators and the processor's instructions (VNNI), then computes a few products: the library may be
    held to less than the processor has (ONEDNN_MAX_CPU_ISA).
    """
    has_operators = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    names = ("qlinear_prepack", "qlinear_pointwise")
    if not (has_operators and all(hasattr(torch.ops.onednn, name) for name in names)):
        return "needs the int8 products of oneDNN, which this build of torch lacks"
    if not torch.cpu._is_vnni_supported():
        return "needs a processor with VNNI instructions"
    for rows in _PROVED:
        share = _share_off(rows)
        if share > _EXACT:
            wrong = f"is off by {share:.0%} of the largest number" if math.isfinite(share) else "fails"
            held = f" (ONEDNN_MAX_CPU_ISA is {isa})" if (isa := held_to()) else ""
            return f"needs oneDNN to use VNNI instructions{held}: a product of {rows} x {_INNER} codes {wrong} here"
    return None


def _share_off(rows: int) -> float:
    """Return how far a product of so many rows is from the exact one, as a share of its largest number.

    Codes are 200 … 255 and weights ±127 with pairs of equal sign: the sum of two products doesn't fit 16 bits. Both
    forms that are used are tried: to float32, and through GELU to codes, which may be off by one.
    """
    row, channel, output = torch.arange(rows)[:, None], torch.arange(_INNER), torch.arange(_OUTER)[:, None]
    codes = 200 + (row * 31 + channel * 7) % 56
    integers = 127 * (1 - 2 * ((channel // 2 * (output + 1) // 3) % 2))
    exact = ((codes - _Codes.zero) @ integers.T).double()
    most = float(exact.abs().max())
    step, out, zero = 8 / most, 8.2 / 240, 10
    wanted = (nn.functional.gelu(exact * step) / out + zero).round().clamp(0, _HIGHEST)
    try:
        weights = _Weights(integers.float(), torch.zeros(_OUTER, dtype=torch.float32))
        given = codes.to(torch.uint8)
        got = weights.times(given, 1.0, _Codes.zero, (1.0, 0, torch.float32))
        fused = weights.times(given, step, _Codes.zero, (out, zero, torch.uint8), gelu=True)
    except RuntimeError:  # no such kernel on this processor
        return math.inf
    steps = float((fused.double() - wanted).abs().max())
    return max(float((got.double() - exact).abs().max()) / most, (steps - 1) / _HIGHEST)


def convert(model: nn.Module, run: Callable[[], object]) -> None:
    """Replace every `torch.nn.Linear` that `run` reaches, in place.

    A linear layer with an exact GELU behind it and the one that follows become one module. One that is
    hooked stays, as what comes out of it is wanted.
    """
    seen = _watch(model, run)
    slot = _Slot()
    for module in list(model.modules()):
        pair = _feed_forward(module, seen)
        if pair is not None:
            first, second = pair
            outer, merged = (
                module.get_submodule("output"),
                FeedForward(first, second, seen[first], seen[second]),
            )
            outer.dense = merged
            module.intermediate = nn.Identity()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child in seen and not child._forward_hooks:
                setattr(module, name, QuantisedLinear(child, seen[child], slot))


@dataclass(eq=False)
class _Seen:
    """The inputs of linear layers that share one: extremes (width,), the layers, and how far beyond others may lie."""

    low: Tensor
    high: Tensor
    users: list[nn.Linear]
    margin: float


def _watch(model: nn.Module, run: Callable[[], object]) -> dict[nn.Module, _Seen]:
    """Return what every linear layer saw; layers that got the very same tensor share it."""
    seen: dict[nn.Module, _Seen] = {}
    last: tuple[Tensor, _Seen] | None = None
    normed: Tensor | None = None

    def note(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal normed
        normed = output

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Widen what a layer has seen by its input."""
        nonlocal last
        assert isinstance(module, nn.Linear)
        x = inputs[0]
        if last is not None and last[0] is x:
            known = last[1]
            if module not in seen:
                seen[module] = known
                known.users.append(module)
            return
        low, high = x.flatten(0, -2).amin(0), x.flatten(0, -2).amax(0)
        known = seen.get(module) or _Seen(low, high, [module], _MARGIN if x is normed else _WIDE)
        known.low, known.high = torch.minimum(known.low, low), torch.maximum(known.high, high)
        seen[module] = known
        last = (x, known)

    hooks = [m.register_forward_pre_hook(look) for m in model.modules() if type(m) is nn.Linear]
    hooks += [m.register_forward_hook(note) for m in model.modules() if type(m).__name__.endswith("Norm")]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _feed_forward(module: nn.Module, seen: dict[nn.Module, _Seen]) -> tuple[nn.Linear, nn.Linear] | None:
    """Return both linear layers of a feed-forward block as BERT and its kin have it."""
    inner = getattr(module, "intermediate", None)
    outer = getattr(getattr(module, "output", None), "dense", None)
    if inner is None or fusable(inner) is None or type(outer) is not nn.Linear:
        return None
    first = inner.dense
    return (first, outer) if first in seen and outer in seen and first.bias is not None else None


class _Slot(threading.local):
    """The last input of a thread that was turned into codes, as query, key and value take the same one in turn.

    It is let go when the last of them has taken it.
    """

    def __init__(self) -> None:
        self.last: tuple[Tensor, int, Tensor] | None = None
        self.left = 0

    def __reduce__(self) -> tuple[type["_Slot"], tuple[()]]:
        return _Slot, ()

    def codes(self, x: Tensor, codes: "_Codes", group: int, users: int) -> Tensor:
        """Return the codes of `x` (…, width), uint8, for one of the `users` layers of a group."""
        if self.last is None or self.last[0] is not x or self.last[1] != group:
            self.last, self.left = (x, group, codes.of(x)), users
        codes_of_rows = self.last[2]
        self.left -= 1
        if self.left <= 0:
            self.last = None
        return codes_of_rows


class _Codes:
    """How an input becomes codes: x · factor + shift, rounded and clipped to 0 … 255.

    `spread` (width,) is what a step of the code is in each channel, but for the common factor `step`, and
    `center` (width,) what the middle code stands for.
    """

    zero = 128

    def __init__(self, seen: _Seen) -> None:
        self.center = (seen.high + seen.low) / 2
        half = ((seen.high - seen.low) / 2).clamp_min(_TINY) * seen.margin
        weights = torch.stack([user.weight.detach().abs().amax(0) for user in seen.users]).amax(0)
        self.spread = half**_SHARE / weights.clamp_min(_TINY) ** (1 - _SHARE)
        self.step = float((half / self.spread).max()) / (_HIGHEST - self.zero)
        factor = 1 / (self.spread * self.step)
        self._factor, self._shift = factor, self.zero + 0.5 - self.center * factor

    def of(self, x: Tensor) -> Tensor:
        """Return the codes of `x` (…, width), uint8."""
        # A conversion to integers cuts, which is rounding after a half was added.
        return torch.addcmul(self._shift, x, self._factor).clamp_(0, _HIGHEST).to(torch.uint8)


class _Weights:
    """Weights (outputs, inputs) as integers with a scale per output, laid out for the operator."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        scale = weight.abs().amax(1).clamp_min(1e-12) / 127
        codes = (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(codes, [_ROWS, weight.shape[1]])
        self._scale, self._bias = scale, bias.clone()
        self._zeros = torch.zeros(len(scale), dtype=torch.int32)

    def times(
        self, codes: Tensor, step: float, zero: int, out: tuple[float, int, torch.dtype], gelu: bool = False
    ) -> Tensor:
        """Return the product with `codes`, of step and zero as told; `out` is its own step, zero and type."""
        after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        operands = (codes, step, zero, self._packed, self._scale, self._zeros, self._bias)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(*operands, *out, *after)
        return product


def _bias(linear: nn.Linear) -> Tensor:
    bias: Tensor | None = linear.bias
    return torch.zeros(linear.out_features, dtype=torch.float32) if bias is None else bias.detach()


class QuantisedLinear(nn.Module):
    """`torch.nn.Linear` in int8: (…, in_features) to (…, out_features), float32."""

    def __init__(self, linear: nn.Linear, seen: _Seen, slot: _Slot) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        # Some families read the type of `weight`; nothing reads its numbers.
        self.weight = torch.empty(0, dtype=linear.weight.dtype)
        self._codes, self._slot, self._group = _Codes(seen), slot, id(seen)
        self._users = sum(not user._forward_hooks for user in seen.users)  # a hooked one stays as it is
        weight = linear.weight.detach()
        bias = _bias(linear) + weight @ self._codes.center
        self._weights = _Weights(weight * self._codes.spread, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return about `x` times the weight plus the bias."""
        codes = self._slot.codes(x, self._codes, self._group, self._users)
        return self._weights.times(codes, self._codes.step, _Codes.zero, (1.0, 0, torch.float32))


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between them, in int8; what stands between is never unpacked."""

    def __init__(self, first: nn.Linear, second: nn.Linear, before: _Seen, between: _Seen) -> None:
        super().__init__()
        self.weight = torch.empty(0, dtype=first.weight.dtype)
        self._codes = _Codes(before)
        weight = first.weight.detach()
        self._first = _Weights(weight * self._codes.spread, _bias(first) + weight @ self._codes.center)
        rest = between.high.clone()
        beside = torch.cat([_taken(rest, weight.norm(dim=1), _HEAVY), _taken(rest, rest, _SEEN)])
        most = max(float(rest.max()), _TINY) * _MARGIN
        self._step = (most - _GELU_LEAST) / _HIGHEST
        self._zero = round(-_GELU_LEAST / self._step)
        after = second.weight.detach().clone()
        self._beside = (weight[beside].clone(), _bias(first)[beside].clone(), after[:, beside].T.clone())
        after[:, beside] = 0
        self._second = _Weights(after, _bias(second))

    def forward(self, x: Tensor) -> Tensor:
        """Return about second(gelu(first(x)))."""
        flat = x.flatten(0, -2)
        out = (self._step, self._zero, torch.uint8)
        between = self._first.times(self._codes.of(flat), self._codes.step, _Codes.zero, out, gelu=True)
        product = self._second.times(between, self._step, self._zero, (1.0, 0, torch.float32))
        weight, bias, after = self._beside
        few = nn.functional.gelu(nn.functional.linear(flat, weight, bias))
        return product.addmm_(few, after).view(*x.shape[:-1], -1)


def _taken(rest: Tensor, by: Tensor, count: int) -> Tensor:
    """Return the numbers of the channels that are largest by a measure, no more of them in `rest` (width,)."""
    scales = by.topk(min(count, len(rest) // 2)).indices
    rest[scales] = 0
    return scales


def ceiling(precision: str, device: str, repeats: int = 7) -> float:
    """Return the billion operations per second of an int8 matrix product (2048 x 768 by 768 x 3072) here.

    The median of `repeats` runs of the product alone: codes in, float32 out.
    """
    weights = _Weights(torch.randn(3072, 768, dtype=torch.float32), torch.zeros(3072, dtype=torch.float32))
    codes = torch.randint(0, _HIGHEST, (_ROWS, 768)).to(torch.uint8)
    seconds = median_seconds(
        lambda: weights.times(codes, 0.02, 128, (1.0, 0, torch.float32)), device, repeats
    )
    return 2 * _ROWS * 768 * 3072 / 1e9 / seconds


SAMPLES = (
    "Every layer of every encoder, as data.",
    "The first layers know where a word stands; the last know more than it says.",
    "In 1984 the price rose by 3.5% to $1,200 (about €1,050), said Dr. O'Neil.",
    "def forward(self, x): return x @ self.weight.T + self.bias  # no copy",
    "I can't believe how good this film was!!! 10/10, would see it again :-)",
    "The committee spent the whole afternoon on procedural matters that nobody had raised before, and went home.",
    "See http://example.org/a?b=c&d=e#f, section 4.2, \"Results\" [sic].",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9",
    "我们去年在上海住了三天，酒店很干净，早餐也不错。",
    "Wo liegt der nächste Bahnhof? — Gleich um die Ecke!",
    "Привет, как дела? Всё хорошо, спасибо.",
    "昨日は雨が降りましたが、今日は晴れています。",
    "ok",
    "Thanks",
    "What time is it?", "I don't know.", "That is not the point.", "You are right about that.",
    "How did you do it?", "It depends on what you need.", "Have you ever been there?", "No, it isn't.",
    "Yes, of course.", "Never mind.", "She is reading a book.", "Two dogs run across the snow.",
    "A boy plays the guitar.", "The cat sat on the mat.", "An old man is cooking soup in a small kitchen.",
    "Three children are jumping into the lake.", "A woman in red shoes walks down the street.",
    "The plane has landed.", "They sold their house last year.", "Stocks fell sharply on Monday.",
    "The president will meet reporters on Friday.", "Police are looking for a witness.",
    "Oil prices climbed above 90 dollars a barrel.", "The court rejected the appeal.",
    "Five people were hurt in the crash.", "Paris is the capital of France.", "Water boils at 100 degrees.",
    "Mount Everest", "New York", "Johann Sebastian Bach", "a dull , lifeless film .",
    "one of the best of the year .", "it 's funny , sad and true .", "not worth the price",
    "great service, will come again", "Terrible. Broke after two days.",
    "The room was clean but the noise kept us awake.", "My card has not arrived yet.",
    "Why was I charged twice?", "How do I change my PIN?", "Please cancel my order.", "Who wrote the play?",
    "Where do penguins live?", "What does NASA stand for?", "When was the bridge built?",
    "Aspirin reduces fever.", "Patients received 20 mg daily for six weeks.",
    "The enzyme binds to the receptor.", "We propose a new method.", "Let x be a real number.",
    "Raises ValueError if the key is missing.", "Returns None.", "git commit -m 'fix'",
    '{"id": 7, "name": null}', "lol that's so true 😂", "@you thanks!! #monday", "Dear Sir or Madam,",
    "Best regards", "Chapter 1", "Introduction", "almost", "however", "Monday", "hello", "1999", "the", "--",
    "?", "and so on", "in front of the old church", "Once upon a time there was a king who had no daughter.",
    "If it rains tomorrow, we will stay at home and play cards.",
    "Although he was tired, he kept walking until dawn.", "Many of us, I think, would have done the same.",
    "Would you mind opening the window?", "It's a shame, isn't it?", "There is nothing wrong with asking.",
    "That's what he said.", "This is it.", "Do it yourself.", "Good idea!", "¿Dónde está la estación?",
    "C'est la vie.", "Ich habe keine Zeit.", "Das Haus ist alt.", "今天天气怎么样？", "ありがとうございます。",
)  # fmt: skip
LENGTHS = (1, 3, 8, 16, 32, 64, 100, 200)
"""Tokens of the texts that are drawn by chance from the vocabulary: what no text that is built in holds."""


def drawn(vocabulary: int, special: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """Return texts of random tokens (`LENGTHS` of them), the same for every model of this vocabulary."""
    kept = torch.tensor(sorted(set(range(vocabulary)) - set(special)))
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(len(kept), (sum(LENGTHS),), generator=generator)
    parts = torch.split(kept[places], list(LENGTHS))
    return [part.numpy() for part in parts]
