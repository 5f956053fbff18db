"""Several heads in one forward: the answers are those of one run each, to the bit."""

import csv
import io
import json
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from conftest import CORPUS, make_model
from layerwise.cli.main import main
from layerwise.encode.encoder import Encoder
from layerwise.errors import HeadError, RequestError
from warm import Python

WORDS = [
    f"{a} {b}" for a in ("Rome", "Angela Merkel", "good", "天气") for b in ("sleeps", "and Paris.", "bad", "")
]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Path:
    """Heads of one model, each on rows of its own kind: texts, their first tokens, words, tags, two tasks at once."""
    room, model = tmp_path_factory.mktemp("together"), encoder_of("bert")
    texts = [
        {"key": f"k{n}", "text": text, "label": "ab"[n % 2], "n": n, "topics": ["x", "y"][: n % 3]}
        for n, text in enumerate(WORDS * 2)
    ]
    source = write(room / "texts.jsonl", texts)
    sentences = []
    for text in WORDS * 2:
        split_text = [*text.split(), "."]
        tags = [*["B-X", "I-X", "O", "B-Y"][: len(split_text) - 1], "O"]
        sentences.append({"words": split_text, "tag": tags, "pos": list("abcde"[: len(split_text)])})
    split = write(room / "words.jsonl", sentences)
    kinds: dict[str, dict[str, Any]] = {
        "mean": {},
        "cls": {"pool": "cls"},
        "bare": {"special_tokens": False, "pool": "max"},
        "short": {"max_length": 9},
        "cut": {"max_length": 9, "long": "truncate"},
    }
    datasets = {
        name: lw.extract(source, room / f"{name}.lw", model=model, **kind) for name, kind in kinds.items()
    }
    words = lw.extract(split, room / "w.lw", model=model, words="words", level="word", pool="first")
    label: dict[str, Any] = {"task": "classify", "label": "label"}
    lw.train(datasets["mean"], **label, mix="mean(1,2)", out=room / "mood.head")
    lw.train(datasets["cls"], task="regress", label="n", mix="emb", out=room / "number.head")
    lw.train(
        datasets["bare"],
        tasks={"l": "classify:label", "t": "classify:topics"},
        mix="1",
        out=room / "two.head",
    )
    lw.train(words, task="tag", label="tag", mix="concat(emb,2)", out=room / "names.head")
    lw.train(words, task="classify", label="pos", mix="1", out=room / "pos.head")
    lw.train(datasets["short"], **label, mix="2", out=room / "short.head")
    lw.train(datasets["cut"], **label, mix="3", out=room / "cut.head")
    return room


ALL = ["mood", "number", "two", "names", "pos"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*argv: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return (code, *capsys.readouterr())

    return call


def paths(room: Path, *names: str) -> list[str]:
    return [str(room / f"{name}.head") for name in names]


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], ...]]:
    """The layers of each request of each forward."""
    seen: list[tuple[tuple[str, ...], ...]] = []
    states = Encoder.states_of_requests

    def watched(self: Any, examples: Any, requests: Any, **options: Any) -> Any:
        seen.append(tuple(request.layers for request in requests))
        return states(self, examples, requests, **options)

    monkeypatch.setattr(Encoder, "states_of_requests", watched)
    return seen


def under_names(room: Path, names: list[str], source: Any, **options: Any) -> list[dict[str, Any]]:
    """What the heads say one by one, put together by hand."""
    alone = {name: list(lw.predict(room / f"{name}.head", source, device="cpu", **options)) for name in names}
    beside = ("doc", "id", "empty", *options.get("keep", ()))
    return [
        {key: value for key, value in rows[0].items() if key in beside}
        | {
            name: {key: value for key, value in row.items() if key not in beside}
            for name, row in zip(names, rows, strict=True)
        }
        for rows in zip(*alone.values(), strict=True)
    ]


# --- the same answers -------------------------------------------------------------------------------------


def test_answers_are_those_of_one_run_each(room: Path, forwards: list[Any]) -> None:
    source, long = CORPUS * 3, "Rome and Paris. " * 40
    first, *others = (lw.load_head(path, device="cpu") for path in paths(room, *ALL))
    together = first.predict([*source, long], heads=others)
    assert forwards == [(("1", "2"), ("emb",), ("1",), ("emb", "2"), ("1",))], (
        "one forward, of a model with layer 3"
    )
    expected = under_names(room, ALL, [{"text": text} for text in [*source, long]])
    assert together == expected
    assert list(together[0]) == ["doc", *ALL]
    assert set(together[0]["two"]) == {"l", "t"}, "tasks stand within their head"
    assert any(row["names"]["spans"] for row in together)


