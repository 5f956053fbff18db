"""int8: near fp32 on every layer, the same whatever stands beside, and its error is measured and held against."""

import itertools
import json
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

import layerwise as lw
from conftest import CORPUS, SHARED
from layerwise.array_types import F32
from layerwise.encode import int8, int8_samples, load
from layerwise.errors import RequestError
from layerwise.extraction.parity import LONGEST, spread
from layerwise.read.docstrings import paragraphs
from layerwise.store.shard import ShardWriter

# Of kinds on which fixed scales fail first: little context, and channels that few texts reach.
SHORT = [
    "Ask her again tomorrow.", "That was a good answer.", "It hangs on the weather.", "The school is closed.",
    "university", "teachers", "She didn't.", "so what ?", "a cheap trick .", "Is it?", "Nobody knows.", "Yes!",
    "Where is my parcel?", "You were right.", "A man rides a horse.", "What a day...", "Berlin", "doubt", "of", "7",
]  # fmt: skip
needs_vnni = pytest.mark.skipif(not int8.available(), reason=f"int8 {int8.refusal()}")


def cosines(a: F32, b: F32) -> F32:
    dots: F32 = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return dots


@pytest.fixture(scope="module")
def exact() -> Any:
    return lw.load_encoder("minilm", device="cpu")


@pytest.fixture(scope="module")
def rough() -> Any:
    return lw.load_encoder("minilm", device="cpu", precision="int8")


@needs_vnni
def test_every_layer_of_minilm_is_near(exact: Any, rough: Any) -> None:
    texts = [text for _, (_, text) in zip(range(120), paragraphs(), strict=False)] + CORPUS
    assert rough.engine == {"packing": "packed", "products": "int8"}
    a, b = rough.encode(texts), exact.encode(texts)
    assert np.array_equal(a.layer("emb"), b.layer("emb"))
    for layer in a.layers:
        near = cosines(a.layer(layer), b.layer(layer))
        # Of 12,000 texts of six corpora four are below, the least 0.993 (benchmarks/int8.py).
        assert near.min() >= 0.995, f"layer {layer}: cosine {near.min():.4f} of {texts[near.argmin()]!r}"
        assert not np.array_equal(a.layer(layer), b.layer(layer)) or layer == "emb"


@needs_vnni
def test_what_has_little_context_is_near_too(exact: Any, rough: Any) -> None:
    a, b = rough.encode(SHORT), exact.encode(SHORT)
    for layer in a.layers:
        near = cosines(a.layer(layer), b.layer(layer))
        # The least of 3,000 words that stand alone is 0.992, of 12,000 sentences 0.993 (benchmarks/int8.py).
        assert near.min() >= 0.99, f"layer {layer}: cosine {near.min():.4f} of {SHORT[near.argmin()]!r}"
        assert np.median(near) >= 0.996, f"layer {layer}: cosine {np.median(near):.4f} in the middle"


@needs_vnni
@pytest.mark.skipif(not SHARED.exists(), reason="needs shared/")
def test_similarity_of_sentences_is_that_of_fp32(exact: Any, rough: Any) -> None:
    import csv

    with (SHARED / "data/stsb_en/stsb-en-test.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    gold = [float(row[2]) for row in rows]
    sides = [[encoder.encode([row[k] for row in rows]) for k in (0, 1)] for encoder in (exact, rough)]
    for layer in sides[0][0].layers:
        fp32, int8 = (spearmanr(cosines(*(side.layer(layer) for side in both)), gold)[0] for both in sides)
        assert abs(fp32 - int8) < 0.005, f"layer {layer}: Spearman {fp32:.4f} in fp32 and {int8:.4f} in int8"


@needs_vnni
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "modernbert", "t5"])
def test_a_text_does_not_depend_on_its_neighbours(family: str, model_folder: Callable[[str], Path]) -> None:
    encoder = lw.load_encoder(model_folder(family), device="cpu", precision="int8")
    assert encoder.engine["products"] == "int8"
    together = encoder.encode(CORPUS, level="token")
    docs = together.index["doc"].to_numpy()
    for doc, text in enumerate(CORPUS):
        alone = encoder.encode([text], level="token")
        a, b = alone.stack(), together.stack()[:, docs == doc]
        apart = float(np.abs(a - b).max(initial=0)) / max(1.0, float(np.abs(b).max(initial=0)))
        # In a batch of another size sums may come in another order, and a code on a border of rounding moves by one
        # step, on some processors in most texts. Of batches of the same sizes test_processor.py asks for equality.
        assert apart < 0.05, f"text {doc} is off by {apart:.3f}"


