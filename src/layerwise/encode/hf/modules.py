"""Change the modules of a loaded model: its attention, its linear layers, a copy that shares the weights."""

from __future__ import annotations

import copy
from typing import Any

import transformers
from torch import nn
from transformers import AttentionInterface

from layerwise.array_types import F32
from layerwise.encode import attention


def token_table(model: nn.Module) -> F32:
    """Return the embedding of every token of the vocabulary, float32 (vocabulary, width of the table), as a copy."""
    weight = model.get_input_embeddings().weight  # type: ignore[operator]
    table: F32 = weight.detach().float().cpu().numpy().copy()
    return table


def use_packed_attention(model: nn.Module) -> str:
    """Switch the model to `attention.packed_attention`, and return the name of its attention before."""
    AttentionInterface.register(attention.NAME, attention.packed_attention)
    transformers.AttentionMaskInterface.register(attention.NAME, attention.no_mask)
    before: str = model.config._attn_implementation  # type: ignore[union-attr, assignment]
    model.set_attn_implementation(attention.NAME)  # type: ignore[operator]
    return before


def use_attention(model: nn.Module, name: str) -> None:
    """Switch the model to the attention `name`."""
    model.set_attn_implementation(name)  # type: ignore[operator]


def without_cache(model: nn.Module) -> None:
    """Switch off the cache of keys and values, which decoders keep for tokens that they generate later."""
    for module in model.modules():
        config = getattr(module, "config", None)
        if isinstance(config, transformers.PretrainedConfig) and getattr(config, "use_cache", False):
            config.use_cache = False


def use_linear_layers(model: nn.Module) -> None:
    """Replace the `Conv1D` modules of GPT-2, which are linear layers with transposed weights, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is transformers.pytorch_utils.Conv1D and not child._forward_hooks:
                transposed: Any = child
                inputs, outputs = transposed.weight.shape
                linear: Any = nn.Linear(inputs, outputs, device="meta")
                linear.weight = nn.Parameter(transposed.weight.t().contiguous(), requires_grad=False)
                linear.bias = transposed.bias
                setattr(module, name, linear)


def eager_copy(model: nn.Module) -> nn.Module | None:
    """Return a model of the same weights with the "eager" attention of transformers, which returns its maps.

    The copy shares the weights. It has its own modules and configuration, without hooks, so that other threads that
    run the model at the same time see no change. None for a family without that attention.
    """
    copied = shared_copy(model)
    try:
        use_attention(copied, "eager")
    except (ValueError, TypeError, AttributeError):
        return None
    return copied


def shared_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model with its own modules and configuration and without hooks, which shares the weights."""
    return _copy(model, {}, {})


def _copy(module: nn.Module, modules: dict[nn.Module, nn.Module], configs: dict[int, Any]) -> nn.Module:
    """Return a copy of a module that shares its tensors; `modules` and `configs` hold the copies so far."""
    if module in modules:
        return modules[module]
    copied = modules[module] = module.__class__.__new__(module.__class__)
    copied.__dict__.update(module.__dict__)
    for name, value in module.__dict__.items():
        if isinstance(value, transformers.PretrainedConfig):
            copied.__dict__[name] = copy.deepcopy(value, configs)
        elif name.endswith("_hooks") or "_hooks_" in name:
            copied.__dict__[name] = type(value)()
        elif name in ("_parameters", "_buffers"):
            copied.__dict__[name] = dict(value)
    copied.__dict__["_modules"] = {
        name: None if child is None else _copy(child, modules, configs)
        for name, child in module._modules.items()
    }
    return copied
