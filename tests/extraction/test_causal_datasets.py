"""A decoder-only model from `extract` to `verify`, heads and `info`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from causal_models import make_causal
from conftest import make_model
from layerwise.cli.main import main
from layerwise.errors import RequestError
from reference import Plain, worst

TEXTS = ["a good film", "bad", "a good book, good", "a bad, bad film", "good", "it is bad"]
LABELS = ["yes", "no", "yes", "no", "yes", "no"]
# float16: half a unit in the last place of the largest number, see `tolerance.STORED`.
TOLERANCE = 1e-5 + 2.0**-11


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_causal("llama", tmp_path / "llama", begins=True, padding_side="left")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    rows = [f'"{text}",{label}' for text, label in zip(TEXTS, LABELS, strict=True)]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


def test_extract_verify_train_and_predict(
    model: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = lw.extract(source, tmp_path / "out", model=str(model), pool="eos", device="cpu")
    plain = Plain(model)
    expected = np.stack([plain.states(plain.raw(text)["input_ids"])[:, -1] for text in TEXTS], axis=1)
    assert worst(dataset.stack(), expected) <= TOLERANCE
    assert dataset.manifest.model.causal is True
    assert dataset.manifest.model.last_layer == "normed"
    assert lw.info(dataset).to_json()["settings"]["engine"]["packing"] == "packed"
    assert main(["verify", str(tmp_path / "out"), "--device", "cpu", "--json"]) == 0
    check = json.loads(capsys.readouterr().out)
    assert (check["ok"], list(check["parity"])) == (True, ["emb", "1", "2", "3"])
    assert main(["info", str(tmp_path / "out")]) == 0
    assert "(llama, causal, 3 blocks, width 32)" in capsys.readouterr().out
    head = lw.train(dataset, task="classify", label="label", mix="-1", out=tmp_path / "a.head")
    assert len(list(head.predict(TEXTS))) == len(TEXTS)


def test_pool_of_tokens_is_that_of_extract(model: Path, source: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": str(model), "device": "cpu", "dtype": "float32"}
    tokens = lw.extract(source, tmp_path / "tokens", level="token", **settings)
    texts = lw.extract(source, tmp_path / "texts", pool="eos", **settings)
    pooled = lw.pool(tokens, tmp_path / "pooled", pool="eos")
    assert worst(pooled.stack(), texts.stack()) <= 1e-5
    with pytest.raises(RequestError, match="'cls' takes the first token, which in a causal model"):
        lw.pool(tokens, tmp_path / "cls", pool="cls")


def test_info_says_whether_a_model_is_causal(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = make_model("bert", tmp_path / "bert")
    for folder, causal, family in ((model, True, "llama, causal"), (encoder, False, "bert")):
        facts = lw.info(folder).to_json()
        assert (facts["causal"], facts["blocks"], facts["width"]) == (causal, 3, 32)
        assert main(["info", str(folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.split(maxsplit=1) == ["family", family] for line in lines)
