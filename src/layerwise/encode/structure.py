"""The structure of a model, layer by layer: modules, heads, widths, activation, parameters, and the sites it offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from layerwise.encode import forwards
from layerwise.encode.forwards import MODEL_CODE_ERRORS
from layerwise.encode.sites import ModelSites, find_sites
from layerwise.encode.taps import Tap
from layerwise.layers import SITES, layer_names

_IDS = np.array([1, 2, 3])
# Names that configurations have for the same thing.
_INNER = ("intermediate_size", "n_inner", "hidden_dim", "d_ff", "ffn_dim")
_ACTIVATION = (
    *("hidden_act", "hidden_activation", "activation_function", "activation", "dense_act_fn"),
    "ffn_act_fn",
)


def model_structure(model: nn.Module) -> dict[str, Any]:
    """Return `structure`, an entry per layer, and `sites_refused`, why blocks offer no sites, by their numbers.

    Empty for a model that doesn't run on text alone, or whose layers aren't the outputs of modules. The model runs on
    three tokens, and on one; see `find_sites`.

    Args:
        model: the model as it was loaded.
    """
    try:
        states, taps = forwards.states_with_taps(model, _IDS, None)
        sites = find_sites(model, taps, lambda ids: forwards.run_plain(model, ids, None), _IDS)
    except MODEL_CODE_ERRORS:
        return {"structure": [], "sites_refused": {}}
    refused = {str(number): problem for number, problem in sites.problems.items()}
    if taps is None:
        return {"structure": [], "sites_refused": refused}
    width = int(states[0].shape[-1])
    embeddings = {
        "layer": "emb",
        "width": width,
        **_of_module(model, None if taps[0].of_input else taps[0].module),
    }
    blocks = [
        _block(model, name, module, sites, width)
        for name, module in zip(layer_names(len(taps) - 1)[1:], block_modules(model, taps), strict=True)
    ]
    return {"structure": [embeddings, *blocks], "sites_refused": refused}


def block_modules(model: nn.Module, taps: Sequence[Tap]) -> list[nn.Module]:
    """Return the module of each block: of a list with a module per block, else what gives the layer."""
    count = len(taps) - 1
    for modules in model.modules():
        if (
            isinstance(modules, nn.ModuleList)
            and len(modules) == count
            and taps[1].module in set(modules.modules())
        ):
            return list(modules)
    return [tap.module for tap in taps[1:]]


def _of_module(model: nn.Module, module: nn.Module | None) -> dict[str, Any]:
    """Return the path and the number of parameters of a module; null without one."""
    paths = {each: path for path, each in model.named_modules()}
    numbers = None if module is None else sum(parameter.numel() for parameter in module.parameters())
    return {"module": None if module is None else paths[module], "parameters": numbers}


def _block(model: nn.Module, name: str, module: nn.Module, sites: ModelSites, width: int) -> dict[str, Any]:
    number = int(name)
    heads = _entry(model, ("num_attention_heads",), number, int)
    value = sites.taps.get(f"value.{name}")
    return {
        "layer": name,
        **_of_module(model, module),
        "width": width,
        "heads": heads,
        "key_value_heads": _entry(model, ("num_key_value_heads",), number, int) or heads,
        "value_width": None if value is None else value.width,
        "feed_forward_width": _entry(model, _INNER, number, int) or _inner_width(module, width),
        "activation": _entry(model, _ACTIVATION, number, str),
        "sites": [kind for kind in SITES if f"{kind}.{name}" in sites.taps],
    }


def _entry(model: nn.Module, names: Sequence[str], number: int, kind: type) -> Any:
    """Return the first entry of the configuration with one of these names; of a list that of the block `number`."""
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, list | tuple) and len(value) >= number:
            value = value[number - 1]
        if type(value) is kind:
            return value
    return None


def _inner_width(block: nn.Module, width: int) -> int | None:
    """Return the largest width that a matrix of a block maps to that of the layers; None if there is no such matrix."""
    shapes = [tuple(parameter.shape) for parameter in block.parameters() if parameter.dim() == 2]
    inner = [max(shape) for shape in shapes if width in shape and max(shape) > width]
    return max(inner, default=None)
