"""Scores and tables, against scikit-learn, scipy and seqeval."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.metrics.v1 import precision_recall_fscore_support as seqeval_scores
from seqeval.scheme import IOB2
from sklearn import metrics as sk
from sklearn.preprocessing import MultiLabelBinarizer

from layerwise.errors import RequestError
from layerwise.labels import metrics

CLASSES = ["", "a", "b", "ü\x00", "ü"]
TAGS = ["O", "B-A", "I-A", "B-B", "I-B", "I-C", "B-C"]
pairs = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=30)
label_sets = st.lists(st.sampled_from("abc"), max_size=4).map(tuple)
multi_pairs = st.lists(st.tuples(label_sets, label_sets), min_size=1, max_size=8)
tag_pairs = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=7), min_size=1, max_size=5
)
finite = st.floats(-1e3, 1e3).map(lambda number: round(number, 2))
number_pairs = st.lists(st.tuples(finite, finite), min_size=2, max_size=20)


@contextmanager
def quiet() -> Iterator[None]:
    """The references warn of what they set to 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sides(rows: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    gold, predicted = zip(*rows, strict=True)
    return list(gold), list(predicted)


def tag_sides(texts: list[list[tuple[str, str]]]) -> tuple[list[list[str]], list[list[str]]]:
    return [[g for g, _ in text] for text in texts], [[p for _, p in text] for text in texts]


def as_table(names: list[str], columns: Any) -> list[dict[str, Any]]:
    return [
        {"label": name, "precision": p, "recall": r, "f1": f, "support": n}
        for name, p, r, f, n in zip(names, *columns, strict=True)
    ]


def same_table(got: list[metrics.ClassScore], expected: list[dict[str, Any]]) -> None:
    assert [row["label"] for row in got] == [row["label"] for row in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)


@given(rows=pairs)
def test_classes_as_in_scikit_learn(rows: list[tuple[str, str]]) -> None:
    gold, predicted = sides(rows)
    # Numbers for the reference: NumPy's strings lose a final NUL.
    truth, guess = ([CLASSES.index(label) for label in side] for side in (gold, predicted))
    with quiet():
        expected = {
            "accuracy": sk.accuracy_score(truth, guess),
            "macro_f1": sk.f1_score(truth, guess, average="macro", zero_division=0),
        }
        present = sorted({*truth, *guess}, key=lambda code: CLASSES[code])
        columns = sk.precision_recall_fscore_support(truth, guess, labels=present, zero_division=0)
    assert metrics.scores("classify", gold, predicted) == pytest.approx(expected, abs=1e-12)
    assert metrics.accuracy(gold, predicted) == pytest.approx(expected["accuracy"])
    assert metrics.macro_f1(gold, predicted) == pytest.approx(expected["macro_f1"])
    same_table(
        metrics.score_table("classify", gold, predicted), as_table([CLASSES[c] for c in present], columns)
    )


@given(rows=multi_pairs)
def test_several_labels_as_in_scikit_learn(rows: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    gold, predicted = sides(rows)
    binarizer = MultiLabelBinarizer().fit(gold + predicted)
    # scikit-learn takes a single column for two classes.
    assume(len(binarizer.classes_) > 1)
    truth, guess = binarizer.transform(gold), binarizer.transform(predicted)
    expected = {
        "micro_f1": sk.f1_score(truth, guess, average="micro", zero_division=0),
        "macro_f1": sk.f1_score(truth, guess, average="macro", zero_division=0),
        "accuracy": sk.accuracy_score(truth, guess),
    }
    got = metrics.scores("classify", gold, predicted, multi=True)
    assert list(got) == list(expected)
    assert got == pytest.approx(expected, abs=1e-12)
    columns = sk.precision_recall_fscore_support(truth, guess, average=None, zero_division=0)
    same_table(
        metrics.score_table("classify", gold, predicted, multi=True),
        as_table(list(binarizer.classes_), columns),
    )


@given(texts=tag_pairs)
def test_spans_as_in_seqeval_strict(texts: list[list[tuple[str, str]]]) -> None:
    gold, predicted = tag_sides(texts)
    got = metrics.scores("tag", gold, predicted)
    with quiet():
        p, r, f, _ = seqeval_scores(gold, predicted, average="micro", scheme=IOB2, zero_division=0)
        strict = seqeval_f1(gold, predicted, mode="strict", scheme=IOB2, zero_division=0)
    assert (got["span_precision"], got["span_recall"], got["span_f1"]) == pytest.approx((p, r, f))
    assert got["span_f1"] == pytest.approx(strict)
    words = [(g == p) for text in texts for g, p in text]
    assert got["word_accuracy"] == pytest.approx(np.mean(words) if words else 0)


@given(texts=tag_pairs)
def test_the_table_of_types_as_in_seqeval_strict(texts: list[list[tuple[str, str]]]) -> None:
    gold, predicted = tag_sides(texts)
    got = metrics.score_table("tag", gold, predicted)
    if not got:
        assert not any(tag.startswith("B") for tags in (*gold, *predicted) for tag in tags)
        return
    with quiet():
        columns = seqeval_scores(gold, predicted, average=None, scheme=IOB2, zero_division=0)
    same_table(got, as_table([row["label"] for row in got], columns))


@given(rows=number_pairs)
@example(rows=[(1.0, 2.0), (1.0, 2.0)])
@example(rows=[(1.0, 2.0), (2.0, 2.0), (4.0, 2.0)])
@example(rows=[(0.1, 1.0), (0.1, 2.0), (0.1, 4.0)])
def test_numbers_as_in_scikit_learn_and_scipy(rows: list[tuple[float, float]]) -> None:
    gold, predicted = sides(rows)
    got = metrics.scores("regress", gold, predicted)
    assert got["r2"] == pytest.approx(sk.r2_score(gold, predicted))
    references: dict[str, Callable[..., Any]] = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}
    for name, reference in references.items():
        with quiet():
            expected = reference(gold, predicted).statistic
        assert got[name] == pytest.approx(0.0 if np.isnan(expected) else expected)
    assert metrics.score_table("regress", gold, predicted) == []


def test_one_row_of_numbers_has_no_correlation() -> None:
    assert metrics.scores("regress", [1.0], [1.0]) == {"r2": 0.0, "pearson": 0.0, "spearman": 0.0}


def test_moments_give_r2_of_any_sums_of_rows() -> None:
    rng = np.random.default_rng(3)
    gold = rng.normal(size=50) + 1e6
    predicted = gold + rng.normal(size=50)
    rows = metrics.moments(gold, predicted)
    assert metrics.r2_of_moments(rows.sum(axis=0)) == pytest.approx(sk.r2_score(gold, predicted), rel=1e-9)
    picked = rng.integers(0, 50, 50)
    again = metrics.r2_of_moments(rows[picked].sum(axis=0))
    assert again == pytest.approx(sk.r2_score(gold[picked], predicted[picked]), rel=1e-9)
    constant = metrics.moments(np.full(50, 0.1), predicted).sum(axis=0)
    assert np.isnan(metrics.r2_of_moments(constant))


def test_a_single_label_of_many() -> None:
    gold, predicted = [("a",), ("a",), (), ()], [("a",), (), ("a",), ()]
    assert metrics.scores("classify", gold, predicted, multi=True) == dict.fromkeys(
        ("micro_f1", "macro_f1", "accuracy"), 0.5
    )
    assert metrics.scores("classify", [()], [()], multi=True) == {"micro_f1": 0, "macro_f1": 0, "accuracy": 1}


def test_labels_may_come_as_arrays() -> None:
    gold = np.array(["a", "b", "b"], dtype=object)
    predicted = np.array(["a", "b", "a"])
    assert metrics.scores("classify", gold, predicted)["accuracy"] == 2 / 3
    assert [row["support"] for row in metrics.score_table("classify", gold, predicted)] == [1, 2]
    several = np.empty(2, dtype=object)
    several[:] = [("a",), ("a", "b")]
    assert metrics.scores("classify", several, several, multi=True)["micro_f1"] == 1


@pytest.mark.parametrize(
    ("task", "multi", "values"),
    [
        ("classify", False, ["a", "b"]),
        ("classify", True, [("a",), ()]),
        ("regress", False, [1.0, 2.0]),
        ("tag", False, [["O"], ["B-A", "I-A"]]),
    ],
)
def test_the_primary_score_comes_first_and_the_right_answer_has_1(
    task: str, multi: bool, values: Any
) -> None:
    got = metrics.scores(task, values, values, multi)
    assert next(iter(got)) == metrics.primary(task, multi)
    assert list(got.values()) == pytest.approx([1.0] * len(got))
    assert all(type(value) is float for value in got.values())


@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
def test_sides_that_do_not_fit_are_refused(task: str) -> None:
    for gold, predicted in (([1.0], [1.0, 2.0]), ([], [])):
        with pytest.raises(RequestError, match=f"got {len(predicted)} predictions for {len(gold)} labels"):
            metrics.scores(task, gold, predicted)
        with pytest.raises(RequestError, match="give one prediction per label, at least one"):
            metrics.score_table(task, gold, predicted)
