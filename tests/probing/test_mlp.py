"""The best mix under a small network: an exclusive or needs it, and a linear label gains nothing."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from layerwise.cli.main import main
from layerwise.figures.markdown import escape
from layerwise.heads.solve import HIDDEN
from layerwise.probing.design import DesignBuilder, crossed
from layerwise.probing.results import MlpResult, ProbeResult
from layerwise.states import LayerStates
from layerwise.wording import in_language, phrase
from planted import noise, states_of, words_of

QUICK: dict[str, Any] = {"mix": [], "quick": True, "no_codelength": True, "head_type": "mlp"}


def exclusive_or(rows: int = 400) -> tuple[list[NDArray[np.float32]], NDArray[Any]]:
    """Two layers that have two bits in two of four dimensions, and the exclusive or of these bits."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, rows))
    layers = noise(rows, 4, 2)
    for number, layer in enumerate(layers):
        layer[:, 0] += 8 * (1 + 3 * number) * a
        layer[:, 1] += 8 * (1 + 3 * number) * b
    return layers, a ^ b


def network_of(result: ProbeResult) -> MlpResult:
    assert result.mlp is not None
    return result.mlp


@pytest.mark.slow
def test_an_exclusive_or_needs_the_network() -> None:
    layers, y = exclusive_or()
    result = lw.probe(states_of(layers, {"y": y.astype(str)}), task="classify", label="y", **QUICK)
    mlp = network_of(result)
    assert abs(mlp.linear.score - 0.5) < 0.1
    assert mlp.score > 0.9
    assert mlp.difference.score == pytest.approx(mlp.score - mlp.linear.score)
    assert mlp.difference.low is not None
    assert mlp.difference.low > 0.2
    assert not result.advice.recommended
    assert result.advice.messages[0].startswith("With a linear classifier no candidate is shown to beat")
    assert "so the layers hold more about this label than their linear form shows" in result.advice.text
    assert "show nothing about this label" not in result.advice.text
    chinese = " ".join(message.in_language("zh") for message in result.advice.messages)
    assert "多于其线性形式所显示的" in chinese
    assert len(mlp.mixes) == len(mlp.epochs) == 5

    # scikit-learn's network of the same size on the same folds, on the layer that the first fold chose.
    design = crossed(DesignBuilder(np.arange(400), y, 2, spread=True), 1, 5, 0, [])
    scores = []
    for outer, mix in zip(design.outers, mlp.mixes, strict=True):
        x = layers[0 if mix == "emb" else 1]
        train = design.fits.train[outer.fit] > 0
        scaler = StandardScaler().fit(x[train])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its optimiser hasn't converged in these steps
            network = MLPClassifier(HIDDEN, alpha=0.01, max_iter=100, random_state=0)
            network.fit(scaler.transform(x[train]), y[train])
        scores.append(network.score(scaler.transform(x[outer.test]), y[outer.test]))
    # Another optimiser with other initial weights: the standard error of 400 paired rows at this score is about .01.
    assert mlp.score == pytest.approx(np.mean(scores), abs=0.04)


@pytest.mark.slow
def test_a_linear_label_gains_nothing() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 400)
    layers = noise(400, 6, 3)
    layers[2][:, 0] += 12 * y
    result = lw.probe(states_of(layers, {"y": y.astype(str)}), task="classify", label="y", **QUICK)
    mlp = network_of(result)
    assert set(mlp.mixes) == {"2"}
    assert mlp.linear.score == pytest.approx(result["2"].score), "the same folds"
    assert mlp.difference.low is not None
    assert mlp.difference.high is not None
    assert mlp.difference.low <= 0
    assert "on the mixes that inner folds choose (2)" in result.advice.text
    assert "adds" not in result.advice.text.replace("layers add", "")
    assert mlp.parameters == (6 + 1) * HIDDEN + (HIDDEN + 1) * 2
    again = lw.probe(states_of(layers, {"y": y.astype(str)}), task="classify", label="y", **QUICK)
    assert network_of(again) == mlp, "the seeds are fixed"


@pytest.mark.slow
def test_the_mix_is_chosen_inside_each_fold() -> None:
    """The network and the linear classifier are on what the inner folds choose, not on the best of the table."""
    y = np.random.default_rng(0).integers(0, 2, 200)
    layers = noise(200, 6, 3)
    layers[1][:, 0] += 8 * y
    layers[2][:, 0] += 10 * y
    result = lw.probe(
        states_of(layers, {"y": y.astype(str)}), task="classify", label="y", **QUICK | {"quick": False}
    )
    mlp = network_of(result)
    folds = {mix: result[mix].folds[:5] for mix in ("1", "2")}
    assert set(mlp.mixes) == {"1", "2"}, "both are chosen somewhere"
    expected = np.mean([folds[mix][fold] for fold, mix in enumerate(mlp.mixes)])
    assert mlp.linear.score == pytest.approx(expected)
    assert any("network was fitted on the 5 folds of the first repeat" in note for note in result.notes)


