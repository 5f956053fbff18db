"""How predictions of a task are decided, counted and scored."""

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


class Judge(ABC):
    """Scores predictions of one task on rows of it. Counts add up over rows; a metric maps sums to a score."""

    metric: ClassVar[str]

    @abstractmethod
    def decide(self, values: F32, rows: I64) -> Predicted:
        """Return the predictions (m,) that scores (K, m) of some rows make."""

    @abstractmethod
    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return what each row adds to the sums, (m, k)."""

    @abstractmethod
    def of_sums(self, sums: F64) -> F64:
        """Return scores (...) from sums (..., k)."""

    @abstractmethod
    def others(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return further metrics."""

    def score(self, predicted: Predicted, rows: I64) -> float:
        """Return the score of some rows."""
        return float(self.of_sums(self.counts(predicted, rows).sum(axis=0)))


class Classes(Judge):
    """Accuracy, and macro-F1 besides."""

    metric = "accuracy"

    def __init__(self, gold: I64) -> None:
        self.gold = gold

    def decide(self, values: F32, rows: I64) -> Predicted:
        """The likeliest class."""
        return np.asarray(values.argmax(axis=0), np.int64)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """(correct, 1)"""
        right = predicted == self.gold[rows]
        return np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64)

    def of_sums(self, sums: F64) -> F64:
        """The share that is correct."""
        return stats.accuracy(sums)

    def others(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Macro-F1."""
        return {"macro_f1": float(metrics.macro_f1(self.gold[rows], predicted))}


class Numbers(Judge):
    """R², and the correlations of Pearson and Spearman."""

    metric = "r2"

    def __init__(self, gold: F64) -> None:
        self.gold = gold

    def decide(self, values: F32, rows: I64) -> Predicted:
        """The number."""
        return np.asarray(values[0], np.float32)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Moments, see `stats.moments`."""
        return np.asarray(
            stats.moments(self.gold[rows], np.asarray(predicted, np.float64)[None])[0], np.float64
        )

    def of_sums(self, sums: F64) -> F64:
        """R²."""
        return stats.r2(sums)

    def others(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Pearson and Spearman."""
        gold = self.gold[rows]
        return {
            "pearson": float(metrics.pearson(gold, predicted)),
            "spearman": float(metrics.spearman(gold, predicted)),
        }


class Tags(Judge):
    """Strict micro span F1, as seqeval's strict mode counts; the best legal path of each sentence."""

    metric = "span_f1"

    def __init__(self, gold: I64, docs: I64, tags: Sequence[str]) -> None:
        self.gold, self.docs, self.tags = gold, docs, tuple(tags)

    def decide(self, values: F32, rows: I64) -> Predicted:
        """The best legal sequence."""
        return decode(np.ascontiguousarray(values.T), lengths(self.docs[rows]), self.tags)

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """True positives, predicted and gold spans of each sentence, at its first row."""
        sizes = lengths(self.docs[rows])
        out = np.zeros((len(rows), 3))
        codes = np.asarray(predicted, np.int64)[None]
        starts = np.cumsum([0, *sizes])[:-1]
        out[starts] = span_counts_of_codes(self.gold[rows], codes, sizes, self.tags)[0]
        return out

    def of_sums(self, sums: F64) -> F64:
        """Micro F1 of spans."""
        return np.asarray(f1_of_counts(sums), np.float64)

    def others(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Precision and recall of spans, and the share of words with the right tag."""
        right, made, there = self.counts(predicted, rows).sum(axis=0)
        return {
            "precision": right / made if made else 0.0,
            "recall": right / there if there else 0.0,
            "token_accuracy": float(np.mean(predicted == self.gold[rows])),
        }
