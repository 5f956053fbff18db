"""Packed attention by a kernel over texts of various lengths, as CUDA has it; here a plain one of the same face."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from conftest import CORPUS
from layerwise.encode import attention
from layerwise.encode.load import load_encoder
from reference import worst


def plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    """Attention within each text, (tokens, heads, size), by its formula."""
    assert cu_seq_q.dtype == torch.int32, "the kernel takes nothing else"
    borders = cu_seq_q.tolist()
    assert borders == cu_seq_k.tolist()
    assert max_q == max_k == max(b - a for a, b in itertools.pairwise(borders))
    assert query.is_contiguous()
    out = torch.empty_like(value)
    for begin, end in itertools.pairwise(borders):
        q, k, v = (x[begin:end].transpose(0, 1) for x in (query, key, value))
        scores = q @ k.transpose(1, 2) * (q.shape[-1] ** -0.5 if scale is None else scale)
        place = torch.arange(end - begin)
        apart = place[None, :] - place[:, None]
        left, right = window_size
        if left >= 0:
            scores = scores.masked_fill((apart < -left) | (apart > right), float("-inf"))
        out[begin:end] = (scores.softmax(-1) @ v).transpose(0, 1)
    return out


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "modernbert"])
def test_it_gives_the_same_layers(
    family: str, encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_of(family)
    calls = 0

    def counted(*args: Any, **named: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return plain(*args, **named)

    expected = encoder.encode(CORPUS, level="token").stack()
    monkeypatch.setattr(attention, "varlen_kernel", lambda query: counted)
    actual = encoder.encode(CORPUS, level="token").stack()
    assert calls > 0
    assert worst(actual, expected) <= encoder.tolerance


def test_torch_has_a_kernel_of_this_face() -> None:
    from torch.nn.attention.varlen import varlen_attn

    parameters = inspect.signature(varlen_attn).parameters
    for name, parameter in inspect.signature(plain).parameters.items():
        assert name in parameters, f"varlen_attn has no {name} any more"
        assert parameters[name].kind == parameter.kind, name
    assert list(parameters)[:7] == list(inspect.signature(plain).parameters)[:7]


def test_it_is_for_cuda_in_sixteen_bits() -> None:
    assert attention.varlen_kernel(torch.zeros(1, dtype=torch.bfloat16)) is None, "a CPU has no such kernel"

    class OnCuda:
        device = torch.device("cuda")
        dtype = torch.bfloat16

    assert attention.varlen_kernel(OnCuda()) is not None  # type: ignore[arg-type]
    OnCuda.dtype = torch.float32
    assert attention.varlen_kernel(OnCuda()) is None  # type: ignore[arg-type]


def test_a_broken_face_is_noticed_at_load(
    encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "varlen_kernel", lambda query: lambda q, k, v, *_, **__: v * 0)
    encoder = load_encoder(encoder_of("bert").checkpoint.folder, device="cpu")
    assert encoder.engine["packing"] == "padded", "a kernel that gives other layers isn't used"
