"""Metrics of predictions: accuracy and F1 of classes, strict F1 of spans, R² and correlations of numbers.

`scores` and `score_table` take labels and predictions; a quotient that isn't defined (a class that nobody predicts, a
correlation with a constant) is 0, as in scikit-learn's `zero_division=0`. The functions on counts take sums of what each
row or text adds, which may be weighted or resampled; there an undefined score is NaN, so that it can be left out.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import r2_score

from layerwise._util.silence import silenced
from layerwise.array_types import F64, I64
from layerwise.columns import in_order
from layerwise.errors import RequestError
from layerwise.labels.tags import f1_of_counts, spans

_ROUNDING = 1e-12  # share of a sum of squares: a smaller variation is the rounding error of a constant


class ClassScore(TypedDict):
    """The scores of one class, label or type of span; precision, recall and F1 are in [0, 1]."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def primary(task: str, multi: bool = False) -> str:
    """Return the name of the metric that ranks candidates of a task; it is a key of the result of `scores`."""
    if multi:
        return "micro_f1"
    return {"classify": "accuracy", "regress": "r2", "tag": "span_f1"}[task]


def choices(task: str, multi: bool = False) -> tuple[str, ...]:
    """Return the names of the metrics that can rank the candidates of a task, the primary one first."""
    if multi:
        return ("micro_f1", "macro_f1", "accuracy")
    return {
        "classify": ("accuracy", "macro_f1", "balanced_accuracy", "auc", "mcc"),
        "regress": ("r2", "pearson", "spearman"),
        "tag": ("span_f1",),
    }[task]


def bounds(metric: str) -> tuple[float, float]:
    """Return the lowest and the highest value that a metric can have.

    >>> bounds("macro_f1"), bounds("mcc"), bounds("r2")
    ((0.0, 1.0), (-1.0, 1.0), (-inf, 1.0))
    """
    lowest = {"r2": -float("inf"), "mcc": -1.0, "pearson": -1.0, "spearman": -1.0}
    return lowest.get(metric, 0.0), 1.0


def scores(task: str, gold: Any, predicted: Any, multi: bool = False) -> dict[str, float]:
    """Return all scores of predictions, the primary one first.

    Args:
        task: `classify` (`gold` and `predicted` are labels (rows,), or with `multi` collections of labels),
            `regress` (numbers (rows,)) or `tag` (IOB2 tags, a sequence per text).
        gold: the correct labels, numbers or tags.
        predicted: the predicted ones, of the same length.
        multi: whether a row may have several labels.

    Returns:
        classify: `accuracy`, `macro_f1`. With `multi`: `micro_f1`, `macro_f1`, and `accuracy`, the share of rows
        whose predicted labels are exactly the gold labels. regress: `r2`, `pearson`, `spearman`. tag: `span_f1`,
        `span_precision`, `span_recall` (strict, micro over texts), `word_accuracy`.

    Raises:
        RequestError: different lengths, or no rows.
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
        words = [(g, p) for pair in zip(gold, predicted, strict=True) for g, p in zip(*pair, strict=True)]
        return span_scores(counts.sum(axis=0), sum(g == p for g, p in words), len(words))
    macro = float(macro_f1_of_counts(counts))
    if multi:
        exact = accuracy(*([frozenset(row) for row in rows] for rows in (gold, predicted)))
        return {"micro_f1": float(f1_of_counts(counts.sum(axis=0))), "macro_f1": macro, "accuracy": exact}
    return {"accuracy": accuracy(gold, predicted), "macro_f1": macro}


def score_table(task: str, gold: Any, predicted: Any, multi: bool = False) -> list[ClassScore]:
    """Return precision, recall, F1 and support (the number of gold rows) of each class, in order (`columns.in_order`).

    Arguments and errors are those of `scores`. Each class in `gold` or `predicted` has an entry: labels for
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