@pytest.mark.slow
def test_answers_of_processes_are_those_of_one_run_each(python: Python, room: Path, tmp_path: Path) -> None:
    """Of whole commands: one for all heads, one for each."""
    source = write(tmp_path / "t.jsonl", [{"id": f"i{n}", "text": t} for n, t in enumerate(CORPUS * 2)])

    def lines(*arguments: str) -> list[str]:
        command = python("-m", "layerwise", "predict", *arguments, "--device", "cpu")
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    mood, *others = paths(room, *ALL)
    together = [json.loads(line) for line in lines(mood, str(source), "--head", *others)]
    alone = [[json.loads(line) for line in lines(path, str(source))] for path in (mood, *others)]
    for row, *rows in zip(together, *alone, strict=True):
        beside = {key: row[key] for key in ("doc", "id", "empty") if key in row}
        assert rows == [{**beside, **row[name]} for name in ALL]
    head, *further = (lw.load_head(path, device="cpu") for path in (mood, *others))
    in_python = head.predict(CORPUS * 2, heads=further)
    assert [{key: value for key, value in row.items() if key != "id"} for row in together] == in_python
    assert [row["id"] for row in together] == [f"i{n}" for n in range(2 * len(CORPUS))]
    assert list(lw.predict(mood, source, heads=others, device="cpu")) == together


