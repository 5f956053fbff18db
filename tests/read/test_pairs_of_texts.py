"""Pairs of texts: two columns of a record become two texts that stay together all the way to the dataset."""

import io
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import LayerwiseError, RequestError, SourceError
from layerwise.read import Example, open_corpus
from layerwise.read.shards import shards
from layerwise.store.tensors import TensorWriter
from numbered import shard_bytes

ROWS = [("Every layer.", "as data", 5.0), ("", "a word", 2.5), ("naïve café", "café, Zürich", 0.0)]
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def encoder(encoder_of: Callable[[str], Any]) -> Any:
    return encoder_of("bert")


def put(name: str, content: str) -> str:
    Path(name).write_text(content, encoding="utf-8")
    return name


def jsonl(name: str, *rows: dict[str, Any]) -> str:
    return put(name, "".join(json.dumps(row) + "\n" for row in rows))


def stdin(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))


def numbered(name: str = "n.jsonl", count: int = 7) -> str:
    """Records of which text `a` is `left N`, `b` `right N`, and `n` is N."""
    return jsonl(name, *({"a": f"left {n}", "b": f"right {n}", "n": n} for n in range(count)))


def csv_lines(rows: list[tuple[str, str, float]]) -> str:
    return "".join(f'{a},"{b}",{score}\n' for a, b, score in rows)


def source(format: str) -> tuple[str, list[Any], int]:
    """A file of ROWS, the scores as its format gives them, and the number of its first record."""
    strings = [str(score) for _, _, score in ROWS]
    if format == "csv":
        return put("p.csv", "a,b,score\n" + csv_lines(ROWS)), strings, 2
    if format == "tsv":
        return put("p.tsv", "a\tb\tscore\n" + "".join(f"{a}\t{b}\t{s}\n" for a, b, s in ROWS)), strings, 2
    rows = [{"a": a, "b": b, "score": score} for a, b, score in ROWS]
    if format == "jsonl":
        return jsonl("p.jsonl", *rows), [row["score"] for row in rows], 1
    pq.write_table(pa.Table.from_pylist(rows), "p.parquet")
    return "p.parquet", [row["score"] for row in rows], 1


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("text", ["a,b", ("a", "b"), ["a", "b"]], ids=str)
def test_a_record_gives_two_texts(format: str, text: Any) -> None:
    name, scores, first = source(format)
    corpus = open_corpus(name, text=text)
    expected = [
        Example(said, source=name, line=first + n, columns={"part": part, "score": scores[n]})
        for n, (a, b, _) in enumerate(ROWS)
        for part, said in (("a", a), ("b", b))
    ]
    assert list(corpus) == expected
    assert [list(example.columns) for example in corpus] == [["part", "score"]] * 6
    assert [len(record) for record in corpus.records()] == [2, 2, 2]
    assert (corpus.text, corpus.paired) == (("a", "b"), True)
    assert [note.partition(";")[2] for note in corpus.notices] == (
        [" give join to make one text of them"] if isinstance(text, str) else []
    )


def test_the_order_is_that_of_the_request_and_ids_are_shared() -> None:
    name = jsonl("x.jsonl", {"b": "right", "key": 7, "a": "left", "n": 1})
    one, two = open_corpus(name, text="a,b", id="key")
    assert (one.text, two.text, one.id, two.id) == ("left", "right", 7, 7)
    two, one = open_corpus(name, text="b,a")
    assert (two.text, two.columns["part"], one.text, one.columns["part"]) == ("right", "b", "left", "a")
    one, two = open_corpus(name, text="a,b", id="a")
    assert (one.text, two.text, one.id, two.id) == ("left", "right", "left", "left")


def test_files_without_a_header() -> None:
    name = put("p.csv", csv_lines(ROWS))
    found = list(open_corpus(name, text="x,y", columns=["x", "y", "s"]))
    assert [example.text for example in found] == [said for a, b, _ in ROWS for said in (a, b)]
    assert [dict(example.columns) for example in found[:2]] == [
        {"part": "x", "s": "5.0"},
        {"part": "y", "s": "5.0"},
    ]


@pytest.mark.parametrize(("format", "content"), [("csv", "a,b\n1,2\n"), ("jsonl", '{"a": "1", "b": "2"}\n')])
def test_pairs_come_from_standard_input(format: str, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, content)
    corpus = open_corpus("-", format=format, text="a,b")
    assert [(e.text, e.columns) for e in corpus] == [("1", {"part": "a"}), ("2", {"part": "b"})]
    assert corpus.text == ("a", "b")


