"""Explain a learned mix: weights, shares of logit variance, scores without each layer, and a caution.

Weights alone mislead: similar layers share weight, and a weight means little if the scores hardly depend on it.
So each layer also gets its share of the variance of the logits, and the score of a head that is fitted without
the layer.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import SILENT, Tracker
from layerwise.errors import RequestError
from layerwise.heads.gradient import fit
from layerwise.heads.mixing import fold_mix
from layerwise.heads.weights import F32, Fitted, LoopOptions, LoopTask, apply, blocks
from layerwise.labels.scorers import ClassScorer, LabelsScorer, NumberScorer

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_SCORERS: dict[str, type[ClassScorer | LabelsScorer | NumberScorer]] = {
    "classify": ClassScorer,
    "multilabel": LabelsScorer,
    "regress": NumberScorer,
}
_INTERVAL = (0.025, 0.975)
_ALIKE_ROWS = 1000  # rows on which the similarity of layers is computed
_SCORE_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """A number and the ends of its 95% interval; the ends are `None` if nothing was resampled."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The held-out score of the head fitted without one layer, with its 95% interval.

    `difference` is the score with all layers minus this score: what the layer adds to the others.
    """

    value: float
    low: float
    high: float
    difference: Range


@dataclass(frozen=True, slots=True)
class LearnedMix:
    """The explanation of a learned mix; sequences have an item per layer, in the order of the mix.

    Attributes:
        layers: names.
        weights: softmax weights, of sum 1.
        logit_variance: shares of the variance of the logits, of sum 1; see `logit_shares`.
        left_out: scores without each layer; empty if no row is held out.
        metric: the metric of these scores: accuracy, micro_f1 or r2.
        score: the score with all layers, fitted on the same rows; `None` if no row is held out.
        alike: the two most similar layers.
        likeness: their similarity, the largest `likeness` of all pairs; at most 1.
        draws: the number of resamples of the groups for the intervals of weights and shares.
    """

    layers: tuple[str, ...]
    weights: tuple[Range, ...]
    logit_variance: tuple[Range, ...]
    left_out: tuple[LeftOut, ...]
    metric: str
    score: float | None
    alike: tuple[str, str]
    likeness: float
    draws: int

    @property
    def caution(self) -> str:
        """A warning about how to read the weights, as text."""
        return (
            "Layers that resemble each other share weight, so a small weight doesn't say that a layer knows "
            f"little; most alike are {self.alike[0]} and {self.alike[1]} (CKA {self.likeness:.2f})."
        )

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values; values per layer are keyed by the layer's name."""
        fields = asdict(self)
        for name in ("weights", "logit_variance", "left_out"):
            fields[name] = dict(zip(self.layers, fields[name], strict=False))
        return {**fields, "layers": list(self.layers), "alike": list(self.alike), "caution": self.caution}


def explain(
    names: Sequence[str],
    task: LoopTask,
    fitted: Fitted,
    held: Mask,
    groups: I64,
    options: LoopOptions,
    *,
    draws: int = 20,
    seed: int = 0,
    track: Tracker = SILENT,
) -> LearnedMix:
    """Return the explanation of a learned mix.

    Heads are refitted, for as many epochs as led to `fitted`, on the rows with a label outside `held`: once
    without each layer, and `draws` times on groups resampled with replacement, whose percentiles are the
    intervals of weights and shares (Efron and Tibshirani 1993, chapter 13). The interval of a score resamples
    the held-out groups without a refit; a difference is computed within each resample.

    Args:
        names: the names of the layers, in the order of `task.x`.
        task: the task of the head; `task.x` is (layers, rows, width), standardised.
        fitted: the head.
        held: bool (rows,), rows to score on, which no refit uses.
        groups: int64 (rows,); rows of one group, such as the words of a text, are resampled together.
        options: the options that the head was fitted with.
        draws: the number of refits for the intervals; 0 for no intervals.
        seed: the seed of the resampling.
        track: reports the refits.

    Raises:
        RequestError: a mix that isn't learned, a single layer, shapes that don't agree, no rows to train on.
    """
    _check(names, task, held, groups, draws)
    task.check(held)
    train, test = task.row_mask & ~held, task.row_mask & held
    hidden = None if fitted.hidden is None else len(fitted.hidden[1])
    train_task = replace(task, row_mask=train, hidden=hidden)
    # A head with a shared hidden layer is refitted alone, with its own hidden layer.
    options = replace(options, epochs=max(1, fitted.epochs), shared_hidden=None)
    rng = np.random.default_rng(seed)
    pair, pair_likeness = most_alike(task.x, np.flatnonzero(train), rng)
    resampling_track, leaving_out_track = track.split(draws, 1 + len(names) if test.any() else 0)
    steps = resampling_track.each(
        range(draws), (f"weights, resample {n + 1} of {draws}" for n in range(draws))
    )
    resampled = [_refit_on_resample(train_task, groups, options, rng, part) for _, part in steps]
    shares = logit_shares(fitted, task.x, train.astype(np.float64), softmax=task.kind == "classify")
    score, left_out = (
        _left_out(train_task, names, test, groups, options, rng, leaving_out_track)
        if test.any()
        else (None, ())
    )
    return LearnedMix(
        layers=tuple(names),
        weights=ranges(fitted.mix_weights.astype(np.float64), [weights for weights, _ in resampled]),
        logit_variance=ranges(shares, [share for _, share in resampled]),
        left_out=left_out,
        metric=_SCORERS[task.kind].metric,
        score=score,
        alike=(names[pair[0]], names[pair[1]]),
        likeness=pair_likeness,
        draws=draws,
    )


