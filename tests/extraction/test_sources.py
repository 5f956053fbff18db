"""Datasets of every kind of source: resumed, appended to and verified as those of plain files are."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import layerwise as lw
from layerwise.errors import DatasetError
from source_kinds import FILES, OBJECTS

RECORDS: list[dict[str, Any]] = [
    {"text": f"record number {n}, a film", "label": "ab"[n % 2]} for n in range(10)
]


@pytest.fixture
def extract(encoder_of: Callable[[str], Any], tmp_path: Path) -> Callable[..., lw.LayerDataset]:
    def call(source: Any, **options: Any) -> lw.LayerDataset:
        return lw.extract(source, tmp_path / "out.lw", model=encoder_of("bert"), shard_texts=4, **options)

    return call


def inputs(dataset: lw.LayerDataset) -> list[tuple[str, str]]:
    return list(zip(dataset.texts["text"].to_pylist(), dataset.texts["label"].to_pylist(), strict=True))


def kinds(folder: Path, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The same records as a compressed file, an Arrow file, and in memory."""
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    table = pa.Table.from_pylist(records)
    with pa.ipc.new_file(folder / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    return {
        "compressed": folder / "a.jsonl.gz",
        "arrow": folder / "a.arrow",
        "polars": pl.DataFrame(records),
        "table": table,
        "records": records,
    }


KINDS = ("compressed", "arrow", "polars", "table", "records")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_call_again_and_an_append(kind: str, extract: Any, tmp_path: Path) -> None:
    source = kinds(tmp_path, RECORDS)[kind]
    first = extract(source)
    assert inputs(first) == [(record["text"], record["label"]) for record in RECORDS]
    manifest = (first.path / "manifest.json").read_bytes()
    assert (extract(source).path / "manifest.json").read_bytes() == manifest
    assert lw.verify(first.path).ok
    more = [{"text": f"more {n}", "label": "c"} for n in range(3)]
    (tmp_path / "more").mkdir()
    grown = extract(kinds(tmp_path / "more", more)[kind], append=True)
    assert inputs(grown)[len(RECORDS) :] == [("more 0", "c"), ("more 1", "c"), ("more 2", "c")]
    assert lw.verify(grown.path).ok


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_changed_is_refused(kind: str, extract: Any, tmp_path: Path) -> None:
    extract(kinds(tmp_path, RECORDS)[kind])
    changed = [*RECORDS[:5], {**RECORDS[5], "label": "z"}, *RECORDS[6:]]
    with pytest.raises(DatasetError, match="has changed since shard 1 was written"):
        extract(kinds(tmp_path, changed)[kind])


def test_how_a_table_was_read_is_remembered(extract: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sent;word;tag\n1;Ann;P\n;sees;O\n2;Bo;P\n;is;NA\n;here;O\n", encoding="utf-8")
    options = {"separator": ";", "na": ["NA"], "sentence_id": "sent", "words": "word"}
    dataset = extract(path, **options, level="word")
    assert dataset.texts["text"].to_pylist() == ["Ann sees", "Bo is here"]
    assert dataset.index["tag"].to_pylist() == ["P", "O", "P", "", "O"]
    reading = json.loads((dataset.path / "manifest.json").read_bytes())["settings"]["reading"]
    assert {name: reading[name] for name in options} == options
    assert lw.verify(dataset.path, source=path).ok
    with pytest.raises(DatasetError):
        extract(path, **{**options, "na": []}, level="word")


# --- one table, many sources ---------------------------------------------------------------------------------

pd: Any = pytest.importorskip("pandas")
FRAME = pd.DataFrame(
    [
        ("A good, long film", "pos", 1),
        ('He said "no"\nand left', "neg", 2),
        ("", "", 3),
        ('"one", "two"', "pos", 4),
        ("tab\tin it; 你好", "neg", 5),
        ("last", "neg", 6),
    ],
    columns=["text", "label", "n"],
)


def fingerprint(dataset: lw.LayerDataset) -> dict[str, Any]:
    """The stored numbers of all rows and layers by their hash, and all texts and columns as text."""
    rows = np.stack([dataset.layer(name, raw=True) for name in dataset.layers])
    texts = {
        name: list(map(str, dataset.texts[name].to_pylist()))
        for name in dataset.texts.column_names
        if name not in ("source", "line", "row")
    }
    index = dataset.index.select(["doc", "text", "label"]).to_pylist()
    return {"rows": hashlib.sha256(rows.tobytes()).hexdigest(), "texts": texts, "index": index}


@pytest.fixture(scope="module")
def of_lines(encoder_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("lines")
    source = FILES["jsonl"](FRAME, folder)
    return fingerprint(lw.extract(source.data, folder / "out.lw", model=encoder_of("bert"), shard_texts=4))


ALL_KINDS = {**FILES, **OBJECTS}


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_of_source_gives_the_same_dataset(
    kind: str, of_lines: dict[str, Any], extract: Any, tmp_path: Path
) -> None:
    source = ALL_KINDS[kind](FRAME, tmp_path)
    dataset = extract(source.data, **source.options)
    assert fingerprint(dataset) == of_lines
    assert of_lines["texts"]["label"] == ["pos", "neg", "", "pos", "neg", "neg"]
    assert of_lines["texts"]["n"] == ["1", "2", "3", "4", "5", "6"]
    assert dataset.where(label="neg").tolist() == [1, 4, 5]
