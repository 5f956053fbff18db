"""Explain the learned mix of a trained head: how certain its weights are, and what each layer contributes.

One fit gives weights without intervals, and doesn't show what the head would score without a layer. So the head is
refitted on the training rows: on groups resampled with replacement, for the intervals, and once without each layer. That
is tens of refits, so large datasets are sampled by whole texts first. Rows of one group (the words of a text) resemble
each other: resampling single rows would give intervals that are too narrow.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.array_types import F32, F64, I64
from layerwise.errors import RequestError
from layerwise.heads.gradient import fit
from layerwise.heads.head import Fitted, TaskHead, apply
from layerwise.heads.learned_mix import (
    INTERVAL,
    LearnedMix,
    LeftOut,
    ablation_ends,
    by_layer,
    layer_shares,
    most_alike,
    ranges,
    redraw,
)
from layerwise.heads.loop_tasks import LoopOptions, LoopTask
from layerwise.heads.mixing import fold_mix
from layerwise.heads.solve import Hyperparameters, is_learned, loop_options, loop_task
from layerwise.labels.labelled import Mask
from layerwise.labels.plan import SplitPlan
from layerwise.labels.scorers import ClassScorer, LabelsScorer, NumberScorer
from layerwise.options import TrainOptions

_SCORERS: dict[str, type[ClassScorer | LabelsScorer | NumberScorer]] = {
    "classify": ClassScorer,
    "multilabel": LabelsScorer,
    "regress": NumberScorer,
}
_SCORE_DRAWS = 2000
_MAX_NUMBERS = 40_000_000  # layers × rows × width of the sample on which a learned mix is explained


def explain_head(
    plan: SplitPlan,
    number: int,
    x: F32,
    head: TaskHead,
    hyperparameters: Hyperparameters,
    options: TrainOptions,
    track: Tracker = SILENT,
) -> LearnedMix | None:
    """Return the explanation of the learned mix of task `number`; `None` if it has no learned mix.

    Large datasets are sampled by whole texts, and the head is first fitted to the sample, so that all results
    are about the same rows.

    Args:
        plan: the rows and their roles.
        number: the position of the task in the plan.
        x: the layers of the task, standardised, float32 (layers, n, width).
        head: the head, fitted without the held-out rows.
        hyperparameters, options: how it was fitted; `options.draws` refits on resampled groups make the intervals.
        track: reports the refits.
    """
    target = plan.targets[number]
    if not is_learned(target) or len(target.spec.mix.layers) < 2:
        return None
    labelled = target.has & (plan.train | plan.held_out)
    chosen = _sample_texts(
        plan.grouping.texts, labelled, _MAX_NUMBERS // (x.shape[0] * x.shape[2]), options.seed or 0
    )
    task = loop_task(target, x, plan.train, plan.held_out, options)
    task = replace(
        task,
        x=task.x[:, chosen],
        target=task.target[chosen],
        row_mask=task.row_mask[chosen],
        weight=None if task.weight is None else task.weight[chosen],
    )
    if not (task.row_mask & ~plan.held_out[chosen]).any():
        return None
    loop = loop_options(options, hyperparameters, int((target.has & plan.train).sum()))
    held_out, groups, fitted = plan.held_out[chosen], plan.groups[chosen], head.fitted
    if len(chosen) < labelled.sum():
        alone = replace(task, hidden=None if fitted.hidden is None else len(fitted.hidden[1]))
        fitted = fit([alone], held_out, loop)[0]
    names = target.spec.mix.layers
    return explain(
        names, task, fitted, held_out, groups, loop, draws=options.draws, seed=loop.seed, track=track
    )


def _sample_texts(texts: I64, labelled: Mask, max_rows: int, seed: int) -> I64:
    """Return numbers of labelled rows, ascending: all, or whole texts of about `max_rows` rows in total."""
    names, text_of_row = np.unique(texts[labelled], return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    rows_before = np.cumsum(np.bincount(text_of_row)[order]) - np.bincount(text_of_row)[order]
    return np.flatnonzero(labelled)[np.isin(text_of_row, order[rows_before < max_rows])]


def explain(
    names: Sequence[str],
    task: LoopTask,
    fitted: Fitted,
    held_out: Mask,
    groups: I64,
    options: LoopOptions,
    *,
    draws: int = 20,
    seed: int = 0,
    track: Tracker = SILENT,
) -> LearnedMix:
    """Return the explanation of a learned mix.

    Heads are refitted, for as many epochs as led to `fitted`, on the rows with a label outside `held_out`: once
    without each layer, and `draws` times on groups resampled with replacement, whose percentiles are the
    intervals of weights and shares (Efron and Tibshirani 1993, chapter 13). The interval of a score resamples
    the held-out groups without a refit; a difference is computed within each resample, and its interval holds for
    all layers at once.

    Args:
        names: the names of the layers, in the order of `task.x`.
        task: the task of the head; `task.x` is (layers, rows, width), standardised.
        fitted: the head.
        held_out: bool (rows,), rows to score on, which no refit uses.
        groups: int64 (rows,); rows of one group, such as the words of a text, are resampled together.
        options: the options that the head was fitted with.
        draws: the number of refits for the intervals; 0 for no intervals.
        seed: the seed of the resampling.
        track: reports the refits.

    Raises:
        RequestError: a mix that isn't learned, a single layer, shapes that don't agree, no rows to train on.
    """
    _check(names, task, held_out, groups, draws)
    task.check(held_out)
    train, test = task.row_mask & ~held_out, task.row_mask & held_out
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
        left_out=left_out,
        weights=ranges(fitted.mix_weights.astype(np.float64), [weights for weights, _ in resampled]),
        refits=by_layer([weights for weights, _ in resampled]),
        logit_variance=ranges(shares, [share for _, share in resampled]),
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
        softmax: whether only the differences of logits within a row matter; the logits are then centred.
    """
    first = fitted.weight if fitted.hidden is None else fitted.hidden[0]
    softmax = softmax and fitted.hidden is None
    weights = np.ascontiguousarray(fold_mix(first.T, fitted.mix_weights).transpose(1, 2, 0))
    return layer_shares(x, weights, weight, softmax=softmax)


def _check(names: Sequence[str], task: LoopTask, held_out: Mask, groups: I64, draws: int) -> None:
    if not task.learned or len(task.x) < 2:
        raise RequestError(f"task {task.name!r} has no learned mix of several layers; give learned(all)")
    shape = task.x.shape[:2]
    if (len(names), len(held_out)) != shape or (len(names), len(groups)) != shape:
        got = f"{len(names)} names, a mask of {len(held_out)}, groups of {len(groups)}"
        raise RequestError(f"{got} don't fit (layers, rows) = {shape}; give one per layer and per row")
    if draws < 0:
        raise RequestError(
            f"{argument('draws', draws)} is out of range; give 0 for no intervals, or 20 or more"
        )


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
    low, high = np.quantile(np.stack(resampled), INTERVAL, axis=0)
    ends = ablation_ends(len(names))
    differences = ranges(scores[0] - scores, [resample[0] - resample for resample in resampled], ends)
    items = zip(scores, low, high, differences, strict=True)
    return float(scores[0]), tuple(LeftOut(float(v), float(lo), float(hi), d) for v, lo, hi, d in items)[1:]


def _defined(scores: F64) -> F64:
    """Return scores with 0 where they are undefined, such as R² of a resample whose numbers are all equal."""
    return np.nan_to_num(scores)
