"""Which first blocks have every kind of block, and differences between blocks that the comparison at load must see."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwise as lw
from causal_models import CAUSAL, make_causal
from conftest import CORPUS, FAMILIES, make_model
from layerwise.encode import attention
from layerwise.encode.block_kinds import depth_of_all_kinds
from layerwise.encode.forwards import first_states, plain_states, states_if_tapped, states_with_taps
from reference import Plain, off

IDS = np.array([7, 8, 9, 10, 11])
TOLERANCE = 1e-5
SHORT = [text for text in CORPUS if 0 < len(text) < 90]


def plain_model(folder: Path) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval().requires_grad_(False)


def count_hooks(model: torch.nn.Module) -> int:
    """Count all hooks; some are of transformers."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def full(kind: str = "full_attention") -> list[str]:
    return [kind] * 6


@pytest.mark.parametrize(
    ("family", "settings", "depth"),
    [
        # All alike: a block gets the output of another.
        ("llama", {}, 2),
        ("qwen3", {}, 2),
        ("gpt2", {"n_layer": 6}, 2),
        ("opt", {}, 2),
        # Windows, and a block without one.
        ("mistral", {"sliding_window": 8}, 2),
        ("gemma3_text", {"layer_types": [*full("sliding_attention")[:5], "full_attention"]}, 6),
        ("gemma3_text", {"layer_types": ["sliding_attention", "full_attention"] * 3}, 2),
        (
            "qwen2",
            {
                "layer_types": [*full()[:3], *full("sliding_attention")[:3]],
                "use_sliding_window": True,
                "sliding_window": 8,
            },
            4,
        ),
        # Blocks without rotary positions.
        ("smollm3", {"no_rope_layers": [1, 1, 1, 1, 0, 1]}, 5),
        # Experts in every second block.
        ("qwen3_moe", {"decoder_sparse_step": 2}, 2),
        ("qwen3_moe", {"mlp_only_layers": [0, 1, 2]}, 4),
    ],
)
def test_depth_of_causal_models(family: str, settings: dict[str, Any], depth: int, tmp_path: Path) -> None:
    blocks = {} if family == "gpt2" else {"num_hidden_layers": 6}
    model = plain_model(make_causal(family, tmp_path, **blocks | settings))
    assert depth_of_all_kinds(model, states_with_taps(model, IDS, None)[1]) == depth


@pytest.mark.parametrize(
    ("family", "depth"),
    [("bert", 2), ("roberta", 2), ("distilbert", 2), ("modernbert", 4), ("t5", 2), ("albert", None)],
)
def test_depth_of_encoders(family: str, depth: int | None, tmp_path: Path) -> None:
    names = {"t5": "num_layers", "distilbert": "n_layers"}
    settings = {names.get(family, "num_hidden_layers"): 6}
    if family == "modernbert":
        settings["global_attn_every_n_layers"] = 3
    folder = make_model(family, tmp_path, **settings)
    if family == "t5":
        from transformers import T5EncoderModel

        model: Any = T5EncoderModel.from_pretrained(folder).eval()
    else:
        model = plain_model(folder)
    taps = states_with_taps(model, IDS, None)[1]
    assert depth_of_all_kinds(model, taps) == depth


@pytest.mark.parametrize("family", [*FAMILIES, *CAUSAL])
def test_the_first_layers_are_those_of_the_whole_forward(
    family: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    if family == "t5":
        pytest.skip("AutoModel gives its decoder too")
    folder = model_folder(family) if family in FAMILIES else make_causal(family, tmp_path)
    model = plain_model(folder)
    layers, taps = states_with_taps(model, IDS, None)
    assert all(map(torch.equal, layers, plain_states(model, IDS, None)))
    if family == "squeezebert":
        assert taps is None, "its layers are transposed outputs"
        return
    assert taps is not None
    hooks = count_hooks(model)
    other = np.array([12, 7, 9])
    expected, same = states_if_tapped(model, other, None, taps)
    assert same
    assert all(map(torch.equal, expected, plain_states(model, other, None)))
    for depth in range(len(taps)):
        first = first_states(model, other, None, taps[: depth + 1])
        assert len(first) == depth + 1
        assert all(map(torch.equal, first, expected))
    assert count_hooks(model) == hooks


@pytest.mark.parametrize("block", range(4))
def test_a_difference_in_any_block_is_seen(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention that looks across texts in one block only, although all blocks are of one kind."""
    from transformers import AttentionInterface

    folder = make_causal("llama", tmp_path, num_hidden_layers=4)
    packed = attention.packed_attention

    def mixed(module: Any, query: torch.Tensor, *arguments: Any, **settings: Any) -> Any:
        if module.layer_idx == block:
            settings["lw_runs"].calls += 1
            settings["lw_runs"] = attention.Runs([(1, query.shape[2])], causal=True)
        return packed(module, query, *arguments, **settings)

    monkeypatch.setattr(attention, "packed_attention", mixed)
    try:
        encoder = lw.load_encoder(folder, device="cpu")
    finally:
        AttentionInterface.register(attention.NAME, packed)
    assert encoder.engine["packing"] == "padded"
    assert off(encoder, Plain(folder), SHORT) <= TOLERANCE
