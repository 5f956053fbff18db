"""What the learned mix of a probe weighs, on the first outer fit: its weights, and what each layer adds."""

from collections.abc import Sequence

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.heads.layer_importance import (
    LearnedMix,
    LeftOut,
    Range,
    layer_shares,
    most_alike,
    ranges,
    redraw,
)
from layerwise.probing import stats
from layerwise.probing.batched_solver import Began, Fits, Scores, Solver
from layerwise.probing.candidates import Candidate, beside
from layerwise.probing.design import Design
from layerwise.probing.evaluate import c_of
from layerwise.probing.problem import Material
from layerwise.probing.scorers import Predicted
from layerwise.states import F32, I64, Layered

_DRAWS = 1000  # bootstrap samples of the rows that score


def weighed(
    dataset: Layered,
    material: Material,
    design: Design,
    one: Candidate,
    place: int,
    *,
    draws: int,
    seed: int,
    track: Tracker = SILENT,
) -> LearnedMix | None:
    """Return what there is to show of a learned mix, fitted on the training rows of the first outer fit.

    All fits are those of the probe's own solver: once with all layers, once without each, scored on the outer
    test rows; and with all layers on `draws` samples of the training groups, drawn with replacement.

    Args:
        dataset: where the rows are; all layers of the mix are in memory at once.
        material: the rows, their targets and groups, and what judges them.
        design: who trains, and which rows score what a layer adds.
        one: the learned mix.
        place: of the C that the inner fits of that outer fit chose.
        draws: how many refits on resampled groups make the intervals of weights and shares.
        seed: of all draws.
        track: reports the refits.

    Returns:
        the evidence, or `None` for a mix of a single layer.
    """
    count = len(one.mix.layers)
    if count < 2:
        return None
    x = beside(dataset, material.labelled.rows, one.mix)
    chance, outer = np.random.default_rng(seed), design.outers[0]
    train = design.fits.train[outer.fit].astype(np.int64)
    drawn = [_redrawn(train, material.groups, chance) for _ in range(draws)]
    samples = np.stack([train, *drawn])
    solver = Solver(x, layers=count)
    drawing, leaving = track.split(draws, count)
    found = solver.at(_fits(design, samples), place, _resampled(draws, drawing))
    assert found.mix is not None  # several layers are mixed
    assert found.weights is not None
    layers = solver.features.reshape(len(x), count, -1).transpose(1, 0, 2)
    shares = [
        layer_shares(
            layers,
            weights.reshape(len(weights), count, -1).transpose(1, 2, 0),
            times.astype(np.float64),
            softmax=len(weights) > 1,
        )
        for weights, times in zip(found.weights, samples, strict=True)
    ]
    pair, likeness = most_alike(layers, np.flatnonzero(train), chance)
    score, left_out = _left_out(x, material, design, found, place, one.mix.layers, seed, leaving)
    return LearnedMix(
        layers=one.mix.layers,
        weights=ranges(found.mix[0].astype(np.float64), list(found.mix[1:].astype(np.float64))),
        logit_variance=ranges(shares[0], shares[1:]),
        left_out=left_out,
        metric=material.judge.metric,
        score=score,
        alike=(one.mix.layers[pair[0]], one.mix.layers[pair[1]]),
        likeness=likeness,
        draws=draws,
    )


def _resampled(draws: int, track: Tracker) -> Began:
    """Return what reports which resamples are fitted; fit 0 is that on the training rows themselves."""

    def report(fits: I64, place: int, done: float) -> None:
        ends = " to ".join(map(str, sorted({max(int(fits.min()), 1), int(fits.max())})))
        track.report(done, f"resamples {ends} of {draws}, {c_of(place)}")

    return report


def _cs(track: Tracker) -> Began:
    return lambda _, place, done: track.report(done, c_of(place))


def _redrawn(train: I64, groups: I64, chance: np.random.Generator) -> I64:
    """Return how often each row is in a sample of the training groups, (n,)."""
    rows, times = np.flatnonzero(train), np.zeros_like(train)
    times[rows] = redraw(groups[rows], chance)
    return times


def _fits(design: Design, samples: I64) -> Fits:
    nothing = np.zeros(len(samples), np.int64)
    return Fits(samples, design.fits.targets[:1], nothing, design.fits.count, nothing)


def _left_out(
    x: F32,
    material: Material,
    design: Design,
    whole: Scores,
    place: int,
    names: Sequence[str],
    seed: int,
    track: Tracker,
) -> tuple[float, tuple[LeftOut, ...]]:
    """Return the score with all layers, and those without each, on the outer test rows."""
    outer, judge, count = design.outers[0], material.judge, len(names)
    fits = _fits(design, design.fits.train[[outer.fit]].astype(np.int64))
    by_layer = x.reshape(len(x), count, -1)

    def predicted(scores: Scores) -> Predicted:
        return judge.decide(scores.values[0][:, outer.test], outer.test)

    several = [predicted(whole)]
    for layer, part in track.each(range(count), (f"without layer {name}" for name in names)):
        rest = np.ascontiguousarray(np.delete(by_layer, layer, axis=1)).reshape(len(x), -1)
        several.append(predicted(Solver(rest, layers=count - 1).at(fits, place, _cs(part))))
    counts = np.stack([judge.counts(one, outer.test) for one in several])
    units = stats.unit_sums(counts, material.groups[outer.test])
    made = stats.paired_bootstrap(units, judge.of_sums, _DRAWS, seed)
    apart = made.scores[0] - made.scores
    low, high = np.nanpercentile(made.samples[:, :1] - made.samples, [2.5, 97.5], axis=0)
    return float(made.scores[0]), tuple(
        LeftOut(
            float(made.scores[n]),
            float(made.low[n]),
            float(made.high[n]),
            Range(float(apart[n]), float(low[n]), float(high[n])),
        )
        for n in range(1, count + 1)
    )
