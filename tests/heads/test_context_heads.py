"""Heads that are trained on texts with the context of their documents: predict and evaluate read it too, or refuse."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import HeadError, LayerwiseError, RequestError

WORDS = ("layer", "know", "the", "word", "stands", "more", "last", "first")
RECORDS = [
    {
        "text": " ".join(WORDS[(3 * document + number + k) % 8] for k in range(2 + (document + number) % 5)),
        "document": f"d{document}",
        "label": "ab"[(document + number) % 2],
    }
    for document in range(12)
    for number in range(1 + document % 4)
]
PLAIN = [{name: value for name, value in record.items() if name != "document"} for record in RECORDS]


def jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Path:
    """Sources with and without documents, a dataset with context and one without, and a head on each."""
    room, model = tmp_path_factory.mktemp("context"), encoder_of("bert")
    jsonl(room / "texts.jsonl", RECORDS)
    jsonl(room / "plain.jsonl", PLAIN)
    for name, context in (("with", "9,5"), ("alone", 0)):
        data = lw.extract(
            room / "texts.jsonl", room / f"{name}.lw", model=model, context=context, dtype="float32"
        )
        lw.train(data, task="classify", label="label", mix="mean(1,3)", out=room / f"{name}.head")
    return room


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*argv: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return (code, *capsys.readouterr())

    return call


def probabilities(head: lw.Head, dataset: lw.LayerDataset) -> list[float]:
    """The probability of the first class for each row of a dataset, computed from the stored rows."""
    (task,) = head.task_heads
    logits = task.scores(dataset.layer, False).astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return [float(share) for share in shares[:, 0]]


def first_class(answers: Any) -> list[float]:
    return [answer["probabilities"]["a"] for answer in answers]


def test_predict_reads_the_context_of_the_training(room: Path) -> None:
    head = lw.load_head(room / "with.head")
    assert (head.rows["context"], head.rows["document"]) == ([9, 5], "document")
    expected = probabilities(head, lw.open_dataset(room / "with.lw"))
    got = first_class(lw.predict(head, room / "texts.jsonl").to_json())
    np.testing.assert_allclose(got, expected, atol=1e-5)
    alone = probabilities(head, lw.open_dataset(room / "alone.lw"))
    without = first_class(lw.predict(head, room / "texts.jsonl", context=0).to_json())
    np.testing.assert_allclose(without, alone, atol=1e-5)
    assert np.abs(np.array(expected) - alone).max() > 1e-3
    np.testing.assert_allclose(
        first_class(lw.predict(head, room / "plain.jsonl", context=0).to_json()), alone, atol=1e-5
    )
    texts = [record["text"] for record in RECORDS]
    np.testing.assert_allclose(first_class(head.predict(texts, context=0)), alone, atol=1e-5)


def test_a_head_is_written_with_its_context(room: Path, tmp_path: Path) -> None:
    head = lw.load_head(room / "with.head")
    head.save(tmp_path / "again.head")
    files = [(folder / "head.json").read_bytes() for folder in (room / "with.head", tmp_path / "again.head")]
    assert files[0] == files[1]
    value = json.loads(files[0])
    assert value["rows"]["context"] == [9, 5]
    assert (
        not {"context", "document", "joint"}
        & json.loads((room / "alone.head/head.json").read_text())["rows"].keys()
    )
    for wrong in ([9], "9,5", [-1, 4], [0, 0]):
        value["rows"]["context"] = wrong
        (tmp_path / "again.head/head.json").write_text(json.dumps(value))
        with pytest.raises(HeadError, match=r"rows\.context"):
            lw.load_head(tmp_path / "again.head")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_source_without_documents_is_refused_unless_told(
    command: str, room: Path, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "plain.csv").write_text("text,label\na word,a\nthe last,b\n")
    (tmp_path / "plain.txt").write_text("a word\n")
    code, _, err = run(command, room / "with.head", tmp_path / "plain.txt", "--quiet")
    assert (code, "give --context 0 to encode each text by itself" in err) == (2, True), err
    assert "format 'txt' has no column of documents" in err
    for source in (room / "plain.jsonl", tmp_path / "plain.csv"):
        code, out, err = run(command, room / "with.head", source, "--quiet")
        assert (code, out, len(err.splitlines())) == (2, "", 1), err
        assert (
            "the head was trained on texts with the context of their documents (--context 9,5), and " in err
        )
        assert "give --context 0 to encode each text by itself" in err
        assert run(command, room / "with.head", source, "--quiet", "--context", "0")[0] == 0
    code, _, err = run(command, room / "with.head", room / "texts.jsonl", "--quiet", "--context", "9,5")
    assert code == 2
    assert (
        "--context 9,5: texts are encoded as in the training of the head, which is with --context 9,5; leave it"
        in err
    )
    with pytest.raises(
        RequestError, match="a list of texts has no documents; predict a source with lw.predict, or give"
    ):
        lw.load_head(room / "with.head").predict(["a"])


def test_a_head_without_context_ignores_documents(
    room: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    head = lw.load_head(room / "alone.head")
    expected = probabilities(head, lw.open_dataset(room / "alone.lw"))
    for more in ([], ["--context", "0"]):
        code, out, _ = run("predict", room / "alone.head", room / "texts.jsonl", "--quiet", *more)
        assert code == 0
        np.testing.assert_allclose(first_class(map(json.loads, out.splitlines())), expected, atol=1e-5)
    code, _, err = run("predict", room / "alone.head", room / "texts.jsonl", "--quiet", "--context", "4")
    assert code == 2
    assert "which is alone; leave it out" in err


def test_evaluate_scores_what_predict_answers(room: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    head = lw.load_head(room / "with.head")
    labels = [record["label"] for record in RECORDS]
    both: tuple[dict[str, Any], ...] = ({}, {"context": 0})
    for options in both:
        answers = lw.predict(head, room / "texts.jsonl", **options).to_json()
        right = [answer["label"] == label for answer, label in zip(answers, labels, strict=True)]
        scores = head.evaluate(room / "texts.jsonl", **options).tasks["label"].to_json()
        assert math.isclose(scores["scores"]["accuracy"]["score"], sum(right) / len(right))
        more = ["--context", "0"] if options else []
        code, out, _ = run("evaluate", room / "with.head", room / "texts.jsonl", "--quiet", "--json", *more)
        assert code == 0
        assert math.isclose(json.loads(out)["scores"]["accuracy"]["score"], sum(right) / len(right))
    assert head.evaluate(room / "with.lw").tasks["label"].rows == len(RECORDS)
    with pytest.raises(HeadError, match=r"trained on rows of context \[9, 5\] and .*alone.lw has None"):
        head.evaluate(room / "alone.lw")
    with pytest.raises(RequestError, match="context=0 is for texts, and .* is a dataset"):
        head.evaluate(room / "with.lw", context=0)


def test_chunks_do_not_cut_documents(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise.heads import inputs

    head = lw.load_head(room / "with.head")
    expected = first_class(lw.predict(head, room / "texts.jsonl").to_json())
    monkeypatch.setattr(inputs, "TEXTS", 2)
    np.testing.assert_allclose(
        first_class(lw.predict(head, room / "texts.jsonl").to_json()), expected, atol=1e-5
    )
    assert math.isclose(
        head.evaluate(room / "texts.jsonl").tasks["label"].scores["accuracy"].score,
        head.evaluate(room / "with.lw").tasks["label"].scores["accuracy"].score,
    )


def test_the_column_of_documents_is_that_of_the_training(
    room: Path, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    renamed = [{("key" if n == "document" else n): v for n, v in record.items()} for record in RECORDS]
    source = jsonl(tmp_path / "key.jsonl", renamed)
    data = lw.extract(source, tmp_path / "data", model=encoder_of("bert"), context="9,5", document="key")
    head = lw.train(data, task="classify", label="label", mix="mean(1,3)", out=tmp_path / "key.head")
    with_key = first_class(lw.predict(head, source).to_json())
    np.testing.assert_allclose(
        with_key, first_class(lw.predict(head, room / "texts.jsonl", document="document").to_json())
    )
    with pytest.raises(LayerwiseError, match="has no column 'key', only 'text', 'document', 'label'"):
        lw.predict(head, room / "texts.jsonl")
    kept = lw.predict(head, source, keep=["key"]).to_json()
    assert [answer["key"] for answer in kept] == [record["document"] for record in RECORDS]
    with pytest.raises(RequestError, match=r"documents in different columns \('key' and 'document'\)"):
        lw.predict(head, source, heads=[room / "with.head"])


def test_heads_with_and_without_context_take_two_forwards(
    room: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = run(
        "predict", room / "with.head", room / "texts.jsonl", "--head", room / "alone.head", "--quiet"
    )
    assert code == 0
    assert re.search(r"with with context \[9, 5\]; alone with context None", err), err
    answers = [json.loads(line) for line in out.splitlines()]
    for name in ("with", "alone"):
        head = lw.load_head(room / f"{name}.head")
        expected = probabilities(head, lw.open_dataset(room / f"{name}.lw"))
        np.testing.assert_allclose(first_class(answer[name] for answer in answers), expected, atol=1e-5)
    code, _, err = run(
        *("predict", room / "with.head", room / "texts.jsonl", "--head", room / "alone.head", "--quiet"),
        *("--context", "0"),
    )
    assert (code, "encoded in different ways" in err) == (0, False)


def test_info_tells_the_context(room: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    _, out, _ = run("info", room / "with.head")
    assert re.search(
        r"^context +up to 9 tokens before and 5 after each text, of the same document$", out, re.M
    )
    assert not re.search("^context ", run("info", room / "alone.head")[1], re.M)


def test_words_with_context(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    records = [
        {"words": record["text"].split(), "document": record["document"]}
        | {"tag": ["B-X" if word == "layer" else "O" for word in record["text"].split()]}
        for record in RECORDS
    ]
    source = jsonl(tmp_path / "words.jsonl", records)
    options: dict[str, Any] = {"model": encoder_of("bert"), "words": "words", "level": "word"}
    data = lw.extract(source, tmp_path / "data", context=(12, 12), **options)
    head = lw.train(data, task="tag", label="tag", mix="1", out=tmp_path / "tag.head")
    scored = [head.evaluate(data).tasks["tag"], head.evaluate(source, words="words").tasks["tag"]]
    assert math.isclose(*(task.scores["span_f1"].score for task in scored))
