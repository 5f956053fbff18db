"""Compare a cut with the model that it was cut from, by plain forwards of both on a few texts.

The reference of a cut without some blocks is the source with these blocks passed over: each gives back its input.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from layerwise.arguments import argument
from layerwise.encode import forwards, model_state
from layerwise.encode.cut_model import ShortModel, refused, short_model
from layerwise.encode.cut_source import CutSource
from layerwise.encode.forwards import MODEL_CODE_ERRORS, Layers
from layerwise.encode.hf import reports
from layerwise.encode.probes import PLAIN
from layerwise.encode.structure import block_modules
from layerwise.encode.taps import first_tensor
from layerwise.errors import ModelError
from layerwise.tolerance import COMPUTED

PADDED = 1e-4  # of the largest number: other kernels run in a batch


@dataclass(frozen=True)
class CutParity:
    """How far the last layer of a cut is from the layer of its source, and where it is found.

    Differences are max |a - b| / max(1, max |b|), the largest of some texts.

    Attributes:
        last: that of `last_hidden_state`; where `normed`, from the source's layer put through its last norm.
        hidden: that of the last of `hidden_states` from the source's layer; None where that isn't the layer.
        normed: whether `last_hidden_state` is the output of the norm after the last block, and the layer isn't.
        padded: that of `last_hidden_state` of two texts in a batch with padding, from that of each alone.
    """

    last: float
    hidden: float | None
    normed: bool
    padded: float

    @property
    def depends_on_padding(self) -> bool:
        """Whether padding changes the vectors of a text by more than rounding does."""
        return not self.padded <= PADDED


def check_parity(source: CutSource, short: ShortModel, reopened: nn.Module) -> CutParity:
    """Compare a cut, as it was read from disk, with its source.

    Raises:
        ModelError: it gives other layers.
    """
    try:
        with reports.without_reports(), torch.inference_mode():
            return _compared(source, short, reopened)
    except (*MODEL_CODE_ERRORS, ArithmeticError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise refused(source, short.at, short.kept, f"the shorter model doesn't run ({line[:150]})") from None


def _compared(source: CutSource, short: ShortModel, reopened: nn.Module) -> CutParity:
    expected, normed = reference_layers(source, short)
    outputs = [_outputs(reopened, source, number) for number in range(len(source.texts.ids))]
    last = [layers[0] for layers in outputs]
    hidden = [layers[1] for layers in outputs if layers[1] is not None]
    limit = COMPUTED["fp32"]
    off_last, off_normed = _worst(last, expected), _worst(last, normed)
    off_hidden = _worst(hidden, expected) if len(hidden) == len(last) else None
    hidden_off = off_hidden if off_hidden is not None and off_hidden <= limit else None
    is_normed = bool(normed) and not off_last <= limit
    if (off_normed if is_normed else off_last) <= limit:
        padded = _worst(_padded_outputs(reopened, source), [last[number] for number in PLAIN])
        return CutParity(off_normed if is_normed else off_last, hidden_off, is_normed, padded)
    raise refused(
        source,
        short.at,
        short.kept,
        f"the shorter model gives another layer, off by {min(off_last, off_normed):.2g} of its largest number",
    )


def checked_model(source: CutSource, at: int, dropped: Sequence[int] = ()) -> ShortModel:
    """Return a cut whose `hidden_states` are the layers of its source; see `short_model`.

    Where transformers gives the last layer of a cut only after the norm behind the last block, it is without this norm.

    Raises:
        ModelError: a family whose blocks can't be cut.
    """
    short = short_model(source, at, dropped)
    parity = check_parity(source, short, short.model)
    if parity.normed and parity.hidden is None:
        paths = [path for path, module in source.model.named_modules() if module is source.final_norm]
        short.model.set_submodule(paths[0], nn.Identity())
    return short


def reference_states(source: CutSource, short: ShortModel) -> list[Layers]:
    """Return all layers of a cut for each text as its source gives them, each (tokens, width)."""
    passed = [number for number in range(1, short.at + 1) if number not in short.kept]
    with passed_over(source, passed):
        states = [
            forwards.plain_states(source.model, *_text(source, number))
            for number in range(len(source.texts.ids))
        ]
    # The last layer of the source, which may be the output of a norm, is not that of its last block that stays.
    numbers = (*(0, *short.kept)[:-1], short.at)
    return [[layers[number] for number in numbers] for layers in states]


def reference_layers(source: CutSource, short: ShortModel) -> tuple[Layers, Layers]:
    """Return the last layer of a cut for each text as its source gives it, and that put through the source's last norm.

    Each is (tokens, width). The second list is empty where the source has no last norm, or the layer is its output.
    """
    layers = [states[-1] for states in reference_states(source, short)]
    norm = source.final_norm
    if norm is None or (short.at == source.blocks and source.ends_with_norm):
        return layers, []
    device = next(source.model.parameters()).device
    return layers, [norm(layer.to(device)[None])[0].float().cpu() for layer in layers]


@contextmanager
def passed_over(source: CutSource, numbers: Sequence[int]) -> Iterator[None]:
    """Let some blocks of a model, counted from 1, give back their input until the end of the block of code.

    Raises:
        ModelError: the family's blocks share weights, or can't be told from each other.
    """
    modules = _blocks_to_pass(source, numbers)
    try:
        for module in modules:
            module.forward = _passing(module.forward)
        yield
    finally:
        for module in modules:
            del module.forward


def _blocks_to_pass(source: CutSource, numbers: Sequence[int]) -> list[nn.Module]:
    taps = source.references.taps
    modules = [] if taps is None or not numbers else block_modules(source.model, taps)
    if numbers and len(set(modules)) < source.blocks:
        raise ModelError(
            f"model {source.name!r} ({source.family}): block {numbers[0]} can't be left out, because its blocks share their "
            f"weights or can't be told from each other; cut it at a layer without {argument('drop')}"
        )
    return [modules[number - 1] for number in numbers]


def _passing(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a block's forward that gives back its input in place of the hidden state."""

    def passing(*args: Any, **kwargs: Any) -> Any:
        hidden = first_tensor([*args, *kwargs.values()])
        output = forward(*args, **kwargs)
        return (hidden, *output[1:]) if isinstance(output, tuple | list) else hidden

    return passing


