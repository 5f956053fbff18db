"""`metric` and `class_weight` of a probe against scikit-learn, and influence values of metrics against reweighting."""

from typing import Any

import numpy as np
import pytest
from probes import probe
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    roc_auc_score,
)
from sklearn.preprocessing import StandardScaler
from test_influence import folds_of

from layerwise.errors import RequestError
from layerwise.heads.solve import CS
from layerwise.labels import metrics
from layerwise.labels.rank_scores import auc_values, spearman_values
from layerwise.labels.scorers import LabelsScorer, class_scorer, number_scorer
from layerwise.probing.batched_solver import Solver
from layerwise.probing.fits import Fits
from layerwise.probing.influence import CandidatePredictions, influence
from planted import noise, states_of
from selection import few_of

REFERENCES: dict[str, Any] = {
    "accuracy": accuracy_score,
    "macro_f1": lambda gold, guessed: f1_score(gold, guessed, average="macro"),
    "balanced_accuracy": balanced_accuracy_score,
    "mcc": matthews_corrcoef,
}


@pytest.mark.parametrize("metric", REFERENCES)
@pytest.mark.parametrize("classes", [2, 4])
def test_scores_of_classes_are_those_of_scikit_learn(metric: str, classes: int) -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, classes, 300)
    guessed = np.where(rng.random(300) < 0.6, gold, rng.integers(0, classes, 300))
    rows = rng.permutation(300)[:200]
    scorer = class_scorer(gold, metric)
    values = np.eye(classes, dtype=np.float32)[guessed[rows]].T
    predicted = scorer.decide(values, rows)
    assert scorer.score(predicted, rows) == pytest.approx(REFERENCES[metric](gold[rows], guessed[rows]))
    others = scorer.further_metrics(predicted, rows)
    assert others["macro_f1"] == pytest.approx(REFERENCES["macro_f1"](gold[rows], guessed[rows]))
    if metric != "accuracy":
        assert others["accuracy"] == pytest.approx(accuracy_score(gold[rows], guessed[rows]))
    constant = scorer.decide(np.zeros((classes, 200), np.float32), rows)
    assert scorer.score(constant, rows) == pytest.approx(REFERENCES[metric](gold[rows], np.zeros(200, int)))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_area_under_the_curve_is_that_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(1)
    gold = rng.integers(0, classes, 300)
    scores = np.round(rng.normal(size=(classes, 300)) + np.eye(classes)[gold].T, 1)  # with ties
    if classes == 2:
        scores[0] = -scores[1]
    chances = np.exp(scores) / np.exp(scores).sum(axis=0)
    one = np.mean([roc_auc_score(gold == number, scores[number]) for number in range(classes)])
    scorer, rows = class_scorer(gold, "auc"), np.arange(300)
    predicted = scorer.decide(scores.astype(np.float32), rows)
    assert scorer.score(predicted, rows) == pytest.approx(one)
    if classes == 2:
        assert one == pytest.approx(roc_auc_score(gold, chances[1]))
    right = (scores.argmax(axis=0) == gold).mean()
    assert scorer.further_metrics(predicted, rows)["accuracy"] == pytest.approx(right)
    assert auc_values(scores, np.zeros(300, np.int64)).mean() == 0.5, "with one class nothing is defined"


def test_scores_of_several_labels_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    gold, guessed = rng.random((2, 200, 3)) < 0.4
    rows = np.arange(200)
    references = {
        "micro_f1": f1_score(gold, guessed, average="micro"),
        "macro_f1": f1_score(gold, guessed, average="macro"),
        "accuracy": accuracy_score(gold, guessed),
    }
    for metric, value in references.items():
        scorer = LabelsScorer(gold.astype(np.float32), metric)
        assert scorer.score(guessed.T, rows) == pytest.approx(value)
        assert scorer.further_metrics(guessed.T, rows)["macro_f1"] == pytest.approx(references["macro_f1"])


def test_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    gold = np.round(rng.normal(size=300), 1)
    guessed = (gold + rng.normal(size=300)).astype(np.float32)
    rows = np.arange(300)
    for metric, reference in (
        ("pearson", np.corrcoef(gold, guessed)[0, 1]),
        ("spearman", spearmanr(gold, guessed)[0]),
    ):
        scorer = number_scorer(gold, metric)
        assert scorer.score(guessed, rows) == pytest.approx(reference, abs=1e-6)
        assert scorer.score(np.zeros(300, np.float32), rows) == 0
        assert set(scorer.further_metrics(guessed, rows)) == {"r2", "pearson", "spearman"} - {metric}


