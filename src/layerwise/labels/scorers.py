"""Scorers: how raw scores become predictions, and how the predictions of each task are counted and scored.

`score` gives all scores of a head on labelled rows. A `Scorer` holds the gold labels of many rows as numbers. It scores
predictions for some of them by counts of rows, which can be summed over folds and resampled.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32, F64, I64
from layerwise.labels import metrics
from layerwise.labels.rank_scores import auc_values, spearman_values
from layerwise.labels.tags import cut, f1_of_counts, lengths, span_counts_of_codes
from layerwise.labels.viterbi import decode

Predicted = NDArray[np.float32] | NDArray[np.bool_] | I64

_OF_COUNTS: dict[str, Callable[[F64], F64]] = {
    "macro_f1": metrics.macro_f1_of_counts,
    "balanced_accuracy": metrics.balanced_accuracy_of_counts,
    "mcc": metrics.mcc_of_counts,
}


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of some rows by name, the primary one first; and an entry per class or type of span."""

    rows: int
    scores: dict[str, float]
    classes: list[Any]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return {"rows": self.rows, "scores": self.scores, "classes": self.classes}


def score(task: str, multi: bool, gold: NDArray[Any], predicted: NDArray[Any], docs: I64) -> Score:
    """Score predictions of rows that are sorted by text.

    Args:
        task: `classify`, `regress` or `tag`.
        multi: whether a row may have several labels.
        gold, predicted: labels or numbers (n,); tags in IOB2.
        docs: the text of each row, (n,).
    """
    gold_values: Any = gold
    predictions: Any = predicted
    if task == "tag":
        gold_values, predictions = cut(gold, docs), cut(predicted, docs)
    return Score(
        len(gold),
        metrics.scores(task, gold_values, predictions, multi),
        list(metrics.score_table(task, gold_values, predictions, multi)),
    )


def predicted_labels(task: str, multi: bool, classes: Sequence[str], scores: F32, docs: I64) -> NDArray[Any]:
    """Return the prediction for each row: strings, tuples of strings (`multi`), or float64 numbers, (n,).

    Args:
        task: `classify`, `regress` or `tag`.
        multi: whether a row may have several labels.
        classes: (K,) the names of the outputs; none for `regress`.
        scores: logits or values, float32 (n, outputs).
        docs: the text of each row, (n,), sorted by text; the tags of one text form a legal IOB2 sequence.
    """
    if task == "regress":
        return scores[:, 0].astype(np.float64)
    names = np.array(classes, object)
    if multi:
        out = np.empty(len(scores), object)
        for row, hits in enumerate(scores > 0):
            out[row] = tuple(names[hits])
        return out
    best = _best_tags(scores, docs, classes) if task == "tag" else scores.argmax(axis=1)
    return np.asarray(names[best], object)


def _best_tags(scores: F32, docs: I64, tags: Sequence[str]) -> I64:
    """Return the best legal tags of rows that are words, int64 (n,); a text begins where `docs` changes."""
    if not len(scores):
        return np.zeros(0, np.int64)
    top = scores.max(axis=1, keepdims=True)
    logs = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
    return decode(logs, lengths(docs), tags)


class Scorer(ABC):
    """Scores predictions of one task by counts of rows: a metric maps their sums over rows to a score.

    `metric` is the name of this metric, the primary one of the task.
    """

    metric: str

    @abstractmethod
    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the predictions (m,), or (K, m) of several labels, for the scores `values` (K, m) of some rows."""

    @abstractmethod
    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return the counts of each row, (m, k), to be summed over rows."""

    @abstractmethod
    def of_sums(self, sums: F64) -> F64:
        """Return scores (…) from summed counts (…, k); NaN where they are undefined."""

    @abstractmethod
    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return the metrics of `metrics.scores` besides the primary one, by name."""

    def score(self, predicted: Predicted, rows: I64) -> float:
        """Return the score of some rows."""
        return float(self.of_sums(self.counts(predicted, rows).sum(axis=0)))


class ClassScorer(Scorer):
    """Classification: accuracy; further metric: macro-F1. `gold` are class numbers (n,)."""

    metric = metrics.primary("classify")

    def __init__(self, gold: I64) -> None:
        self.gold = gold

    def labels(self, predicted: Predicted) -> I64:
        """Return the predicted class numbers (m,)."""
        return np.asarray(predicted, np.int64)

    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the class with the highest score."""
        return np.asarray(values.argmax(axis=0), np.int64)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return (correct, 1) per row."""
        right = predicted == self.gold[rows]
        return np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64)

    def of_sums(self, sums: F64) -> F64:
        """Return accuracy."""
        return metrics.accuracy_of_counts(sums)

    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return macro-F1."""
        labels, gold = self.labels(predicted), self.gold[rows]
        macro = {"macro_f1": metrics.macro_f1(gold, labels)}
        return macro if self.metric == "accuracy" else {"accuracy": metrics.accuracy(gold, labels)} | macro