def test_a_column_whose_name_holds_the_comma_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"a": "1", "b": "2", "a,b": "whole"}
    corpus = open_corpus(jsonl("x.jsonl", record), text="a,b")
    assert [(e.text, dict(e.columns)) for e in corpus] == [("whole", {"a": "1", "b": "2"})]
    assert (corpus.text, corpus.paired) == ("a,b", False)
    [one] = open_corpus(put("x.csv", '"a,b",part\nhi,p\n'), text="a,b")
    assert (one.text, one.columns) == ("hi", {"part": "p"})
    stdin(monkeypatch, json.dumps(record))
    assert [e.text for e in open_corpus("-", format="jsonl", text="a,b")] == ["whole"]
    assert [e.text for e in open_corpus("x.jsonl", text=("a", "b"))] == ["1", "2"]
    assert [e.text for e in open_corpus("x.jsonl", text=("a,b", "b"))] == ["whole", "2"]


def test_a_column_called_part_is_renamed_only_beside_pairs() -> None:
    pq.write_table(pa.table({"part": pa.array([3], pa.int8()), "a": ["l"], "b": ["r"]}), "p.parquet")
    corpus = open_corpus("p.parquet", text="a,b")
    assert [dict(e.columns) for e in corpus] == [
        {"part": "a", "source.part": 3},
        {"part": "b", "source.part": 3},
    ]
    assert corpus.types["source.part"] == pa.int8()
    assert "part" not in corpus.types
    assert corpus.notices[1:] == ["column 'part' is carried as 'source.part': layerwise uses 'part' itself"]
    alone = open_corpus("p.parquet", text="a")
    assert [dict(e.columns) for e in alone] == [{"part": 3, "b": "r"}]
    assert alone.notices == []


def test_a_text_may_come_from_a_column_called_part() -> None:
    corpus = open_corpus(jsonl("x.jsonl", {"part": "l", "b": "r"}), text="part,b")
    assert [(e.text, e.columns["part"]) for e in corpus] == [("l", "part"), ("r", "b")]
    assert len(corpus.notices) == 1  # that of pairs


REFUSED: list[tuple[Any, type[LayerwiseError], str]] = [
    ("a,b,n", RequestError, "text needs one column, or two for pairs of texts, and 'a,b,n' names 3"),
    (("a", "b", "n"), RequestError, "'a,b,n' names 3"),
    (("a",), RequestError, "'a' names 1"),
    ((), RequestError, "'' names 0"),
    ("a,a", RequestError, "text='a,a' names 'a' twice"),
    (("a", "a"), RequestError, "'a' twice"),
    ("a,", RequestError, "text='a,' has an empty name"),
    (("", "b"), RequestError, "',b' has an empty name"),
    ("a,c", SourceError, "there is no column 'c', only 'a', 'b', 'n'; name the columns of the two texts"),
    (("c", "a"), SourceError, "there is no column 'c'"),
    ("a, b", SourceError, "there is no column ' b'"),
]


@pytest.mark.parametrize(("text", "kind", "said"), REFUSED)
def test_texts_that_are_no_pair_are_refused_at_once(text: Any, kind: type[Exception], said: str) -> None:
    for name in (numbered(), put("n.csv", "a,b,n\n1,2,3\n"), put("n.tsv", "a\tb\tn\n1\t2\t3\n")):
        with pytest.raises(kind) as caught:
            open_corpus(name, text=text)
        assert said in str(caught.value)


def test_standard_input_refuses_as_soon_as_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, '{"a": "1", "b": "2", "c": "3"}\n')
    with pytest.raises(RequestError, match="names 3"):
        list(open_corpus("-", format="jsonl", text="a,b,c"))
    stdin(monkeypatch, '{"a": "1"}\n')
    with pytest.raises(SourceError, match="stdin, line 1: there is no column 'b', only 'a'"):
        list(open_corpus("-", format="jsonl", text="a,b"))


@pytest.mark.parametrize("text", ["a,b", ("a", "b")])
def test_pairs_need_columns_of_raw_text(text: Any) -> None:
    for name in (put("x.txt", "hi\n"), put("x.conll", "hi O\n")):
        with pytest.raises(RequestError, match="text doesn't fit format"):
            open_corpus(name, text=text)
    with pytest.raises(RequestError, match="text='a,b' and words='w' exclude each other"):
        open_corpus(numbered(), text=text, words="w")


def test_both_columns_of_parquet_must_be_strings() -> None:
    pq.write_table(pa.table({"a": ["l"], "b": [1]}), "p.parquet")
    with pytest.raises(SourceError, match="column 'b' is int64 where strings are needed"):
        open_corpus("p.parquet", text="a,b")


