"""The advice as text: the best candidate, the cheapest one that is nearly as good, and the score to expect."""

from dataclasses import dataclass

import numpy as np

from layerwise.array_types import F64
from layerwise.probing.candidates import Candidate
from layerwise.probing.results import Advice
from layerwise.results import Estimate
from layerwise.wording import Message, fixed, name_of, percent


@dataclass(frozen=True, slots=True, eq=False)
class CandidateComparison:
    """Comparison of all C candidates with each other.

    `scores` (C,); `p` (C, C) p-values adjusted over all pairs; `error` (C, C) standard error of each difference;
    `low` and `high` (C, C) ends of the 95% interval of the row's score minus the column's; difference ± `critical`
    errors is an interval that holds for all pairs at once; `corrected`: errors are those of Nadeau and Bengio.
    """

    scores: F64
    p: F64
    error: F64
    low: F64
    high: F64
    critical: float
    corrected: bool

    @property
    def best(self) -> int:
        """Position of the candidate with the highest score; the first one if several are equal."""
        return int(self.scores.argmax())

    @property
    def differs(self) -> bool:
        """Whether any two candidates differ significantly (adjusted p below 0.05)."""
        return bool((self.p < 0.05).any())


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
        messages.append(Message("advise.cheapest.none", error=_error_name(comparison)))
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
    worse = [i for i in range(len(candidates)) if comparison.p[best, i] < 0.05]
    rivals = [i for i in range(len(candidates)) if i != best and i not in worse]
    if not rivals:
        return Message("advise.best.all", n=len(worse), **values)
    if worse:
        names = [candidates[i].short_name for i in rivals]
        return Message("advise.best.some", n=len(worse), mixes=names, **values)
    first, second = np.unravel_index(int(np.nanargmin(comparison.p)), comparison.p.shape)
    pair = {"first": candidates[first].short_name, "second": candidates[second].short_name}
    return Message("advise.highest", **values, **pair)


def _no_difference_sentence(
    comparison: CandidateComparison, candidates: list[Candidate], metric: str
) -> Message:
    best = comparison.best
    last = len(candidates) - 1 - int(comparison.scores[::-1].argmin())  # the last one if several are equal
    gap = comparison.scores[best] - comparison.scores[last]
    half = comparison.critical * comparison.error[best, last]
    if gap == 0:
        return Message("advise.equal", metric=metric, score=fixed(comparison.scores[best]))
    return Message(
        "advise.undecided",
        metric=metric,
        mix=candidates[best].short_name,
        score=fixed(comparison.scores[best]),
        lowest=candidates[last].short_name,
        low=fixed(comparison.scores[last]),
        gap=_interval(gap, gap - half, gap + half),
    )


def _cheapest_sentence(
    comparison: CandidateComparison, candidates: list[Candidate], sizes: list[int], cheap: int, metric: str
) -> Message:
    best = comparison.best
    gap = comparison.scores[best] - comparison.scores[cheap]
    return Message(
        "advise.cheapest",
        error=_error_name(comparison),
        mix=candidates[cheap].short_name,
        metric=metric,
        score=fixed(comparison.scores[cheap]),
        gap=_interval(gap, comparison.low[best, cheap], comparison.high[best, cheap]),
        savings=_savings(candidates[cheap].cost, candidates[best].cost, sizes[cheap], sizes[best]),
    )


def _savings(cost: float, best_cost: float, size: int, best_size: int) -> Message:
    forward = Message("advise.saving.forward", share=percent(cost), of=percent(best_cost))
    bytes_per_row = Message("advise.saving.bytes", size=size, of=best_size)
    if cost < best_cost and size < best_size:
        return Message("advise.saving.both", forward=forward, bytes=bytes_per_row)
    return forward if cost < best_cost else bytes_per_row


def _error_name(comparison: CandidateComparison) -> Message:
    return Message("advise.error.corrected" if comparison.corrected else "advise.error")


def _cheapest(comparison: CandidateComparison, candidates: list[Candidate], sizes: list[int]) -> int:
    best = comparison.best
    near = [
        i
        for i in range(len(candidates))
        if i == best or comparison.scores[best] - comparison.scores[i] < comparison.error[best, i]
    ]
    cheapest = min(near, key=lambda i: (candidates[i].cost, sizes[i], -comparison.scores[i]))
    cost = (candidates[cheapest].cost, sizes[cheapest])
    return cheapest if cost < (candidates[best].cost, sizes[best]) else best


def _interval(score: float, low: float | None, high: float | None) -> str:
    if low is None or high is None or not np.isfinite([low, high]).all():
        return fixed(score)
    return Message("interval.of", score=fixed(score), low=fixed(low), high=fixed(high))
