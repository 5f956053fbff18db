"""Scorers: how scores become predictions, and how the predictions of each task are counted and scored."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from layerwise.labels import metrics
from layerwise.labels.sentences import lengths
from layerwise.labels.tags import f1_of_counts, span_counts_of_codes
from layerwise.labels.viterbi import decode
from layerwise.probing import stats
from layerwise.states import F32, I64

F64 = NDArray[np.float64]
Predicted = NDArray[np.float32] | I64


class Scorer(ABC):
    """Scores predictions of one task. Each row has counts; a metric maps their sums over rows to a score."""

    metric: ClassVar[str]

    @abstractmethod
    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the predictions (m,) for the scores `values` (K, m) of some rows."""

    @abstractmethod
    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return the counts of each row, (m, k), to be summed over rows."""

    @abstractmethod
    def of_sums(self, sums: F64) -> F64:
        """Return scores (...) from summed counts (..., k)."""

    @abstractmethod
    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return further metrics by name."""

    def score(self, predicted: Predicted, rows: I64) -> float:
        """Return the score of some rows."""
        return float(self.of_sums(self.counts(predicted, rows).sum(axis=0)))


class ClassScorer(Scorer):
    """Classification: accuracy; further metric: macro-F1."""

    metric = "accuracy"

    def __init__(self, gold: I64) -> None:
        self.gold = gold

    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the class with the highest score."""
        return np.asarray(values.argmax(axis=0), np.int64)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return (correct, 1) per row."""
        right = predicted == self.gold[rows]
        return np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64)

    def of_sums(self, sums: F64) -> F64:
        """Return accuracy."""
        return stats.accuracy(sums)

    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return macro-F1."""
        return {"macro_f1": float(metrics.macro_f1(self.gold[rows], predicted))}


class NumberScorer(Scorer):
    """Regression: R²; further metrics: the correlations of Pearson and Spearman."""

    metric = "r2"

    def __init__(self, gold: F64) -> None:
        self.gold = gold

    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the predicted number."""
        return np.asarray(values[0], np.float32)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return moments, see `stats.moments`."""
        return np.asarray(
            stats.moments(self.gold[rows], np.asarray(predicted, np.float64)[None])[0], np.float64
        )

    def of_sums(self, sums: F64) -> F64:
        """Return R²."""
        return stats.r2(sums)

    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return the correlations of Pearson and Spearman."""
        gold = self.gold[rows]
        return {
            "pearson": float(metrics.pearson(gold, predicted)),
            "spearman": float(metrics.spearman(gold, predicted)),
        }


class SpanScorer(Scorer):
    """Tagging: strict micro span F1, as in seqeval's strict mode, on the best legal tag sequence of each sentence."""

    metric = "span_f1"

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
        return np.asarray(f1_of_counts(sums), np.float64)

    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return precision and recall of spans, and the share of words with the right tag."""
        right, predicted_spans, gold_spans = self.counts(predicted, rows).sum(axis=0)
        return {
            "precision": right / predicted_spans if predicted_spans else 0.0,
            "recall": right / gold_spans if gold_spans else 0.0,
            "token_accuracy": float(np.mean(predicted == self.gold[rows])),
        }
