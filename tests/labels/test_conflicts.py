"""Identical texts with different labels are counted and told; scores of a few rows come with their interval."""

from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.labels.conflicts import conflict_note
from layerwise.labels.labelled import read_labels
from layerwise.states import LayerStates
from planted import noise, states_of, words_of


def note_of(states: Any, task: str = "classify") -> str | None:
    labelled = read_labels(states, task, "y")
    return conflict_note(states, labelled.docs, labelled.values)


def test_identical_texts_with_different_labels_are_counted() -> None:
    texts = ["a", "b", "a", "c", "b", "a", "d", "d"]
    labels = ["pos", "pos", "neg", "pos", "pos", "pos", "x", "y"]
    table = pd.DataFrame({"text": texts, "label": labels}).groupby("text")["label"].agg(["nunique", "size"])
    conflicting = table[table["nunique"] > 1]
    note = note_of(states_of(noise(8, 2, 2), {"y": labels}, texts))
    assert note is not None
    assert note.startswith(
        f"{len(conflicting)} texts occur with different labels, {conflicting['size'].sum()} times in all"
    )
    assert "(texts 0 and 2: 'pos' and 'neg')" in note
    one = note_of(states_of(noise(8, 2, 2), {"y": ["pos", "neg", *["pos"] * 6]}, ["a", "a", *"bcdefg"]))
    assert str(one).startswith("1 text occurs with different labels, 2 times in all")


def test_spellings_and_missing_labels_are_no_conflict() -> None:
    texts = ["a", "a", "a", "b"]
    assert note_of(states_of(noise(4, 2, 2), {"y": ["1", "1.0", None, "2"]}, texts)) is None
    assert note_of(states_of(noise(4, 2, 2), {"y": [1.0, 2.5, None, 2.0]}, texts), "regress") is not None
    without = states_of(noise(2, 2, 2), {"y": ["p", "n"]})
    columns = {"doc": [0, 1], "y": ["p", "n"]}
    no_text = LayerStates(
        without._vectors,
        index=pa.table(columns),
        texts=pa.table(columns),
        blocks=1,
        level="text",
        pool="mean",
    )
    assert note_of(no_text) is None


def test_sentences_with_different_tags_are_a_conflict() -> None:
    sentences = [["a", "b"], ["a", "b"], ["c"]]
    tags = ["O", "B-X", "O", "O", "O"]
    note = note_of(words_of(noise(5, 2, 2), sentences, {"y": tags}), "tag")
    assert str(note).startswith("1 text occurs with different labels, 2 times in all (texts 0 and 1), ")


def test_pairs_conflict_where_both_texts_are_the_same() -> None:
    def pairs(*records: tuple[str, str, str]) -> Any:
        columns = {
            "doc": list(range(2 * len(records))),
            "source": ["s"] * 2 * len(records),
            "line": [number for number in range(len(records)) for _ in range(2)],
            "part": ["a", "b"] * len(records),
            "text": [text for a, b, _ in records for text in (a, b)],
            "y": [label for *_, label in records for _ in range(2)],
        }
        layers = noise(2 * len(records), 2, 2)
        table = pa.table(columns)
        vectors = dict(zip(["emb", "1"], layers, strict=True))
        return LayerStates(vectors, index=table, texts=table, blocks=1, level="text", pool="mean")

    assert note_of(pairs(("x", "y", "p"), ("x", "z", "n"), ("y", "x", "n"))) is None
    assert "texts 0 and 4" in str(note_of(pairs(("x", "y", "p"), ("x", "z", "n"), ("x", "y", "n"))))


@pytest.fixture(scope="module")
def reviews(encoder_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("few")
    texts = [f"{'warm' if number % 2 else 'cold'} day {number // 2}" for number in range(14)] + ["warm day 0"]
    labels = [*["pos" if number % 2 else "neg" for number in range(14)], "neg"]
    return lw.extract(
        pd.DataFrame({"text": texts, "label": labels}),
        folder / "rows.lw",
        model=encoder_of("bert"),
        layers="1",
    )


def test_train_and_probe_tell_conflicts(reviews: Any) -> None:
    head = lw.train(reviews, task="classify", label="label", mix="1")
    assert any("1 text occurs with different labels" in note for note in head.training["notes"])
    probed = lw.probe(reviews, task="classify", label="label", mix=[], quick=True)
    assert any("1 text occurs with different labels" in note for note in probed.notes)


def test_a_score_of_three_rows_is_no_score(reviews: Any, tmp_path: Any, capsys: Any) -> None:
    head = lw.train(reviews, task="classify", label="label", mix="1")
    scored = head.training["tasks"]["label"]["held_out"]
    low, high = scored["intervals"]["accuracy"]
    assert scored["units"] <= 3
    assert low <= scored["scores"]["accuracy"] <= high
    assert high - low > 0.4, "three right of three still leave room for many errors"
    (note,) = (note for note in head.training["notes"] if "can't tell how good a head is" in note)
    assert f"{scored['units']} held-out texts" in note
    assert f"stands for {low:.3f} to {high:.3f} (95%)" in note
    arguments = [
        "train",
        str(reviews.path),
        "--task",
        "classify",
        "--label",
        "label",
        "--mix",
        "1",
        "--quiet",
    ]
    assert main([*arguments, "--out", str(tmp_path / "head")]) == 0
    printed = capsys.readouterr()
    assert f"95% intervals, of {scored['units']} texts: accuracy {low:.4f} to {high:.4f}" in printed.out
    assert "can't tell how good a head is" in printed.err
    loaded = lw.load_head(tmp_path / "head")
    assert loaded.training["tasks"]["label"]["held_out"]["intervals"]["accuracy"] == [low, high]


def test_many_rows_need_no_note(encoder_of: Any, tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 160)
    frame = pd.DataFrame(
        {"text": [f"{'warm' if kind else 'cold'} day {n}" for n, kind in enumerate(kinds)], "y": kinds}
    )
    dataset = lw.extract(frame, tmp_path / "rows.lw", model=encoder_of("bert"), layers="1")
    head = lw.train(dataset, task="classify", label="y", mix="1")
    assert head.training["tasks"]["y"]["held_out"]["units"] == 32
    assert not any("can't tell" in note for note in head.training["notes"])