def test_files_of_one_corpus_need_both_columns() -> None:
    one, two = numbered("1.jsonl", 1), jsonl("2.jsonl", {"a": "l", "n": 1})
    with pytest.raises(SourceError, match="2.jsonl has other columns"):
        open_corpus([one, two], text="a,b")
    found = list(open_corpus([one, numbered("3.jsonl", 2)], text="a,b"))
    assert [(e.source, e.line) for e in found[1:4]] == [("1.jsonl", 1), ("3.jsonl", 1), ("3.jsonl", 1)]


def test_limit_counts_records() -> None:
    for limit in (1, 3, 7):
        corpus = open_corpus(numbered(), text="a,b", limit=limit)
        assert [e.line for e in corpus] == [line for line in range(1, limit + 1) for _ in "ab"]
        assert corpus.fraction == 1.0


def test_bad_records_go_as_a_whole() -> None:
    bad: list[dict[str, Any]] = [{"a": "l", "b": None}, {"a": 1, "b": "r"}, {"a": "l"}, {"b": "r"}]
    good = {"a": "l", "b": "r", "n": 1}
    name = jsonl("x.jsonl", good, *bad, {**good, "n": "no number"}, good)
    with pytest.raises(SourceError, match="x.jsonl, line 2: column 'b' holds null where a text is needed"):
        list(open_corpus(name, text="a,b"))
    corpus = open_corpus(name, text="a,b", skip_bad=True)
    assert [(e.line, e.columns["part"]) for e in corpus] == [(1, "a"), (1, "b"), (7, "a"), (7, "b")]
    assert [skipped.line for skipped in corpus.skipped] == [2, 3, 4, 5, 6]


@given(
    lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
    texts=st.integers(1, 7),
    characters=st.integers(1, 30),
)
def test_a_shard_holds_whole_pairs(lengths: list[tuple[int, int]], texts: int, characters: int) -> None:
    records = [(Example("x" * a, line=n), Example("y" * b, line=n)) for n, (a, b) in enumerate(lengths)]
    cut = list(shards(iter(records), texts, characters))
    assert [example for shard in cut for example in shard] == [e for record in records for e in record]
    for shard in cut:
        assert len(shard) % 2 == 0
        before = shard[:-2]
        assert len(before) < texts, "closed as soon as it was full"
        assert sum(len(e.text) for e in before) < characters
    for shard in cut[:-1]:
        assert len(shard) >= texts or sum(len(e.text) for e in shard) >= characters