@needs_vnni
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_in_int8_is_about_the_product(bias: bool) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 48, bias=bias).requires_grad_(False)
    x = torch.randn(200, 96) * torch.logspace(-2, 1, 96)  # channels of very different sizes
    model = torch.nn.Sequential(linear)
    with torch.inference_mode():
        expected = linear(x)
        int8.convert(model, partial(model, x))
        got = model(x)
        assert isinstance(model[0], int8.QuantisedLinear)
        error = float((got - expected).norm() / expected.norm())
        assert 1e-4 < error < 2e-2, f"relative error {error:.1e}"
        # What lies far beyond what was seen is clipped, and nothing else is touched by it.
        far = model(torch.cat([x[:1], 1e6 * x[:1]]))
    assert torch.isfinite(far).all()
    # The sums are of integers, and exact. The library may take another kernel for 2 rows than for 200 (with AMX it
    # does), and the one scales the sum and adds the bias in other steps than the other: a few roundings of float32.
    apart = float((far[0] - got[0]).abs().max() / got[0].abs().max())
    assert apart <= 1e-6, f"off by {apart:.1e} beside a row that is clipped"


@needs_vnni
def test_a_layer_that_is_not_reached_is_left_alone() -> None:
    model = torch.nn.ModuleDict({"used": torch.nn.Linear(8, 8), "unused": torch.nn.Linear(8, 8)})
    with torch.inference_mode():
        int8.convert(model, partial(model["used"], torch.randn(4, 8)))
    assert isinstance(model["used"], int8.QuantisedLinear)
    assert type(model["unused"]) is torch.nn.Linear


def test_drawn_texts_are_the_same_everywhere_and_hold_no_special_token() -> None:
    texts = int8_samples.random_texts(50, [0, 3, 49])
    assert [len(text) for text in texts] == list(int8_samples.LENGTHS)
    assert set(np.concatenate(texts).tolist()) == set(range(50)) - {0, 3, 49}
    np.testing.assert_equal(texts, int8_samples.random_texts(50, [49, 0, 3]))


