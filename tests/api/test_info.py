"""info: which table each column stands in, at every level, and as the tables are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise.cli.main import main

ROWS: list[dict[str, Any]] = [
    {"id": "a", "w": ["the", "word"], "label": "x", "tag": ["D", "N"]},
    {"id": "b", "w": ["first"], "label": "y", "tag": ["A"]},
    {"id": "c", "w": ["last"], "label": "y", "tag": ["A"], "year": 3},
]
Make = Callable[..., lw.LayerDataset]


@pytest.fixture
def make(encoder_of: Callable[[str], Any], tmp_path: Path) -> Make:
    """Extract ROWS, a text per shard."""

    def call(level: str, **more: Any) -> lw.LayerDataset:
        source = tmp_path / "rows.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        options = {"model": encoder_of("bert"), "words": "w", "id": "id", "shard_texts": 1} | more
        return lw.extract(source, tmp_path / "rows.lw", level=level, **options)

    return call


@pytest.mark.parametrize("no_text", [False, True])
@pytest.mark.parametrize("level", ["text", "word", "token"])
def test_columns_by_table(level: str, no_text: bool, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make(level, no_text=no_text)
    expected = {"index": set(dataset.index.column_names), "texts": set(dataset.texts.column_names)}
    assert ("label" in expected["texts"]) == (not no_text)
    assert ("year" in expected["index"]) == (level == "text"), "a column of the last shard alone"
    tables = lw.info(dataset)["tables"]
    assert {kind: set(names) for kind, names in tables.items()} == expected
    assert all(len(names) == len(set(names)) for names in tables.values())
    assert tables["texts"][0] == tables["index"][0] == "doc"
    assert main(["info", str(dataset.path)]) == 0
    shown = capsys.readouterr().out
    for kind, names in tables.items():
        (line,) = (line for line in shown.splitlines() if line.startswith(f"in the {kind} "))
        assert line.split("  ", 1)[1].strip() == ", ".join(names)


def test_tables_that_cannot_be_read(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make("text")
    (dataset.path / "shards" / "00000.index.parquet").write_bytes(b"PAR1")
    assert lw.info(dataset)["tables"] is None
    assert main(["info", str(dataset.path)]) == 0
    assert "can't be read; run `layerwise verify`" in capsys.readouterr().out


def test_empty_texts_are_counted_at_every_level(
    encoder_of: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "texts.csv"
    source.write_text("text,n\nthe word,1\n,2\n\u200d,3\n  ,4\nlast,5\n", encoding="utf-8")
    counts = []
    several: dict[str, dict[str, Any]] = {
        "text": {"special_tokens": False},
        "word": {"level": "word"},
        "token": {"level": "token"},
        "eos": {"pool": "eos"},
    }
    for name, options in several.items():
        dataset = lw.extract(source, tmp_path / name, model=encoder_of("bert"), **options)
        counts.append(dataset.manifest.totals.special_only_texts)
    pooled = lw.pool(tmp_path / "token", tmp_path / "pooled", level="text")
    assert [*counts, pooled.manifest.totals.special_only_texts] == [3] * 5
    command = ["extract", str(source), "--out", str(tmp_path / "own.lw"), "--limit", "4", "--na", "4"]
    capsys.readouterr()
    assert main([*command, "--model", encoder_of("bert").home]) == 0
    shown = capsys.readouterr()
    assert "empty texts, which have only special tokens: 3" in shown.out
    assert "cells that hold '4': 1 in 'n'; they are read as missing" in shown.err
    assert main([*command, "--model", encoder_of("bert").home, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["special_only_texts"] == 3
    assert printed["notices"] == ["cells that hold '4': 1 in 'n'; they are read as missing"]


def test_a_cut_is_described(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = model_folder("bert")
    lw.cut(source, tmp_path / "short", at=2, drop="1", device="cpu")
    lw.cut(source, tmp_path / "table", at=1, static=True, device="cpu")
    weights = lw.load_encoder(source, device="cpu").hashes["weights"]
    facts = lw.info(tmp_path / "short")
    assert (facts["kind"], facts["blocks"]) == ("model", 1)
    assert facts["cut"]["source"]["weights"] == weights
    assert str(tmp_path) not in (tmp_path / "short" / "layerwise.json").read_text()
    assert main(["info", str(tmp_path / "short")]) == 0
    assert f"{source.name} (bert), layer 2 without blocks 1" in capsys.readouterr().out
    static = lw.info(tmp_path / "table")
    assert (static["kind"], static["to"], static["at"], static["width"]) == ("cut", "static", "1", 32)
    assert static["bytes"] == sum(
        path.stat().st_size for path in (tmp_path / "table").rglob("*") if path.is_file()
    )
    assert main(["info", str(tmp_path / "table")]) == 0
    shown = capsys.readouterr().out
    assert "table of token vectors" in shown
    assert weights in shown


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "can't be read"),
        (
            '{"format": "layerwise-cut", "version": 2}',
            "version is 2, which this layerwise can't read; update",
        ),
        ('{"format": "layerwise-cut", "version": 1, "to": "x"}', "to is 'x'"),
    ],
)
def test_a_damaged_description_of_a_cut(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "layerwise.json").write_text(content)
    with pytest.raises(lw.ModelError, match=says):
        lw.info(tmp_path)


def test_a_file_of_that_name_by_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "layerwise.json").write_text('{"mine": 1}')
    with pytest.raises(lw.DatasetError):
        lw.info(tmp_path)


@pytest.mark.parametrize("to", ["binary", "pca:4", "faiss"])
def test_small_vectors_and_their_transform_are_described(
    to: str, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make("token")
    exported = lw.export(dataset, tmp_path / "small", to=to, mix="mean(1,2)")
    assert exported.small is not None
    assert exported.small.recall is not None
    facts = lw.info(tmp_path / "small")
    assert (facts["kind"], facts["to"], facts["mix"], facts["rows"]) == (
        "export",
        to,
        "mean(1,2)",
        dataset.rows,
    )
    assert facts["recall"] == exported.small.recall.to_json()
    assert main(["info", str(tmp_path / "small")]) == 0
    shown = capsys.readouterr().out
    assert f"{exported.small.recall.score:.4f} against exact search" in shown
    assert dataset.manifest.model.weights in shown
    transform = lw.info(tmp_path / "small" / "transform.safetensors")
    assert (transform["kind"], transform["mix"]) == ("transform", "mean(1,2)")
    assert (transform["width"], transform["fitted_rows"]) == (dataset.width, dataset.rows)
    assert main(["info", str(tmp_path / "small" / "transform.safetensors")]) == 0
    assert "mean(1,2), level token" in capsys.readouterr().out


def test_what_is_no_transform_and_a_damaged_export(
    tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    with pytest.raises(lw.RequestError, match="doesn't describe a transform"):
        lw.info(model_folder("bert") / "model.safetensors")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(lw.DatasetError, match="x.txt is a file; info takes"):
        lw.info(tmp_path / "x.txt")
    (tmp_path / "export.json").write_text('{"to": "binary", "mix": 3}')
    with pytest.raises(lw.DatasetError, match="export.json is damaged: mix is 3; export again"):
        lw.info(tmp_path)
    with pytest.raises(lw.RequestError, match="revision='x' only applies to a model on the hub"):
        lw.info(tmp_path, revision="x")
