"""What is done with rows that a head wasn't fitted to: choose C, score the head, and see whether it says one thing only.

- The metric that chooses C depends on the task and on how even the classes are (`selection_metric`).
- Beside a head's scores stand those of always the same answer (`majority_scores`).
- `constant_note` says when a head itself gives nearly always the same answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.array_types import F32, F64, I64
from layerwise.heads.head import TaskHead, apply
from layerwise.labels.labelled import Mask
from layerwise.labels.plan import Target
from layerwise.labels.scorers import Score, predicted_labels, score
from layerwise.labels.spelling import shortened

_TOLERANCE = 0.05  # values of C whose macro-F1 is lower by less than this share are ranked by likelihood
_UNEVEN = 2  # times as many rows in the largest class as in the others on average
_FEW = 0.2  # share of the rows of other classes, below which predictions are nearly constant
_LEAST_ROWS = 10  # fewer predictions may all be equal by chance


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well a value of C does on held-out rows: its score in the metric that chooses, and its mean loss."""

    score: float
    loss: float


def selection_metric(target: Target, fitting: Mask, class_weight: str | None) -> str:
    """Return the metric by which C is chosen.

    It is macro-F1 for classes that are uneven or weighted, log-likelihood for even ones, and the primary metric of
    other tasks. Classes are uneven if the largest has more than twice as many rows as the others have on average.

    Args:
        target: the task.
        fitting: the rows that heads are fitted to, bool (n,).
        class_weight: `balanced`, or `None`.
    """
    if target.spec.task == "regress":
        return "r2"
    if target.spec.task == "tag":
        return "span_f1"
    if class_weight is not None:
        return "macro_f1"
    if target.multi:
        return "micro_f1"
    counts = np.bincount(target.y[fitting[target.has]])
    counts = counts[counts > 0]
    others = (counts.sum() - counts.max()) / max(len(counts) - 1, 1)
    return "macro_f1" if counts.max() > _UNEVEN * others else "log_likelihood"


def best(rankings: Sequence[Ranking], metric: str, values: Sequence[float]) -> int:
    """Return the position of the best value of C.

    By macro-F1, which is noisy where classes are rare, it is the likeliest of those within 5% of the best score; by
    any other metric the one with the highest score, of several the likeliest. Where macro-F1 is the same for all
    values, as where no rare class is ever predicted, it doesn't tell them apart and the likeliest would be the most
    one-sided; then it is the value next to 1, the default of scikit-learn.

    Args:
        rankings: how well each value does.
        metric: the metric of their scores.
        values: the values of C.
    """
    top = max(ranking.score for ranking in rankings)
    if metric == "macro_f1" and top < 1 and all(ranking.score == top for ranking in rankings):
        return min(range(len(rankings)), key=lambda position: abs(math.log(values[position])))
    least = top * (1 - _TOLERANCE) if metric == "macro_f1" else top
    near = [position for position, ranking in enumerate(rankings) if ranking.score >= least]
    return min(near, key=lambda position: rankings[position].loss)


def rank(
    target: Target,
    x: F32,
    head: TaskHead,
    fitting: Mask,
    held_out: Mask,
    metric: str,
    class_weight: str | None,
) -> Ranking:
    """Return how well a head does on the rows `held_out` (n,) with a label; `fitting` (n,) are the rows that it knows."""
    loss = _loss(target, x, head, fitting, held_out, class_weight)
    if metric == "log_likelihood":
        return Ranking(-loss, loss)
    held_out_score = score_head(target, x, head, held_out)
    assert held_out_score is not None  # there are held-out rows with a label
    return Ranking(held_out_score.scores[metric], loss)


def score_head(target: Target, x: F32, head: TaskHead, which: Mask) -> Score | None:
    """Return the scores of a head on the rows `which` (n,); `None` if none of them has a label.

    `x` are the features of the head, float32 (planes, n, inputs).
    """
    if not which[target.has].any():
        return None
    return _score(target, which, _predictions(target, x, head, which))


def majority_scores(target: Target, fitting: Mask, which: Mask) -> dict[str, float]:
    """Return the scores, on the rows `which` (n,), of the answer that is most frequent in the rows `fitting` (n,).

    Of several labels per row it is each that more than half of the rows have; of numbers it is their mean.
    """
    constant = _most_frequent(target, target.y[fitting[target.has]])
    predictions = np.empty(int(which[target.has].sum()), float if target.spec.task == "regress" else object)
    predictions[:] = constant if not target.multi else [constant] * len(predictions)
    return _score(target, which, predictions).scores


def _most_frequent(target: Target, y: NDArray[Any]) -> Any:
    if target.spec.task == "regress":
        return float(y.mean())
    if target.multi:
        return tuple(name for name, share in zip(target.classes, y.mean(axis=0), strict=True) if share > 0.5)
    return target.classes[int(np.bincount(y).argmax())]


