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
    values = {"mix": best, "metric": metric, "score": fixed(gap.baseline)}
    if gap.low > 0:
        return Message("advise.vectors.beaten", lead=interval_of(gap), **values)
    if gap.high < 0:
        return Message("advise.vectors.higher", behind=interval_of(gap.reversed()), **values)
    return Message("advise.vectors.undecided", best=fixed(gap.score), lead=interval_of(gap), **values)


def mlp_sentence(mlp: MlpResult, metric: str) -> Message:
    """Return what a small network adds to the linear classifier."""
    mixes = [short_mix(mix) for mix in dict.fromkeys(mlp.mixes)]
    gap = mlp.difference
    values: dict[str, Value] = {
        "metric": metric,
        "hidden": mlp.hidden,
        "score": fixed(mlp.score),
        "linear": fixed(mlp.linear.score),
        "gap": difference_with_interval(gap.score, gap.low, gap.high),
    }
    if is_above(gap):
        return Message("advise.mlp.adds", mixes=mixes, **values)
    is_below = gap.high is not None and gap.high < 0
    return Message("advise.mlp.loses" if is_below else "advise.mlp.undecided", mixes=mixes, **values)


def expected_sentence(expected: ExpectedLayer, metric: str) -> Message:
    """Return at which layer the label is resolved, or that no layer can be named."""
    first, last, gain = expected.cumulative[0].layer, expected.cumulative[-1].layer, expected.gain
    values = {
        "metric": metric,
        "first": first,
        "last": last,
        "gain": difference_with_interval(gain.score, gain.low, gain.high),
    }
    if expected.value is None:
        return Message("advise.expected.none", **values)
    layer = with_interval(expected.value, expected.low, expected.high, 1)
    return Message("advise.expected", layer=layer, **values)


def is_above(estimate: Estimate) -> bool:
    """Return whether an interval lies above 0."""
    return estimate.low is not None and estimate.low > 0


def interval_of(gap: Lead) -> Message:
    """Return a lead with its interval, or why it has none."""
    return difference_with_interval(gap.difference, gap.low, gap.high)


def has_interval(low: float | None, high: float | None) -> bool:
    """Return whether an interval has two ends."""
    return low is not None and high is not None and bool(np.isfinite([low, high]).all())


def with_interval(score: float, low: float | None, high: float | None, digits: int | None = None) -> Message:
    """Return a score with its interval, or why it has none; with the digits of `wording.digits` by default."""
    return _with_interval("interval.none", score, low, high, digits)


def difference_with_interval(score: float, low: float | None, high: float | None) -> Message:
    """Return a difference of two scores with its interval, or why it has none."""
    return _with_interval("interval.none.difference", score, low, high)


def _with_interval(
    without: str, score: float, low: float | None, high: float | None, digits: int | None = None
) -> Message:
    if low is None or high is None or not has_interval(low, high):
        return Message(without, score=fixed(score, digits))
    return Message(
        "interval.of", score=fixed(score, digits), low=fixed(low, digits), high=fixed(high, digits)
    )
