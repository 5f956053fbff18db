"""What runs on a GPU, on a GPU: skipped where there is none."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import CORPUS, FAMILIES, make_model
from layerwise.cli.main import main
from layerwise.encode import attention
from layerwise.encode.load import load_encoder
from reference import Plain, worst

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
SHORT = [text for text in CORPUS if len(text) < 90]
# The kernel wants heads of at least 8 numbers, in multiples of 8.
WIDE = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_against_plain_forwards_on_the_cpu(
    family: str, precision: str, model_folder: Callable[[str], Path]
) -> None:
    folder = model_folder(family)
    encoder, plain = load_encoder(folder, device="cuda", precision=precision), Plain(folder)
    states = encoder.encode(SHORT, level="token", max_length=encoder.position_limit)
    got = states.stack()
    for doc, text in enumerate(SHORT):
        rows = states.where(doc=doc)
        error = worst(got[:, rows], plain.states(plain.raw(text)["input_ids"]))
        assert error <= encoder.tolerance, f"{family} in {precision}: {text!r} is off by {error:.1e}"


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_sixteen_bits_go_through_the_kernel_of_various_lengths(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(family, tmp_path, **WIDE)
    encoder = load_encoder(folder, device="cuda", precision="bf16")
    assert encoder.engine["packing"] == "packed"
    used = 0
    kernel_of = attention.varlen_kernel

    def counted(query: torch.Tensor) -> attention.Kernel | None:
        nonlocal used
        kernel = kernel_of(query)
        used += kernel is not None
        return kernel

    monkeypatch.setattr(attention, "varlen_kernel", counted)
    actual = encoder.encode(CORPUS, level="token", max_length=72).stack()
    assert used > 0, "the kernel wasn't taken"
    expected = load_encoder(folder, device="cpu").encode(CORPUS, level="token", max_length=72).stack()
    assert worst(actual, expected) <= encoder.tolerance


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("pool", ["mean", "max", "cls"])
def test_texts_of_several_windows_are_pooled_on_the_device(
    pool: str, precision: str, model_folder: Callable[[str], Path]
) -> None:
    folder = model_folder("bert")
    texts = [*CORPUS, "one two three " * 60]
    options = {"level": "text", "pool": pool, "max_length": 24, "batch_tokens": 200}
    encoder = load_encoder(folder, device="cuda", precision=precision)
    actual = encoder.encode(texts, **options).stack()  # type: ignore[arg-type]
    expected = load_encoder(folder, device="cpu").encode(texts, **options).stack()  # type: ignore[arg-type]
    assert worst(actual, expected) <= encoder.tolerance


def test_neighbours_change_nothing_beyond_rounding(model_folder: Callable[[str], Path]) -> None:
    encoder = load_encoder(model_folder("bert"), device="cuda")
    alone = np.stack([encoder.encode([text]).stack()[:, 0] for text in SHORT], axis=1)
    together = encoder.encode(SHORT[::-1]).stack()[:, ::-1]
    assert worst(together, alone) <= encoder.tolerance


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_dataset_made_on_a_gpu_is_verified_there_and_on_the_cpu(
    precision: str, model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "a.txt", tmp_path / "a.lw"
    source.write_text("\n".join(text for text in SHORT if text.strip()), encoding="utf-8", newline="\n")
    model = ["--model", str(model_folder("bert")), "--precision", precision, "--device", "cuda"]
    assert main(["extract", str(source), "--out", str(out), *model, "--level", "token", "--json"]) == 0
    capsys.readouterr()
    for device in ("cuda", "cpu"):
        assert main(["verify", str(out), "--device", device, "--json"]) == 0, capsys.readouterr()
        assert json.loads(capsys.readouterr().out)["ok"], device


def test_workers_share_the_gpu_and_give_the_same_texts(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "a.txt", tmp_path / "a.lw"
    source.write_text("\n".join(f"{text} again" for text in SHORT * 20), encoding="utf-8", newline="\n")
    model = ["--model", str(model_folder("bert")), "--device", "cuda", "--workers", "2"]
    assert main(["extract", str(source), "--out", str(out), *model]) == 0, capsys.readouterr()
    assert main(["verify", str(out), "--device", "cuda"]) == 0, capsys.readouterr()


def test_bench_has_the_same_table_and_the_ceilings_of_the_gpu(
    model_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(model_folder("bert")), "--device", "cuda", "--texts", "4", "--rounds", "1"]
    assert main(["bench", *model, "--json"]) == 0, capsys.readouterr()
    result = json.loads(capsys.readouterr().out)
    for name in ("loop: one text at a time", "layerwise fp32, text level", "layerwise bf16, text level"):
        assert 0 < result["ways"][name]["of_ceiling"] < 1, name
    assert set(result["ceilings"]) == {"fp32", "bf16"}
    assert "VNNI" in result["left_out"]["layerwise int8"]