def _score(target: Target, which: Mask, predictions: NDArray[Any]) -> Score:
    in_task = which[target.has]
    return score(target.spec.task, target.multi, target.gold[in_task], predictions, target.docs[in_task])


def _predictions(target: Target, x: F32, head: TaskHead, which: Mask) -> NDArray[Any]:
    raw = apply(head.fitted, x[:, target.has & which])
    return predicted_labels(head.task, head.multi, head.classes, raw, target.docs[which[target.has]])


def _loss(
    target: Target, x: F32, head: TaskHead, fitting: Mask, held_out: Mask, class_weight: str | None
) -> float:
    """Return the mean loss of held-out rows: negative log-likelihood in nats, or squared error.

    Rows of a class that no fitted row has are left out, as no C makes them likely. With `class_weight` each class has
    the same weight, as in the fit.
    """
    scores = apply(head.fitted, x[:, target.has & held_out]).astype(np.float64)
    y = target.y[held_out[target.has]]
    if target.spec.task == "regress":
        return float(((scores[:, 0] - y) ** 2).mean())
    if target.multi:
        return float((np.logaddexp(0, scores) - y * scores).sum(axis=1).mean())
    has_fitted_class = np.isin(y, target.y[fitting[target.has]])
    scores, y = scores[has_fitted_class], y[has_fitted_class]
    losses: F64 = logsumexp(scores, axis=1) - np.take_along_axis(scores, y[:, None], axis=1)[:, 0]
    return _mean(losses, y if class_weight is not None else np.zeros_like(y))


def _mean(losses: F64, classes: I64) -> float:
    """Return the mean over classes of the mean loss of their rows; 0 without rows."""
    counts = np.bincount(classes)
    sums = np.bincount(classes, losses)
    return float((sums[counts > 0] / counts[counts > 0]).mean()) if len(losses) else 0.0


def constant_note(
    target: Target, x: F32, head: TaskHead, which: Mask, part: str, class_weight: str | None
) -> str | None:
    """Return a note if a head gives nearly always the same answer on the rows `which` (n,), which are of `part`.

    That is: all other answers together are fewer than a fifth of what the labels have of them; of numbers, the
    predictions vary by less than a fifth of what the numbers vary by (standard deviations).
    """
    gold = target.gold[which[target.has]]
    if len(gold) < _LEAST_ROWS:
        return None
    predictions = _predictions(target, x, head, which)
    rows = f"{target.spec.name}: of {len(gold):,} {part} rows"
    advice = _advice(target, head, class_weight)
    if target.spec.task == "regress":
        got, expected = float(np.std(predictions)), float(np.std(gold))
        text = f"{rows} nearly the mean is predicted (standard deviation {got:.3g}, of the labels {expected:.3g})"
        return f"{text}; {advice}" if got < _FEW * expected else None
    if target.multi:
        got, expected = (sum(map(len, labels)) for labels in (predictions, gold))
        text = f"{rows} nearly none gets a label ({count_of(got, 'label')}, of {expected:,})"
        return f"{text}; {advice}" if got < _FEW * expected else None
    names, counts = np.unique(predictions.astype(str), return_counts=True)
    top = str(names[counts.argmax()])
    expected_top = int((gold == top).sum())
    text = (
        f"{rows} {counts.max():,} are predicted as {top!r:.60}, and {expected_top:,} are it: nearly one class"
    )
    is_constant = len(gold) - counts.max() < _FEW * (len(gold) - expected_top)
    return f"{text}; {advice}" if is_constant else None


def absent_note(target: Target, fitting: Mask, held_out: Mask) -> str | None:
    """Return a note on classes that some rows `fitting` (n,) have and no row `held_out` (n,), so that no score is of them."""
    if target.spec.task != "classify" or target.multi or not held_out[target.has].any():
        return None
    fitted, scored = (np.unique(target.y[which[target.has]]) for which in (fitting, held_out))
    absent = np.setdiff1d(fitted, scored)
    if not len(absent):
        return None
    names = shortened([f"{target.classes[number]!r:.40}" for number in absent])
    return (
        f"task {target.spec.name!r}: no held-out row has {names}, so the scores say nothing about "
        f"{'these classes' if len(absent) > 1 else 'this class'}; give more texts of {'them' if len(absent) > 1 else 'it'}"
    )


def _advice(target: Target, head: TaskHead, class_weight: str | None) -> str:
    """Return what to do about a head whose answers are nearly constant."""
    others = f"another {argument('mix')}, or more texts"
    in_loop = head.mix.how == "learned" or head.fitted.hidden is not None
    if target.spec.task == "regress" or class_weight is not None or (target.multi and in_loop):
        return f"the rows say little about {target.spec.label!r:.60}: try {others}"
    return f"try {argument('class_weight', 'balanced')}, {others}"
