"""predict: text to label, number or span; the same in a new process, and as from stored rows."""

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS, make_model
from layerwise.cli.main import main
from layerwise.errors import HeadError, ModelError, RequestError
from layerwise.heads import inputs
from layerwise.heads.formats import check_format
from layerwise.labels.scorers import predicted_labels
from layerwise.labels.viterbi import legal
from layerwise.read import open_corpus
from layerwise.word_split import split_words
from warm import Python

SENTENCES_ONCE = [
    (["Angela", "Merkel", "spoke", "in", "Berlin"], ["I-PER", "I-PER", "O", "O", "I-LOC"]),
    (["naïve", "Zürich", "New York", "has", "a", "\u200d", "bank"], ["O", "I-LOC", "B-LOC", "O", "O", "O", "O"]),
    (["Every", "layer", "of", "John", "Smith"], ["O", "O", "O", "I-PER", "I-PER"]),
    (["data", "about", "Rome", "Paris", "!"], ["O", "O", "I-LOC", "B-LOC", "O"]),
    (["天", "气", "很", "好"], ["O", "O", "I-LOC", "I-LOC"]),
]  # fmt: skip
# Each four times, with a last word of its own: identical texts would be held out together.
SENTENCES = [([*words, str(n)], [*tags, "O"]) for n in range(4) for words, tags in SENTENCES_ONCE]
Lines = list[dict[str, Any]]


def write(path: Path, lines: Lines) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def texts(place: Path, encoder_of: Callable[[str], Any]) -> Any:
    """A dataset of texts, long ones among them, stored as float16."""
    lines = [
        {"key": f"k{n}", "text": text, "label": "abc"[n % 3], "n": n, "tags": ["x", "y"][: n % 3]}
        for n, text in enumerate(CORPUS * 2)
    ]
    write(place / "texts.jsonl", lines)
    return lw.extract(place / "texts.jsonl", place / "texts.lw", model=encoder_of("bert"), max_length=40)


@pytest.fixture(scope="module")
def words(place: Path, encoder_of: Callable[[str], Any]) -> Any:
    """A dataset of words with tags in IOB1, stored as float32."""
    lines = [{"words": w, "tag": t, "pos": [x[:1] for x in t]} for w, t in SENTENCES]
    write(place / "words.jsonl", lines)
    return lw.extract(
        place / "words.jsonl",
        place / "words.lw",
        model=encoder_of("bert"),
        words="words",
        level="word",
        dtype="float32",
    )


@pytest.fixture(scope="module")
def mood(place: Path, texts: Any) -> lw.Head:
    return lw.train(texts, task="classify", label="label", mix="mean(1,2)", out=place / "mood.head")


@pytest.fixture(scope="module")
def tagger(place: Path, encoder_of: Callable[[str], Any]) -> lw.Head:
    """A tagger that knows its sentences by heart, on any machine: its dev part are its training sentences."""
    lines = [{"words": w, "tag": t, "part": part} for part in ("train", "dev") for w, t in SENTENCES]
    dataset = lw.extract(
        write(place / "tagged.jsonl", lines),
        place / "tagged.lw",
        model=encoder_of("bert"),
        words="words",
        level="word",
        dtype="float32",
    )
    return lw.train(dataset, task="tag", label="tag", mix="concat(1:)", split="part", out=place / "tag.head")


def shares(result: Lines) -> np.ndarray[Any, Any]:
    return np.array([list(one["probabilities"].values()) for one in result])


# --- the same wherever it is asked ------------------------------------------------------------------------


