"""The small inputs of shared/cases that went wrong once, as they lie there."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

import layerwise as lw
from conftest import SHARED, make_model
from reference import Plain, off

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="shared/ is absent")


def test_threads(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(CASES / "threads.py"))
    assert capsys.readouterr().out.strip() == "20 of 20 right"


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_a_literal_padding_token(family: str, tmp_path: Path) -> None:
    folder = make_model(family, tmp_path / "model")
    for path in folder.glob("*.json"):
        path.write_text(path.read_text().replace("[PAD]", "<pad>"))
    texts = (CASES / "pad.txt").read_text().splitlines()
    plain = Plain(folder)
    assert plain.tokenizer.pad_token_id in plain.raw(texts[0])["input_ids"]
    assert off(lw.load_encoder(folder), plain, texts) <= 1e-5
    dataset = lw.extract(CASES / "pad.txt", tmp_path / "out", model=folder)
    assert lw.verify(dataset.path).ok


def test_a_table_for_texts(model_folder: Callable[[str], Path]) -> None:
    encoder = lw.load_encoder(model_folder("bert"))
    with pytest.raises(lw.LayerwiseError, match=r"such as \['text'\]"):
        encoder.encode({"text": ["one"], "label": ["x"]})
