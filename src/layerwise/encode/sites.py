"""Find the sites of a model: which modules give what attention and the feed-forward part of a block add, and the values.

Families name and nest their modules in many ways, so no name is used here. Two short texts go through the model, and
the inputs and outputs of all modules are compared, to the bit:
- `attention` is the output A of a module whose sum with the block's input x is the input of a later module of the block,
  r = x + A: a norm before the feed-forward part, or the norm after attention.
- `mlp` is the output M of a later module whose sum with the residual stream is the block's output: r + M, or, where a
  norm follows each sum (BERT), the input of the norm that gives the block's output: norm(r) + M.
- `value` is the output of a module that equals the mixed values where a text has one token, which attends to itself
  alone, and doesn't where it has more. Grouped heads repeat the values of each group. If one module gives queries, keys
  and values side by side, the values are the last of its numbers.
A norm that the family applies to A or M before it is added (Gemma) is thus included. Blocks that don't have all three
offer no site: attention and feed-forward part in parallel, sums with factors, other mixers than attention.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from layerwise.array_types import I64
from layerwise.encode.forwards import MODEL_CODE_ERRORS
from layerwise.encode.taps import SiteTap, Tap, first_tensor

RunText = Callable[[I64], Any]
# Relative difference of values from their mix of one token: attention in 16 bits rounds it.
_EQUAL = {torch.float32: 1e-5}
_EQUAL_16 = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class _Event:
    """What a module got (`is_input`) or gave in its `call`-th call: `hidden` is (tokens, width), on the CPU."""

    module: nn.Module
    call: int
    is_input: bool
    hidden: torch.Tensor

    @property
    def place(self) -> tuple[nn.Module, int, bool]:
        """What is the same for every text."""
        return self.module, self.call, self.is_input


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A block in one forward: its input and output, (tokens, width), and what its modules got and gave, in order."""

    before: torch.Tensor
    after: torch.Tensor
    events: list[_Event]


@dataclass(frozen=True)
class ModelSites:
    """The sites of a model.

    Attributes:
        taps: those of each site, by its name.
        problems: for each block that offers no site, its number and why.
    """

    taps: Mapping[str, SiteTap]
    problems: Mapping[int, str]


def find_sites(model: nn.Module, taps: Sequence[Tap] | None, run: RunText, ids: I64) -> ModelSites:
    """Return the sites of all blocks.

    Args:
        model: the model; nothing else may run it meanwhile.
        taps: where its layers come from; None if they aren't known.
        run: runs the model on one text, the first in its batch.
        ids: the tokens of a text, two or more.
    """
    if taps is None:
        return ModelSites({}, {0: "its layers aren't the outputs of modules"})
    try:
        several, single = (_blocks(_record(model, run, text), taps) for text in (ids, ids[:1]))
    except MODEL_CODE_ERRORS:
        return ModelSites({}, {0: "it doesn't run on a text of one token"})
    site_taps: dict[str, SiteTap] = {}
    problems: dict[int, str] = {}
    for number, (block, block_of_single) in enumerate(zip(several, single, strict=True), 1):
        sites = _of_block(block, block_of_single)
        if isinstance(sites, str):
            problems[number] = sites
        else:
            site_taps |= {f"{name}.{number}": tap for name, tap in sites.items()}
    return ModelSites(site_taps, problems)


def _record(model: nn.Module, run: RunText, ids: I64) -> list[_Event]:
    """Return what all modules get and give in a forward, in order."""
    events: list[_Event] = []
    calls: dict[tuple[nn.Module, bool], int] = {}

    def keep(module: nn.Module, hidden: torch.Tensor | None, is_input: bool) -> None:
        call = calls.get((module, is_input), 0)
        calls[module, is_input] = call + 1
        if hidden is not None and hidden.dim() == 3 and hidden.shape[1] >= len(ids):
            # A copy, because later modules may change the tensor in place.
            events.append(_Event(module, call, is_input, hidden[0, : len(ids)].cpu().clone()))

    def keep_input(module: nn.Module, args: Any, kwargs: Any) -> None:
        keep(module, first_tensor([*args, *kwargs.values()]), True)

    def keep_output(module: nn.Module, _: Any, output: Any) -> None:
        keep(module, first_tensor(output), False)

    modules = [module for module in model.modules() if module is not model]
    handles = [module.register_forward_hook(keep_output) for module in modules]
    handles += [module.register_forward_pre_hook(keep_input, with_kwargs=True) for module in modules]
    try:
        with torch.inference_mode():
            run(ids)
    finally:
        for handle in handles:
            handle.remove()
    return events


