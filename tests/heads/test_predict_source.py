"""predict on a source: columns kept beside the answer, ids, empty texts, probabilities of spans, texts as they arrive."""

import csv
import io
import json
import math
import os
import subprocess
from collections.abc import Callable
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import RequestError
from layerwise.labels.tags import spans
from layerwise.labels.viterbi import legal
from layerwise.read import open_corpus
from warm import Python

TEXTS = ["Rome sleeps", "Angela Merkel spoke in Rome", "", "a bad day", "good Paris . Rome"]
TAGS = ["B-X O", "B-Y I-Y O O B-X", "", "O O O", "O B-X O B-X"]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Path:
    """A head of texts, one of tags, and one of labels of words."""
    room, model = tmp_path_factory.mktemp("source"), encoder_of("bert")
    lines: list[dict[str, Any]] = [
        {"text": f"{text} {n}", "label": "ab"[n % 2]} for n in range(4) for text in TEXTS
    ]
    dataset = lw.extract(write(room / "t.jsonl", lines), room / "t.lw", model=model)
    lw.train(dataset, task="classify", label="label", mix="mean(1,2)", out=room / "mood.head")
    lines = [
        {
            "words": [*text.split(), str(n)],
            "tag": [*tags.split(), "O"],
            "pos": list("abcdef"[: len(tags.split()) + 1]),
        }
        for n in range(4)
        for text, tags in zip(TEXTS, TAGS, strict=True)
    ]
    words = lw.extract(
        write(room / "w.jsonl", lines), room / "w.lw", model=model, words="words", level="word"
    )
    lw.train(words, task="tag", label="tag", mix="2", out=room / "tag.head")
    lw.train(words, task="classify", label="pos", mix="1", out=room / "pos.head")
    return room


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*argv: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return (code, *capsys.readouterr())

    return call


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


# --- columns beside the answer ----------------------------------------------------------------------------


def test_columns_of_csv_stand_beside_the_answer(room: Path, run: Any, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    frame = pd.DataFrame({"key": list("vwxyz"), "text": TEXTS, "label": [*"aabb", ""], "n": [1, 2, 3, 4, 5]})
    frame.to_csv(source, index=False)
    code, out, err = run("predict", room / "mood.head", source, "--keep", "n", "label", "text", "--id", "key")
    assert code == 0
    first = rows(out)[0]
    assert list(first) == ["doc", "id", "n", "source.label", "text", "label", "probabilities"]
    assert [row["n"] for row in rows(out)] == list("12345"), "cells are strings"
    assert [row["source.label"] for row in rows(out)] == [*"aabb", ""]
    assert [row["text"] for row in rows(out)] == TEXTS
    assert "column 'label' is written as 'source.label', since predictions have something else" in err
    assert "carried" not in err
    code, out, _ = run("predict", room / "mood.head", source, "--keep", "n", "label", "key", "--to", "csv")
    back = pd.read_csv(io.StringIO(out), keep_default_na=False)
    assert list(back) == ["doc", "n", "source.label", "key", "empty", "label", "p:a", "p:b"]
    assert back["n"].tolist() == frame["n"].tolist()
    assert back["key"].tolist() == frame["key"].tolist()
    assert back["label"].tolist() == [row["label"] for row in lw.predict(room / "mood.head", source)]


def test_only_names_that_the_output_uses_are_changed(room: Path, run: Any, tmp_path: Path) -> None:
    """The task of a single head has no key in its predictions; the columns of a word are some of CSV."""
    records = [{"words": ["Rome", "sleeps"], "tag": ["x", "y"], "start": 7, "probability": 0.5, "p:a": 1}]
    source = write(tmp_path / "in.jsonl", records)
    keep = ("--keep", "tag", "start", "probability", "--words", "words")
    code, out, err = run("predict", room / "tag.head", source, *keep)
    assert (code, list(rows(out)[0])) == (0, ["doc", "source.start", "source.probability", "tag", "spans"])
    assert "'tag' is written" not in err
    _, out, _ = run("predict", room / "tag.head", source, *keep, "--to", "csv")
    header = out.splitlines()[0].split(",")
    assert len(header) == len(set(header))
    texts = write(tmp_path / "texts.jsonl", [{"text": "Rome", "p:a": 1}])
    _, out, _ = run("predict", room / "mood.head", texts, "--keep", "p:a", "--to", "csv")
    assert out.splitlines()[0] == "doc,source.p:a,empty,label,p:a,p:b"


def test_a_kept_column_id_does_not_replace_another_id(room: Path, run: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "Rome", "id": "x", "key": "k"}])
    code, out, _ = run("predict", room / "mood.head", source, "--id", "key", "--keep", "id", "key")
    assert code == 0
    assert {name: rows(out)[0][name] for name in ("id", "source.id", "key")} == {
        "id": "k",
        "source.id": "x",
        "key": "k",
    }
    code, out, _ = run("predict", room / "mood.head", source, "--id", "key", "--keep", "id", "--to", "csv")
    assert out.splitlines()[0] == "doc,id,source.id,empty,label,p:a,p:b"
    assert out.splitlines()[1].startswith("0,k,x,")


