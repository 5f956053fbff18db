"""On one machine the bits of a vector don't depend on how many threads compute it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import layerwise as lw
from conftest import CORPUS, FAMILIES, make_model
from layerwise._util.threads import computing
from layerwise.encode.thread_invariance import make_thread_invariant
from selection import few_of

TEXTS = [*CORPUS, "many words " * 12, "a few more words of text"] * 6
SHAPES: dict[str, dict[str, Any]] = {
    "bert": {},  # heads of 8
    "roberta": {"hidden_size": 96, "hidden_act": "gelu_new"},
    "modernbert": {"hidden_size": 96},
    "roformer": {"hidden_size": 96, "hidden_act": "silu"},
    "t5": {"feed_forward_proj": "gated-gelu", "d_ff": 96, "d_kv": 16},
    "mpnet": {},  # heads of 8
    "big_bird": {"hidden_size": 96},
    "convbert": {"hidden_size": 96, "embedding_size": 96},
    "squeezebert": {"hidden_size": 96, "embedding_size": 96},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", few_of(SHAPES, "bert", "modernbert", "t5"))
def test_layers_with_any_number_of_threads(family: str, precision: str, tmp_path: Path) -> None:
    folder = make_model(family, tmp_path / "model", **SHAPES[family])
    encoder = lw.load_encoder(folder, device="cpu", precision=precision)
    by_threads = {}
    for number in (1, 2, 3, 5, 7):
        with computing(number):
            by_threads[number] = encoder.encode(TEXTS, level="token", max_length=70).stack()
    for number, layers in by_threads.items():
        apart = np.abs(layers - by_threads[1]).max()
        assert apart == 0, f"{family}, {precision}: {number} threads and one are {apart:.1e} apart"


@pytest.mark.parametrize("act", [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Tanh(), nn.Mish(), nn.Softplus()])
@pytest.mark.parametrize("size", [64 * 1111, 64 * 1111 + 37])
def test_an_activation_cut_into_stretches_of_any_size(act: nn.Module, size: int) -> None:
    x = torch.randn(1, size, generator=torch.Generator().manual_seed(0)) * 3
    model = nn.Sequential(act, nn.Identity())
    make_thread_invariant(model)
    with torch.inference_mode():
        with computing(1):
            want = model(x)
        for number in (2, 3, 5, 7, 11):
            with computing(number):
                got = model(x)
            assert torch.equal(got, want), f"{number} threads: {int((got != want).sum())} numbers differ"


def test_an_activation_of_a_part_of_a_wider_tensor() -> None:
    wide = torch.randn(1, 2047, 200, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.GELU())
    make_thread_invariant(model)
    with torch.inference_mode():
        for part in (wide[..., :90], wide[..., 110:]):
            with computing(1):
                want = model(part)
            for number in (2, 3, 5, 7):
                with computing(number):
                    assert torch.equal(model(part), want), f"{number} threads"


def test_the_family_list_covers_all_ways_of_batching() -> None:
    assert {FAMILIES[family][2] for family in set(SHAPES) & set(FAMILIES)} == {"packed", "padded", "even"}