def _blocks(events: Sequence[_Event], taps: Sequence[Tap]) -> list[_Block]:
    """Return the events of each block: those between the layer before it and its own."""
    positions = {event.place: number for number, event in enumerate(events)}
    borders = [positions[tap.module, tap.call, tap.of_input] for tap in taps]
    return [
        _Block(events[before].hidden, events[after].hidden, list(events[before + 1 : after + 1]))
        for before, after in pairwise(borders)
    ]


def _of_block(block: _Block, single: _Block) -> dict[str, SiteTap] | str:
    """Return the sites of a block, or why it offers none; `single` is the block in the forward of one token."""
    attention = _attention(block)
    if attention is None:
        return "no module gives what attention adds to the block's input, with a sum that a later module gets"
    added, position = attention
    mlp = _feed_forward(block, position)
    if mlp is None:
        return "block input + attention + feed-forward part isn't the block's output"
    value = _value(block.events[: block.events.index(added)], single)
    if value is None:
        return "no module gives the value vectors that attention mixes"
    return {"value": value, "attention": _tap(added), "mlp": _tap(mlp)}


def _tap(event: _Event) -> SiteTap:
    return SiteTap(event.module, event.call, event.hidden.shape[1])


def _attention(block: _Block) -> tuple[_Event, int] | None:
    """Return the output whose sum with the block's input is the input of a later module, and the place of that input."""
    sums: list[tuple[_Event, torch.Tensor]] = []
    for position, event in enumerate(block.events):
        if event.hidden.shape != block.before.shape:
            continue
        if not event.is_input:
            sums.append((event, block.before + event.hidden))
            continue
        for output, total in sums:
            if torch.equal(total, event.hidden):
                return output, position
    return None


def _feed_forward(block: _Block, position: int) -> _Event | None:
    """Return the output that completes the block, given the place of the sum with the output of attention."""
    total, later = block.events[position].hidden, block.events[position:]
    streams = [total, *(stream for stream in _outputs_of(later, total) if stream.shape == total.shape)]
    ends = [block.after, *_inputs_to(later, block.after)]
    for event in later:
        if event.is_input or event.hidden.shape != total.shape:
            continue
        sums = [stream + event.hidden for stream in streams]
        if any(torch.equal(one_sum, end) for one_sum in sums for end in ends):
            return event
    return None


def _outputs_of(events: Sequence[_Event], hidden: torch.Tensor) -> list[torch.Tensor]:
    """Return what modules give that get `hidden`."""
    calls = {(event.module, event.call) for event in events if event.is_input and _same(event.hidden, hidden)}
    return [event.hidden for event in events if not event.is_input and (event.module, event.call) in calls]


def _inputs_to(events: Sequence[_Event], hidden: torch.Tensor) -> list[torch.Tensor]:
    """Return what modules get that give `hidden`."""
    calls = {
        (event.module, event.call) for event in events if not event.is_input and _same(event.hidden, hidden)
    }
    return [event.hidden for event in events if event.is_input and (event.module, event.call) in calls]


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)


def _value(events: Sequence[_Event], single: _Block) -> SiteTap | None:
    """Return the tap of the values, given the events up to the output of attention."""
    of_single = {event.place: event.hidden for event in single.events}
    for number, mixed in enumerate(events):
        for output in events[:number]:
            if not mixed.is_input or output.is_input or not {mixed.place, output.place} <= of_single.keys():
                continue
            for width in _value_widths(output.hidden.shape[1], mixed.hidden.shape[1]):
                if _is_mix(of_single[output.place][:, -width:], of_single[mixed.place]) and not _is_mix(
                    output.hidden[:, -width:], mixed.hidden
                ):
                    return SiteTap(output.module, output.call, width)
    return None


def _value_widths(output: int, mixed: int) -> Iterator[int]:
    """Yield the possible widths of the values in an output of `output` numbers, where the mix of all heads has `mixed`."""
    # Values alone; or queries, as wide as the mix, then keys and values.
    for width in (output, (output - mixed) // 2):
        if 0 < width <= mixed and mixed % width == 0 and width in (output, output - mixed - width):
            yield width


def _is_mix(values: torch.Tensor, mixed: torch.Tensor) -> bool:
    """Return whether `mixed` repeats the values of each head for all heads of its group, (tokens, width) both."""
    width, groups = values.shape[1], mixed.shape[1] // values.shape[1]
    tolerance = _EQUAL.get(values.dtype, _EQUAL_16) * max(1.0, float(values.abs().max()))
    sizes = [width] if groups == 1 else [size for size in range(1, width + 1) if width % size == 0]
    for size in sizes:
        heads = values.reshape(len(values), -1, 1, size).expand(-1, -1, groups, -1).reshape(mixed.shape)
        if bool((heads.float() - mixed.float()).abs().max() <= tolerance):
            return True
    return False