@pytest.mark.parametrize("kind", ["auc", "spearman"])
def test_values_of_rank_scores_are_those_of_a_jackknife(kind: str) -> None:
    """A row's value is near its pseudo-value: n times the score minus n - 1 times the score without the row."""
    rng = np.random.default_rng(4)
    gold = rng.integers(0, 3, 400)
    if kind == "auc":
        scores = rng.normal(size=(3, 400)) + np.eye(3)[gold].T
        values = auc_values(scores, gold)
        without = [auc_values(np.delete(scores, row, 1), np.delete(gold, row)).mean() for row in range(400)]
    else:
        guessed = gold + rng.normal(size=400)
        values = spearman_values(gold, guessed)
        without = [spearmanr(np.delete(gold, row), np.delete(guessed, row))[0] for row in range(400)]
        assert values.mean() == pytest.approx(spearmanr(gold, guessed)[0])
    pseudo = 400 * values.mean() - 399 * np.array(without)
    assert np.corrcoef(values, pseudo)[0, 1] > 0.999
    assert values.std() == pytest.approx(pseudo.std(), rel=0.02)


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy", "mcc", "auc", "pearson", "spearman"])
def test_influence_values_give_the_sampling_error(metric: str) -> None:
    """The standard error of influence values against the spread over fresh samples of rows."""
    rng = np.random.default_rng(5)
    design, rows = folds_of(400, 5, 1), np.arange(400)
    scores, errors = [], []
    for _ in range(150):
        if metric in ("pearson", "spearman"):
            gold: Any = rng.normal(size=400)
            scorer: Any = number_scorer(gold, metric)
            values = (gold + rng.normal(size=400)).astype(np.float32)[None]
        else:
            gold = (rng.random(400) < 0.3).astype(np.int64)
            scorer = class_scorer(gold, metric)
            margin = rng.normal(size=400) + 1.5 * gold - 0.75
            values = np.stack([-margin, margin]).astype(np.float32)
        predicted = [scorer.decide(values[:, outer.test], outer.test) for outer in design.outers]
        score = np.mean([scorer.score(p, o.test) for p, o in zip(predicted, design.outers, strict=True)])
        candidates = [CandidatePredictions(predicted)]
        result = influence(scorer, design, rows, candidates, np.array([score]))
        scores.append(score)
        errors.append(result.sampling_covariance()[0, 0] ** 0.5)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(scores), rel=0.2)


def test_balanced_fits_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    for classes in (2, 3):
        y = np.minimum((rng.random(240) * 8).astype(np.int64), classes - 1)
        x = rng.normal(size=(240, 5)).astype(np.float32)
        x[:, 0] += y
        train = rng.random((2, 240)) < 0.7
        zeros = np.zeros(2, np.int64)
        fits = Fits(train, y[None], zeros, classes, np.arange(2), balanced=True)
        values = Solver(x).at(fits, CS.index(0.1)).values
        for fit in range(2):
            scaler = StandardScaler().fit(x[train[fit]])
            model = LogisticRegression(C=0.1, class_weight="balanced", tol=1e-8, max_iter=5000)
            model.fit(scaler.transform(x[train[fit]]), y[train[fit]])
            expected = model.predict_log_proba(scaler.transform(x)).T
            np.testing.assert_allclose(values[fit], expected, atol=1e-2)


def _seldom(rows: int = 400) -> Any:
    """One class in ten rows, told by layer 2 with much noise."""
    rng = np.random.default_rng(7)
    y = rng.permutation(np.arange(rows) < rows // 10)
    layers = noise(rows, 6, 3)
    layers[2][:, 0] += 12 * y
    return states_of(layers, {"y": np.where(y, "seldom", "often"), "size": rng.normal(size=rows)})


@pytest.mark.parametrize("metric", few_of(["macro_f1", "balanced_accuracy", "auc", "mcc"], "macro_f1", "auc"))
def test_a_probe_by_another_metric(metric: str) -> None:
    result = probe(_seldom(), "classify", "y", mixes=[], quick=True, metric=metric)
    assert result.metric == metric
    assert result.advice.best == "2"
    assert set(result["2"].scores) == {"accuracy", "macro_f1"}
    nothing = {"macro_f1": 0.47, "balanced_accuracy": 0.5, "auc": 0.5, "mcc": 0.0}[metric]
    assert result.baselines["majority"].score == pytest.approx(nothing, abs=0.01)
    if metric == "macro_f1":
        assert result["2"].score == pytest.approx(result["2"].scores["macro_f1"])
    assert not any("accuracy says little" in message for message in result.advice.messages)


@pytest.mark.slow
def test_class_weight_finds_more_of_the_rare_class() -> None:
    plain, weighted = (
        probe(
            _seldom(),
            "classify",
            "y",
            mixes=["learned(all)"],
            quick=True,
            metric="balanced_accuracy",
            class_weight=weight,
        )
        for weight in (None, "balanced")
    )
    assert weighted["2"].score > plain["2"].score + 0.05
    assert weighted["2"].codelength is not None
    assert plain["2"].codelength is not None
    assert weighted["2"].codelength["bits"] == pytest.approx(plain["2"].codelength["bits"]), (
        "codes aren't weighted"
    )


def test_a_split_by_another_metric() -> None:
    states = _seldom()
    part = np.array(["train", "train", "dev", "test"])[np.arange(400) % 4]
    split = states_of(
        [states.layer(name) for name in states.layers], {"y": states.index["y"].to_pylist(), "part": part}
    )
    for metric in ("macro_f1", "auc"):
        result = probe(split, "classify", "y", mixes=[], split="part", metric=metric)
        assert result["2"].low is not None
        assert result["2"].high is not None
        assert result["2"].low < result["2"].score < result["2"].high
        assert result.advice.best == "2"


@pytest.mark.parametrize(
    ("task", "label", "options", "words"),
    [
        ("classify", "y", {"metric": "r2"}, "choose one of accuracy, macro_f1, balanced_accuracy, auc, mcc"),
        ("regress", "size", {"metric": "auc"}, "choose one of r2, pearson, spearman"),
        ("regress", "size", {"class_weight": "balanced"}, "can't be used with task='regress'; leave it out"),
        ("classify", "y", {"class_weight": "even"}, "choose one of balanced"),
    ],
)
def test_what_a_task_cannot_have_is_refused(
    task: str, label: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        probe(_seldom(), task, label, mixes=[], quick=True, **options)


def test_regression_by_a_correlation() -> None:
    result = probe(_seldom(), "regress", "size", mixes=[], quick=True, metric="spearman")
    assert result.metric == "spearman"
    assert set(result["2"].scores) == {"r2", "pearson"}
    assert not result.advice.recommended
    assert metrics.choices("tag") == ("span_f1",)