def test_values_of_any_type(room: Path, tmp_path: Path) -> None:
    """As JSON can hold them, in lines and cells."""
    table = pa.table(
        {
            "text": TEXTS,
            "day": [date(2020, 1, 2)] * 5,
            "x": [1.5, math.nan, math.inf, None, 2.0],
            "tags": [["a", "b"], [], None, ["c"], [None]],
            "deep": [{"k": math.nan, "l": [1, None]}] * 5,
            "yes": [True, False, None, True, True],
            "doc": [9, 8, 7, 6, 5],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    names = ["x", "tags", "deep", "yes", "day", "doc"]
    result = lw.predict(room / "mood.head", tmp_path / "in.parquet", keep=names)
    assert json.loads(json.dumps(list(result), allow_nan=False)) == list(result)
    assert [row["x"] for row in result] == [1.5, None, None, None, 2.0]
    assert [row["tags"] for row in result] == table["tags"].to_pylist()
    assert [row["deep"] for row in result] == [{"k": None, "l": [1, None]}] * 5
    assert [row["yes"] for row in result] == table["yes"].to_pylist()
    assert [row["day"] for row in result] == ["2020-01-02"] * 5
    assert [row["source.doc"] for row in result] == [9, 8, 7, 6, 5]
    assert [row["doc"] for row in result] == [0, 1, 2, 3, 4]
    assert list(lw.predict(room / "mood.head", table, keep=names)) == list(result), "data in memory, too"
    frame = result.to_pandas()
    assert frame["x"].tolist()[0] == 1.5
    assert frame["label"].tolist() == [row["label"] for row in result]
    assert "Predictions for 5 texts" in repr(result)


def test_a_missing_key_is_null_and_a_missing_column_refused(room: Path, run: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "b", "n": 3}, {"text": "c", "n": None}])
    code, out, err = run("predict", room / "mood.head", source, "--keep", "n")
    assert (code, [row["n"] for row in rows(out)]) == (0, [None, 3, None])
    code, out, err = run("predict", room / "mood.head", source, "--keep", "m")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "--keep m: the source has no such column, only text, n; name one of them" in err
    (tmp_path / "in.txt").write_text("a\nb\n")
    code, out, _ = run("predict", room / "mood.head", tmp_path / "in.txt", "--keep", "text")
    assert (code, [row["text"] for row in rows(out)]) == (0, ["a", "b"])
    code, out, err = run("predict", room / "mood.head", tmp_path / "in.txt", "--keep", "n")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "--keep n: the source has no such column, only text" in err
    records = [{"a": "x", "b": "y"}]
    with pytest.raises(RequestError, match="column is joined with others to one text; leave it out"):
        lw.predict(room / "mood.head", records, text="a,b", join=" ", keep=["a"])
    with pytest.raises(RequestError, match="keep would write two columns as 'source.label'"):
        lw.predict(room / "mood.head", records, text="a", keep=["label", "source.label"])


