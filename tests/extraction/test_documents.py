"""The columns of documents and folders in a dataset, and the groups that follow from them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import layerwise as lw
from layerwise.labels.groups import group_rows
from layerwise.states import Layered

Extract = Callable[..., lw.LayerDataset]


@pytest.fixture
def extract(encoder_of: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Extract:
    """`lw.extract` by a tiny encoder, in shards of 5 texts, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(source: Any, out: str = "out", **more: Any) -> lw.LayerDataset:
        return lw.extract(source, out, **{"model": encoder_of("bert"), "shard_texts": 5} | more)

    return call


def conll(name: str, documents: int, *, first: int = 0, mark: str = "-DOCSTART- O") -> str:
    """Write a file of documents of two sentences, and return its name."""
    sentences = (
        f"{mark.format(n)}\n\ntext O\na{n} B\n\ntext O\nb{n} B\n\n" for n in range(first, first + documents)
    )
    Path(name).write_text("".join(sentences), encoding="utf-8")
    return name


def grouping_of(dataset: Layered) -> tuple[str | None, list[int]]:
    grouping = group_rows(dataset, dataset.index["doc"].to_numpy())
    return grouping.column, grouping.groups.tolist()


def document_of(dataset: lw.LayerDataset) -> list[Any]:
    values: list[Any] = dataset.texts["document"].to_pylist()
    return values


@pytest.mark.parametrize("level", ["text", "word"])
def test_groups_do_not_depend_on_shards(extract: Extract, level: str) -> None:
    source = conll("news.conll", 11)
    small, whole = (extract(source, f"{n}.lw", level=level, shard_texts=n) for n in (3, 100))
    assert document_of(small) == [f"news.conll:{n // 2 + 1}" for n in range(22)]
    assert grouping_of(small) == grouping_of(whole)
    rows_of_document = 2 * (1 if level == "text" else 2)
    assert grouping_of(small) == ("document", np.repeat(np.arange(11), rows_of_document).tolist())
    assert extract(source, "3.lw", level=level, shard_texts=3).sha256 == small.sha256, (
        "the same command again"
    )


def test_documents_of_files_that_are_added_and_merged(extract: Extract) -> None:
    first, second = conll("a.conll", 6), conll("b.conll", 6, first=6)
    once = extract([first, second], "once", level="word")
    extract(first, "grown", level="word")
    grown = extract(second, "grown", level="word", append=True)
    parts = [extract(name, f"{name}.lw", level="word") for name in (first, second)]
    merged = lw.merge([part.path for part in parts], "merged")
    assert document_of(once)[-1] == "b.conll:6"
    for dataset in (grown, merged):
        assert document_of(dataset) == document_of(once)
        assert grouping_of(dataset) == grouping_of(once)
    assert grouping_of(once)[0] == "document"
    assert grouping_of(parts[0])[0] is None, "six documents"
    pooled = lw.pool(once, "pooled", level="text")
    assert document_of(pooled) == document_of(once)
    assert grouping_of(pooled) == ("document", np.repeat(np.arange(12), 2).tolist())


def test_texts_without_a_document_are_alone(extract: Extract) -> None:
    conll("marked.conll", 10)
    Path("plain.conll").write_text("text O\n\ntext O\nc B\n", encoding="utf-8")
    extract("plain.conll")
    dataset = extract("marked.conll", append=True)
    assert document_of(dataset)[:3] == [None, None, "marked.conll:1"]
    assert grouping_of(dataset) == ("document", [0, 1, *np.repeat(np.arange(2, 12), 2).tolist()])


def test_ten_files_are_documents_whatever_the_shards(extract: Extract) -> None:
    for number in range(10):
        Path(f"{number}.txt").write_text(f"one {number}\ntwo {number}\nthree {number}\n", encoding="utf-8")
    assert grouping_of(extract("*.txt")) == ("source", np.repeat(np.arange(10), 3).tolist())
    assert grouping_of(extract("*.txt", "docs", format="docs")) == (None, list(range(10)))
    assert "document" not in lw.open_dataset("out").texts.column_names
    extract([f"{number}.txt" for number in range(5)], "grown")
    grown = extract([f"{number}.txt" for number in range(5, 10)], "grown", append=True)
    assert grouping_of(grown)[0] == "source"