def test_the_dataset_has_two_rows_per_record(encoder: Any) -> None:
    dataset = lw.extract(numbered(), "out", model=encoder, text="a,b", dtype="float32", shard_texts=3)
    texts = [f"{side} {n}" for n in range(7) for side in ("left", "right")]
    assert dataset.index.to_pylist() == [
        {"doc": doc, "text": text, "part": "ab"[doc % 2], "n": doc // 2} for doc, text in enumerate(texts)
    ]
    assert dataset.texts["line"].to_pylist() == [n + 1 for n in range(7) for _ in "ab"]
    assert [shard.texts for shard in dataset.shards] == [4, 4, 4, 2]
    assert dataset.manifest.to_json()["columns"] == {"text": ["part", "n"], "word": []}
    assert dataset.manifest.settings.reading.text == ("a", "b")
    expected = encoder.encode(texts)
    for layer in dataset.layers:
        assert np.allclose(dataset.layer(layer), expected.layer(layer), atol=1e-5)
    assert dataset.where(part="b").tolist() == list(range(1, 14, 2))
    found = lw.verify("out", device="cpu")
    assert found.ok
    assert (found.texts, found.note) == (14, None)


@pytest.mark.parametrize("level", ["word", "token"])
def test_words_and_tokens_of_pairs(level: str, encoder: Any) -> None:
    dataset = lw.extract(numbered(), "out", model=encoder, text="a,b", level=level)
    assert dataset.texts["part"].to_pylist() == ["a", "b"] * 7
    assert "part" not in dataset.index.column_names
    assert sorted(set(dataset.index["doc"].to_pylist())) == list(range(14))
    assert lw.verify("out", device="cpu").ok
    pooled = lw.pool("out", "pooled", level="text")
    assert pooled.index["part"].to_pylist() == ["a", "b"] * 7
    assert pooled.index["n"].to_pylist() == [n for n in range(7) for _ in "ab"]


def test_the_part_stays_without_texts(encoder: Any) -> None:
    row = {"a": "secret one", "b": "secret two", "part": "secret three", "name": "secret four", "n": 1}
    dataset = lw.extract(jsonl("x.jsonl", row), "out", model=encoder, text="a,b", no_text=True)
    assert dataset.index.to_pylist() == [{"doc": 0, "part": "a", "n": 1}, {"doc": 1, "part": "b", "n": 1}]
    assert dataset.texts["part"].to_pylist() == ["a", "b"]
    assert not any(b"secret" in path.read_bytes() for path in Path("out").rglob("*") if path.is_file())
    assert lw.verify("out", source="x.jsonl", device="cpu").texts == 2
    alone = lw.extract("x.jsonl", "alone", model=encoder, text="a", no_text=True)
    assert "part" not in alone.texts.column_names, "the user's own string goes"


class Killed(BaseException):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("shard_texts", [1, 3, 4])
def test_after_a_kill_it_goes_on_to_the_same_bytes(shard_texts: int, encoder: Any) -> None:
    wanted: dict[str, Any] = {"model": encoder, "text": "a,b", "shard_texts": shard_texts}
    put_before, calls = TensorWriter.put, 0

    def counted(self: TensorWriter, *args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > len(encoder.layers) + 2:
            raise Killed
        put_before(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TensorWriter, "put", counted)
        with pytest.raises(Killed):
            lw.extract(numbered(), "out", **wanted)
    kept = {path: path.stat().st_mtime_ns for path in Path("out/shards").glob("00000.*")}
    assert len(kept) == 3
    lw.extract("n.jsonl", "out", **wanted)
    lw.extract("n.jsonl", "whole", **wanted)
    assert shard_bytes(Path("out")) == shard_bytes(Path("whole"))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_changed_half_is_noticed(encoder: Any) -> None:
    lw.extract(numbered(), "out", model=encoder, text="a,b")
    changes: list[dict[str, Any]] = [{"b": "other"}, {"a": "other"}, {"n": 99}]
    for changed in changes:
        rows = [json.loads(line) for line in Path(numbered()).read_text().splitlines()]
        jsonl("n.jsonl", *rows[:4], {**rows[4], **changed}, *rows[5:])
        with pytest.raises(lw.DatasetError, match=r"n.jsonl, line 5 has changed since"):
            lw.extract("n.jsonl", "out", model=encoder, text="a,b")


def test_both_ways_to_name_a_pair_are_the_same_request(encoder: Any) -> None:
    lw.extract(numbered(), "out", model=encoder, text="a,b")
    before = {path: path.stat().st_mtime_ns for path in Path("out/shards").iterdir()}
    lw.extract("n.jsonl", "out", model=encoder, text=("a", "b"))
    lw.extract("n.jsonl", "out", model=encoder, text=["a", "b"])
    assert {path: path.stat().st_mtime_ns for path in Path("out/shards").iterdir()} == before
    for text in ("b,a", "a"):
        with pytest.raises(lw.DatasetError, match="reading"):
            lw.extract("n.jsonl", "out", model=encoder, text=text)


def test_single_texts_are_described_as_ever(encoder: Any) -> None:
    jsonl("x.jsonl", {"text": "l", "a,b": "m"})
    for number, text in enumerate([None, "text", "a,b"]):
        dataset = lw.extract("x.jsonl", f"out{number}", model=encoder, text=text)
        assert dataset.manifest.to_json()["settings"]["reading"] == {
            "format": "jsonl",
            "text": text,
            "words": None,
            "id": None,
            "columns": None,
            "encoding": "utf-8",
        }


def test_the_command_line_takes_pairs(
    model_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    put("sts.csv", csv_lines(ROWS))
    command = ["extract", "sts.csv", "--columns", "a,b,score", "--text", "a,b", "--out", "out"]
    command += ["--model", str(model_folder("bert")), "--device", "cpu"]
    assert main([*command, "--limit", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["texts"], found["rows"]) == (4, 4)
    assert main(["verify", "out", "--source", "sts.csv", "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["extract", "sts.csv", "--columns", "a,b,c", "--text", "a,b,d", "--out", "no"]) == 2
    got = capsys.readouterr()
    what = "--text needs one column, or two for pairs of texts, and 'a,b,d' names 3"
    assert got.err == f"layerwise: {what}; --join makes one text of several columns\n"
    assert not Path("no").exists()


@pytest.mark.skipif(not (DATA / "stsb_en").is_dir(), reason="needs the shared data")
def test_real_pairs() -> None:
    import csv

    path = DATA / "stsb_en" / "stsb-en-dev.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    found = list(open_corpus(path, text="a,b", columns=["a", "b", "c"]))
    assert [example.text for example in found] == [said for row in rows for said in row[:2]]
    assert [example.columns["c"] for example in found] == [row[2] for row in rows for _ in "ab"]
    lines = [example.line or 0 for example in found]
    assert lines[::2] == lines[1::2]
    assert all(one < two for one, two in pairwise(lines[::2]))