def logit_shares(fitted: Fitted, x: F32, weight: F64, *, softmax: bool) -> F64:
    """Return the share of each layer in the variance of the logits, float64 (layers,), of sum 1.

    Logits are a sum over layers, z = Σ z_l, so that var(z) = Σ cov(z_l, z). A layer's share is its covariance
    summed over outputs, divided by the variance summed over outputs. It is negative if a layer counteracts
    the others. All are 0 if the logits don't vary. With a hidden layer the logits aren't such a sum, so z is the
    input of the hidden units, before their activation.

    Args:
        fitted: a head on a learned mix.
        x: (layers, rows, width), standardised.
        weight: float64 (rows,), how often each row counts.
        softmax: logits compete, so that only their differences within a row matter: they are centred.
    """
    first = fitted.weight if fitted.hidden is None else fitted.hidden[0]
    softmax = softmax and fitted.hidden is None
    weights = np.ascontiguousarray(fold_mix(first.T, fitted.mix_weights).transpose(1, 2, 0))
    return layer_shares(x, weights, weight, softmax=softmax)


def layer_shares(x: F32, weights: F32, weight: F64, *, softmax: bool) -> F64:
    """Return the shares of `logit_shares` where z_l = x_l weights_l; `weights` are float32 (layers, width, outputs)."""
    if softmax:
        weights = weights - weights.mean(axis=2, keepdims=True)
    weight = weight / weight.sum()
    mean, product = np.zeros((len(x), weights.shape[2])), np.zeros((len(x), weights.shape[2]))
    for rows in blocks(x.shape[1], x.shape[0] * x.shape[2]):
        parts = (x[:, rows] @ weights).astype(np.float64)
        weighted = parts * weight[rows][:, None]
        mean += weighted.sum(axis=1)
        product += np.einsum("lrk,rk->lk", weighted, parts.sum(axis=0))
    covariance = (product - mean * mean.sum(axis=0)).sum(axis=1)
    total = covariance.sum()
    shares: F64 = covariance / total if total > 0 else np.zeros(len(x))
    return shares


def likeness(x: F32) -> F64:
    """Return the similarity of layers, which doesn't change under rotation, float64 (layers, layers).

    Linear CKA (Kornblith et al. 2019) with the unbiased estimate of Song et al. (2012), so that unrelated
    layers give about 0 even on few rows. 0 where it isn't defined: a constant layer, or fewer than 4 rows.

    Args:
        x: (layers, rows, width); each layer needs a matrix of rows × rows.
    """
    rows = x.shape[1]
    if rows < 4:
        return np.eye(len(x))
    grams = []
    for layer in x.astype(np.float64):
        gram = layer @ layer.T
        np.fill_diagonal(gram, 0)
        sums = gram.sum(axis=0) / (rows - 2)
        gram = gram - sums - sums[:, None] + sums.sum() / (rows - 1)
        np.fill_diagonal(gram, 0)
        norm = np.linalg.norm(gram)
        grams.append((gram / norm if norm > 0 else gram).ravel().astype(np.float32))
    flat = np.stack(grams)
    cka: F64 = (flat @ flat.T).astype(np.float64)
    return cka


def _check(names: Sequence[str], task: LoopTask, held: Mask, groups: I64, draws: int) -> None:
    if not task.learned or len(task.x) < 2:
        raise RequestError(f"task {task.name!r} has no learned mix of several layers; give learned(all)")
    shape = task.x.shape[:2]
    if (len(names), len(held)) != shape or (len(names), len(groups)) != shape:
        got = f"{len(names)} names, a mask of {len(held)}, groups of {len(groups)}"
        raise RequestError(f"{got} don't fit (layers, rows) = {shape}; give one per layer and per row")
    if draws < 0:
        raise RequestError(f"draws can't be {draws}; give 0 for no intervals, or 20 and more")


