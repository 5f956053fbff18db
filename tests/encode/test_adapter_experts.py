"""Adapters of mixtures of experts: of this version of transformers, and from before version 5."""

import functools
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import layerwise as lw
from causal_models import make_causal
from layerwise.errors import ModelError
from reference import Plain, off

peft_adapters = pytest.importorskip("peft_adapters", reason="peft isn't installed")

TEXTS = ["Every layer of every encoder, as data.", "a", "The first layers know where a word stands."]
# The merged weights are rounded once more than those of base and adapter, which are applied one after the other.
TOLERANCE = 1e-5
RANK, ALPHA = 2, 4


@pytest.fixture(scope="module")
def base_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return functools.cache(lambda family: make_causal(family, tmp_path_factory.mktemp("mixture") / family))


def write_adapter(
    base: Path,
    folder: Path,
    targets: list[str],
    *,
    prefix: str = "base_model.model.model.",
    scale: float = ALPHA / RANK,
    **settings: Any,
) -> Path:
    """Write LoRA as it was before transformers 5, and return a folder of the base with its products added.

    A checkpoint still has a tensor per expert, under the names that the modules had then: the reference needs no peft.
    """
    import peft

    torch.manual_seed(3)
    tensors = load_file(base / "model.safetensors")
    parts: dict[str, torch.Tensor] = {}
    for name, weight in tensors.items():
        module = name.removesuffix(".weight")
        if weight.dim() == 2 and module.rsplit(".", 1)[-1] in targets:
            down, up = torch.randn(RANK, weight.shape[1]) * 0.1, torch.randn(weight.shape[0], RANK) * 0.1
            parts |= {
                f"{prefix}{module}.lora_A.weight": down,
                f"{prefix}{module}.lora_B.weight": up,
            }
            tensors[name] = weight + scale * up @ down
    folder.mkdir()
    save_file(parts, folder / "adapter_model.safetensors")
    config = peft.LoraConfig(target_modules=targets, r=RANK, lora_alpha=ALPHA, **settings)
    config.save_pretrained(str(folder))
    merged = folder.with_name("merged")
    shutil.copytree(base, merged)
    save_file(tensors, merged / "model.safetensors", {"format": "pt"})
    return merged


@pytest.mark.parametrize("prefix", ["base_model.model.model.", "base_model.model."])
@pytest.mark.parametrize(
    ("family", "targets"),
    [
        ("mixtral", ["w1", "w2", "w3", "q_proj"]),
        ("mixtral", ["w2"]),
        ("mixtral", ["gate", "q_proj"]),
        ("qwen3_moe", ["gate_proj", "up_proj", "down_proj", "gate"]),
    ],
)
def test_modules_of_single_experts_are_found_again(
    family: str, targets: list[str], prefix: str, base_of: Callable[[str], Path], tmp_path: Path
) -> None:
    base = base_of(family)
    merged = Plain(write_adapter(base, tmp_path / "adapter", targets, prefix=prefix))
    assert off(lw.load_encoder(base, device="cpu"), merged, TEXTS) > 1e-2, "the adapter changes nothing"
    encoder = lw.load_encoder(base, adapter=tmp_path / "adapter", device="cpu")
    assert off(encoder, merged, TEXTS) <= TOLERANCE


@pytest.mark.parametrize(
    ("family", "targets", "settings", "detail"),
    [
        # Half of a tensor that two projections have become.
        ("mixtral", ["w1"], {}, "without also targeting w3"),
        ("mixtral", ["w2"], {"use_dora": True}, "use_dora"),
        # peft would scale these by the square root of another rank, or not at all, without a word.
        ("mixtral", ["w1", "w2", "w3"], {"use_rslora": True}, "its entry use_rslora"),
        ("mixtral", ["w2"], {"alpha_pattern": {"w2": 9}}, "its entry alpha_pattern"),
        ("qwen3_moe", ["gate"], {"alpha_pattern": {"gate": 9}}, "its entry alpha_pattern"),
        # Linear layers of the same names beside the experts, which peft forgets.
        ("deepseek_v3", ["gate_proj", "up_proj", "down_proj"], {}, r"'model.layers.0.mlp.down_proj.lora_A"),
        # A family that peft doesn't know.
        ("jamba", ["gate_proj", "up_proj", "down_proj"], {}, "'model.layers.1.feed_forward.experts"),
    ],
)
def test_what_peft_does_not_convert_is_refused_with_the_reason(
    family: str,
    targets: list[str],
    settings: Mapping[str, Any],
    detail: str,
    base_of: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    base = base_of(family)
    write_adapter(base, tmp_path / "adapter", targets, **settings)
    message = rf"is of transformers before version 5, .* peft [\d.]+ doesn't convert all of it \(.*{detail}.*merge it"
    with pytest.raises(ModelError, match=message) as caught:
        lw.load_encoder(base, adapter=tmp_path / "adapter", device="cpu")
    assert "\n" not in str(caught.value)


def test_scales_of_attention_are_as_ever(base_of: Callable[[str], Path], tmp_path: Path) -> None:
    base = base_of("qwen3_moe")
    scale = ALPHA / math.sqrt(RANK)
    merged = write_adapter(base, tmp_path / "adapter", ["q_proj"], scale=scale, use_rslora=True)
    encoder = lw.load_encoder(base, adapter=tmp_path / "adapter", device="cpu")
    assert off(encoder, Plain(merged), TEXTS) <= TOLERANCE


def test_experts_of_another_width_are_of_another_base(base_of: Callable[[str], Path], tmp_path: Path) -> None:
    write_adapter(base_of("mixtral"), tmp_path / "adapter", ["w2"])
    wide = make_causal("mixtral", tmp_path / "wide", intermediate_size=48)
    with pytest.raises(ModelError, match="so it was trained on another one; give the model"):
        lw.load_encoder(wide, adapter=tmp_path / "adapter", device="cpu")


@pytest.mark.parametrize("task", ["CAUSAL_LM", None])
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("mixtral", {"target_modules": ["w1", "w2", "w3"], "r": 2}),
        (
            "qwen3_moe",
            {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.gate_up_proj", "gate.weight"]},
        ),
        ("gpt_oss", {"target_modules": [], "target_parameters": ["mlp.experts.down_proj"], "r": 1}),
        ("deepseek_v3", {"target_modules": "all-linear", "r": 2, "use_rslora": True}),
    ],
    ids=["modules", "parameters", "parameters-alone", "all-linear"],
)
def test_tensors_of_all_experts(
    family: str, task: str | None, settings: dict[str, Any], base_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """What this version of peft writes, against the layers that it computes unmerged."""
    tuned = peft_adapters.Tuned(base_of(family), tmp_path / "adapter", "LORA", task, **settings)
    assert tuned.off(lw.load_encoder(base_of(family), device="cpu"), TEXTS) > 1e-3
    encoder = lw.load_encoder(base_of(family), adapter=tuned.folder, device="cpu")
    assert tuned.off(encoder, TEXTS) <= TOLERANCE