def test_a_new_process_says_the_same(
    python: Python, place: Path, texts: Any, mood: lw.Head, tagger: lw.Head
) -> None:
    """Of every kind of head: of classes, tags and numbers, on a fixed and a learned mix, linear and MLP."""
    number: dict[str, Any] = {"task": "regress", "label": "n", "mix": "2"}
    some: dict[str, Any] = {"task": "classify", "label": "label", "epochs": 5, "draws": 0}
    heads = {
        "mood.head": mood,
        "tag.head": tagger,
        "number.head": lw.train(texts, **number, out=place / "number.head"),
        "learned.head": lw.train(texts, **some, mix="learned(all)", out=place / "learned.head"),
        "mlp.head": lw.train(texts, **some, mix="2", head_type="mlp", out=place / "mlp.head"),
    }
    code = (
        "import json, sys, torch, layerwise as lw; torch.set_num_threads(1); asked = json.loads(sys.argv[1]); "
        "print(json.dumps({path: lw.load_head(path, device='cpu').predict(t) for path, t in asked.items()}))"
    )
    said = ["Every layer", "", "天气很好", "word " * 60]
    words = [words for words, _ in SENTENCES_ONCE]
    questions: dict[str, list[Any]] = {
        str(place / name): words if name == "tag.head" else said for name in heads
    }
    done = subprocess.run(
        python("-c", code, json.dumps(questions)), capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    for name, head in heads.items():
        path = str(place / name)
        assert result[path] == lw.load_head(path, device="cpu").predict(questions[path]), f"{name}, loaded"
        assert result[path] == head.predict(questions[path]), f"{name}, as it was trained"
    assert any(one["spans"] for one in result[str(place / "tag.head")]), "there are spans to compare"


@pytest.mark.parametrize("mix", ["2", "max(all)", "learned(all)", "concat(1,2; norm=layer)"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_text_gives_what_stored_rows_give(texts: Any, mix: str, kind: str) -> None:
    head = lw.train(texts, task="classify", label="label", mix=mix, head_type=kind, draws=0, epochs=10)
    assert shares(head.predict(CORPUS)) == pytest.approx(
        shares(head.predict_rows(texts))[: len(CORPUS)], abs=5e-3
    )


def test_only_the_layers_of_the_mix_are_encoded(mood: lw.Head, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []
    encoder = mood.encoder
    states = type(encoder).states_of_requests

    def watched(self: Any, examples: Any, requests: Any, **options: Any) -> Any:
        seen.extend(request.layers for request in requests)
        return states(self, examples, requests, **options)

    monkeypatch.setattr(type(encoder), "states_of_requests", watched)
    mood.predict(["a"])
    assert seen == [("1", "2")]
    assert mood.layers == ("1", "2")


def test_texts_of_tokens(texts: Any, place: Path, encoder_of: Callable[[str], Any]) -> None:
    source = place / "texts.jsonl"
    lw.extract(
        source, place / "t.lw", model=encoder_of("bert"), level="token", dtype="float32", max_length=40
    )
    dataset = lw.pool(place / "t.lw", place / "tt.lw", level="text", pool="max", special_tokens=False)
    head = lw.train(dataset, task="classify", label="label", mix="2")
    result = head.predict(dataset.texts["text"].to_pylist())
    assert shares(result) == pytest.approx(shares(head.predict_rows(dataset)), abs=1e-4)


def test_rows_of_another_kind_are_refused(
    texts: Any, place: Path, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    head = lw.train(texts, task="classify", label="label", mix="2")
    assert head.predict_rows(texts.path) == head.predict_rows(texts), "a folder is opened"
    strings = texts.texts["text"].to_pylist()[:3]
    kinds: list[tuple[dict[str, Any], str]] = [
        ({"level": "word"}, "of level 'text' and these have 'word'"),
        ({"pool": "max"}, "of pool 'mean' and these have 'max'"),
    ]
    for options, says in kinds:
        with pytest.raises(HeadError, match=says):
            head.predict_rows(encoder_of("bert").encode(strings, **options))
        with pytest.raises(HeadError, match=says.split(" and")[0]):
            head.predict_rows(
                lw.extract(strings, tmp_path / f"{len(says)}.lw", model=encoder_of("bert"), **options)
            )
    with pytest.raises(HeadError, match="model"):
        head.predict_rows(encoder_of("roberta").encode(strings))
    with pytest.raises(RequestError, match="is no path"):
        head.predict_rows(["a"])  # type: ignore[arg-type]


def test_texts_of_words(place: Path, encoder_of: Callable[[str], Any]) -> None:
    lines = [{"text": f"one two {w}three", "label": "ab"[n % 2]} for n, w in enumerate("uvwxyz")]
    write(place / "w.jsonl", lines)
    lw.extract(place / "w.jsonl", place / "w.lw", model=encoder_of("bert"), level="word", dtype="float32")
    dataset = lw.pool(place / "w.lw", place / "wt.lw", level="text", pool="max")
    head = lw.train(dataset, task="classify", label="label", mix="2", out=place / "wt.head")
    questions = [str(line["text"]) for line in lines]
    result = lw.load_head(place / "wt.head", device="cpu").predict(questions)
    assert shares(result) == pytest.approx(shares(head.predict_rows(dataset)), abs=1e-5)
    with pytest.raises(RequestError, match="text 1 has no word, so no row"):
        head.predict(["one", " "])


@pytest.mark.parametrize("mix", ["mean(1,3)", "learned(all)"])
def test_the_reader_in_the_document_reads(texts: Any, tmp_path: Path, mix: str) -> None:
    head = lw.train(texts, task="classify", label="label", mix=mix, out=tmp_path / "h", draws=0)
    document = (Path(__file__).parents[2] / "docs" / "reference" / "heads.md").read_text(encoding="utf-8")
    scope: dict[str, Any] = {}
    exec(document.split("```python\n")[1].split("```")[0], scope)
    result = scope["logits"](tmp_path / "h", {name: texts.layer(name) for name in texts.layers})
    expected = shares(head.predict_rows(texts))
    assert np.exp(result) / np.exp(result).sum(axis=1, keepdims=True) == pytest.approx(expected, abs=1e-4)


# --- kinds of answers -------------------------------------------------------------------------------------


def test_labels_and_numbers(texts: Any) -> None:
    numbers = lw.train(texts, task="regress", label="n").predict(["a", "b"])
    assert [set(one) for one in numbers] == [{"doc", "value"}] * 2
    head = lw.train(texts, task="classify", label="tags")
    several = head.predict(CORPUS)
    assert {tuple(one) for one in several if "empty" not in one} == {("doc", "labels", "probabilities")}
    logits = head.task_heads[0].scores(head.encoder.encode(CORPUS, max_length=40).layer, paired=False)
    expected = 1 / (1 + np.exp(-logits.astype(float)))
    assert shares(several) == pytest.approx(expected, rel=1e-4), "one logistic function per label"
    for one in several:
        assert one["labels"] == [name for name, share in one["probabilities"].items() if share > 0.5]


def test_probabilities_sum_to_one_and_the_label_is_the_likeliest(mood: lw.Head) -> None:
    for doc, one in enumerate(mood.predict(CORPUS)):
        assert one["doc"] == doc
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["probabilities"][one["label"]] == max(one["probabilities"].values())


def test_spans_have_the_offsets_of_the_text(tagger: lw.Head) -> None:
    assert tagger.training["tasks"]["tag"]["scheme"] == "IOB1"
    assert tagger.classes["tag"] == ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
    split = tagger.predict([list(words) for words, _ in SENTENCES])
    for (sentence, _), one in zip(SENTENCES, split, strict=True):
        text = " ".join(sentence)
        for span in one["spans"]:
            assert list(span) == ["start", "end", "label", "text", "probability"]
            assert text[span["start"] : span["end"]] == span["text"]
    assert [span["text"] for span in split[0]["spans"]] == ["Angela Merkel", "Berlin"]
    assert [span["text"] for span in split[3]["spans"]] == ["Rome", "Paris"], "two spans side by side"
    raw = tagger.predict(["Angela Merkel  spoke in\tBerlin"])[0]["spans"]
    assert [(span["start"], span["end"]) for span in raw] == [(0, 13), (24, 30)]


def test_tags_are_legal_whatever_the_scores(tagger: lw.Head, words: Any) -> None:
    task = tagger.task_heads[0]
    start, follows = legal(task.classes)
    docs = words.index["doc"].to_numpy()
    chance = np.random.default_rng(0)
    for _ in range(20):
        scores = chance.standard_normal((len(docs), 5)).astype(np.float32) * 5
        tags = predicted_labels(task.task, task.multi, task.classes, scores, docs)
        numbers = [task.classes.index(tag) for tag in tags]
        for row, number in enumerate(numbers):
            first = row == 0 or docs[row] != docs[row - 1]
            assert start[number] if first else follows[numbers[row - 1], number]


def test_words_have_labels(words: Any, place: Path) -> None:
    head = lw.train(words, task="classify", label="pos")
    one = head.predict(["Rome  sleeps"])[0]
    assert [(word["start"], word["end"]) for word in one["words"]] == [(0, 4), (6, 12)]
    assert all(list(word) == ["start", "end", "label", "probability"] for word in one["words"])
    assert head.predict([""]) == [{"doc": 0, "empty": True, "words": []}]
    states = head.encoder.encode(["Rome  sleeps"], level="word")
    logits = head.task_heads[0].scores(states.layer, paired=False).astype(float)
    best = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    assert [word["probability"] for word in one["words"]] == pytest.approx(best, rel=1e-4)


def test_tokens_have_labels_but_special_ones(place: Path, encoder_of: Callable[[str], Any]) -> None:
    dataset = lw.extract(
        place / "words.jsonl", place / "p.lw", model=encoder_of("bert"), words="words", level="token"
    )
    head = lw.train(dataset, task="classify", label="pos")
    assert head.training["tasks"]["pos"]["dropped"] == 2 * len(SENTENCES)
    result = head.predict(["ab"])[0]["tokens"]
    assert result[0]["start"] == 0
    assert result[-1]["end"] == 2


def test_several_tasks_stand_under_their_names(texts: Any, place: Path) -> None:
    head = lw.train(
        texts,
        tasks={"mood": "classify:label", "n": "regress:n", "t": "classify:tags"},
        out=place / "three.head",
    )
    one = lw.load_head(place / "three.head", device="cpu").predict(["Every layer"])[0]
    assert one == head.predict(["Every layer"])[0]
    assert list(one) == ["doc", "mood", "n", "t"]
    assert [set(one[name]) for name in ("mood", "n", "t")] == [
        {"label", "probabilities"},
        {"value"},
        {"labels", "probabilities"},
    ]


@pytest.mark.parametrize("mix", ["2", "learned(1:)"])
def test_pairs(place: Path, encoder_of: Callable[[str], Any], mix: str, tmp_path: Path) -> None:
    lines = [{"a": f"{x} thing", "b": f"{y} thing", "same": float(x == y)} for x in "uvwx" for y in "uvwx"]
    source = write(tmp_path / "pairs.jsonl", lines)
    dataset = lw.extract(source, tmp_path / "p.lw", model=encoder_of("bert"), text="a,b", dtype="float32")
    head = lw.train(dataset, task="regress", label="same", mix=mix, out=tmp_path / "p.head", draws=0)
    assert head.pairs == ("a", "b")
    questions = [(str(line["a"]), str(line["b"])) for line in lines]
    result = lw.load_head(tmp_path / "p.head", device="cpu").predict(questions)
    assert [one["doc"] for one in result] == list(range(16))
    values = np.array([one["value"] for one in result])
    assert values == pytest.approx([one["value"] for one in head.predict_rows(dataset)], abs=1e-4)
    same = np.array([line["same"] for line in lines], float)
    assert values[same == 1].mean() > values[same == 0].mean()
    scores, of_rows = (
        [score.score for score in head.evaluate(each).scores.values()] for each in (source, dataset)
    )
    assert head.evaluate(source).rows == 16
    assert scores == pytest.approx(of_rows, abs=1e-4)
    with pytest.raises(RequestError, match="the head takes pairs of strings"):
        head.predict(["alone"])
    write(tmp_path / "plain.jsonl", [{"text": "a"}])
    with pytest.raises(RequestError, match=r"trained on pairs of texts \(a,b\) and these are single texts"):
        head.evaluate(tmp_path / "plain.jsonl", text="text")


def test_texts_that_a_head_cannot_take(mood: lw.Head) -> None:
    with pytest.raises(RequestError, match="got one string for a list of texts; put it in a list"):
        mood.predict("a text")
    with pytest.raises(RequestError, match=r"columns text, label; pass one of them, such as \['text'\]"):
        mood.predict({"text": ["one", "two"], "label": ["x", "y"]})
    with pytest.raises(
        RequestError, match="text 0 is a record, with the columns text, label; pass one of them"
    ):
        mood.predict([{"text": "one", "label": "x"}])  # type: ignore[list-item]
    with pytest.raises(RequestError, match="text 1 is int; give a string or a list of words"):
        mood.predict(["a", 3])  # type: ignore[list-item]
    assert mood.predict([]) == []


# --- the model --------------------------------------------------------------------------------------------


def test_another_model_is_refused(place: Path, mood: lw.Head, model_folder: Callable[[str], Path]) -> None:
    with pytest.raises(
        HeadError, match=r"the head was trained on .* \(weights .*give the same model in model"
    ):
        lw.load_head(place / "mood.head", model=model_folder("electra"))
    with pytest.raises(ModelError, match="no config.json"):
        lw.load_head(place / "mood.head", model=place)


def test_a_model_that_changed_or_moved(tmp_path: Path, place: Path) -> None:
    model = make_model("bert", tmp_path / "model")
    write(tmp_path / "t.jsonl", [{"text": f"word {n}", "label": "ab"[n % 2]} for n in range(8)])
    dataset = lw.extract(tmp_path / "t.jsonl", tmp_path / "t.lw", model=model, device="cpu")
    head = lw.train(dataset, task="classify", label="label", mix="1", out=tmp_path / "t.head")
    expected = head.predict(["word"])
    model.rename(tmp_path / "moved")
    with pytest.raises(
        ModelError, match="if the head's model is elsewhere now, give its name or folder in model"
    ):
        lw.load_head(tmp_path / "t.head").predict(["word"])
    assert lw.load_head(tmp_path / "t.head", model=tmp_path / "moved").predict(["word"]) == expected
    make_model("bert", tmp_path / "model", layer_norm_eps=1e-3)
    with pytest.raises(HeadError, match="is a different model"):
        lw.load_head(tmp_path / "t.head").predict(["word"])


# --- the command line -------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*argv: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return (code, *capsys.readouterr())

    return call


def test_json_lines_in_input_order(
    place: Path, mood: lw.Head, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "TEXTS", 5)
    code, out, _ = run(
        "predict", place / "mood.head", place / "texts.jsonl", "--id", "key", "--device", "cpu"
    )
    assert code == 0
    result = [json.loads(line) for line in out.splitlines()]
    assert [(one["doc"], one["id"]) for one in result] == [(n, f"k{n}") for n in range(2 * len(CORPUS))]
    # Five texts at a time or all at once: batches of other sizes, so within what sums in another order allow for.
    assert shares(result) == pytest.approx(shares(mood.predict(CORPUS * 2)), abs=1e-4)
    _, out, _ = run("predict", place / "mood.head", place / "texts.jsonl", "--limit", "2")
    assert [list(json.loads(line)) for line in out.splitlines()] == [["doc", "label", "probabilities"]] * 2


def test_bad_records_are_skipped_and_named(place: Path, mood: lw.Head, run: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"no": 1}\n{"text": "b"}\n')
    assert run("predict", place / "mood.head", tmp_path / "bad.jsonl")[0] == 2
    code, out, err = run("predict", place / "mood.head", tmp_path / "bad.jsonl", "--skip-bad")
    assert code == 0
    assert [json.loads(line)["doc"] for line in out.splitlines()] == [0, 1]
    assert "line 2" in err


def test_csv(place: Path, texts: Any, mood: lw.Head, run: Any) -> None:
    code, out, _ = run("predict", place / "mood.head", place / "texts.jsonl", "--to", "csv", "--id", "key")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["doc", "id", "empty", "label", "p:a", "p:b", "p:c"]
    assert [row["empty"] for row in rows] == ["" if text.strip() else "true" for text in CORPUS * 2]
    assert [row["label"] for row in rows] == [one["label"] for one in mood.predict(CORPUS * 2)]
    lw.train(texts, tasks={"m": "classify:tags", "n": "regress:n"}, out=place / "mn.head")
    _, out, _ = run("predict", place / "mn.head", place / "texts.jsonl", "--to", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["doc", "empty", "m.labels", "m.p:x", "m.p:y", "n.value"]
    assert set(rows[0]["m.labels"].split(";")) <= {"", "x", "y"}


def test_conll_has_every_word(place: Path, tagger: lw.Head, run: Any, tmp_path: Path) -> None:
    code, out, _ = run(
        "predict", place / "tag.head", place / "words.jsonl", "--words", "words", "--to", "conll"
    )
    assert code == 0
    sentences = [block.split("\n") for block in out.removesuffix("\n\n").split("\n\n")]
    assert [[line.split("\t")[0] for line in block] for block in sentences] == [
        words for words, _ in SENTENCES
    ]
    assert [line.split("\t")[1] for line in sentences[3]] == ["O", "O", "B-LOC", "B-LOC", "O", "O"]
    (tmp_path / "raw.txt").write_text("Rome, Paris!\n")
    _, out, _ = run("predict", place / "tag.head", tmp_path / "raw.txt", "--to", "conll")
    assert [line.split("\t")[0] for line in out.splitlines()] == ["Rome", ",", "Paris", "!", ""]


HOSTILE = ["tab\there", "line\nend", "carriage\rreturn", "New York", "#tag", "a\u2028b", "\x85", "good"]


def test_conll_is_read_back(place: Path, tagger: lw.Head, run: Any, tmp_path: Path) -> None:
    sentences = [HOSTILE, ["#", "first"], ["", "an empty word"], [" ", "a blank one"]]
    source = write(tmp_path / "hostile.jsonl", [{"words": words} for words in sentences])
    code, out, _ = run("predict", place / "tag.head", source, "--words", "words", "--to", "conll")
    assert code == 0
    (tmp_path / "out.conll").write_text(out, newline="")
    back = list(open_corpus(tmp_path / "out.conll"))
    breaks = str.maketrans("\t\n\r\u2028\x85", "     ")
    assert [example.words for example in back] == [
        tuple(word.translate(breaks) for word in words) for words in sentences
    ]
    result = tagger.predict(sentences)
    assert [sum(tag[0] == "B" for tag in one.word_columns["tag"]) for one in back] == [
        len(one["spans"]) for one in result
    ]


BROKEN = ["line\nend", "tab\there", "a\u2028b", "a\x85b", "", "  ", "end\r"]


@pytest.mark.parametrize("label", BROKEN)
def test_labels_that_conll_cannot_hold(label: str) -> None:
    task: Any = SimpleNamespace(task="classify", multi=False, classes=("fine", label))
    head: Any = SimpleNamespace(rows={"level": "word"}, task_heads=(task,))
    with pytest.raises(
        RequestError, match="to='conll' can't hold the label '.*', which is blank or"
    ) as caught:
        check_format({"": head}, "conll")
    assert len(str(caught.value).splitlines()) == 1
    assert check_format({"": head}, "jsonl") == "jsonl"
    task.classes = ("fine", "two words", "B-PER")
    assert check_format({"": head}, "conll") == "conll"


def test_labels_of_several_lines(encoder_of: Callable[[str], Any], run: Any, tmp_path: Path) -> None:
    labels = ["one\nline", "other\rline", 'a "quote", and\r\nan end']
    lines = [{"words": [f"w{n}", "x"], "pos": [labels[n % 3], labels[n % 2]]} for n in range(12)]
    source = write(tmp_path / "words.jsonl", lines)
    dataset = lw.extract(
        source, tmp_path / "words.lw", model=encoder_of("bert"), words="words", level="word", dtype="float32"
    )
    head = lw.train(dataset, task="classify", label="pos", mix="2", out=tmp_path / "pos.head")
    assert set(head.classes["pos"]) == set(labels)
    how = ("predict", tmp_path / "pos.head", source, "--words", "words", "--to")
    code, out, err = run(*how, "conll")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--to conll can't hold the label" in err
    code, out, _ = run(*how, "csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    said = [word["label"] for one in head.predict([line["words"] for line in lines]) for word in one["words"]]
    assert [row["label"] for row in rows] == said
    assert set(said) == set(labels)


def test_conll_of_words_without_a_row(place: Path, encoder_of: Callable[[str], Any], run: Any) -> None:
    """Texts are cut at 8 tokens, and still every word has a line."""
    dataset = lw.extract(
        place / "words.jsonl",
        place / "cut.lw",
        model=encoder_of("bert"),
        words="words",
        level="word",
        long="truncate",
        max_length=8,
    )
    lw.train(dataset, tasks={"tag": "tag:tag", "pos": "classify:pos"}, out=place / "cut.head")
    _, out, _ = run("predict", place / "cut.head", place / "words.jsonl", "--words", "words", "--to", "conll")
    sentences = [block.split("\n") for block in out.removesuffix("\n\n").split("\n\n")]
    assert [len(block) for block in sentences] == [len(words) for words, _ in SENTENCES]
    assert sentences[1][-1].split("\t") == ["0", "O", "_"]
    assert len(split_words(" ".join(SENTENCES[1][0]))) > 5


@pytest.mark.parametrize(
    ("head", "to", "says"),
    [
        ("mood", "xml", "--to xml doesn't exist; choose one of jsonl, csv, conll"),
        ("mood", "conll", "--to conll needs a head that gives every word one label or tag"),
        ("cut", "csv", "--to csv can hold only one task where a text has many rows"),
    ],
)
def test_formats_that_do_not_fit(
    place: Path, mood: lw.Head, run: Any, head: str, to: str, says: str, words: Any
) -> None:
    if head == "cut" and not (place / "cut.head").exists():
        lw.train(words, tasks={"tag": "tag:tag", "pos": "classify:pos"}, out=place / "cut.head")
    code, out, err = run("predict", place / f"{head}.head", place / "texts.jsonl", "--to", to)
    assert (code, out) == (2, "")
    assert says in err


def test_train_and_info_on_the_command_line(place: Path, texts: Any, run: Any, tmp_path: Path) -> None:
    argv = ["train", place / "texts.lw", "--task", "classify", "--label", "label", "--mix", "-2:"]
    code, _, err = run(*argv, "--out", tmp_path / "h")
    assert code == 2
    assert "mix '-2:'" in err
    argv[-1] = "concat(-2:)"
    code, out, err = run(
        *argv, "--out", tmp_path / "h", "--eval", place / "texts.jsonl", "--eval", texts.path
    )
    assert code == 0
    expected = ("different labels", "can't tell how good", "was trained on these 32 texts")
    assert all(any(words in line for words in expected) for line in err.splitlines()), err
    assert "held-out rows: accuracy" in out
    assert out.count(": label, 32 rows") == 2
    assert "label  precision  recall" in out
    code, out, _ = run("info", tmp_path / "h")
    assert code == 0
    assert "classify of label on concat(2,3), linear" in out
    code, out, _ = run("info", tmp_path / "h", "--json")
    assert json.loads(out)["kind"] == "head"
    code, out, err = run(*argv, "--out", tmp_path / "h")
    assert code == 2
    assert "already exists" in err
    code, out, _ = run(*argv, "--out", tmp_path / "j", "--json", "--eval", texts.path)
    printed = json.loads(out)
    assert printed["training"]["tasks"]["label"]["rows"] == 32
    assert printed["eval"][str(texts.path)]["rows"] == 32


def test_several_tasks_on_the_command_line(place: Path, texts: Any, run: Any, tmp_path: Path) -> None:
    argv: list[Any] = ["train", place / "texts.lw", "--task", "m=classify:label", "--task", "n=regress:n"]
    code, out, _ = run(
        *argv, "--mix", "m=learned(all)", "--shared-hidden", "8", "--draws", "2", "--out", tmp_path / "two"
    )
    assert code == 0
    table = out.split("\n\n")[-1].splitlines()
    assert table[0].split() == ["task", "score", "alone", "together"]
    assert [line.split()[0] for line in table[1:3]] == ["m", "n"]
    assert "share of logit variance" in out
    assert "Similar layers share weight" in out
    code, out, _ = run(*argv, "--out", tmp_path / "apart")
    assert "the tasks share no hidden layer, so both scores are the same" in out
    for extra, says in (
        (["--task", "classify:label"], "has no name; give each of several tasks as NAME=TASK:COL"),
        (["--task", "m=classify:label"], "names 'm' twice"),
        (["--mix", "1", "--mix", "n=2"], "--mix '1' names no task"),
        (["--mix", "other=2"], "--mix 'other=2' is for task 'other' and there is no such task; there are "),
        (["--mix", "n=2", "--mix", "n=1"], "--mix 'n=1' names no task, or a task that has a mix already"),
    ):
        code, _, err = run(*argv, *extra, "--out", tmp_path / "x")
        assert code == 2
        assert says in err


def test_sentiment_with_minilm(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """extract, train, predict: two labels, a real model, sentences that it hasn't seen."""
    monkeypatch.chdir(tmp_path)
    good = ["A charming film.", "I loved every minute.", "Wonderful, warm and funny.", "A great cast.",
            "A joy to watch.", "Brilliant and moving.", "The best of the year.", "Simply delightful."]  # fmt: skip
    bad = ["A dull film.", "I hated every minute.", "Cold, slow and boring.", "A weak cast.",
           "A pain to watch.", "Stupid and empty.", "The worst of the year.", "Simply awful."]  # fmt: skip
    lines = [
        f'"{text}",{label}' for texts, label in ((good, "positive"), (bad, "negative")) for text in texts
    ]
    Path("reviews.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    assert run("extract", "reviews.csv", "--out", "reviews.lw", "--device", "cpu")[0] == 0
    argv = ["train", "reviews.lw", "--task", "classify", "--label", "label", "--mix", "mean:-4:"]
    assert run(*argv, "--out", "mood.head")[0] == 0
    Path("new.txt").write_text("What a lovely, touching story.\nA terrible, lifeless mess.\n")
    code, out, _ = run("predict", "mood.head", "new.txt", "--device", "cpu")
    assert code == 0
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["positive", "negative"]
