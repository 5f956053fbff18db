"""How good predictions are: accuracy and F1 of classes, strict F1 of spans, R² and correlations of numbers.

Everything that is an F1 comes from counts (…, 3) of true positives, predicted and gold, which add up over rows,
texts and folds; `f1_of_counts` makes the score. A quotient that isn't defined (a class that nobody predicts, a
correlation with a constant) is 0, as in scikit-learn's `zero_division=0`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import r2_score

from layerwise._util.silence import silenced
from layerwise.errors import RequestError
from layerwise.labels.tags import I64, f1_of_counts, span_counts, spans


class ClassScore(TypedDict):
    """One row of a table per class, per label or per type of span; the first three are shares in [0, 1]."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def primary(task: str, multi: bool = False) -> str:
    """Return the name of the metric that ranks candidates of a task; a key of what `scores` returns."""
    if multi:
        return "micro_f1"
    return {"classify": "accuracy", "regress": "r2", "tag": "span_f1"}[task]


def scores(task: str, gold: Any, predicted: Any, multi: bool = False) -> dict[str, float]:
    """Return all scores of predictions, the primary one first.

    Args:
        task: `classify` (`gold` and `predicted` are labels (rows,), or with `multi` collections of labels),
            `regress` (numbers (rows,)) or `tag` (IOB2 tags, a sequence per text).
        gold: what is right.
        predicted: what was predicted, of the same length.
        multi: whether a row may have several labels.

    Returns:
        classify: `accuracy`, `macro_f1`. With `multi`: `micro_f1`, `macro_f1`, and `accuracy`, the share of rows
        whose labels are all right and complete. regress: `r2`, `pearson`, `spearman`. tag: `span_f1`,
        `span_precision`, `span_recall` (strict, micro over texts), `word_accuracy`.

    Raises:
        RequestError: where lengths differ or there are no rows.
    """
    _check(gold, predicted)
    if task == "regress":
        return {
            "r2": r2(gold, predicted),
            "pearson": pearson(gold, predicted),
            "spearman": spearman(gold, predicted),
        }
    _, counts = _counts(task, gold, predicted, multi)
    if task == "tag":
        return _span_scores(counts, gold, predicted)
    macro = float(macro_f1_of_counts(counts))
    if multi:
        exact = accuracy(*([frozenset(row) for row in rows] for rows in (gold, predicted)))
        return {"micro_f1": float(f1_of_counts(counts.sum(axis=0))), "macro_f1": macro, "accuracy": exact}
    return {"accuracy": accuracy(gold, predicted), "macro_f1": macro}


def score_table(task: str, gold: Any, predicted: Any, multi: bool = False) -> list[ClassScore]:
    """Return precision, recall, F1 and support (how often it is gold) of each class, in order of their names.

    Takes and raises what `scores` does. A class that occurs in `gold` or `predicted` has a row: labels for
    `classify`, types of strict spans for `tag`; `regress` has none.
    """
    _check(gold, predicted)
    if task == "regress":
        return []
    names, counts = _counts(task, gold, predicted, multi)
    precision, recall, f1 = _quotient(counts, 1), _quotient(counts, 2), f1_of_counts(counts)
    return [
        ClassScore(label=name, precision=float(p), recall=float(r), f1=float(f), support=int(n))
        for name, p, r, f, n in zip(names, precision, recall, f1, counts[:, 2], strict=True)
    ]


def accuracy(gold: Any, predicted: Any) -> float:
    """Return the share of rows whose label is right. 0 without rows."""
    return float(sum(g == p for g, p in zip(gold, predicted, strict=True)) / max(1, len(gold)))


def macro_f1(gold: Any, predicted: Any) -> float:
    """Return the mean F1 over the labels that occur in `gold` or `predicted`, each one label per row."""
    return float(macro_f1_of_counts(_counts("classify", gold, predicted, multi=False)[1]))


def span_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Return strict micro F1 of spans of IOB2 tags, a sequence per text; seqeval's `mode="strict"`."""
    return float(f1_of_counts(span_counts(gold, predicted).sum(axis=0)))


