"""Vectors that aren't finite: no verb computes with them, and each says in which dataset, layer and row they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS
from hostile import poke
from layerwise.cli.main import main
from layerwise.errors import DatasetError, OutputError

ROW = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Path:
    """A right dataset with a head, and one with a NaN in layer 2."""
    place = tmp_path_factory.mktemp("odd")
    texts = [f"{text} {n}" for n in range(2) for text in CORPUS]
    lines = [json.dumps({"text": text, "label": ("a", "b")[n % 2]}) + "\n" for n, text in enumerate(texts)]
    (place / "texts.jsonl").write_text("".join(lines))
    for name in ("right.lw", "odd.lw"):
        lw.extract(place / "texts.jsonl", place / name, model=encoder_of("bert"), shard_texts=20)
    lw.extract(place / "texts.jsonl", place / "token.lw", model=encoder_of("bert"), level="token")
    lw.train(place / "right.lw", task="classify", label="label", mix="2", out=place / "head")
    poke(place / "odd.lw", "2", ROW, np.nan)
    poke(place / "token.lw", "2", ROW, np.inf)
    return place


VERBS: dict[str, Callable[[Path, Path], Any]] = {
    "train": lambda odd, out: lw.train(odd, task="classify", label="label", mix="mean(all)"),
    "train learned": lambda odd, out: lw.train(odd, task="classify", label="label", mix="learned(all)"),
    "train mlp": lambda odd, out: lw.train(odd, task="classify", label="label", mix="2", head_type="mlp"),
    "probe": lambda odd, out: lw.probe(odd, task="classify", label="label", quick=True),
    "analyze": lambda odd, out: lw.analyze(odd),
    "analyze against": lambda odd, out: lw.analyze(odd.parent / "right.lw", against=odd),
    "report": lambda odd, out: lw.report(odd, out / "page.html"),
    "explore": lambda odd, out: lw.explore(odd),
    "export": lambda odd, out: lw.export(odd, out / "x.parquet"),
    "export npy": lambda odd, out: lw.export(odd, out / "x", to="npy", mix="mean(all)"),
    "evaluate": lambda odd, out: lw.load_head(odd.parent / "head").evaluate(odd),
    "predict": lambda odd, out: lw.load_head(odd.parent / "head").predict_rows(lw.open_dataset(odd)),
    "mix": lambda odd, out: lw.open_dataset(odd).mix("sum(1:)"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_computes_with_it(verb: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        VERBS[verb](folder / "odd.lw", tmp_path)
    assert str(caught.value).startswith(
        f"{folder / 'odd.lw'}: layer 2, row {ROW} holds nan, which isn't finite;"
    )
    assert list(tmp_path.iterdir()) == []


def test_nor_is_it_pooled(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"token.lw: layer 2, row {ROW} holds inf"):
        lw.pool(folder / "token.lw", tmp_path / "out", level="text")
    assert not (tmp_path / "out").exists()


def test_layers_beside_it_are_of_use(folder: Path) -> None:
    head = lw.train(folder / "odd.lw", task="classify", label="label", mix="1")
    assert head.layers == ("1",)


def test_the_command_line_says_it_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--task", "classify", "--label", "label", "--out", str(tmp_path / "out"), "--quiet"]
    for command in ("train", "probe"):
        assert main([command, str(folder / "odd.lw"), *arguments]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"layer 2, row {ROW} holds nan" in said


def test_verify_names_layer_and_row(folder: Path) -> None:
    found = lw.verify(folder / "odd.lw", sample=0)
    assert [problem.file for problem in found.problems] == ["shards/00000.safetensors"]
    assert found.problems[0].what.startswith(f"layer 2 holds nan in row {ROW} of the shard")


@pytest.mark.parametrize(
    ("dtype", "size", "says"),
    [
        (
            "float16",
            1e5,
            "too large for dtype='float16' (up to 65504); use dtype='float32' or dtype='bfloat16'",
        ),
        ("float16", np.inf, "which dtype='float16' can't hold, and no other stored type can"),
        ("bfloat16", 3.4e38, "too large for dtype='bfloat16'"),
        ("int8", np.nan, "which dtype='int8' can't hold"),
    ],
)
def test_an_extraction_that_overflows_says_which_type_holds_it(
    dtype: str,
    size: float,
    says: str,
    folder: Path,
    encoder_of: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from layerwise.store.tensors import TensorWriter

    put = TensorWriter.put

    def swollen(self: TensorWriter, layer: str, rows: Any, values: Any) -> None:
        put(self, layer, rows, np.where(np.arange(values.shape[1]) == 3, np.float32(size), values))

    monkeypatch.setattr(TensorWriter, "put", swollen)
    with pytest.raises(OutputError) as caught:
        lw.extract(folder / "texts.jsonl", tmp_path / "out", model=encoder_of("bert"), dtype=dtype)
    assert "layer emb holds" in str(caught.value)
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_repair_makes_its_shard_again(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "odd.lw", tmp_path / "odd.lw")
    done = lw.repair(tmp_path / "odd.lw", device="cpu")
    assert done.shards == (0,)
    right, mended = lw.open_dataset(folder / "right.lw"), lw.open_dataset(tmp_path / "odd.lw")
    assert np.array_equal(mended.checked().layer("2"), right.layer("2"))
    assert lw.verify(tmp_path / "odd.lw", sample=0).ok
