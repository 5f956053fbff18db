"""Plain forwards of one text by an unchanged model of transformers: the reference for all faster ways."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from layerwise.array_types import I64
from layerwise.encode import hf, model_state
from layerwise.encode.taps import Tap, find_taps, record_layers

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
def states_if_tapped(
    model: nn.Module, ids: I64, type_ids: I64 | None, taps: Sequence[Tap]
) -> tuple[Layers, bool]:
    """Return the layers as `plain_states`, and whether `taps` give exactly the same ones."""
    outputs: list[Any] = []
    tapped = record_layers(taps, lambda: outputs.append(run_plain(model, ids, type_ids)), stops=False)
    states = outputs[0].hidden_states
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
    return [state[0, :end].float().cpu() for state in outputs.hidden_states]


@torch.inference_mode()
def attention_maps(model: nn.Module | None, ids: I64, type_ids: I64 | None) -> list[torch.Tensor] | None:
    """Return each block's attention in one text, (heads, tokens, tokens) in float32 on the CPU.

    Args:
        model: an `hf.eager_copy`.
        ids, type_ids: the numbers of the tokens and of their segments.

    Returns:
        None for a family that gives no complete attention.
    """
    if model is None:
        return None
    try:
        maps = model(**_inputs(model, ids, type_ids), output_attentions=True).attentions
    except (ValueError, TypeError, AttributeError):
        return None
    if not maps or any(block is None or block.shape[2:] != (len(ids), len(ids)) for block in maps):
        return None
    maps = [block[0].float().cpu() for block in maps]
    # Families with sparse attention give it in other shapes, or with gaps: the rows don't sum to 1.
    complete = all(bool(((block.sum(-1) - 1).abs() < _SUM_ERROR).all()) for block in maps)
    return maps if complete else None


@torch.inference_mode()
def adapt_to_text(model: nn.Module, ids: I64) -> None:
    """Run a model on a text for the changes that the forward makes to it (BigBird replaces its attention)."""
    with hf.without_reports():
        model(input_ids=torch.tensor(ids, device=next(model.parameters()).device)[None])


def _inputs(model: nn.Module, ids: I64, type_ids: I64 | None) -> dict[str, Any]:
    """Return what a model is called with for one text."""
    device = next(model.parameters()).device
    inputs = {"input_ids": torch.tensor(ids, device=device)[None]}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if type_ids is not None:
        inputs["token_type_ids"] = torch.tensor(type_ids, device=device)[None]
    return inputs