@pytest.mark.parametrize("kind", ["records", "frame", "csv", "jsonl"])
def test_a_column_of_the_users_own_is_taken_as_it_is(extract: Extract, kind: str) -> None:
    rows = [{"text": f"text {n}", "document": n // 2} for n in range(24)]
    source: Any = rows
    if kind == "frame":
        source = pytest.importorskip("pandas").DataFrame(rows)
    elif kind == "jsonl":
        source = Path("rows.jsonl")
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "csv":
        source = Path("rows.csv")
        source.write_text("text,document\n" + "".join(f"{r['text']},{r['document']}\n" for r in rows))
    dataset = extract(source)
    assert document_of(dataset) == [str(n // 2) if kind == "csv" else n // 2 for n in range(24)]
    assert not any("source.document" in notice for notice in dataset.manifest.notices)
    assert grouping_of(dataset) == ("document", np.repeat(np.arange(12), 2).tolist())


def test_a_word_per_row_with_its_document(extract: Extract) -> None:
    Path("rows.csv").write_text(
        "document,sent,word,tag\nd1,1,a,O\n,,b,B\nd2,2,c,O\n,,d,O\n", encoding="utf-8"
    )
    dataset = extract("rows.csv", sentence_id="sent")
    assert document_of(dataset) == ["d1", "d2"]


def test_without_texts_documents_and_folders_stay(extract: Extract) -> None:
    dataset = extract(conll("a.conll", 3, mark="# newdoc id = n{}"), no_text=True)
    assert document_of(dataset) == ["n0", "n0", "n1", "n1", "n2", "n2"]
    assert "text" not in dataset.texts.column_names
    Path("pos").mkdir()
    Path("pos/1.txt").write_text("text", encoding="utf-8")
    docs = extract("pos", "docs", format="docs", no_text=True)
    assert docs.texts.select(["id", "folder"]).to_pylist() == [{"id": "1.txt", "folder": "pos"}]
    Path("own.csv").write_text("text,document\na,a whole text\n", encoding="utf-8")
    assert "document" not in extract("own.csv", "own", no_text=True).texts.column_names, "it may hold a text"
    assert "document" in extract("own.csv", "kept", no_text=True, keep=["document"]).texts.column_names


@pytest.mark.parametrize("no_text", [False, True])
def test_a_source_that_moved_is_repaired(
    extract: Extract, encoder_of: Callable[[str], Any], no_text: bool
) -> None:
    Path("pos").mkdir()
    Path("pos/deep").mkdir()
    for name in ("pos/1.txt", "pos/deep/2.txt"):
        Path(name).write_text(name, encoding="utf-8")
    made = {
        "words": (conll("a.conll", 3), "b.conll", extract("a.conll", "words", no_text=no_text)),
        "docs": ("pos", "moved", extract("pos", "docs", format="docs", no_text=no_text)),
        "globs": ("pos/*.txt", "moved/*.txt", extract("pos/*.txt", "globs", format="docs", no_text=no_text)),
    }
    for before, now in (("a.conll", "b.conll"), ("pos", "moved")):
        Path(before).rename(now)
    for _, now, dataset in made.values():
        texts = dataset.texts
        shard = dataset.path / "shards" / "00000.texts.parquet"
        content = shard.read_bytes()
        shard.write_bytes(b"")
        lw.repair(dataset.path, source=now, model=str(encoder_of("bert").checkpoint.folder))
        assert shard.read_bytes() == content
        assert pa.Table.equals(lw.open_dataset(dataset.path).texts, texts)


def test_folders_may_be_the_labels(extract: Extract) -> None:
    for name in ("pos", "neg"):
        Path("reviews", name).mkdir(parents=True)
        for number in range(6):
            Path("reviews", name, f"{number}.txt").write_text(f"{name} {number}", encoding="utf-8")
    dataset = extract("reviews", format="docs")
    assert dataset.texts["folder"].to_pylist() == ["neg"] * 6 + ["pos"] * 6
    head = lw.train(dataset, task="classify", label="folder", mix="1")
    assert head.classes["folder"] == ("neg", "pos")
    assert head.training["groups"] is None, "a file is a text, no document of several"
    assert not any("document" in note for note in head.training["notes"])
