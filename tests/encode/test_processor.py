"""What the encoder takes of the processor: kernels that may be missing, and what is the same to the bit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwise as lw
from layerwise.encode import int8, linear
from layerwise.tolerance import COMPUTED, STORED, measured_limit
from reference import worst
from rounding import moved

TEXTS = ["a b c d", "one two three", "x"]


@pytest.fixture
def no_bf16_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A oneDNN as on a processor with AVX2 at most."""
    reorder = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)

    def refuse(weight: torch.Tensor, rows: int) -> Any:
        if weight.dtype is torch.bfloat16 or reorder is None:
            raise RuntimeError("mkldnn_reorder_linear_weight: bf16 path needs the cpu support avx512bw")
        return reorder(weight, rows)

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse, raising=False)
    linear.available.cache_clear()
    yield
    linear.available.cache_clear()


@pytest.mark.usefixtures("no_bf16_kernel")
def test_bf16_runs_where_the_library_has_no_kernel_for_it(
    model_folder: Callable[[str], Path], encoder_of: Callable[[str], Any]
) -> None:
    encoder = lw.load_encoder(model_folder("bert"), device="cpu", precision="bf16")
    assert encoder.engine == {"packing": "packed", "products": "torch"}
    assert not linear.available(torch.bfloat16)
    error = worst(encoder.encode(TEXTS).stack(), encoder_of("bert").encode(TEXTS).stack())
    assert 1e-5 < error <= encoder.tolerance
    assert linear.ceiling("bf16", "cpu", repeats=1) > 0


@pytest.mark.parametrize("isa", ["avx2", "AVX512_CORE_VNNI", "AVX512_CORE_BF16", "ALL", ""])
def test_bf16_is_called_slow_where_the_library_is_held_below_it(
    isa: str, monkeypatch: pytest.MonkeyPatch, model_folder: Callable[[str], Path]
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    slow = isa in ("avx2", "AVX512_CORE_VNNI")
    assert linear.has_fast_bf16() != slow
    notes = lw.load_encoder(model_folder("bert"), device="cpu", precision="bf16").notes
    assert [note for note in notes if "ONEDNN_MAX_CPU_ISA keeps oneDNN from them" in note] == [*notes][
        : int(slow)
    ]


def test_the_older_name_of_the_variable_counts_where_the_newer_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "avx2")
    assert linear.isa_limit() == "AVX2"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "default")
    assert linear.isa_limit() is None


PRECISIONS = ("fp32", "bf16", *(["int8"] if int8.available() else []))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_again_gives_the_same_bytes_and_so_do_other_neighbours_of_the_same_lengths(
    precision: str, model_folder: Callable[[str], Path]
) -> None:
    """The same sizes take the same kernels, and a row's sums are its own."""
    encoder = lw.load_encoder(model_folder("bert"), device="cpu", precision=precision)
    kept = "a text that stays"
    texts, other_texts = [kept, "a b c d e f g", "t o o"], [kept, "s h a r e d i", "n o w"]
    first = encoder.encode(texts, level="token")
    second = encoder.encode(other_texts, level="token")
    assert first.index["doc"].to_pylist() == second.index["doc"].to_pylist(), "as many tokens"
    rows = first.where(doc=0)
    np.testing.assert_array_equal(first.stack(), encoder.encode(texts, level="token").stack())
    np.testing.assert_array_equal(first.stack()[:, rows], second.stack()[:, rows])
    assert not np.array_equal(first.stack(), second.stack())


def test_the_tolerances_of_the_docs_are_those_of_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs/explanation/scale.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| with plain transformers")]
    assert [float(cell) for cell in row.split("|")[2:4]] == [COMPUTED["fp32"], COMPUTED["bf16"]]
    assert measured_limit(0.0) == 0.02
    assert measured_limit(1.0) == 6.02
    assert "2⁻¹¹ in float16, 2⁻⁸ in bfloat16, 1/254 in int8, 0 in float32" in " ".join(text.split())
    assert STORED == {"float32": 0, "float16": 2**-11, "bfloat16": 2**-8, "int8": 1 / 254}


def test_moved_products_differ_by_rows_and_in_the_last_place_only() -> None:
    x = torch.linspace(-3, 3, 7 * 12).view(7, 12)
    for dtype, most in ((torch.float32, 2.0**-23), (torch.bfloat16, 2.0**-7)):
        few, many = moved(x[:2].to(dtype)), moved(x.to(dtype))
        assert (many.float() - x.to(dtype).float()).abs().max() <= 3 * most
        assert torch.equal(moved(x[:2].to(dtype)), few)
    assert not torch.equal(moved(x[:2]), moved(x)[:2])
    codes = x.to(torch.uint8)
    assert moved(codes) is codes