@pytest.mark.parametrize(
    ("format", "data", "says"),
    [
        ("csv", "text,n\na,1\n", "--keep m: the source has no such column, only text, n; name one of them"),
        (
            "jsonl",
            '{"text": "a", "n": 1}\n',
            "--keep m: no record has a value in this column, so all are null",
        ),
    ],
)
def test_columns_of_stdin(python: Python, room: Path, format: str, data: str, says: str) -> None:
    command = python(
        "-m", "layerwise", "predict", str(room / "mood.head"), "-", "--format", format, "--keep", "m"
    )
    process = subprocess.run(command, input=data, capture_output=True, text=True, check=False)
    assert says in process.stderr
    assert (process.returncode, bool(process.stdout)) == ((0, True) if format == "jsonl" else (2, False))


def test_conll_has_columns_of_words_and_comments(room: Path, run: Any, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"key": f"k\n{n}", "words": text.split(), "gold": tags.split(), "n": n}
        for n, (text, tags) in enumerate(zip(TEXTS, TAGS, strict=True))
        if text
    ]
    records[0]["gold"] = ["B-X", ""]
    source = write(tmp_path / "in.jsonl", records)
    options = ("--words", "words", "--keep", "gold", "n", "key", "--to", "conll")
    code, out, _ = run("predict", room / "tag.head", source, *options)
    assert code == 0
    blocks = out.removesuffix("\n\n").split("\n\n")
    assert [block.split("\n")[:2] for block in blocks] == [
        [f"# n = {record['n']}", f"# key = k {record['n']}"] for record in records
    ]
    (tmp_path / "out.conll").write_text(out)
    back = list(open_corpus(tmp_path / "out.conll", columns="token,gold,tag"))
    assert [list(example.words or ()) for example in back] == [record["words"] for record in records]
    gold = [[tag or "_" for tag in record["gold"]] for record in records]
    assert [list(example.word_columns["gold"]) for example in back] == gold
    answers = lw.predict(room / "tag.head", source, words="words", keep=["gold", "words"])
    assert [row["gold"] for row in answers] == [record["gold"] for record in records]
    assert [sum(tag[0] == "B" for tag in e.word_columns["tag"]) for e in back] == [
        len(r["spans"]) for r in answers
    ]


def test_csv_of_words_and_spans_has_the_values_of_each(room: Path, run: Any, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"words": text.split(), "gold": [f"g{n}{word}" for word in text.split()], "n": n}
        for n, text in enumerate(TEXTS)
    ]
    source = write(tmp_path / "in.jsonl", records)
    options = ("--words", "words", "--keep", "gold", "n", "--to", "csv")
    _, out, _ = run("predict", room / "pos.head", source, *options)
    result = list(csv.DictReader(io.StringIO(out)))
    assert list(result[0]) == ["doc", "n", "gold", "start", "end", "label", "probability"]
    assert [row["gold"] for row in result] == [value for record in records for value in record["gold"]]
    answers = lw.predict(room / "pos.head", source, words="words")
    words = [word for row in answers for word in row["words"]]
    assert [float(row["probability"]) for row in result] == [word["probability"] for word in words]
    _, out, _ = run("predict", room / "tag.head", source, *options)
    result = list(csv.DictReader(io.StringIO(out)))
    found = [
        (row["doc"], span)
        for row in lw.predict(room / "tag.head", source, words="words")
        for span in row["spans"]
    ]
    assert len(result) == len(found) > 3
    for row, (doc, span) in zip(result, found, strict=True):
        values = [f"g{doc}{word}" for word in span["text"].split()]
        assert row["gold"] == (values[0] if len(values) == 1 else json.dumps(values))
        assert float(row["probability"]) == span["probability"]


