"""The table of what a model costs at each layer: sizes against folders that are written, scores against the probe."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from causal_models import make_causal
from layerwise.cli.main import main
from layerwise.cutting import table as tables


@pytest.fixture(autouse=True)
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TEXTS", 3)
    monkeypatch.setattr(tables, "ROUNDS", 1)
    monkeypatch.setattr(tables, "paragraphs", lambda: [("", f"text {number}") for number in range(9)])


def probe_of(model: Path, layers: str = "all") -> Any:
    from layerwise.encode.load import load_encoder

    states = load_encoder(model, device="cpu").encode(texts(), layers=layers)
    labels = [text.split()[0] for text in texts()]
    return lw.probe(states, task="classify", labels_from=labels, quick=True, no_codelength=True, mix=[])


def texts() -> list[str]:
    return [f"{word} {letter}" for word in ("one", "two") for letter in "abcdefghij"]


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_sizes_are_those_of_the_folders(
    family: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """T5 names its table of tokens twice."""
    table = lw.cut(model_folder(family), table=True, device="cpu")
    assert list(table) == ["emb", "1", "2", "3"]
    for layer in ("emb", "2", "3"):
        written = lw.cut(model_folder(family), tmp_path / layer, at=layer, device="cpu")
        assert table[layer].parameters == written.parameters
        names = ("model.safetensors", "tokenizer.json", "tokenizer_config.json")
        size = sum((tmp_path / layer / name).stat().st_size for name in names)
        assert 0 < size - table[layer].bytes < 8000, "but for the names of the tensors"
        assert table[layer].tokens_per_s > 0
    assert list(table.to_pandas()["blocks"]) == [0, 1, 2, 3]


def test_scores_are_those_of_the_probe(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = probe_of(model_folder("bert"), "1,3")
    table = lw.cut(model_folder("bert"), tmp_path / "table.json", table=True, probe=probe, device="cpu")
    for layer in ("1", "3"):
        expected = probe[layer]
        assert (table[layer].score, table[layer].low, table[layer].high) == (
            expected.score,
            expected.low,
            expected.high,
        )
    assert table["2"].score is None
    stored = json.loads((tmp_path / "table.json").read_text())
    assert stored == table.to_json()
    (tmp_path / "probe.json").write_text(json.dumps(probe.to_json()))
    command = ["cut", str(model_folder("bert")), "--table", "--probe", str(tmp_path / "probe.json")]
    assert main([*command, "--device", "cpu"]) == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["layer", "blocks"]
    assert [row.split()[0] for row in rows] == ["emb", "1", "2", "3"]
    assert "not probed" in rows[0]
    assert "3 texts" in last


def test_a_family_that_needs_blocks_has_no_row_without(model_folder: Callable[[str], Path]) -> None:
    table = lw.cut(model_folder("modernbert"), table=True, device="cpu")
    assert list(table) == ["1", "2", "3"]
    assert "can't be cut at these layers, which the table leaves out: emb" in table.notes[0]


def test_layers_that_a_cut_does_not_give_have_no_row(tmp_path: Path) -> None:
    """A cut of Mamba ends a block too early, which only its numbers show."""
    table = lw.cut(make_causal("mamba", tmp_path / "source"), table=True, device="cpu")
    assert list(table) == ["3"]
    assert "leaves out: emb, 1, 2" in table.notes[0]


def test_a_probe_of_another_model_is_refused(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "kind": text[:3]}) for text in texts()]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    dataset = lw.extract(
        tmp_path / "texts.jsonl", tmp_path / "set.lw", model=str(model_folder("electra")), device="cpu"
    )
    probe = lw.probe(dataset, task="classify", label="kind", quick=True, no_codelength=True, mix=[])
    with pytest.raises(lw.RequestError, match="is of another model than"):
        lw.cut(model_folder("bert"), table=True, probe=probe, device="cpu")


def test_the_file_must_be_new(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("mine")
    with pytest.raises(lw.OutputError, match="already exists"):
        lw.cut(model_folder("bert"), tmp_path / "table.json", table=True, device="cpu")
    assert (tmp_path / "table.json").read_text() == "mine"