def confusion(gold: Any, predicted: Any, order: Sequence[str]) -> tuple[list[str], I64]:
    """Return the labels that occur, and how many rows of each (first axis) are predicted as each (second axis).

    Args:
        gold, predicted: labels (rows,), one per row.
        order: labels in the order of the result; others follow, sorted.

    Returns:
        the labels, and int64 (labels, labels).
    """
    counter = Counter(zip(gold, predicted, strict=True))
    present = {label for pair in counter for label in pair}
    labels = [label for label in order if label in present]
    labels += sorted(present - set(labels))
    number = {label: position for position, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for (label, prediction), rows in counter.items():
        counts[number[label], number[prediction]] = rows
    return labels, counts


def span_scores(counts: NDArray[Any], right_words: int, words: int) -> dict[str, float]:
    """Return the scores of tags from counts (3,) of all spans, and the numbers of correct and of all words."""
    return {
        "span_f1": float(f1_of_counts(counts)),
        "span_precision": float(_quotient(counts, 1)),
        "span_recall": float(_quotient(counts, 2)),
        "word_accuracy": right_words / max(1, words),
    }


def accuracy(gold: Any, predicted: Any) -> float:
    """Return the share of rows with the correct label; 0 without rows."""
    return float(sum(g == p for g, p in zip(gold, predicted, strict=True)) / max(1, len(gold)))


def macro_f1(gold: Any, predicted: Any) -> float:
    """Return the mean F1 over the labels in `gold` or `predicted`, which have one label per row."""
    return float(macro_f1_of_counts(_counts("classify", gold, predicted, multi=False)[1]))


def macro_f1_of_counts(counts: NDArray[Any]) -> F64:
    """Return the mean F1 (…) of counts (…, classes, 3) over the classes that are gold or predicted."""
    present = (counts[..., 1] + counts[..., 2] > 0).sum(axis=-1)
    means: F64 = f1_of_counts(counts).sum(axis=-1) / np.maximum(present, 1)
    return means


def balanced_accuracy_of_counts(counts: NDArray[Any]) -> F64:
    """Return the mean recall (…) of counts (…, classes, 3) over the classes that are gold."""
    present = (counts[..., 2] > 0).sum(axis=-1)
    recall = np.divide(
        counts[..., 0], counts[..., 2], out=np.zeros(counts.shape[:-1]), where=counts[..., 2] > 0
    )
    means: F64 = recall.sum(axis=-1) / np.maximum(present, 1)
    return means


def mcc_of_counts(counts: NDArray[Any]) -> F64:
    """Return Matthews's correlation (…) of counts (…, classes, 3); 0 where either side is constant.

    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.
    """
    right, predicted, gold = counts[..., 0].sum(axis=-1), counts[..., 1], counts[..., 2]
    total = gold.sum(axis=-1)
    shared = right * total - (predicted * gold).sum(axis=-1)
    square = (total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (gold**2).sum(axis=-1))
    varies = square > _ROUNDING * total**4
    result: F64 = np.divide(
        shared, np.sqrt(np.maximum(square, 0.0)), out=np.zeros(np.shape(square)), where=varies
    )
    return result


def pearson_of_moments(sums: F64) -> F64:
    """Return Pearson's correlation (…) from sums (…, 6) of a, b, a², b², a · b and 1; 0 where either side is constant."""
    a, b, aa, bb, ab, count = np.moveaxis(sums, -1, 0)
    square = _variation(aa, a, count) * _variation(bb, b, count)
    shared = ab - a * b / np.maximum(count, 1)
    result: F64 = np.divide(shared, np.sqrt(square), out=np.zeros(np.shape(square)), where=square > 0)
    return result


def accuracy_of_counts(counts: F64) -> F64:
    """Return accuracy (…) from counts (…, 2): correct, total."""
    return _share(counts[..., 0], counts[..., 1])


def moments(gold: NDArray[Any], predicted: NDArray[Any]) -> F64:
    """Return what each row adds to the sums that R² is computed from, float64 (rows, 4).

    The squared error, gold, gold² and 1; the mean of gold is subtracted first, which keeps sums of squares exact where
    values are far from 0. `gold` and `predicted` are numbers (rows,).
    """
    centred = gold - gold.mean(dtype=np.float64)
    error = gold.astype(np.float64) - predicted
    return np.stack([error**2, centred, centred**2, np.ones(len(gold))], axis=1)


def r2_of_moments(sums: F64) -> F64:
    """Return R² (…) from summed `moments` (…, 4); NaN where gold is constant."""
    error, total, squares, count = np.moveaxis(sums, -1, 0)
    return 1 - _share(error, _variation(squares, total, count))


def _variation(squares: F64, total: F64, count: F64) -> F64:
    """Return the sum of squares about the mean; 0 where it is only rounding error."""
    rest = squares - total**2 / np.maximum(count, 1)
    result: F64 = np.where(rest > _ROUNDING * squares, rest, 0.0)
    return result


def _share(part: F64, whole: F64) -> F64:
    result: F64 = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole != 0)
    return result


def r2(gold: Any, predicted: Any) -> float:
    """Return the coefficient of determination; for constant gold values 1 if all predictions are correct, else 0."""
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
    # On nearly constant values scipy warns of lost precision; a probe of an uninformative layer may give such values.
    with silenced():
        return float(np.nan_to_num(function(*sides).statistic))


def _check(gold: Any, predicted: Any) -> None:
    if len(gold) != len(predicted) or not len(gold):
        raise RequestError(
            f"got {len(predicted)} predictions for {len(gold)} labels; give one prediction per label, at least one"
        )


def _counts(task: str, gold: Any, predicted: Any, multi: bool) -> tuple[list[str], I64]:
    """Return the classes that occur, in order, and their counts (classes, 3); each row is compared as a set."""
    if task == "tag":
        have, got = ([set(spans(tags)) for tags in side] for side in (gold, predicted))
        return _tally(have, got, lambda span: span[0])
    if multi:
        return _tally([set(row) for row in gold], [set(row) for row in predicted], str)
    return _tally([{row} for row in gold], [{row} for row in predicted], str)


def _tally(
    gold: list[set[Any]], predicted: list[set[Any]], name: Callable[[Any], str]
) -> tuple[list[str], I64]:
    """Count by name the items that are in both sets, predicted, and gold."""
    right = (g & p for g, p in zip(gold, predicted, strict=True))
    counters = [Counter(name(item) for row in rows for item in row) for rows in (right, predicted, gold)]
    names = in_order(set().union(*counters))
    counts = np.array([[counter[label] for counter in counters] for label in names], dtype=np.int64)
    return names, counts.reshape(-1, 3)


def _quotient(counts: NDArray[Any], column: int) -> NDArray[np.float64]:
    """Return true positives divided by a column of counts (…, 3); 0 / 0 is 0."""
    return np.asarray(counts[..., 0] / np.maximum(counts[..., column], 1), dtype=np.float64)
