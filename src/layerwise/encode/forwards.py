"""Plain forwards of one text by an unchanged model of transformers: the reference for all faster ways."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from layerwise.array_types import I64
from layerwise.encode import model_state
from layerwise.encode.hf import reports
from layerwise.encode.taps import Tap, find_taps, hidden_states, norm_after_layers, record_layers

# The errors that a model's code may raise when it is run in a way that it wasn't written for.
MODEL_CODE_ERRORS = (
    *(RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError),
    UnboundLocalError,
)
Layers = list[torch.Tensor]
_SUM_ERROR = 0.02  # how far the sum of a row of attention may be from 1: bf16 rounds each of its numbers


@torch.inference_mode()
def plain_states(model: nn.Module, ids: I64, type_ids: I64 | None) -> Layers:
    """Return all layers of one text, each (tokens, width) in float32 on the CPU.

    The model must not have been changed by an earlier forward, and is restored after this one; see `model_state`.
    """
    return _layers(run_plain(model, ids, type_ids), ids)


@torch.inference_mode()
def states_with_taps(model: nn.Module, ids: I64, type_ids: I64 | None) -> tuple[Layers, list[Tap] | None]:
    """Return the layers as `plain_states`, and their taps as `find_taps`."""
    outputs: list[Any] = []

    def run_model() -> Any:
        outputs.append(run_plain(model, ids, type_ids))
        return outputs[0]

    taps = find_taps(model, run_model)
    return _layers(outputs[0], ids), taps


@torch.inference_mode()
def last_norm(model: nn.Module, ids: I64, type_ids: I64 | None) -> nn.Module | None:
    """Return the norm after the last layer of a model, as `norm_after_layers`."""
    return norm_after_layers(model, lambda: run_plain(model, ids, type_ids))


@torch.inference_mode()
def states_if_tapped(
    model: nn.Module, ids: I64, type_ids: I64 | None, taps: Sequence[Tap]
) -> tuple[Layers, bool]:
    """Return the layers as `plain_states`, and whether `taps` give exactly the same ones."""
    outputs: list[Any] = []
    tapped = record_layers(taps, lambda: outputs.append(run_plain(model, ids, type_ids)), stops=False)
    states = hidden_states(outputs[0])
    return _layers(outputs[0], ids), all(map(torch.equal, tapped, states))


@torch.inference_mode()
def first_states(model: nn.Module, ids: I64, type_ids: I64 | None, taps: Sequence[Tap]) -> Layers:
    """Return the layers of `taps`, the first ones of the model, as `plain_states`; the forward ends after them."""
    tapped = record_layers(taps, lambda: run_plain(model, ids, type_ids), stops=True)
    return [state[0, : len(ids)].float().cpu() for state in tapped]


def run_plain(model: nn.Module, ids: I64, type_ids: I64 | None) -> Any:
    """Return the output of a model for one text, with `hidden_states`, and restore the model."""
    inputs = _inputs(model, ids, type_ids)
    restore = model_state.snapshot(model)
    try:
        return model(**inputs, output_hidden_states=True)
    finally:
        restore()


def _layers(outputs: Any, ids: I64) -> Layers:
    """Return the layers in the output of a model."""
    # BigBird pads a text to a multiple of its block size, and removes the padding from the last layer only.
    end = len(ids) if outputs.last_hidden_state.shape[1] == len(ids) else None
    return [state[0, :end].float().cpu() for state in hidden_states(outputs)]


@torch.inference_mode()
def attention_maps(
    model: nn.Module | None, ids: I64, type_ids: I64 | None, blocks: int
) -> dict[int, torch.Tensor] | None:
    """Return each block's attention in one text, (heads, tokens, tokens) in float32 on the CPU, by its number from 0.

    A block without attention, such as a convolution or a recurrence, isn't among them.

    Args:
        model: an `modules.eager_copy`.
        ids, type_ids: the numbers of the tokens and of their segments.
        blocks: the number of blocks of the model.

    Returns:
        None for a family that gives no complete attention.
    """
    if model is None:
        return None
    outputs: list[tuple[str, Any]] = []
    hooks = [module.register_forward_hook(_recorded(name, outputs)) for name, module in model.named_modules()]
    try:
        maps = model(**_inputs(model, ids, type_ids), output_attentions=True).attentions or ()
    except (ValueError, TypeError, AttributeError):
        return None
    finally:
        for hook in hooks:
            hook.remove()
    numbers = range(blocks) if len(maps) == blocks else _blocks_of(maps, outputs)
    maps_of_blocks = {
        number: block for number, block in zip(numbers, maps, strict=False) if block is not None
    }
    is_whole = len(maps_of_blocks) == sum(block is not None for block in maps)
    shapes_fit = all(block.shape[2:] == (len(ids), len(ids)) for block in maps_of_blocks.values())
    if not maps_of_blocks or not is_whole or not shapes_fit:
        return None
    on_cpu = {number: block[0].float().cpu() for number, block in maps_of_blocks.items()}
    # Families with sparse attention give it in other shapes, or with gaps: the rows don't sum to 1.
    complete = all(bool(((block.sum(-1) - 1).abs() < _SUM_ERROR).all()) for block in on_cpu.values())
    return on_cpu if complete else None


def _recorded(name: str, outputs: list[tuple[str, Any]]) -> Callable[..., None]:
    """Return a hook that adds the tensors that a module returns, with its name, to `outputs`."""

    def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
        outputs.extend((name, part) for part in (output if isinstance(output, tuple) else ()))

    return record


def _blocks_of(maps: Sequence[Any], outputs: Sequence[tuple[str, Any]]) -> list[int]:
    """Return the numbers of the blocks that made attention maps: the first number in the name of the module of each."""
    names = [next((name for name, part in outputs if part is block), "") for block in maps]
    matches = [re.search(r"\.(\d+)\.", f".{name}.") for name in names]
    return [int(match[1]) for match in matches if match is not None]


@torch.inference_mode()
def adapt_to_text(model: nn.Module, ids: I64) -> None:
    """Run a model on a text for the changes that the forward makes to it (BigBird replaces its attention)."""
    with reports.without_reports():
        model(input_ids=torch.tensor(ids, device=next(model.parameters()).device)[None])


def _inputs(model: nn.Module, ids: I64, type_ids: I64 | None) -> dict[str, Any]:
    """Return what a model is called with for one text."""
    device = next(model.parameters()).device
    inputs = {"input_ids": torch.tensor(ids, device=device)[None]}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if type_ids is not None:
        inputs["token_type_ids"] = torch.tensor(type_ids, device=device)[None]
    return inputs
