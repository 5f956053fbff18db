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