def test_heads_that_read_texts_differently_get_a_forward_each(
    room: Path, forwards: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    names = ["mood", "short", "names", "cut"]
    first, *others = (lw.load_head(path, device="cpu") for path in paths(room, *names))
    with caplog.at_level(logging.WARNING):
        together = first.predict(CORPUS, heads=others)
    assert forwards == [(("1", "2"), ("emb", "2")), (("2",),), (("3",),)]
    (note,) = caplog.messages
    assert note == (
        "the heads were trained on texts that were encoded in different ways (mood and names with long window, "
        "max_length 80, overlap 19; short with long window, max_length 9, overlap 1; cut with long truncate, "
        "max_length 9, overlap 1), so texts go through the model 3 times"
    )
    assert together == under_names(room, names, [{"text": text} for text in CORPUS])
    assert first._encoder is not None
    assert [head._encoder for head in others] == [None] * 3, "the model is loaded once"


def test_heads_of_other_precisions(
    room: Path, tmp_path: Path, encoder_of: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = encoder_of("bert").home
    dataset = lw.extract(room / "texts.jsonl", tmp_path / "b.lw", model=model, precision="bf16", device="cpu")
    lw.train(dataset, task="classify", label="label", mix="1", out=tmp_path / "half.head")
    together = lw.predict(room / "mood.head", CORPUS, heads=[tmp_path / "half.head"], device="cpu")
    assert "mood with precision fp32; half with precision bf16" in caplog.text
    half = lw.load_head(tmp_path / "half.head", device="cpu").predict(CORPUS)
    assert [row["half"]["probabilities"] for row in together] == [row["probabilities"] for row in half]


def test_pairs_together(room: Path, encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    pairs = [(a, b) for a in WORDS[:8] for b in WORDS[:4]]
    records = [{"a": a, "b": b, "same": float(a[0] == b[0]), "kind": "xy"[len(b) % 2]} for a, b in pairs]
    source = write(tmp_path / "pairs.jsonl", records)
    dataset = lw.extract(source, tmp_path / "p.lw", model=encoder_of("bert"), text="a,b")
    lw.train(dataset, task="regress", label="same", mix="2", out=tmp_path / "same.head")
    lw.train(dataset, task="classify", label="kind", mix="1", out=tmp_path / "kind.head")
    together = lw.predict(tmp_path / "same.head", source, heads=[tmp_path / "kind.head"], keep=["a", "b"])
    assert list(together) == under_names(tmp_path, ["same", "kind"], source, keep=["a", "b"])
    assert [(row["a"], row["b"]) for row in together] == [(r["a"], r["b"]) for r in records]
    with pytest.raises(
        RequestError, match=r"head 'same' takes pairs of texts \(a,b\) and head 'mood' single texts"
    ):
        lw.predict(tmp_path / "same.head", source, heads=[room / "mood.head"])


def test_heads_from_memory(room: Path, tmp_path: Path) -> None:
    trained = lw.train(lw.open_dataset(room / "mean.lw"), task="regress", label="n", mix="1")
    mood = lw.load_head(room / "mood.head", device="cpu")
    with pytest.raises(
        RequestError, match="has no name, since it is in no folder, .*; write it with its method save"
    ):
        mood.predict(["a"], heads=[trained])
    trained.save(tmp_path / "n.v2.head")
    assert trained.name == "n.v2"
    assert mood.predict(["a"], heads=[trained]) == mood.predict(["a"], heads=[tmp_path / "n.v2.head"])
    assert list(mood.predict(["a"], heads=[trained])[0]) == ["doc", "mood", "n.v2"]


# --- what can't be together -------------------------------------------------------------------------------


def test_heads_of_other_models_are_refused_by_name(room: Path, run: Any, tmp_path: Path) -> None:
    model = make_model("bert", tmp_path / "model", layer_norm_eps=1e-3)
    dataset = lw.extract(room / "texts.jsonl", tmp_path / "o.lw", model=model, device="cpu")
    lw.train(dataset, task="classify", label="label", mix="1", out=tmp_path / "other.head")
    code, out, err = run(
        "predict", room / "mood.head", room / "texts.jsonl", "--head", tmp_path / "other.head"
    )
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "head 'mood' was trained on model " in err
    assert "head 'other' on " in err
    assert "apply them one by one" in err
    with pytest.raises(HeadError, match="head 'mood' was trained on model .* and head 'other' on "):
        lw.predict(room / "mood.head", ["a b"], heads=[tmp_path / "other.head"])


def test_equal_names_are_refused(room: Path, run: Any, tmp_path: Path) -> None:
    lw.load_head(room / "pos.head").save(tmp_path / "mood.ner")
    for further in (room / "mood.head", tmp_path / "mood.ner"):
        code, out, err = run("predict", room / "mood.head", room / "texts.jsonl", "--head", further)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "2 heads are called 'mood'" in err
    lw.load_head(room / "pos.head").save(tmp_path / "doc.head")
    code, _, err = run("predict", room / "mood.head", room / "texts.jsonl", "--head", tmp_path / "doc.head")
    assert code == 2
    assert "a head is called 'doc', and predictions have something else under this name" in err
    code, _, err = run("predict", room / "mood.head", room / "texts.jsonl", "--head", tmp_path / "none.head")
    assert code == 2
    assert "none.head doesn't exist; a head is a folder" in err


# --- formats ----------------------------------------------------------------------------------------------


def test_csv_has_prefixed_columns(room: Path, run: Any) -> None:
    mood, *others = paths(room, "mood", "number", "two")
    code, out, _ = run("predict", mood, room / "texts.jsonl", "--head", *others, "--to", "csv", "--id", "key")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == [
        *("doc", "id", "empty", "mood.label", "mood.p:a", "mood.p:b", "number.value"),
        *("two.l.label", "two.l.p:a", "two.l.p:b", "two.t.labels", "two.t.p:x", "two.t.p:y"),
    ]
    for row, one in zip(rows, lw.predict(mood, room / "texts.jsonl", heads=others, id="key"), strict=True):
        assert row["id"] == one["id"]
        assert row["mood.label"] == one["mood"]["label"]
        assert float(row["mood.p:b"]) == one["mood"]["probabilities"]["b"]
        assert float(row["number.value"]) == one["number"]["value"]
        assert row["two.t.labels"] == ";".join(one["two"]["t"]["labels"])
        assert float(row["two.t.p:y"]) == one["two"]["t"]["probabilities"]["y"]
    code, out, err = run(
        "predict", mood, room / "texts.jsonl", "--head", *paths(room, "names"), "--to", "csv"
    )
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "--to csv can hold only one head where a text has many rows; use jsonl" in err


def test_conll_has_a_column_per_head_of_words(room: Path, run: Any) -> None:
    names, *others = paths(room, "names", "pos")
    source = ("--words", "words", "--to", "conll")
    code, out, _ = run("predict", names, room / "words.jsonl", "--head", *others, *source)
    assert code == 0
    alone = [run("predict", path, room / "words.jsonl", *source)[1].splitlines() for path in (names, *others)]
    expected = [
        f"{first}\t{second.split(chr(9))[1]}" if first else "" for first, second in zip(*alone, strict=True)
    ]
    assert out.splitlines() == expected
    code, out, err = run("predict", names, room / "words.jsonl", "--head", *paths(room, "mood"), *source)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "--to conll needs heads that all give every word one label or tag; use jsonl\n" in err