def _outputs(model: nn.Module, source: CutSource, number: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return `last_hidden_state` of a text, and the last of its `hidden_states`, which a model without blocks lacks."""
    ids, types = _text(source, number)
    output = forwards.run_plain(model, ids, types)
    states = output.hidden_states
    last = output.last_hidden_state[0, : len(ids)].float().cpu()
    return last, states[-1][0, : len(ids)].float().cpu() if states else None


def _padded_outputs(model: nn.Module, source: CutSource) -> list[torch.Tensor]:
    """Return `last_hidden_state` of the two plain texts from one batch with padding at the end; none if it doesn't run."""
    rows = [torch.tensor(source.texts.ids[number]) for number in PLAIN]
    padding = source.loaded.tokenizer.pad_token_id or 0
    ids = pad_sequence(rows, batch_first=True, padding_value=padding)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    device = next(model.parameters()).device
    restore = model_state.snapshot(model)
    try:
        output = model(input_ids=ids.to(device), attention_mask=mask.to(device))
    except (*MODEL_CODE_ERRORS, ArithmeticError):
        return []
    finally:
        restore()
    return [output.last_hidden_state[place, : len(row)].float().cpu() for place, row in enumerate(rows)]


def _text(source: CutSource, number: int) -> tuple[Any, Any]:
    types = source.texts.types
    return source.texts.ids[number], None if types is None else types[number]


def _worst(layers: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Return the largest difference of the layers of all texts; infinite for layers of other shapes."""
    pairs = list(zip(layers, expected, strict=False))
    if len(layers) != len(expected) or any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)
