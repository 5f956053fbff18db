"""The probe of several labels per row, against scikit-learn's one-vs-rest on the same folds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from probes import probe
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise import api
from layerwise.cli.main import main
from layerwise.errors import RequestError
from layerwise.heads.solve import CS
from layerwise.probing.batched_solver import Solver
from layerwise.probing.design import DesignBuilder, crossed
from layerwise.probing.fits import Fits
from planted import noise, states_of, words_of
from selection import few_of

NAMES = np.array(["a", "b", "c"])


def planted(count: int, seed: int = 0) -> tuple[list[Any], Any]:
    """Layers of which layer 1 holds three labels, and the labels, 0 or 1 (count, 3)."""
    rng = np.random.default_rng(seed)
    y = (rng.random((count, 3)) < [0.5, 0.4, 0.2]).astype(np.float32)
    layers = noise(count, 8, 3, seed)
    layers[1][:, :3] += 6 * y
    return layers, y


def lists(y: Any) -> list[list[str]]:
    return [NAMES[row > 0].tolist() for row in y]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_fit_is_one_vs_rest(count: int) -> None:
    layers, y = planted(150)
    y, x = y[:, :count], layers[1]
    train = np.arange(150) < 110
    zeros = np.zeros(1, np.int64)
    fits = Fits(train[None], y[None], zeros, count, zeros)
    for c_index, C in enumerate(CS):
        scores = Solver(x).at(fits, c_index).values[0]
        scaler = StandardScaler().fit(x[train])
        model = OneVsRestClassifier(LogisticRegression(C=C, max_iter=5000, tol=1e-8))
        expected = model.fit(scaler.transform(x[train]), y[train].astype(int))
        logits = expected.decision_function(scaler.transform(x)).reshape(150, -1).T
        # The solver stops when a step changes no score of note; its labels are the same.
        assert scores == pytest.approx(logits, abs=0.01 * float(np.abs(logits).max())), C


def test_scores_are_those_of_scikit_learn_on_the_same_folds() -> None:
    layers, y = planted(240)
    result = probe(states_of(layers, {"y": lists(y)}), "classify", "y", mixes=[], quick=True)
    assert result.metric == "micro_f1"
    assert result.classes == ("a", "b", "c")
    design = crossed(DesignBuilder(np.arange(240), y, 3, spread=True), 1, 5, 0, [])
    for fold, outer in enumerate(design.outers):
        C = (result["1"].C or ())[fold]
        model = make_pipeline(
            StandardScaler(), OneVsRestClassifier(LogisticRegression(C=C, max_iter=5000, tol=1e-7))
        )
        train = design.fits.train[outer.fit]
        predicted = model.fit(layers[1][train], y[train].astype(int)).predict(layers[1][outer.test])
        expected = f1_score(y[outer.test].astype(int), predicted, average="micro")
        assert result["1"].folds[fold] == pytest.approx(expected, abs=0.02)
        inner = [
            np.mean(
                [
                    f1_score(
                        y[held_out].astype(int),
                        make_pipeline(
                            StandardScaler(), OneVsRestClassifier(LogisticRegression(C=value, max_iter=5000))
                        )
                        .fit(layers[1][design.fits.train[fit]], y[design.fits.train[fit]].astype(int))
                        .predict(layers[1][held_out]),
                        average="micro",
                    )
                    for fit, held_out in outer.inner
                ]
            )
            for value in CS
        ]
        assert inner[CS.index(C)] >= max(inner) - 0.02


def test_the_layer_with_the_labels_is_advised() -> None:
    layers, y = planted(200)
    texts = [f"{' '.join(NAMES[row > 0])} word{n % 50}" for n, row in enumerate(y)]
    result = probe(states_of(layers, {"y": lists(y)}, texts), "classify", "y", quick=True, seed=1)
    assert result.advice.best in ("1", "concat(all)", "concat(-4:)", "learned(all)", "mean(1:)")
    assert result["1"].score > result["2"].score + 0.2
    share = y.mean(axis=0)
    always = np.tile(share > 0.5, (200, 1))
    assert result.baselines["majority"].score == pytest.approx(
        f1_score(y.astype(int), always.astype(int), average="micro"), abs=0.1
    )
    assert result.baselines["bag_of_words"].score > 0.9, "the words of a text are its labels"
    assert result["1"].codelength is None
    assert set(result["1"].scores) == {"macro_f1", "accuracy"}
    weights = result.to_json()["learned"]["weights"]
    assert max(weights, key=lambda name: weights[name]["value"]) == "1"


def test_further_metrics_are_scikit_learns() -> None:
    layers, y = planted(120)
    part = np.array(["train"] * 80 + ["test"] * 40)
    states = states_of(layers, {"y": lists(y), "part": part})
    result = probe(states, "classify", "y", mixes=[], split="part")
    C = (result["1"].C or ())[0]
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=C, max_iter=5000)))
    predicted = model.fit(layers[1][:80], y[:80].astype(int)).predict(layers[1][80:])
    gold = y[80:].astype(int)
    assert result["1"].score == pytest.approx(f1_score(gold, predicted, average="micro"), abs=0.02)
    assert result["1"].scores["macro_f1"] == pytest.approx(
        f1_score(gold, predicted, average="macro"), abs=0.03
    )
    assert result["1"].scores["accuracy"] == pytest.approx((gold == predicted).all(axis=1).mean(), abs=0.03)


@pytest.mark.parametrize("how", few_of(["separator", "list", "printed", "json"], "separator"))
def test_several_labels_in_every_form_are_the_same(how: str) -> None:
    layers, y = planted(100)
    labels: list[Any] = lists(y)
    cells = {
        "separator": [" | ".join(row) or " | " for row in labels],
        "printed": [str(row) for row in labels],
        "list": labels,
        "json": [json.dumps(row) for row in labels],
    }[how]
    separator = "|" if how == "separator" else None
    result = probe(
        states_of(layers, {"y": cells}), "classify", "y", label_separator=separator, mixes=[], quick=True
    )
    expected = probe(states_of(layers, {"y": labels}), "classify", "y", mixes=[], quick=True)
    assert [c.folds for c in result.candidates] == [c.folds for c in expected.candidates]


@pytest.mark.slow
def test_a_separator_without_effect_is_told() -> None:
    layers, y = planted(100)
    cells = ["a;b" if row[0] else "c" for row in y]
    result = probe(
        states_of(layers, {"y": cells}), "classify", "y", label_separator="|", mixes=[], quick=True
    )
    assert (
        "No cell of column 'y' is divided by label_separator='|', so no row has several labels"
        in result.notes[0]
    )
    result = probe(
        states_of(layers, {"y": lists(y)}), "classify", "y", label_separator=";", mixes=[], quick=True
    )
    assert result.notes[0] == "Column 'y' holds lists, so label_separator isn't applied."


def test_rare_labels_are_left_out_and_named() -> None:
    layers, y = planted(100)
    labels = [[*row, "rare"] if number < 3 else row for number, row in enumerate(lists(y))]
    result = probe(states_of(layers, {"y": labels}), "classify", "y", mixes=[], quick=True)
    assert result.rows == 100
    assert result.classes == ("a", "b", "c")
    assert any("; rows keep their other labels: 'rare' (3)" in note for note in result.notes)
    empty = states_of(layers, {"y": [[] for _ in range(100)]})
    with pytest.raises(RequestError, match="at least two classes"):
        probe(empty, "classify", "y", mixes=[], quick=True)


def test_words_with_several_labels_have_no_control_task() -> None:
    layers, y = planted(60)
    sentences = [[f"w{number}{n}" for n in range(3)] for number in range(20)]
    result = probe(words_of(layers, sentences, {"y": lists(y)}), "classify", "y", mixes=[], quick=True)
    assert result["1"].selectivity is None
    assert result["1"].score > result.baselines["majority"].score


def test_on_the_command_line(tmp_path: Path, model_folder: Any) -> None:
    source = tmp_path / "rows.csv"
    rows = [
        f"text {number} {'red' * (number % 2)} {'big' * (number % 3 == 0)},{'red;' * (number % 2)}{'big;' * (number % 3 == 0)}x"
        for number in range(30)
    ]
    source.write_text("text,label\n" + "\n".join(rows) + "\n")
    api.extract.extract(source, tmp_path / "rows.lw", model=str(model_folder("bert")), layers="1")
    arguments = [
        "--task",
        "classify",
        "--label",
        "label",
        "--label-separator",
        ";",
        "--mix",
        "1",
        "--quick",
        "--quiet",
    ]
    assert main(["probe", str(tmp_path / "rows.lw"), *arguments, "--out", str(tmp_path / "probe")]) == 0
    result = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert (result["metric"], result["classes"]) == ("micro_f1", ["big", "red", "x"])
    assert "micro-F1" in (tmp_path / "probe" / "probe.md").read_text()
