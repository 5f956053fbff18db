"""Sentences of the advice on what a probe scores when it is asked to: word vectors, a small network, cumulative mixes."""

from __future__ import annotations

import numpy as np

from layerwise.layers import short_mix
from layerwise.probing.comparison import Lead
from layerwise.probing.results import ExpectedLayer, MlpResult
from layerwise.results import Estimate
from layerwise.wording import Message, Value, fixed


def vectors_sentence(best: str, gap: Lead, metric: str) -> Message:
    """Return whether the best candidate beats word vectors; `gap` is its lead over them."""
    values = {"mix": best, "metric": metric, "score": fixed(gap.baseline), "lead": interval_of(gap)}
    if gap.low > 0:
        return Message("advise.vectors.beaten", **values)
    return Message("advise.vectors.higher" if gap.high < 0 else "advise.vectors.undecided", **values)


def mlp_sentence(mlp: MlpResult, metric: str) -> Message:
    """Return what a small network adds to the linear classifier."""
    mixes = [short_mix(mix) for mix in dict.fromkeys(mlp.mixes)]
    gap = mlp.difference
    values: dict[str, Value] = {
        "metric": metric,
        "hidden": mlp.hidden,
        "score": fixed(mlp.score),
        "linear": fixed(mlp.linear.score),
        "gap": _of_estimate(gap),
    }
    if is_above(gap):
        return Message("advise.mlp.adds", mixes=mixes, **values)
    is_below = gap.high is not None and gap.high < 0
    return Message("advise.mlp.loses" if is_below else "advise.mlp.undecided", mixes=mixes, **values)


def expected_sentence(expected: ExpectedLayer, metric: str) -> Message:
    """Return at which layer the label is resolved, or that no layer can be named."""
    first, last = expected.cumulative[0].layer, expected.cumulative[-1].layer
    values = {"metric": metric, "first": first, "last": last, "gain": _of_estimate(expected.gain)}
    if expected.value is None:
        return Message("advise.expected.none", **values)
    layer = _of_estimate(Estimate(expected.value, expected.low, expected.high), 1)
    return Message("advise.expected", layer=layer, **values)


def is_above(estimate: Estimate) -> bool:
    """Return whether an interval lies above 0."""
    return estimate.low is not None and estimate.low > 0


def interval_of(gap: Lead) -> str:
    """Return a lead with its interval."""
    is_finite = np.isfinite([gap.low, gap.high]).all()
    ends = (gap.low, gap.high) if is_finite else (None, None)
    return _of_estimate(Estimate(gap.difference, *ends))


def _of_estimate(estimate: Estimate, digits: int = 3) -> str:
    if estimate.low is None or estimate.high is None:
        return fixed(estimate.score, digits)
    ends = {"low": fixed(estimate.low, digits), "high": fixed(estimate.high, digits)}
    return Message("interval.of", score=fixed(estimate.score, digits), **ends)
