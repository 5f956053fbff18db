"""evaluate: scores with intervals on labelled text and on datasets, as those of scikit-learn and seqeval."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from seqeval.metrics import classification_report, f1_score
from seqeval.scheme import IOB2
from sklearn.metrics import (
    confusion_matrix,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    r2_score,
)
from sklearn.metrics import f1_score as class_f1

import layerwise as lw
from conftest import CORPUS
from layerwise._util.display import width
from layerwise.cli.main import main
from layerwise.errors import HeadError, RequestError
from layerwise.heads import inputs
from layerwise.heads.evaluation import Evaluation
from layerwise.labels.tags import to_iob2

Lines = list[dict[str, Any]]
Run = Callable[..., SimpleNamespace]
SENTENCES = [
    (["Angela", "Merkel", "spoke", "in", "Berlin"], ["I-PER", "I-PER", "O", "O", "I-LOC"]),
    (["naïve", "Zürich", "New York", "has", "a", "bank"], ["O", "I-LOC", "B-LOC", "O", "O", "O"]),
    (["Every", "layer", "of", "John", "Smith"], ["O", "O", "O", "I-PER", "I-PER"]),
    (["天", "气", "很", "好"], ["O", "O", "I-LOC", "I-LOC"]),
] * 6


def marks(sentence: int, words: int) -> list[str]:
    """Labels of words that no head can learn."""
    return ["xyz"[(sentence * 7 + word * word) % 5 % 3] for word in range(words)]


def write(path: Path, lines: Lines) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def lines() -> Lines:
    return [
        {"text": f"{text} {n}", "label": "abc"[n % 3], "n": n, "tags": ["x", "y"][: n % 3]}
        for n, text in enumerate(CORPUS * 2)
    ]


@pytest.fixture(scope="module")
def texts(place: Path, lines: Lines, encoder_of: Callable[[str], Any]) -> Any:
    return lw.extract(write(place / "texts.jsonl", lines), place / "texts.lw", model=encoder_of("bert"))


@pytest.fixture(scope="module")
def words(place: Path, encoder_of: Callable[[str], Any]) -> Any:
    rows: Lines = [
        {"words": w, "tag": t, "mark": marks(n, len(w)), "document": f"d{n // 2}"}
        for n, (w, t) in enumerate(SENTENCES)
    ]
    return lw.extract(
        write(place / "words.jsonl", rows),
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
def two(place: Path, texts: Any) -> lw.Head:
    tasks = {"mood": "classify:label", "stars": "regress:n"}
    return lw.train(texts, tasks=tasks, mix="2", out=place / "two.head")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: object) -> SimpleNamespace:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return SimpleNamespace(code=code, **capsys.readouterr()._asdict())

    return call


def values(evaluation: Evaluation) -> dict[str, float]:
    return {name: score.score for name, score in evaluation.scores.items()}


# --- the scores ---------------------------------------------------------------------------------------------


def test_classes_are_scored_as_by_scikit_learn(texts: Any, mood: lw.Head, place: Path) -> None:
    predicted = [answer["label"] for answer in mood.predict_rows(texts)]
    gold = texts.texts["label"].to_pylist()
    right = sum(a == b for a, b in zip(gold, predicted, strict=True))
    interval = binomtest(right, len(gold)).proportion_ci(method="wilson")
    table = precision_recall_fscore_support(gold, predicted, zero_division=0)
    for source in (texts, place / "texts.lw", [str(place / "texts.lw")], place / "texts.jsonl"):
        result = lw.evaluate(mood, source)
        accuracy = result.scores["accuracy"]
        assert (result.rows, result["label"].dropped, result.unknown_labels) == (len(gold), 0, {})
        assert accuracy.score == pytest.approx(right / len(gold))
        assert (accuracy.low, accuracy.high) == pytest.approx((interval.low, interval.high))
        assert result.scores["macro_f1"].score == pytest.approx(class_f1(gold, predicted, average="macro"))
        for number, label in enumerate("abc"):
            expected = [column[number] for column in table]
            assert list(result.per_label[label].values()) == pytest.approx(expected)
        assert result.confusion is not None
        assert list(result.confusion.labels) == ["a", "b", "c"]
        assert np.array_equal(result.confusion.counts, confusion_matrix(gold, predicted))


def test_a_dataset_is_scored_without_a_forward(
    texts: Any, place: Path, mood: lw.Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(lw.heads.predict, "load_model", refuse)
    assert lw.evaluate(place / "mood.head", texts).rows == len(texts)


def test_several_labels_and_numbers(texts: Any, lines: Lines) -> None:
    several = lw.train(texts, task="classify", label="tags", mix="2")
    result = several.evaluate(texts)
    predicted = [answer["labels"] for answer in several.predict_rows(texts)]
    gold_hits, hits = (
        np.array([[name in row for name in "xy"] for row in rows])
        for rows in ([line["tags"] for line in lines], predicted)
    )
    for average in ("micro", "macro"):
        assert result.scores[f"{average}_f1"].score == pytest.approx(
            class_f1(gold_hits, hits, average=average, zero_division=0)
        )
    assert result.confusion is None
    for label, counts in zip("xy", multilabel_confusion_matrix(gold_hits, hits), strict=True):
        assert result.per_label[label]["support"] == counts[1].sum()
    number = lw.train(texts, task="regress", label="n", mix="2")
    result = lw.evaluate(number, texts)
    answers = [answer["value"] for answer in number.predict_rows(texts)]
    r2 = result.scores["r2"]
    assert r2.score == pytest.approx(r2_score(range(len(answers)), answers), abs=1e-4)
    assert r2.low is not None
    assert r2.high is not None
    assert r2.low < r2.score < r2.high
    assert (result.per_label, result.confusion) == ({}, None)


def test_tags_are_scored_as_by_seqeval(words: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk by chunk, and though no chunk alone shows which scheme the tags are in."""
    head = lw.train(words, task="tag", label="tag", mix="emb", class_weight="balanced")
    monkeypatch.setattr(inputs, "TEXTS", 3)
    tags = tags_of(head)
    gold = [to_iob2(tags) for _, tags in SENTENCES]
    expected = f1_score(gold, tags, mode="strict", scheme=IOB2)
    report = classification_report(gold, tags, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    flat = [[tag for row in rows for tag in row] for rows in (gold, tags)]
    several: list[tuple[Any, dict[str, Any]]] = [(words, {}), (place / "words.jsonl", {"words": "words"})]
    for source, options in several:
        result = lw.evaluate(head, source, **options)
        assert result.scores["span_f1"].score == pytest.approx(expected)
        for label in ("LOC", "PER"):
            names = {"precision": "precision", "recall": "recall", "f1": "f1-score", "support": "support"}
            expected_row = {name: report[label][other] for name, other in names.items()}
            assert result.per_label[label] == pytest.approx(expected_row)
        assert result.confusion is not None
        labels = list(result.confusion.labels)
        assert np.array_equal(result.confusion.counts, confusion_matrix(*flat, labels=labels))


def tags_of(head: lw.Head) -> list[list[str]]:
    """The tags that a head predicts, from the offsets of its spans."""
    out = []
    answers = head.predict([list(words) for words, _ in SENTENCES])
    for (sentence, _), answer in zip(SENTENCES, answers, strict=True):
        ends = np.cumsum([len(word) + 1 for word in sentence])
        tags = ["O"] * len(sentence)
        for span in answer["spans"]:
            inside = [n for n, e in enumerate(ends) if span["start"] < e <= span["end"] + 1]
            for n in inside:
                tags[n] = ("B-" if n == inside[0] else "I-") + span["label"]
        out.append(tags)
    return out


def test_documents_are_the_units_of_intervals(words: Any, place: Path) -> None:
    """Twelve documents of two sentences: the share of right words varies as between documents."""
    head = lw.train(words, task="classify", label="mark", mix="emb")
    result = lw.evaluate(head, words)
    rows = [row for answer in head.predict_rows(words) for row in answer["words"]]
    gold = [mark for n, (words_of, _) in enumerate(SENTENCES) for mark in marks(n, len(words_of))]
    right = np.array([row["label"] == label for row, label in zip(rows, gold, strict=True)], float)
    document = np.repeat(np.arange(24) // 2, [len(tags) for _, tags in SENTENCES])
    share = right.mean()
    spread = sum((right[document == d] - share).sum() ** 2 for d in range(12))
    count = min(len(right), share * (1 - share) * len(right) ** 2 / spread)
    z = 1.959963984540054
    centre = (share + z * z / 2 / count) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + (z / 2 / count) ** 2)
    accuracy = result.scores["accuracy"]
    assert (accuracy.low, accuracy.high) == pytest.approx((centre - half, centre + half))
    of_texts = lw.evaluate(head, place / "words.jsonl", words="words").scores["accuracy"]
    assert of_texts.low == pytest.approx(accuracy.low), "documents are read from text, too"
    assert "12 documents can't tell" in " ".join(result["mark"].notes)


def test_many_files_of_several_texts_are_documents(place: Path, mood: lw.Head, lines: Lines) -> None:
    files = [write(place / f"part{n}.jsonl", lines[2 * n : 2 * n + 2]) for n in range(16)]
    whole = write(place / "whole.jsonl", lines)
    _, note = lw.evaluate(mood, files)[
        "label"
    ].notes  # the first says that the head was trained on these texts
    assert note == "task 'label': 16 files can't tell how good a head is; give at least 30"
    alone, together = (lw.evaluate(mood, source).scores["macro_f1"] for source in (whole, files))
    assert alone.score == together.score
    assert (alone.low, alone.high) != (together.low, together.high)


def test_labels_meet_whatever_wrote_them(place: Path, encoder_of: Callable[[str], Any]) -> None:
    """Trained on a column with a gap, as pandas writes it; evaluated on whole numbers."""
    rows = [f"text {n},{float(n % 2) if n else ''}" for n in range(40)]
    (place / "gap.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    dataset = lw.extract(place / "gap.csv", place / "gap.lw", model=encoder_of("bert"), dtype="float32")
    head = lw.train(dataset, task="classify", label="label", mix="3")
    integers = write(place / "integers.jsonl", [{"text": f"text {n}", "label": n % 2} for n in range(1, 40)])
    result = lw.evaluate(head, integers)
    assert result.unknown_labels == {}
    assert values(result) == pytest.approx(values(lw.evaluate(head, dataset)), abs=0.03)


# --- labels that the head has never seen ---------------------------------------------------------------------


def test_unknown_labels_are_counted_as_errors(place: Path, lines: Lines, mood: lw.Head, run: Run) -> None:
    changed = [{**line, "label": "new" if n < 4 else line["label"]} for n, line in enumerate(lines)]
    changed[10]["label"] = "newer"
    changed[11]["label"] = None
    source = write(place / "changed.jsonl", changed)
    result = lw.evaluate(mood, source)
    assert result.unknown_labels == {"new": 4, "newer": 1}
    assert (result.rows, result["label"].dropped) == (31, 1)
    predicted = [answer["label"] for answer in mood.predict([line["text"] for line in lines])]
    gold = [line["label"] for line in changed]
    right = sum(a == b for a, b in zip(gold, predicted, strict=True))
    assert result.scores["accuracy"].score == pytest.approx(right / 31)
    assert result.per_label["new"] == {"precision": 0, "recall": 0, "f1": 0, "support": 4}
    assert result.confusion is not None
    assert list(result.confusion.labels) == ["a", "b", "c", "new", "newer"]
    ended = run("evaluate", place / "mood.head", source, "--device", "cpu", "--json")
    assert "the head has never seen 'new', 'newer' (5 rows), which count as errors" in ended.err
    assert json.loads(ended.out)["unknown_labels"] == {"new": 4, "newer": 1}


def test_nothing_but_unknown_labels_is_refused(place: Path, lines: Lines, mood: lw.Head, words: Any) -> None:
    source = write(place / "other.jsonl", [{**line, "label": f"z{n % 7}"} for n, line in enumerate(lines)])
    with pytest.raises(RequestError) as refusal:
        lw.evaluate(mood, source)
    assert str(refusal.value) == (
        "the head of task 'label' has seen none of the labels in column 'label': 'z0', 'z1', 'z2', 'z3', 'z4' and 2 "
        "more; it knows 'a', 'b', 'c'; give a source with these labels"
    )
    tagger = lw.train(words, task="tag", label="tag", mix="1")
    spans: Lines = [{"words": ["in", "Rome"], "tag": ["O", "B-CITY"]}, {"words": ["to"], "tag": ["O"]}]
    with pytest.raises(
        RequestError, match=r"none of the labels in column 'tag': 'CITY'; it knows 'LOC', 'PER'"
    ):
        lw.evaluate(tagger, write(place / "cities.jsonl", spans), words="words")
    spans[0] |= {"words": ["Rome", "Ann"], "tag": ["B-CITY", "B-PER"]}
    result = lw.evaluate(tagger, write(place / "cities.jsonl", spans), words="words")
    assert result.unknown_labels == {"CITY": 1}
    bare = write(place / "no.jsonl", [{"words": ["to"], "tag": ["O"]}])
    result = lw.evaluate(tagger, bare, words="words")
    assert "no word is in a span, so the scores of spans are undefined" in " ".join(result["tag"].notes)


def test_unknown_labels_among_several(place: Path, texts: Any) -> None:
    head = lw.train(texts, task="classify", label="tags", mix="2")
    rows: Lines = [{"text": "a", "tags": ["x", "q"]}, {"text": "b", "tags": []}, {"text": "c", "tags": ["q"]}]
    assert lw.evaluate(head, write(place / "q.jsonl", rows)).unknown_labels == {"q": 2}
    with pytest.raises(RequestError, match="seen none of the labels in column 'tags': 'q'"):
        lw.evaluate(head, write(place / "q.jsonl", rows[1:]))


# --- what can't be evaluated -----------------------------------------------------------------------------------


def test_a_name_that_no_file_can_have_is_refused_in_one_line(mood: lw.Head) -> None:
    with pytest.raises(lw.LayerwiseError) as refusal:
        lw.evaluate(mood, "x" * 5000)
    assert "\n" not in str(refusal.value)


def test_what_cannot_be_evaluated(
    mood: lw.Head, words: Any, place: Path, encoder_of: Callable[[str], Any]
) -> None:
    with pytest.raises(HeadError, match="trained on rows of level 'text' and .* has 'word'"):
        lw.evaluate(mood, words)
    write(place / "bare.jsonl", [{"text": "a", "other": "b"}])
    with pytest.raises(RequestError, match="the source has no column 'label', which holds the labels"):
        lw.evaluate(mood, place / "bare.jsonl")
    write(place / "none.jsonl", [{"text": "a", "label": None}])
    with pytest.raises(RequestError, match="no row has a label in column .label.; give rows with labels$"):
        lw.evaluate(mood, place / "none.jsonl")
    few = lw.extract(place / "texts.jsonl", place / "few.lw", model=encoder_of("bert"), layers="3", limit=3)
    with pytest.raises(RequestError, match="lacks the layers 1, 2 of the head's mix; there are 3"):
        lw.evaluate(mood, few)
    other = lw.extract(place / "texts.jsonl", place / "other.lw", model=encoder_of("electra"), limit=3)
    with pytest.raises(HeadError, match="the head was trained on .* is a different model"):
        lw.evaluate(mood, other)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"text": "body"},
            "text='body' is for texts, and .*texts.lw is a dataset, whose rows are read as they are",
        ),
        ({"skip_bad": True}, "skip_bad=True is for texts"),
        ({"batch_tokens": 64}, "batch_tokens=64 is for texts"),
        ({"model": "minilm"}, "model='minilm' says how the model of a head's folder is loaded"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    mood: lw.Head, texts: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        lw.evaluate(mood, texts, **options)


# --- what comes out ---------------------------------------------------------------------------------------------


def test_the_result_is_short_and_has_tables(mood: lw.Head, two: lw.Head, texts: Any) -> None:
    result, several = lw.evaluate(mood, texts), lw.evaluate(two, texts)
    assert repr(result).startswith("Evaluation: label: classify of label, 32 rows\naccuracy ")
    assert len(repr(several).splitlines()) == 3
    assert several["mood"].rows == 32
    with pytest.raises(
        RequestError, match=r"the head has several tasks: mood, stars; name one, such as evaluation"
    ):
        _ = several.scores
    frame = several.to_pandas()
    assert frame["name"].tolist() == ["mood"] * 2 + ["stars"] * 3
    assert (frame["low"] <= frame["score"]).all()
    assert result["label"].to_pandas()["support"].sum() == 32


def test_json_is_as_it_is_described(run: Run, place: Path, texts: Any, mood: lw.Head, two: lw.Head) -> None:
    ended = run("evaluate", place / "mood.head", texts.path, "--json")
    assert (ended.code, ended.err.count("\n")) == (0, 1), (
        "the note that these texts are those of the training"
    )
    printed = json.loads(ended.out)
    assert list(printed)[:5] == ["rows", "scores", "unknown_labels", "per_label", "confusion"]
    assert printed == lw.evaluate(mood, texts).to_json()
    assert set(printed["scores"]["accuracy"]) == {"score", "low", "high"}
    assert set(printed["per_label"]["a"]) == {"precision", "recall", "f1", "support"}
    assert list(printed["confusion"]) == ["labels", "counts"]
    several = json.loads(run("evaluate", place / "two.head", texts.path, "--json").out)
    assert list(several) == ["mood", "stars"]
    assert list(several["stars"])[:5] == list(printed)[:5]
    assert several["stars"]["confusion"] is None


def test_the_text_for_people(run: Run, place: Path, texts: Any, mood: lw.Head, two: lw.Head) -> None:
    ended = run("evaluate", place / "mood.head", place / "texts.jsonl", "--device", "cpu")
    assert (ended.code, ended.err.count("\n")) == (0, 1), (
        "the note that these texts are those of the training"
    )
    shown = ended.out.splitlines()
    assert shown[0].endswith("texts.jsonl: label, 32 rows")
    assert shown[1].split() == ["score", "95%", "interval"]
    assert shown[2].startswith("  accuracy   ")
    assert shown[4].split() == ["accuracy", "of", "always", "a", f"{11 / 32:.4f}"], "11 of 32 rows are a"
    assert "  label  precision  recall      F1  rows" in shown
    assert sum("label \\ predicted" in line for line in shown) == 1
    ended = run("evaluate", place / "two.head", texts.path)
    assert "R²" in ended.out
    assert ended.out.count(", 32 rows") == 2
    for argv, says in (
        (["evaluate", place / "mood.head", place / "texts.jsonl", texts.path], "evaluate the dataset alone"),
        (["evaluate", place / "mood.head", texts.path, "--text", "body"], "--text body is for texts, and"),
        (["evaluate", place / "nothing.head", texts.path], "nothing.head doesn't exist; a head is a folder"),
    ):
        ended = run(*argv)
        assert (ended.code, ended.out) == (2, "")
        assert says in ended.err
        assert ended.err.count("\n") == 1


def test_many_long_and_wide_labels_fit_into_80_columns(
    run: Run, place: Path, encoder_of: Callable[[str], Any]
) -> None:
    rows = [{"text": f"text {n}", "label": f"{'很长的标签' * 9}{n % 30}"} for n in range(120)]
    source = write(place / "many.jsonl", rows)
    dataset = lw.extract(source, place / "many.lw", model=encoder_of("bert"))
    lw.train(dataset, task="classify", label="label", mix="2", out=place / "many.head")
    ended = run("evaluate", place / "many.head", dataset.path)
    shown = ended.out.splitlines()[1:]
    assert max(map(width, shown)) <= 80
    assert "label" in ended.out
    assert "predicted as" in ended.out or "no label is confused" in ended.out


def test_skipped_records_and_too_few_texts_are_told(run: Run, place: Path, mood: lw.Head) -> None:
    source = place / "bad.jsonl"
    source.write_text('{"text": "a", "label": "a"}\n{"text": 3}\n{"text": "b", "label": "b"}\n')
    ended = run("evaluate", place / "mood.head", source, "--skip-bad", "--device", "cpu")
    assert ended.code == 0
    assert "skipped " in ended.err
    assert "bad.jsonl, line 2: " in ended.err
    assert "2 texts can't tell how good a head is; give at least 30" in ended.err


def test_texts_of_the_training_are_told(
    run: Run, place: Path, lines: Lines, mood: lw.Head, encoder_of: Callable[[str], Any]
) -> None:
    """By their content: a dataset, its file, and another file of the same texts; but neither a part of them nor others."""
    told = "The head was trained on these 32 texts, so its scores are usually higher here than on new texts"
    turned = write(place / "turned.jsonl", lines[::-1])
    part = write(place / "part.jsonl", lines[1:])
    others = write(place / "others.jsonl", [line | {"text": f"{line['text']}!"} for line in lines])
    for head in (mood, lw.load_head(place / "mood.head")):
        for source in (place / "texts.lw", place / "texts.jsonl", turned):
            assert told in " ".join(lw.evaluate(head, source)["label"].notes)
        for source in (part, others):
            assert "trained on" not in " ".join(lw.evaluate(head, source)["label"].notes)
    split = [line | {"part": "test" if n % 4 == 0 else "train"} for n, line in enumerate(lines)]
    silent = lw.extract(
        write(place / "split.jsonl", split), place / "silent.lw", model=encoder_of("bert"), no_text=True,
        keep=["label", "part"],
    )  # fmt: skip
    arguments = [
        "train",
        silent.path,
        "--task",
        "classify",
        "--label",
        "label",
        "--mix",
        "2",
        "--split",
        "part",
    ]
    ended = run(*arguments, "--out", place / "split.head", "--eval", silent.path)
    assert "trained on a part of these 32 texts (--split part)" in ended.err
    assert "can't tell how good a head is" in ended.err, "8 test texts"
    assert "score the head on at least 30 other labelled texts with `--eval`" in ended.err


def test_identical_texts_with_different_labels_are_told(
    place: Path, mood: lw.Head, encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In texts, though they are in different chunks, and in a dataset."""
    monkeypatch.setattr(inputs, "TEXTS", 2)
    rows = [{"text": text, "label": label} for text, label in zip("uvwxvu", "abcbca", strict=True)]
    source = write(place / "conflicts.jsonl", rows)
    dataset = lw.extract(source, place / "conflicts.lw", model=encoder_of("bert"))
    for evaluated in (source, dataset):
        notes = lw.evaluate(mood, evaluated).tasks["label"].notes
        assert [note for note in notes if "different labels" in note] == [
            "1 text occurs with different labels, 2 times in all (texts 1 and 4: 'b' and 'c'), and no head can be right "
            "about all of these; correct the labels, or expect lower scores."
        ]


def test_train_eval_is_the_same_code(run: Run, place: Path, texts: Any, mood: lw.Head) -> None:
    argv = ["train", texts.path, "--task", "classify", "--label", "label", "--mix", "mean:1,2"]
    ended = run(
        *argv, "--out", place / "again.head", "--eval", place / "texts.jsonl", "--eval", texts.path, "--json"
    )
    printed = json.loads(ended.out)["eval"]
    assert printed[str(texts.path)] == lw.evaluate(mood, texts).to_json()
    assert printed[str(place / "texts.jsonl")]["rows"] == 32


def test_advice_names_no_option_that_evaluate_lacks(run: Run, place: Path, two: lw.Head) -> None:
    odd = write(place / "odd.jsonl", [{"text": "a", "label": "a", "n": "many"}])
    out = run("evaluate", place / "two.head", odd)
    assert (out.code, out.out) == (2, "")
    assert "holds 'many', which isn't a finite number; the head was trained on numbers: correct it" in out.err
    none = write(place / "none.jsonl", [{"text": "a", "label": "", "n": 1}])
    out = run("evaluate", place / "two.head", none)
    assert (out.code, out.out) == (2, "")
    assert out.err.strip().endswith("no row has a label in column 'label'; give rows with labels")


@pytest.mark.parametrize("rows", [1, 3])
def test_scores_of_equal_numbers_are_undefined(place: Path, two: lw.Head, rows: int) -> None:
    records = [{"text": f"text {n}", "label": "a", "n": 2} for n in range(rows)]
    result = lw.evaluate(two, records)["stars"]
    assert [score.score for score in result.scores.values()] == [0, 0, 0]
    assert any(
        "all numbers are equal, so R² and the correlations are undefined" in note for note in result.notes
    )