class CountedClassScorer(ClassScorer):
    """Classification by a metric of the counts of each class: macro-F1, balanced accuracy or Matthews's correlation."""

    def __init__(self, gold: I64, metric: str) -> None:
        super().__init__(gold)
        self.metric, self._classes = metric, int(gold.max()) + 1

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return the true positives, predicted and gold rows of each class, (m, 3K)."""
        classes = np.arange(self._classes)
        guessed, gold = self.labels(predicted)[:, None] == classes, self.gold[rows][:, None] == classes
        return np.stack([guessed & gold, guessed, gold], axis=2).reshape(len(rows), -1).astype(np.float64)

    def of_sums(self, sums: F64) -> F64:
        """Return the metric."""
        return _OF_COUNTS[self.metric](sums.reshape(*sums.shape[:-1], -1, 3))


class AucScorer(ClassScorer):
    """Classification by the area under the ROC curve of each class against the rest, on average; needs scores."""

    metric = "auc"

    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the scores (K, m) themselves."""
        return np.asarray(values, np.float32)

    def labels(self, predicted: Predicted) -> I64:
        """Return the classes with the highest scores."""
        return np.asarray(predicted.argmax(axis=0), np.int64)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return (value, 1) per row, see `rank_scores`."""
        return _with_ones(auc_values(predicted, self.gold[rows]))


class LabelsScorer(Scorer):
    """Several labels per row: micro F1; further metrics: macro-F1, and the share of rows with exactly the right labels.

    `gold` is 1 (n, K) for each label of a row, else 0; `metric` is `micro_f1`, `macro_f1` or `accuracy`."""

    metric = metrics.primary("classify", multi=True)

    def __init__(self, gold: NDArray[Any], metric: str = metric) -> None:
        self.gold, self.metric = gold > 0.5, metric

    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the labels whose score is above 0, bool (K, m)."""
        return np.asarray(values > 0)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return true positives, predicted and gold labels of each row; of each label (m, 3K) for macro-F1.

        For accuracy (1 if all labels are right, 1).
        """
        guessed, gold = np.asarray(predicted, bool).T, self.gold[rows]
        if self.metric == "accuracy":
            return _with_ones((guessed == gold).all(axis=1))
        if self.metric == "macro_f1":
            by_label = np.stack([guessed & gold, guessed, gold], axis=2)
            return by_label.reshape(len(rows), -1).astype(np.float64)
        counts = [(guessed & gold).sum(1), guessed.sum(1), gold.sum(1)]
        return np.stack(counts, axis=1).astype(np.float64)

    def of_sums(self, sums: F64) -> F64:
        """Return the metric."""
        if self.metric == "accuracy":
            return metrics.accuracy_of_counts(sums)
        if self.metric == "macro_f1":
            return metrics.macro_f1_of_counts(sums.reshape(*sums.shape[:-1], -1, 3))
        return f1_of_counts(sums)

    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return macro-F1, and the share of rows whose labels are exactly the gold labels; micro F1 if it isn't primary."""
        guessed, gold = np.asarray(predicted, bool).T, self.gold[rows]
        counts = np.stack([(guessed & gold).sum(0), guessed.sum(0), gold.sum(0)], axis=1)
        exact = (guessed == gold).all(axis=1)
        micro = {} if self.metric == "micro_f1" else {"micro_f1": float(f1_of_counts(counts.sum(axis=0)))}
        macro = float(metrics.macro_f1_of_counts(counts))
        return micro | {"macro_f1": macro, "accuracy": float(exact.mean())}