# --- ids and empty texts ----------------------------------------------------------------------------------


def test_a_column_called_id_is_the_id(room: Path, run: Any, tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.jsonl", [{"id": 7, "text": "a", "key": "k"}, {"id": 8, "text": "b", "key": "l"}]
    )
    code, out, err = run("predict", room / "mood.head", source)
    assert (code, err) == (0, "")
    assert [row["id"] for row in rows(out)] == [7, 8]
    assert [row["id"] for row in lw.predict(room / "mood.head", source, id="key")] == ["k", "l"]
    assert list(rows(run("predict", room / "mood.head", source, "--keep", "id")[1])) == rows(out)
    _, out, _ = run("predict", room / "mood.head", source, "--to", "csv", "--keep", "key", "id")
    assert out.splitlines()[0] == "doc,key,id,empty,label,p:a,p:b"
    assert [line.split(",")[2] for line in out.splitlines()[1:]] == ["7", "8"]
    _, out, _ = run("predict", room / "mood.head", source, "--to", "csv")
    assert [line.split(",")[1] for line in out.splitlines()] == ["id", "7", "8"]
    write(source, [{"id": None, "text": "a", "key": None}, {"id": 8, "text": "b", "key": "l"}])
    _, out, _ = run("predict", room / "mood.head", source, "--to", "csv")
    assert [line.split(",")[1] for line in out.splitlines()] == ["id", "", "8"]
    answers = lw.predict(room / "mood.head", source, id="key", keep="key")
    assert [row.get("id") for row in answers] == [None, "l"], "the option decides, for every text"
    assert [row["key"] for row in answers] == [None, "l"]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.txt").write_text("a text")
    _, out, _ = run("predict", room / "mood.head", tmp_path / "folder", "--format", "docs")
    assert [row["id"] for row in rows(out)] == ["one.txt"]


