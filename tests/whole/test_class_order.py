"""Numeric classes stand in numeric order wherever classes are listed: 2 before 10."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.figures.groups import colours
from layerwise.geometry.sample import draw
from layerwise.labels.labelled import class_names
from layerwise.labels.metrics import score_table
from layerwise.page.content import columns
from planted import noise, states_of

CLASSES = [str(number) for number in range(1, 13)]


def numbered(rows: int = 240) -> Any:
    """States of texts of twelve classes named by numbers, each with its own place."""
    labels = [CLASSES[(row * 7) % 12] for row in range(rows)]
    layers = noise(rows, 12, 2)
    layers[1][np.arange(rows), [int(label) - 1 for label in labels]] += 20
    return states_of(layers, {"label": labels})


@pytest.fixture
def dataset(tmp_path: Path, model: str) -> lw.LayerDataset:
    words = [
        "layer",
        "word",
        "first",
        "last",
        "know",
        "more",
        "batch",
        "length",
        "run",
        "data",
        "park",
        "cafe",
    ]
    rows = [{"text": f"{words[n % 12]} {n // 12}", "label": n % 12 + 1} for n in range(60)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lw.extract(source, tmp_path / "rows.lw", model=model)


def test_heads_evaluations_and_info(
    dataset: lw.LayerDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = lw.train(dataset, task="classify", label="label", mix="1", out=tmp_path / "n.head")
    assert list(head.task_heads[0].classes) == CLASSES
    (answer, *_) = head.predict(["layer 1"])
    assert list(answer["probabilities"]) == CLASSES
    (evaluated,) = head.evaluate(dataset).tasks.values()
    assert list(evaluated.per_label) == CLASSES
    capsys.readouterr()
    assert main(["info", str(tmp_path / "n.head")]) == 0
    assert f"12: {', '.join(CLASSES)}" in capsys.readouterr().out


def test_labels_of_several_and_of_types(dataset: lw.LayerDataset) -> None:
    several = np.array([("10", "2"), ("9",), ()], object)
    assert class_names(several, multi=True) == ("2", "9", "10")
    table = score_table("classify", np.array(["10", "2", "9"]), np.array(["10", "2", "10"]), False)
    assert [entry["label"] for entry in table] == ["2", "9", "10"]
    tags = [["B-10", "I-10", "B-2"]]
    assert [entry["label"] for entry in score_table("tag", tags, tags, False)] == ["2", "10"]


def test_the_page_and_figures() -> None:
    states = states_of(noise(48, 4, 2), {"label": [CLASSES[n % 12] for n in range(48)]})
    (column,) = columns(draw(states, 48, 0))
    assert column["values"] == CLASSES
    _, groups = colours([CLASSES[n % 12] for n in range(48)], 48)
    assert [group.name for group in groups] == CLASSES


def test_a_probe_names_small_classes_in_their_order() -> None:
    states = numbered()
    labels = states.index["label"].to_pylist()
    labels[:3] = ["100", "20", "3000"]
    result = lw.probe(
        states_of([states.layer("emb"), states.layer("1")], {"label": labels}),
        task="classify",
        label="label",
        quick=True,
    )
    assert any("'20' (1), '100' (1), '3000' (1)" in note for note in result.notes), result.notes