class NumberScorer(Scorer):
    """Regression: R²; further metrics: the correlations of Pearson and Spearman. `gold` are numbers (n,)."""

    metric = metrics.primary("regress")

    def __init__(self, gold: NDArray[Any]) -> None:
        self.gold = gold

    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the predicted number."""
        return np.asarray(values[0], np.float32)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return the moments of each row, see `metrics.moments`."""
        return metrics.moments(self.gold[rows], predicted)

    def of_sums(self, sums: F64) -> F64:
        """Return R²."""
        return metrics.r2_of_moments(sums)

    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return those of R² and the correlations of Pearson and Spearman that aren't primary."""
        gold = self.gold[rows]
        functions = {"r2": metrics.r2, "pearson": metrics.pearson, "spearman": metrics.spearman}
        return {name: of(gold, predicted) for name, of in functions.items() if name != self.metric}


class CorrelationScorer(NumberScorer):
    """Regression by the correlation of Pearson or Spearman."""

    def __init__(self, gold: NDArray[Any], metric: str) -> None:
        super().__init__(gold)
        self.metric = metric

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return for Pearson the moments of each row, for Spearman (value, 1), see `rank_scores`."""
        a, b = self.gold[rows].astype(np.float64), np.asarray(predicted, np.float64)
        if self.metric == "spearman":
            return _with_ones(spearman_values(a, b))
        return np.stack([a, b, a * a, b * b, a * b, np.ones(len(a))], axis=1)

    def of_sums(self, sums: F64) -> F64:
        """Return the correlation."""
        of = metrics.accuracy_of_counts if self.metric == "spearman" else metrics.pearson_of_moments
        return of(sums)


class SpanScorer(Scorer):
    """Tagging: strict micro span F1, as in seqeval's strict mode, on the best legal tag sequence of each sentence.

    `gold` are numbers of IOB2 tags (n,), `docs` (n,) the text of each row, `tags` (T,) the names of the tags.
    """

    metric = metrics.primary("tag")

    def __init__(self, gold: I64, docs: I64, tags: Sequence[str]) -> None:
        self.gold, self.docs, self.tags = gold, docs, tuple(tags)

    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the best legal tag sequence of each sentence."""
        return decode(np.ascontiguousarray(values.T), lengths(self.docs[rows]), self.tags)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return true positives, predicted and gold spans of each sentence, at its first row; 0 at the others."""
        sizes = lengths(self.docs[rows])
        out = np.zeros((len(rows), 3))
        codes = np.asarray(predicted, np.int64)[None]
        starts = np.cumsum([0, *sizes])[:-1]
        out[starts] = span_counts_of_codes(self.gold[rows], codes, sizes, self.tags)[0]
        return out

    def of_sums(self, sums: F64) -> F64:
        """Return the micro F1 of spans."""
        return f1_of_counts(sums)

    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return precision and recall of spans, and the share of words with the right tag."""
        right_words = int((predicted == self.gold[rows]).sum())
        spans = self.counts(predicted, rows).sum(axis=0)
        all_scores = metrics.span_scores(spans, right_words, len(rows))
        return {name: value for name, value in all_scores.items() if name != self.metric}


def class_scorer(gold: I64, metric: str) -> ClassScorer:
    """Return the scorer of class numbers `gold` (n,) by a metric."""
    if metric == "auc":
        return AucScorer(gold)
    return ClassScorer(gold) if metric == "accuracy" else CountedClassScorer(gold, metric)


def number_scorer(gold: NDArray[Any], metric: str) -> NumberScorer:
    """Return the scorer of numbers `gold` (n,) by a metric."""
    return NumberScorer(gold) if metric == "r2" else CorrelationScorer(gold, metric)


def _with_ones(values: NDArray[Any]) -> F64:
    """Return (value, 1) for each row (m, 2), so that the quotient of the sums is the mean."""
    return np.stack([values, np.ones(len(values))], axis=1).astype(np.float64)
