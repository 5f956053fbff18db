"""The advice as text: the best candidate, the cheapest one that is nearly as good, and the score to expect."""

import numpy as np

from layerwise.probing.candidates import Candidate
from layerwise.probing.comparison import CandidateComparison
from layerwise.probing.results import Advice
from layerwise.results import Estimate
from layerwise.wording import Message, fixed, name_of, percent


def advise(
    comparison: CandidateComparison,
    candidates: list[Candidate],
    sizes: list[int],
    chosen: Estimate,
    metric: str,
) -> Advice:
    """Return the advice; `sizes` are the bytes per row of each candidate."""
    best = comparison.best
    cheap = _cheapest(comparison, candidates, sizes)
    metric_name = name_of("metric", metric)
    messages = [_best_sentence(comparison, candidates, metric_name)]
    if cheap != best:
        messages.append(_cheapest_sentence(comparison, candidates, sizes, cheap, metric_name))
    else:
        messages.append(Message("advise.cheapest.none"))
    expected = _interval(chosen.score, chosen.low, chosen.high)
    messages.append(Message("advise.expect", metric=metric_name, score=expected))
    if any(candidate.mix.how in ("mean", "sum") for candidate in candidates):
        messages.append(Message("advise.mean.sum"))
    return Advice(candidates[best].name, candidates[cheap].name, comparison.differs, tuple(messages))


def _best_sentence(comparison: CandidateComparison, candidates: list[Candidate], metric: str) -> Message:
    best = comparison.best
    values = {"mix": candidates[best].short_name, "metric": metric, "score": fixed(comparison.scores[best])}
    if len(candidates) == 1:
        return Message("advise.single", **values)
    if not comparison.differs:
        return _no_difference_sentence(comparison, candidates, metric)
    worse = [i for i in range(len(candidates)) if comparison.p[i] < 0.05]
    rivals = [i for i in range(len(candidates)) if i != best and i not in worse]
    if not rivals:
        return Message("advise.best.all", n=len(worse), **values)
    names = [candidates[i].short_name for i in rivals]
    return Message("advise.best.some", n=len(worse), mixes=names, **values)


def _no_difference_sentence(
    comparison: CandidateComparison, candidates: list[Candidate], metric: str
) -> Message:
    best = comparison.best
    last = len(candidates) - 1 - int(comparison.scores[::-1].argmin())  # the last one if several are equal
    gap = comparison.scores[best] - comparison.scores[last]
    if gap == 0:
        return Message("advise.equal", metric=metric, score=fixed(comparison.scores[best]))
    return Message(
        "advise.undecided",
        metric=metric,
        mix=candidates[best].short_name,
        score=fixed(comparison.scores[best]),
        lowest=candidates[last].short_name,
        low=fixed(comparison.scores[last]),
        gap=_interval(gap, comparison.low[last], comparison.high[last]),
    )


def _cheapest_sentence(
    comparison: CandidateComparison, candidates: list[Candidate], sizes: list[int], cheap: int, metric: str
) -> Message:
    best = comparison.best
    gap = comparison.scores[best] - comparison.scores[cheap]
    return Message(
        "advise.cheapest",
        mix=candidates[cheap].short_name,
        metric=metric,
        score=fixed(comparison.scores[cheap]),
        gap=_interval(gap, comparison.low[cheap], comparison.high[cheap]),
        savings=_savings(candidates[cheap].cost, candidates[best].cost, sizes[cheap], sizes[best]),
    )


def _savings(cost: float, best_cost: float, size: int, best_size: int) -> Message:
    forward = Message("advise.saving.forward", share=percent(cost), of=percent(best_cost))
    bytes_per_row = Message("advise.saving.bytes", size=size, of=best_size)
    if cost < best_cost and size < best_size:
        return Message("advise.saving.both", forward=forward, bytes=bytes_per_row)
    return forward if cost < best_cost else bytes_per_row


def _cheapest(comparison: CandidateComparison, candidates: list[Candidate], sizes: list[int]) -> int:
    best = comparison.best
    near = [
        i
        for i in range(len(candidates))
        if i == best or comparison.scores[best] - comparison.scores[i] < comparison.error[i]
    ]
    cheapest = min(near, key=lambda i: (candidates[i].cost, sizes[i], -comparison.scores[i]))
    cost = (candidates[cheapest].cost, sizes[cheapest])
    return cheapest if cost < (candidates[best].cost, sizes[best]) else best


def _interval(score: float, low: float | None, high: float | None) -> str:
    if low is None or high is None or not np.isfinite([low, high]).all():
        return fixed(score)
    return Message("interval.of", score=fixed(score), low=fixed(low), high=fixed(high))