def states_with(columns: dict[str, Any], rows: int = 120) -> LayerStates:
    return states_of(noise(rows, 4, 3), columns)


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("classify", {"split": "part"}),
        ("classify", {"split": "part", "metric": "auc", "class_weight": "balanced"}),
        pytest.param(
            "classify",
            {"mix": ["learned(all)", "mean(1:; norm=layer)", "concat(1,2)"], "metric": "macro_f1"},
            marks=pytest.mark.slow,
        ),
        pytest.param("regress", {"label": "size"}, marks=pytest.mark.slow),
        ("regress", {"label": "size", "split": "halves"}),
        pytest.param("classify", {"label": "tags", "label_separator": ";"}, marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_label_and_of_split_has_a_network(task: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    columns = {
        "y": rng.choice(["a", "b", "c"], 120),
        "size": rng.normal(size=120),
        "tags": [";".join(rng.choice(["x", "y", "z"], 2, replace=False)) for _ in range(120)],
        "part": ["train"] * 60 + ["dev"] * 30 + ["test"] * 30,
        "halves": ["train"] * 80 + ["test"] * 40,
    }
    result = lw.probe(states_with(columns), task=task, **{"label": "y"} | QUICK | options)
    mlp = network_of(result)
    assert np.isfinite([mlp.score, mlp.linear.score]).all()
    assert len(mlp.epochs) == (1 if "split" in options else 5)
    assert set(result.to_json()["mlp"]) == {
        *("mixes", "hidden", "parameters", "epochs", "score", "low", "high", "linear", "difference")
    }


@pytest.mark.slow
def test_tags_of_words_have_a_network() -> None:
    rng = np.random.default_rng(0)
    sentences = [[f"w{rng.integers(50)}" for _ in range(5)] for _ in range(60)]
    tags = [tag for _ in sentences for tag in ["O", "B-PER", "I-PER", "O", "O"]]
    layers = noise(300, 6, 2)
    layers[1][:, :3] += 60 * np.eye(3)[[("O", "B-PER", "I-PER").index(tag) for tag in tags]]
    result = lw.probe(words_of(layers, sentences, {"ner": tags}), task="tag", label="ner", **QUICK)
    assert network_of(result).score > 0.9


@pytest.mark.slow
def test_the_command_shows_all_of_it_in_both_languages(
    tmp_path: Path,
    encoder_of: Callable[[str], Any],
    model_folder: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = [
        {"text": f"{'good fine' if n % 2 else 'bad poor'} thing {n}", "label": "np"[n % 2]} for n in range(60)
    ]
    lw.extract(texts, tmp_path / "d", model=encoder_of("bert"))
    (tmp_path / "v.txt").write_text("good 1 0\nbad 0 1\nbad 1 1\n")
    common = [
        "probe",
        str(tmp_path / "d"),
        "--task",
        "classify",
        "--label",
        "label",
        "--quick",
        "--mix",
        "mean:1:",
    ]
    extras = [
        "--no-codelength",
        "--head-type",
        "mlp",
        "--vectors",
        str(tmp_path / "v.txt"),
        "--expected-layer",
    ]
    for lang in ("en", "zh"):
        out = tmp_path / lang
        assert main([*common, *extras, "--lang", lang, "--out", str(out)]) == 0
        shown = capsys.readouterr()
        markdown = (out / "probe.md").read_text(encoding="utf-8")
        content = json.loads((out / "probe.json").read_text(encoding="utf-8"))
        advice = in_language(content, lang)["advice"]["text"]
        assert advice in shown.out
        assert escape(advice) in markdown, "the same words"
        assert phrase(lang, "baseline.word_vectors") in shown.out
        assert phrase(lang, "baseline.word_vectors") in markdown
        assert phrase(lang, "note.vectors.repeated", n=1, source=str(tmp_path / "v.txt")) in shown.err
        assert content["vectors"]["covered"] == 2
        assert len(content["expected_layer"]["cumulative"]) == 4
    bad = [*common, "--vectors", str(tmp_path / "none.txt"), "--out", str(tmp_path / "other")]
    assert main(bad) == 2
    message = capsys.readouterr().err
    assert "--vectors" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_without_the_option_there_is_none() -> None:
    states = states_with({"y": ["a", "b"] * 60})
    result = lw.probe(states, task="classify", label="y", **QUICK | {"head_type": "linear"})
    content = result.to_json()
    assert content["mlp"] is content["vectors"] is content["expected_layer"] is None
    with pytest.raises(lw.RequestError, match=r"head_type 'tree' doesn't exist; choose one of linear, mlp"):
        lw.probe(states, task="classify", label="y", **QUICK | {"head_type": "tree"})