def test_empty_texts_are_marked_and_counted(room: Path, run: Any, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text('text,n\n"a",1\n"",2\n"  ",3\nNA,4\n')
    code, out, err = run("predict", room / "mood.head", source, "--na", "NA")
    assert code == 0
    assert [row.get("empty") for row in rows(out)] == [None, True, True, True]
    assert list(rows(out)[1]) == ["doc", "empty", "label", "probabilities"]
    assert "3 of 4 texts are empty; their answers are marked as empty" in err
    head = lw.load_head(room / "tag.head")
    assert head.predict([["", " "], [], ["a"]])[:2] == [
        {"doc": 0, "empty": True, "spans": head.predict([["", " "]])[0]["spans"]},
        {"doc": 1, "empty": True, "spans": []},
    ]
    assert "empty" not in head.predict(["a"])[0]


# --- probabilities of spans -------------------------------------------------------------------------------


def test_the_probability_of_a_span_is_its_share_of_all_readings(room: Path) -> None:
    """By hand: every tag sequence of every text, weighed by the tagger's scores."""
    head = lw.load_head(room / "tag.head", device="cpu")
    (task,) = head.task_heads
    texts = [text.split() for text in TEXTS]
    states = head.encoder.encode(texts, level="word", pool=head.rows["pool"])
    scores = task.scores(states.layer, paired=False).astype(float)
    docs = states.index["doc"].to_numpy()
    start, follows = legal(task.classes)
    count = 0
    for doc, row in enumerate(head.predict(texts)):
        rows_of_text = scores[docs == doc]
        weights: dict[Any, float] = {}
        for path in product(range(len(task.classes)), repeat=len(rows_of_text)):
            if path and not (start[path[0]] and all(follows[path[:-1], path[1:]])):
                continue
            weight = float(np.exp(sum(rows_of_text[n, tag] for n, tag in enumerate(path))))
            weights[None] = weights.get(None, 0.0) + weight
            for span in spans([task.classes[tag] for tag in path]):
                weights[span] = weights.get(span, 0.0) + weight
        offsets = np.cumsum([0, *(len(word) + 1 for word in texts[doc])])
        for span in row["spans"]:
            first = int(np.searchsorted(offsets, span["start"]))
            after = int(np.searchsorted(offsets, span["end"]))
            expected = weights[(span["label"], first, after)] / weights[None]
            assert span["probability"] == pytest.approx(expected, rel=1e-4)
            assert 0 < span["probability"] <= 1
            count += 1
    assert count > 3


# --- texts as they arrive ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "header", "lines"),
    [
        ((), "", ["Rome", "", "a bad day"]),
        (
            ("--format", "jsonl", "--keep", "n"),
            "",
            ['{"text": "Rome", "n": 1}', '{"text": "", "n": 2}', '{"text": "b"}'],
        ),
        (("--format", "csv", "--to", "csv"), "text,n", ["Rome,1", '"",2', '"two ""lines""\nof it",3']),
        (
            ("--words", "words", "--format", "jsonl", "--to", "conll"),
            "",
            ['{"words": ["Rome", "a"]}', '{"words": ["b"]}'],
        ),
    ],
    ids=["txt", "jsonl", "csv", "conll"],
)
def test_a_line_is_answered_before_the_next_is_written(
    room: Path, options: tuple[str, ...], header: str, lines: list[str], python: Python
) -> None:
    """A dialogue with a real process over pipes: reading would never end if an answer were kept back."""
    head = room / ("tag.head" if "conll" in options else "mood.head")
    command = python("-m", "layerwise", "predict", str(head), "-", "--device", "cpu", *options)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        if header:
            process.stdin.write(f"{header}\n".encode())
        for number, line in enumerate(lines):
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            if "csv" in options and not number:
                assert process.stdout.readline().startswith(b"doc,empty,label")
            answers.append(_answer(process.stdout, "conll" in options))
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait() == 0
    assert len(answers) == len(lines)
    if "jsonl" in options and "conll" not in options:
        assert [json.loads(answer)["n"] for answer in answers] == [1, 2, None]
        assert [json.loads(answer)["doc"] for answer in answers] == [0, 1, 2]


def _answer(stdout: Any, is_conll: bool) -> str:
    """One answer: a line, or lines up to an empty one."""
    lines = []
    while True:
        line = stdout.readline().decode()
        assert line, "the process ended"
        lines.append(line)
        if not is_conll or not line.strip():
            return "".join(lines)


def test_lines_that_come_fast_are_answered_together(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file as standard input: one forward for all."""
    from layerwise.encode.encoder import Encoder

    counts: list[int] = []
    states = Encoder.states_of_requests

    def watched(self: Any, examples: Any, requests: Any, **options: Any) -> Any:
        counts.append(len(examples))
        return states(self, examples, requests, **options)

    monkeypatch.setattr(Encoder, "states_of_requests", watched)
    read, written = os.pipe()
    os.write(written, b"".join(f"text {n}\n".encode() for n in range(50)))
    os.close(written)
    with open(read) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        result = lw.predict(room / "mood.head", "-", device="cpu")
    assert counts == [50]
    assert list(result) == list(
        lw.predict(room / "mood.head", [f"text {n}" for n in range(50)], device="cpu")
    )


def test_options_that_a_loaded_head_does_not_take(room: Path) -> None:
    head = lw.load_head(room / "mood.head")
    with pytest.raises(RequestError, match="device='cpu' has no effect on a head that is loaded"):
        lw.predict(head, ["a text"], device="cpu")
    with pytest.raises(RequestError, match="is a dataset, which holds vectors; give the source of its texts"):
        lw.predict(head, lw.open_dataset(room / "t.lw"))
    assert list(lw.predict(head, ["a text", "b text"])) == head.predict(["a text", "b text"])
