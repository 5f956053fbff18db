"""The layer at which a label is resolved, from the scores of learned mixes of the first layers.

With S(l) the score of a learned mix of the layers up to l, and D(l) = S(l) - S(l - 1) what layer l adds, the expected
layer is the sum of l D(l) divided by the sum of D(l), over all layers but the first. Source: Tenney, Das and Pavlick,
"BERT Rediscovers the Classical NLP Pipeline", ACL 2019, section 3.2 (cumulative scoring); it isn't the centre of gravity
of the weights of one mix, which is another of their measures.

The interval is Fieller's (1954): all e for which the sum of (l - e) D(l) isn't significantly different from 0. It needs no
normal quotient, and has no end where the sum of D(l) is noise; then no layer is named. The covariance of the scores is that
of influence values, over samples of rows and over retraining, as for all scores of a probe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.layers import depth
from layerwise.mixes import Mix
from layerwise.probing.bounded import WIDEST, clipped_difference
from layerwise.probing.candidates import Candidate, fitter, time_of
from layerwise.probing.comparison import LEVEL, retraining_weight
from layerwise.probing.design import Design
from layerwise.probing.evaluate import CandidateEvaluation
from layerwise.probing.influence import CandidatePredictions, Influence
from layerwise.probing.results import CumulativeScore, ExpectedLayer
from layerwise.probing.run import ProbeRun
from layerwise.results import Estimate
from layerwise.states import Layered


def cumulative_mixes(dataset: Layered) -> list[Candidate]:
    """Return the first stored layer, and the learned mixes of the first two, three, … layers.

    Raises:
        RequestError: fewer than two layers are stored.
    """
    layers = [name for name in dataset.layers if name == "emb" or name.isdecimal()]
    if len(layers) < 2:
        raise RequestError(
            f"{argument('expected_layer')} compares mixes of more and more layers, and the dataset has only "
            f"{', '.join(layers) or 'none'}; extract all layers, or leave it out"
        )
    mixes = [Mix("layer", (layers[0],))]
    mixes += [Mix("learned", tuple(layers[:count])) for count in range(2, len(layers) + 1)]
    return [Candidate(str(mix), mix, dataset.blocks) for mix in mixes]


def first_repeat(design: Design) -> Design:
    """Return the outer and inner fits of the first repeat alone, without control tasks and codes."""
    outers = tuple(outer for outer in design.outers if outer.repeat == 0)
    return replace(design, outers=outers).scored_only()


def expected_layer_time(run: ProbeRun, cumulative: Sequence[Candidate], scored: Sequence[Candidate]) -> float:
    """Return about how long the fits take, relative to a layer of medium depth on the whole design.

    Mixes that are among the candidates `scored` aren't fitted again.
    """
    design = run.design
    share = float(first_repeat(design).fits.train.sum()) / float(design.fits.train.sum())
    fitted = {candidate.mix for candidate in scored}
    return share * sum(time_of(candidate) for candidate in cumulative if candidate.mix not in fitted)


def expected_layer(
    run: ProbeRun,
    cumulative: Sequence[Candidate],
    fitted: Mapping[Mix, CandidatePredictions],
    track: Tracker,
) -> ExpectedLayer:
    """Score the cumulative mixes on the folds of the first repeat, and return the expected layer.

    Args:
        run: the problem and the design.
        cumulative: see `cumulative_mixes`.
        fitted: predictions of mixes that were fitted before.
        track: progress over the mixes.
    """
    design = first_repeat(run.design)
    count = len(design.outers)
    predictions = []
    steps = track.each(
        cumulative,
        (f"cumulative mix up to {candidate.mix.layers[-1]}" for candidate in cumulative),
        [time_of(candidate) for candidate in cumulative],
    )
    for candidate, part in steps:
        scored = fitted.get(candidate.mix)
        if scored is None:
            solver = fitter(run.dataset, run.problem.labelled.rows, candidate)
            scored = CandidateEvaluation(design, run.scorer).run(solver, part).predictions
        predictions.append(CandidatePredictions(scored.predicted[:count], scored.held_out[:count]))
    depths = [depth(candidate.mix.layers[-1]) for candidate in cumulative]
    return _result(cumulative, depths, run.influence(predictions), run.estimates(predictions))


def _result(
    cumulative: Sequence[Candidate],
    depths: Sequence[int],
    influence: Influence,
    estimates: Sequence[Estimate],
) -> ExpectedLayer:
    covariance = (
        influence.sampling_covariance()
        + retraining_weight(influence.repeats) * influence.retraining_covariance()
    )
    degrees = float(influence.degrees(influence.values[-1] - influence.values[0]))
    value, low, high, gain = fieller(np.array(depths, float), influence.scores, covariance, degrees)
    if gain.low is not None and gain.high is not None:
        ends = clipped_difference(gain.low, gain.high, influence.metric)
        gain = Estimate(gain.score, *map(float, ends))
    gains: list[float | None] = [None, *np.diff(influence.scores).tolist()]
    scores = tuple(
        CumulativeScore(candidate.mix.layers[-1], candidate.name, e.score, e.low, e.high, layer_gain)
        for candidate, e, layer_gain in zip(cumulative, estimates, gains, strict=True)
    )
    return ExpectedLayer(value, low, high, gain, scores)


def fieller(
    depths: F64, scores: F64, covariance: F64, degrees: float
) -> tuple[float | None, float | None, float | None, Estimate]:
    """Return the expected layer, the ends of its interval, and what all layers add to the first one.

    The layer and its interval are `None` where the interval of this gain isn't above 0, and this interval has no ends where it
    would say nothing.

    Args:
        depths: (C,), ascending, the last layer of each cumulative mix.
        scores: (C,), their scores.
        covariance: (C, C), of the scores.
        degrees: degrees of freedom of a t.
    """
    differences = np.diff(np.eye(len(depths)), axis=0)
    weighted, total = depths[1:] @ differences, differences.sum(axis=0)
    numerator, gain = float(weighted @ scores), float(total @ scores)
    if not np.isfinite(covariance).all():
        return None, None, None, Estimate(gain, None, None)
    square = float(special.stdtrit(degrees, (1 - LEVEL) / 2)) ** 2
    half = float(np.sqrt(square * max(total @ covariance @ total, 0.0)))
    if half > WIDEST:
        return None, None, None, Estimate(gain, None, None)
    interval = Estimate(gain, gain - half, gain + half)
    if not gain - half > 0:
        return None, None, None, interval
    a = gain**2 - square * float(total @ covariance @ total)
    b = numerator * gain - square * float(weighted @ covariance @ total)
    c = numerator**2 - square * float(weighted @ covariance @ weighted)
    root = float(np.sqrt(max(b * b - a * c, 0.0)))
    return numerator / gain, (b - root) / a, (b + root) / a, interval
