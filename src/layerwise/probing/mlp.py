"""The mix that inner folds choose, under a small network: whether a layer lacks information or only its linear form.

The network is that of `train --head-type mlp`: one hidden layer, fitted by AdamW. In each outer fit of the first repeat the
mix is the one that the inner folds choose for the linear classifier, so neither the network nor the linear classifier that
it is compared with is scored on rows that helped to choose the mix. The number of epochs is the median over the inner
fits, each of which stops at the lowest loss of the rows that it holds out; then the network is fitted to all training
rows. Where the user's split has a dev part, its rows stop the only fit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32, I64
from layerwise.heads.gradient import fit
from layerwise.heads.head import Fitted, apply
from layerwise.heads.loop_tasks import LoopOptions, LoopTask
from layerwise.heads.mixing import input_width, read_planes, standardise
from layerwise.heads.solve import HIDDEN
from layerwise.labels.labelled import Mask
from layerwise.labels.scorers import Predicted
from layerwise.mixes import LayerStats, layer_stats
from layerwise.probing.candidates import Candidate
from layerwise.probing.design import OuterFit
from layerwise.probing.influence import CandidatePredictions
from layerwise.probing.run import ProbeRun

_TIMED = 2  # epochs that are timed for an estimate
_USUAL = 30  # epochs that a fit usually runs until its held-out loss stops falling


@dataclass(frozen=True, slots=True, eq=False)
class MlpScores:
    """Predictions of the networks, and the number of epochs of each outer fit."""

    predictions: CandidatePredictions
    epochs: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """A fitted network with the statistics of its training rows, by plane."""

    fitted: Fitted
    stats: tuple[LayerStats, ...]


def mlp_scores(run: ProbeRun, chosen: Sequence[Candidate], track: Tracker = SILENT) -> MlpScores:
    """Fit and score a network in each outer fit of the first repeat.

    Args:
        run: the problem and the design.
        chosen: the candidate of each of these outer fits.
        track: progress over the fits.
    """
    outers = run.design.outers[: len(chosen)]
    steps = track.each(outers, (f"network on {candidate.name}" for candidate in chosen))
    planes = _PlanesCache(run)
    predicted, held_out, epochs = [], [], []
    for number, (outer, part) in enumerate(steps):
        inner, outer_predicted, count = _OuterNetworks(run, planes, chosen[number], outer, part).fit()
        predicted.append(outer_predicted)
        held_out.append(inner)
        epochs.append(count)
    return MlpScores(CandidatePredictions(predicted, held_out), tuple(epochs))


def mlp_seconds(run: ProbeRun, candidate: Candidate) -> float:
    """Return about how many seconds the networks take, from two epochs of one inner fit on a candidate."""
    outers = [outer for outer in run.design.outers if outer.repeat == 0]
    number, rows = outers[0].inner[0]
    networks = _OuterNetworks(run, _PlanesCache(run), candidate, outers[0], SILENT)
    start = time.perf_counter()
    networks.network(number, rows, _TIMED, SILENT)
    per_row = (time.perf_counter() - start) / _TIMED / float((run.design.fits.train[number] > 0).sum())
    fits = {fit for outer in outers for fit in (outer.fit, *(fit for fit, _ in outer.inner))}
    return per_row * _USUAL * float((run.design.fits.train[sorted(fits)] > 0).sum())


def mlp_parameters(candidate: Candidate, run: ProbeRun) -> int:
    """Return how many numbers the network on a candidate trains: weights, biases, and a learned mix with its scale."""
    mix, outputs = candidate.mix, run.problem.count
    inputs = input_width(mix, run.dataset.widths, run.problem.labelled.rows.ndim == 2)
    layers = len(mix.layers) + 1 if mix.how == "learned" and len(mix.layers) > 1 else 0
    return (inputs + 1) * HIDDEN + (HIDDEN + 1) * outputs + layers


class _PlanesCache:
    """Reads the planes of candidates; those of the last one are kept, unless they depend on the training rows."""

    def __init__(self, run: ProbeRun) -> None:
        self._run = run
        self._name: str | None = None
        self._planes: list[F32] = []

    def planes(self, candidate: Candidate, train: Mask) -> list[F32]:
        """Return the planes of a candidate, float32 (n, inputs) each, for these training rows, bool (n,)."""
        if candidate.mix.norm is None and candidate.name == self._name:
            return self._planes
        rows = self._run.problem.labelled.rows
        (planes,) = read_planes(self._run.dataset, rows, [candidate.mix], [train])
        self._name, self._planes = candidate.name, planes.arrays
        return self._planes


class _OuterNetworks:
    """The networks of one outer fit: those of its inner fits, and its own."""

    def __init__(
        self, run: ProbeRun, planes: _PlanesCache, candidate: Candidate, outer: OuterFit, track: Tracker
    ) -> None:
        self._run, self._planes, self._candidate, self._outer = run, planes, candidate, outer
        self._track = track

    def fit(self) -> tuple[list[Predicted], Predicted, int]:
        """Return the predictions of the rows that each inner fit holds out, those of the test rows, and the epochs."""
        outer, scorer = self._outer, self._run.scorer
        *inner_tracks, outer_track = self._track.split(*[2.0] * len(outer.inner), 3.0)
        held_out, epochs = [], []
        network = None
        for (number, rows), part in zip(outer.inner, inner_tracks, strict=True):
            network = self.network(number, rows, None, part)
            held_out.append(scorer.decide(self._values(network, number, rows), rows))
            epochs.append(max(1, network.fitted.epochs))
        count = max(1, round(float(np.median(epochs))))
        is_fitted = [number for number, _ in outer.inner] == [outer.fit]  # the dev part stopped it
        if network is None or not is_fitted:
            network = self.network(outer.fit, np.zeros(0, np.int64), count, outer_track)
        predicted = scorer.decide(self._values(network, outer.fit, outer.test), outer.test)
        return held_out, predicted, count

    def _train(self, number: int) -> Mask:
        return np.asarray(self._run.design.fits.train[number] > 0)

    def network(self, number: int, held_out: I64, epochs: int | None, track: Tracker) -> _Network:
        """Fit a network on a training set; the rows `held_out` stop it, or a number of epochs."""
        run, train = self._run, self._train(number)
        planes = self._planes.planes(self._candidate, train)
        stats = tuple(layer_stats([values[train]]) for values in planes)
        used = np.union1d(np.flatnonzero(train), held_out)
        seed = run.seed + number  # so that the variance of retraining has that of the initial weights
        options = LoopOptions(seed=seed) if epochs is None else LoopOptions(seed=seed, epochs=epochs)
        task = self._task(standardise([values[used] for values in planes], stats), used, train[used])
        return _Network(fit([task], np.isin(used, held_out), options, track)[0], stats)

    def _task(self, x: F32, used: I64, train: Mask) -> LoopTask:
        """Return the rows `used` (m,), with features `x` (planes, m, inputs), as a task; `train` (m,) are trained on."""
        fits = self._run.design.fits
        target = fits.targets[0][used]
        kind = "multilabel" if fits.several else "regress" if fits.count == 1 else "classify"
        weight = None
        if fits.balanced:
            counts = np.bincount(target[train], minlength=fits.count)
            weight = (train.sum() / (np.maximum(counts, 1) * (counts > 0).sum()))[target].astype(np.float32)
        learned = self._candidate.mix.how == "learned"
        return LoopTask(
            self._candidate.name,
            kind,
            x,
            target,
            fits.count,
            np.ones(len(used), bool),
            weight,
            learned,
            HIDDEN,
        )

    def _values(self, network: _Network, number: int, rows: I64) -> F32:
        """Return the values (K, m) of rows (m,): logarithms of probabilities, logits of labels, or numbers."""
        planes = self._planes.planes(self._candidate, self._train(number))
        scores = apply(network.fitted, standardise([values[rows] for values in planes], network.stats)).T
        fits = self._run.design.fits
        is_class = fits.count > 1 and not fits.several
        values: F32 = log_softmax(scores, axis=0).astype(np.float32) if is_class else scores
        return values