@needs_vnni
def test_the_error_is_measured_on_the_first_texts_and_verify_holds_it(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source = tmp_path / "texts.jsonl"
    texts = [text for text in CORPUS if text.strip()]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    # One shard: of a tiny model with random weights other texts may be ten times as far off as the first four.
    options: dict[str, Any] = {"model": model_folder("bert"), "precision": "int8", "device": "cpu"}
    dataset = lw.extract(source, tmp_path / "out", level="word", **options)
    tolerance = dataset.manifest.to_json()["tolerance"]
    assert set(tolerance["measured"]) == set(dataset.layers) == set(tolerance["layers"])
    assert tolerance["measured"]["emb"]["max_rel"] == 0
    assert 0 < tolerance["measured"]["3"]["max_rel"] < tolerance["layers"]["3"] <= tolerance["value"] < 0.25
    assert lw.verify(tmp_path / "out", device="cpu").ok
    pooled = lw.pool(dataset, tmp_path / "pooled", dtype="int8")
    assert pooled.manifest.to_json()["tolerance"]["layers"]["emb"] > tolerance["layers"]["emb"]
    again = lw.extract(source, tmp_path / "out", level="word", **options)
    assert again.sha256 == dataset.sha256


@needs_vnni
def test_texts_that_are_rounded_worse_than_the_first_are_right_too(exact: Any, tmp_path: Path) -> None:
    paragraph = [text for _, (_, text) in zip(range(200), paragraphs(), strict=False)]
    source = tmp_path / "texts.txt"
    source.write_text("".join(text + "\n" for text in paragraph + SHORT * 3), encoding="utf-8")
    lw.extract(source, tmp_path / "out", precision="int8", device="cpu", shard_texts=100)
    for seed in range(3):
        report = lw.verify(tmp_path / "out", device="cpu", seed=seed)
        assert report.ok, f"seed {seed}: {report.problems}"


def test_the_error_is_measured_from_short_to_long() -> None:
    assert spread([]) == []
    assert spread([7, 3, LONGEST + 1, 5]) == [1, 3, 0], "all but one that is too long"
    lengths = [(n * 37) % 1000 for n in range(1000)]
    spread_lengths = sorted(lengths[n] for n in spread(lengths))
    assert len(spread_lengths) == 32
    assert {b - a for a, b in itertools.pairwise(spread_lengths)} <= {31, 32}, "evenly"
    assert spread_lengths[0] < 32


@needs_vnni
def test_verify_finds_a_layer_that_is_off_by_more(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("".join(f"text number {n}\n" for n in range(8)))
    wrong = {str(layer): {"max_rel": 0.0, "cosine": 1.0} for layer in ("emb", "1", "2", "3")}
    monkeypatch.setattr("layerwise.extraction.shard_maker.measured", lambda *_: wrong)
    monkeypatch.setattr("layerwise.tolerance._MORE", 1e-4)
    lw.extract(
        source, tmp_path / "out", model=model_folder("bert"), precision="int8", dtype="float32", device="cpu"
    )
    report = lw.verify(tmp_path / "out", device="cpu")
    assert [problem.file for problem in report.problems] == ["layer 1", "layer 2", "layer 3"]
    assert "is out of the tolerance of 1.00e-04" in report.problems[0].what


@needs_vnni
def test_the_limits_as_they_are_tell_one_layer_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "texts.jsonl"
    texts = [text for _, text in itertools.islice(paragraphs(), 0, 300, 3)]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    put = ShardWriter.put
    swapped = {"3": "4", "4": "3"}
    monkeypatch.setattr(
        ShardWriter, "put", lambda self, layer, *rows: put(self, swapped.get(layer) or layer, *rows)
    )
    lw.extract(source, tmp_path / "out", model="minilm", precision="int8", device="cpu")
    report = lw.verify(tmp_path / "out", device="cpu")
    assert [problem.file for problem in report.problems] == ["layer 3", "layer 4"]


def test_a_machine_that_cannot_is_told(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "refusal", lambda: "needs a processor with VNNI instructions")
    with pytest.raises(
        RequestError, match="precision 'int8' needs a processor with VNNI instructions; use bf16"
    ):
        lw.load_encoder(model_folder("bert"), device="cpu", precision="int8")
    monkeypatch.setattr(load, "choose_device", lambda device: "cuda")
    with pytest.raises(RequestError, match="precision 'int8' runs on a CPU and this is 'cuda'; use bf16"):
        lw.load_encoder(model_folder("bert"), precision="int8")


def pairwise(
    codes: Tensor, step: float, zero: int, packed: Tensor, scale: Tensor, _: Tensor, bias: Tensor,
    out_step: float, out_zero: int, dtype: torch.dtype, after: str, *__: Any, fits: Callable[[int], bool],
) -> Tensor:  # fmt: skip
    """A product of codes whose sums of two are cut to 16 bits where `fits` says so of the number of rows."""
    terms = codes.long()[:, None] * packed.long()
    pairs = terms[..., ::2] + terms[..., 1::2]
    if fits(len(codes)):
        pairs = pairs.clamp(-(2**15), 2**15 - 1)
    sums = (pairs.sum(-1) - zero * packed.long().sum(-1)) * step * scale + bias
    if after == "gelu":
        sums = torch.nn.functional.gelu(sums)
    product: Tensor = (
        (sums / out_step + out_zero).round().clamp(0, 255).to(dtype) if dtype == torch.uint8 else sums
    )
    return product


@pytest.mark.parametrize("rows", [None, 1, 2, 16, 200])
def test_sums_of_16_bits_are_refused_whatever_the_processor_says(
    rows: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = partial(pairwise, fits=lambda count: count == rows)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.onednn, "qlinear_prepack", lambda codes, _: codes, raising=False)
    monkeypatch.setattr(torch.ops.onednn, "qlinear_pointwise", product, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    why = int8.refusal.__wrapped__()
    if rows is None:
        assert why is None
    else:
        assert why is not None
        line = (
            rf"needs oneDNN to use VNNI instructions \(ONEDNN_MAX_CPU_ISA is AVX2\): "
            rf"a product of {rows} x 256 codes is off by \d+% of the largest number here"
        )
        assert re.fullmatch(line, why), why


def test_no_kernel_is_refused_and_so_is_a_torch_without_the_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.onednn, "qlinear_prepack", fail, raising=False)
    monkeypatch.setattr(torch.ops.onednn, "qlinear_pointwise", fail, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    wrong = "needs oneDNN to use VNNI instructions: a product of 1 x 256 codes fails here"
    assert int8.refusal.__wrapped__() == wrong
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    lacks = "needs the int8 products of oneDNN, which this build of torch lacks"
    assert int8.refusal.__wrapped__() == lacks


@pytest.mark.slow
def test_where_the_library_is_held_to_avx2_the_command_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a text\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "layerwise",
        "extract",
        "texts.txt",
        "--out",
        "out",
        "--precision",
        "int8",
    ]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [*command, "--device", "cpu"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert re.search(r"precision 'int8' needs .*; use bf16 or fp32$", line), done.stderr
    assert "Traceback" not in done.stderr


@needs_vnni
def test_codes_of_an_input_are_made_once_for_its_layers_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = torch.nn.ModuleList(torch.nn.Linear(16, 8) for _ in range(3)).requires_grad_(False)
    sample, x = torch.randn(9, 16), torch.randn(4, 16)
    with torch.inference_mode():
        int8.convert(layers, lambda: [layer(sample) for layer in layers])
        encoded_rows: list[int] = []
        of = int8._InputCodes.encode

        def counted(codes: int8._InputCodes, x: Tensor) -> Tensor:
            encoded_rows.append(len(x))
            return of(codes, x)

        monkeypatch.setattr(int8._InputCodes, "encode", counted)
        for layer in layers:
            layer(x)
        assert encoded_rows == [4]
        kept = weakref.ref(x)
        del x
        assert kept() is None, "the last batch stays in memory"
        first, second = torch.randn(4, 16), torch.randn(5, 16)
        expected = layers[0](second), layers[1](second), layers[2](second)
        encoded_rows.clear()
        layers[0](first)
        with ThreadPoolExecutor(1) as pool:  # a thread between: it has codes of its own
            got = list(pool.map(lambda layer: layer(second), layers))
        layers[1](first)
        layers[2](first)
    assert encoded_rows == [4, 5]
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)