def _refit(task: LoopTask, options: LoopOptions, track: Tracker) -> Fitted:
    return fit([task], np.zeros(task.x.shape[1], bool), options, track)[0]


def _refit_on_resample(
    task: LoopTask, groups: I64, options: LoopOptions, rng: np.random.Generator, track: Tracker
) -> tuple[F64, F64]:
    """Refit on resampled groups of the rows to train on; return weights and shares, (layers,) each."""
    counts = np.zeros(len(groups))
    counts[task.row_mask] = redraw(groups[task.row_mask], rng)
    weight = counts.astype(np.float32) * (1 if task.weight is None else task.weight)
    refitted = _refit(replace(task, weight=weight.astype(np.float32)), options, track)
    shares = logit_shares(refitted, task.x, counts, softmax=task.kind == "classify")
    return refitted.mix_weights.astype(np.float64), shares


def redraw(groups: I64, rng: np.random.Generator) -> I64:
    """Resample the groups with replacement; return how often each row is drawn, (rows,)."""
    names, group_of_row = np.unique(groups, return_inverse=True)
    times_drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
    counts: I64 = times_drawn[group_of_row]
    return counts


def ranges(values: F64, resampled: Sequence[F64]) -> tuple[Range, ...]:
    """Return values (layers,) with the 95% intervals of their resampled values.

    A fit on resampled rows uses some of them several times, so its values can be more extreme than those of the
    fit on all rows: an interval that excludes the value is extended to it.
    """
    if not resampled:
        return tuple(Range(float(value)) for value in values)
    low, high = np.quantile(np.stack(resampled), _INTERVAL, axis=0)
    ends = np.minimum(low, values), np.maximum(high, values)
    return tuple(Range(*map(float, item)) for item in zip(values, *ends, strict=True))


def most_alike(x: F32, rows: I64, rng: np.random.Generator) -> tuple[tuple[int, int], float]:
    """Return the two most similar layers and their similarity, on a sample of `rows`; x as in `likeness`."""
    if len(rows) > _ALIKE_ROWS:
        rows = np.sort(rng.choice(rows, _ALIKE_ROWS, replace=False))
    cka = likeness(x[:, rows])
    np.fill_diagonal(cka, -np.inf)
    first, second = np.unravel_index(int(cka.argmax()), cka.shape)
    return (int(first), int(second)), float(cka[first, second])


def _left_out(
    task: LoopTask,
    names: Sequence[str],
    test: Mask,
    groups: I64,
    options: LoopOptions,
    rng: np.random.Generator,
    track: Tracker,
) -> tuple[float, tuple[LeftOut, ...]]:
    """Return the score with all layers and the scores without each layer, on the rows `test`."""
    scorer, rows, units = _SCORERS[task.kind](task.target[test]), np.arange(test.sum()), []
    layers = (None, *range(len(task.x)))
    step_names = ("weights, with all layers", *(f"weights, without layer {name}" for name in names))
    for layer, part in track.each(layers, step_names):
        reduced_task = task if layer is None else replace(task, x=np.delete(task.x, layer, axis=0))
        raw = apply(_refit(reduced_task, options, part), reduced_task.x[:, test])
        units.append(scorer.counts(scorer.decide(raw.T, rows), rows))
    _, group_of_row = np.unique(groups[test], return_inverse=True)
    sums = np.zeros((group_of_row.max() + 1, len(units), units[0].shape[1]))
    np.add.at(sums, group_of_row, np.stack(units, axis=1))
    scores = _defined(scorer.of_sums(sums.sum(axis=0)))
    counts = (redraw(np.arange(len(sums)), rng) for _ in range(_SCORE_DRAWS))
    resampled = [
        _defined(scorer.of_sums(np.tensordot(count.astype(np.float64), sums, 1))) for count in counts
    ]
    low, high = np.quantile(np.stack(resampled), _INTERVAL, axis=0)
    differences = ranges(scores[0] - scores, [resample[0] - resample for resample in resampled])
    items = zip(scores, low, high, differences, strict=True)
    return float(scores[0]), tuple(LeftOut(float(v), float(lo), float(hi), d) for v, lo, hi, d in items)[1:]


def _defined(scores: F64) -> F64:
    """Return scores with 0 where they are undefined, such as R² of a resample whose numbers are all equal."""
    return np.nan_to_num(scores)