def class_counts(gold: I64, predicted: NDArray[np.integer[Any]], classes: int) -> I64:
    """Return true positives, predicted and gold of every class, for many predictions of the same rows.

    Args:
        gold: int64 (rows,), numbers of classes.
        predicted: int (P, rows), P predictions.
        classes: how many classes there are.

    Returns:
        int64 (P, classes, 3)
    """
    counts = np.empty((len(predicted), classes, 3), dtype=np.int64)
    counts[..., 2] = np.bincount(gold, minlength=classes)
    for block, guess in zip(counts, predicted, strict=True):
        block[:, 0] = np.bincount(gold[guess == gold], minlength=classes)
        block[:, 1] = np.bincount(guess, minlength=classes)
    return counts


def macro_f1_of_counts(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean F1 (…) of counts (…, classes, 3) over the classes that are gold or predicted at all."""
    present = (counts[..., 1] + counts[..., 2] > 0).sum(axis=-1)
    means: NDArray[np.float64] = f1_of_counts(counts).sum(axis=-1) / np.maximum(present, 1)
    return means


def r2(gold: Any, predicted: Any) -> float:
    """Return the coefficient of determination; for constant gold values 1 where all is right, else 0."""
    return float(r2_score(gold, predicted)) if len(gold) > 1 else 0.0


def pearson(gold: Any, predicted: Any) -> float:
    """Return Pearson's correlation; 0 where either side is constant."""
    return _correlation(pearsonr, gold, predicted)


def spearman(gold: Any, predicted: Any) -> float:
    """Return Spearman's rank correlation, ties by mean ranks; 0 where either side is constant."""
    return _correlation(spearmanr, gold, predicted)


def _correlation(function: Any, gold: Any, predicted: Any) -> float:
    sides = [np.asarray(side, dtype=np.float64) for side in (gold, predicted)]
    if any(len(side) < 2 or (side == side[0]).all() for side in sides):
        return 0.0
    # Nearly constant sides: scipy warns that digits are lost; a probe of a dead layer is allowed to be.
    with silenced():
        return float(np.nan_to_num(function(*sides).statistic))


def _check(gold: Any, predicted: Any) -> None:
    if len(gold) != len(predicted) or not len(gold):
        raise RequestError(
            f"got {len(predicted)} predictions for {len(gold)} labels; give one prediction per label, at least one"
        )


def _counts(task: str, gold: Any, predicted: Any, multi: bool) -> tuple[list[str], I64]:
    """The classes that occur, sorted, and their counts (classes, 3): what a row has is a set."""
    if task == "tag":
        have, got = ([set(spans(tags)) for tags in side] for side in (gold, predicted))
        return _tally(have, got, lambda span: span[0])
    if multi:
        return _tally([set(row) for row in gold], [set(row) for row in predicted], str)
    return _tally([{row} for row in gold], [{row} for row in predicted], str)


def _tally(
    gold: list[set[Any]], predicted: list[set[Any]], name: Callable[[Any], str]
) -> tuple[list[str], I64]:
    """Count what is in both sets, predicted, gold, by name."""
    right = (g & p for g, p in zip(gold, predicted, strict=True))
    counters = [Counter(name(item) for row in rows for item in row) for rows in (right, predicted, gold)]
    names = sorted(set().union(*counters))
    counts = np.array([[counter[label] for counter in counters] for label in names], dtype=np.int64)
    return names, counts.reshape(-1, 3)


def _quotient(counts: I64, of: int) -> NDArray[np.float64]:
    """True positives over column `of` of counts (…, 3); 0 over 0 is 0."""
    return np.asarray(counts[..., 0] / np.maximum(counts[..., of], 1), dtype=np.float64)


def _span_scores(counts: I64, gold: Any, predicted: Any) -> dict[str, float]:
    whole = counts.sum(axis=0)
    words = [(g, p) for pair in zip(gold, predicted, strict=True) for g, p in zip(*pair, strict=True)]
    return {
        "span_f1": float(f1_of_counts(whole)),
        "span_precision": float(_quotient(whole, 1)),
        "span_recall": float(_quotient(whole, 2)),
        "word_accuracy": sum(g == p for g, p in words) / max(1, len(words)),
    }
