"""The learned mix of a probe: what each layer adds to the score, and the layer weights of the first outer fit."""

from collections.abc import Sequence

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32, F64, I64
from layerwise.heads.learned_mix import (
    LearnedMix,
    LeftOut,
    Range,
    ablation_ends,
    by_layer,
    layer_shares,
    most_alike,
    ranges,
    redraw,
)
from layerwise.probing import stats
from layerwise.probing.batched_solver import Solver
from layerwise.probing.candidates import Candidate, beside
from layerwise.probing.design import Design
from layerwise.probing.evaluate import c_of
from layerwise.probing.fits import BeginCallback, Fits, Scores
from layerwise.probing.problem import ProbeProblem
from layerwise.states import Layered

_DRAWS = 2000  # bootstrap samples of the groups of test rows


def mix_importance(
    dataset: Layered,
    problem: ProbeProblem,
    design: Design,
    candidate: Candidate,
    c_index: int,
    *,
    draws: int,
    seed: int,
    track: Tracker = SILENT,
) -> LearnedMix | None:
    """Return what each layer of a learned mix adds to the score, and the weights of the layers.

    All fits use the solver of the probe. With all layers and without each layer, one per fold of the first repeat,
    scored on its test rows, so that every row is scored once; or one for the test set of the user's own split. With
    all layers, one on each of `draws` samples of the training groups of the first outer fit, with replacement, for the
    weights.

    Args:
        dataset: holds the rows; all layers of the mix are in memory at once.
        problem: the rows, their targets, groups and scorer.
        design: gives the training and test rows.
        candidate: the learned mix.
        c_index: position of the C of all these fits, which the inner fits of the first outer fit chose.
        draws: number of refits on resampled groups, for the intervals of weights and shares.
        seed: seed of all resamples.
        track: progress over the refits.

    Returns:
        the importances, or `None` for a mix of a single layer.
    """
    count = len(candidate.mix.layers)
    if count < 2:
        return None
    x = beside(dataset, problem.labelled.rows, candidate.mix)
    rng, outer = np.random.default_rng(seed), design.outers[0]
    train = design.fits.train[outer.fit].astype(np.int64)
    resamples = [_row_counts(train, problem.groups, rng) for _ in range(draws)]
    samples = np.stack([train, *resamples])
    solver = Solver(x, layers=count)
    resampling, refitting = track.split(draws, count)
    scores = solver.at(_fits(design, samples), c_index, _resample_progress(draws, resampling))
    assert scores.mix is not None  # several layers are mixed
    assert scores.weights is not None
    layers = solver.features.reshape(len(x), count, -1).transpose(1, 0, 2)
    shares = [
        layer_shares(
            layers,
            maps.reshape(len(maps), count, -1).transpose(1, 2, 0),
            times.astype(np.float64),
            softmax=len(maps) > 1 and not design.fits.several,
        )
        for maps, times in zip(scores.weights, samples, strict=True)
    ]
    pair, likeness = most_alike(layers, np.flatnonzero(train), rng)
    full_score, left_out = _left_out(
        x, problem, design, solver, c_index, candidate.mix.layers, seed, refitting
    )
    weights = scores.mix.astype(np.float64)
    return LearnedMix(
        layers=candidate.mix.layers,
        left_out=left_out,
        weights=ranges(weights[0], list(weights[1:])),
        refits=by_layer(list(weights[1:])),
        logit_variance=ranges(shares[0], shares[1:]),
        metric=problem.scorer.metric,
        score=full_score,
        alike=(candidate.mix.layers[pair[0]], candidate.mix.layers[pair[1]]),
        likeness=likeness,
        draws=draws,
    )


def _resample_progress(draws: int, track: Tracker) -> BeginCallback:
    """Return the callback that reports which resamples are fitted; fit 0 is the fit on the training rows themselves."""

    def report(fits: I64, c_index: int, done: float) -> None:
        ends = " to ".join(map(str, sorted({max(int(fits.min()), 1), int(fits.max())})))
        track.report(done, f"resamples {ends} of {draws}, {c_of(c_index)}")

    return report


def _c_progress(track: Tracker) -> BeginCallback:
    return lambda _, c_index, done: track.report(done, c_of(c_index))


def _row_counts(train: I64, groups: I64, rng: np.random.Generator) -> I64:
    """Return how often each row occurs in a sample of the training groups, (n,)."""
    rows, times = np.flatnonzero(train), np.zeros_like(train)
    times[rows] = redraw(groups[rows], rng)
    return times


def _fits(design: Design, samples: I64) -> Fits:
    zeros = np.zeros(len(samples), np.int64)
    return Fits(samples, design.fits.targets[:1], zeros, design.fits.count, zeros, design.fits.balanced)


def _left_out(
    x: F32,
    problem: ProbeProblem,
    design: Design,
    solver: Solver,
    c_index: int,
    names: Sequence[str],
    seed: int,
    track: Tracker,
) -> tuple[float, tuple[LeftOut, ...]]:
    """Return the score with all layers, and the scores without each layer, on the rows that the first repeat tests."""
    outers = [outer for outer in design.outers if outer.repeat == 0]
    scorer, count = problem.scorer, len(names)
    fits = _fits(design, design.fits.train[[outer.fit for outer in outers]].astype(np.int64))
    by_layer = x.reshape(len(x), count, -1)

    def counts(scores: Scores) -> F64:
        tested = [
            (values[:, outer.test], outer.test) for values, outer in zip(scores.values, outers, strict=True)
        ]
        return np.concatenate([scorer.counts(scorer.decide(values, rows), rows) for values, rows in tested])

    complete = solver.at(fits, c_index)
    assert complete.parameters is not None
    counts_of_fits = [counts(complete)]
    for layer, refit_track in track.each(range(count), (f"without layer {name}" for name in names)):
        remaining = np.ascontiguousarray(np.delete(by_layer, layer, axis=1)).reshape(len(x), -1)
        reduced = Solver(remaining, layers=count - 1)
        # The last parameters are the logits of the layers.
        start = np.delete(complete.parameters, layer - count, axis=1)
        counts_of_fits.append(counts(reduced.at(fits, c_index, _c_progress(refit_track), start)))
    tested_groups = np.concatenate([problem.groups[outer.test] for outer in outers])
    units = stats.unit_sums(np.stack(counts_of_fits), tested_groups)
    bootstrap = stats.paired_bootstrap(units, scorer.of_sums, _DRAWS, seed)
    differences = bootstrap.scores[0] - bootstrap.scores
    low, high = np.nanquantile(bootstrap.samples[:, :1] - bootstrap.samples, ablation_ends(count), axis=0)
    return float(bootstrap.scores[0]), tuple(
        LeftOut(
            float(bootstrap.scores[n]),
            float(bootstrap.low[n]),
            float(bootstrap.high[n]),
            Range(float(differences[n]), float(low[n]), float(high[n])),
        )
        for n in range(1, count + 1)
    )
