"""The advice as text: what the candidates add to the baselines, which to take, what it costs, and how sure that is."""

from dataclasses import dataclass

import numpy as np

from layerwise.probing.advice_extras import (
    difference_with_interval,
    expected_sentence,
    has_interval,
    interval_of,
    mlp_sentence,
    vectors_sentence,
    with_interval,
)
from layerwise.probing.candidates import Candidate
from layerwise.probing.comparison import CandidateComparison, Lead
from layerwise.probing.extras import ScoredExtras
from layerwise.probing.results import Advice
from layerwise.results import Estimate
from layerwise.wording import Message, Value, fixed, name_of, percent

AS_GOOD = 0.02  # largest loss that the interval of a cheaper candidate may allow for it to be called as good


@dataclass(frozen=True, slots=True)
class BaselineLeads:
    """Leads over the baselines.

    `majority`: of the best candidate over the most frequent class, or the mean; `words`: of the best candidate over a bag
    of words, `None` without one; `words_over_majority`: of the bag of words over the most frequent class; `mean`: whether
    `majority` is the mean of numbers; `vectors`: of the best candidate over static word vectors, `None` without them;
    `beyond_linear`: whether a small network is shown to score higher than the linear classifiers.
    """

    majority: Lead
    words: Lead | None = None
    words_over_majority: Lead | None = None
    mean: bool = False
    vectors: Lead | None = None
    beyond_linear: bool = False

    @property
    def baseline(self) -> Message:
        """The name of `majority` in a sentence."""
        return Message("advise.mean" if self.mean else "advise.majority")

    @property
    def needs_model(self) -> bool:
        """Whether the best candidate is shown to beat all baselines without a model that it is compared with."""
        return all(rival is None or rival.low > 0 for rival in (self.words, self.vectors))


def advise(
    comparison: CandidateComparison,
    candidates: list[Candidate],
    sizes: list[int],
    chosen: Estimate,
    leads: BaselineLeads,
    metric: str,
    imbalance: Message | None = None,
    extras: ScoredExtras | None = None,
    few_groups: Message | None = None,
) -> Advice:
    """Return the advice.

    Args:
        comparison: of all candidates with the best.
        candidates: the candidates.
        sizes: the bytes per row of each candidate.
        chosen: the score of the candidates that the inner folds choose.
        leads: what the best candidate adds to the baselines.
        metric: the name of the metric.
        imbalance: a sentence about uneven classes.
        extras: what was scored besides the candidates and the baselines.
        few_groups: a sentence, if rows are in too few groups to show any difference.
    """
    metric_name = name_of("metric", metric)
    best, cheap = comparison.best, _cheapest(comparison, candidates, sizes)
    is_recommended = leads.majority.low > 0
    messages = [_headline(candidates[best].short_name, leads, metric_name)]
    if leads.vectors is not None:
        messages.append(vectors_sentence(candidates[best].short_name, leads.vectors, metric_name))
    if is_recommended:
        take = Message("advise.take" if leads.needs_model else "advise.take.vectors")
        messages.append(_take_sentence(comparison, candidates, sizes, cheap, metric_name, take))
        if cheap == best or not comparison.high[cheap] <= AS_GOOD:
            messages += _as_good_sentence(comparison, candidates, sizes)
    messages += [imbalance] if imbalance is not None else []
    if is_recommended:
        expected = with_interval(chosen.score, chosen.low, chosen.high)
        messages.append(Message("advise.expect", metric=metric_name, score=expected))
        messages.append(_certainty(comparison, candidates, metric_name, few_groups))
    else:
        messages += _nothing_more(comparison, candidates, leads, metric_name, few_groups)
    if extras is not None and extras.mlp is not None:
        messages.append(mlp_sentence(extras.mlp, metric_name))
    if extras is not None and extras.expected is not None:
        messages.append(expected_sentence(extras.expected, metric_name))
    if is_recommended and any(candidate.mix.how in ("mean", "sum") for candidate in candidates):
        messages.append(Message("advise.mean.sum"))
    return Advice(
        candidates[best].name,
        candidates[cheap].name,
        comparison.differs,
        tuple(messages),
        is_recommended,
        is_recommended and leads.needs_model,
    )


def _headline(mix: str, leads: BaselineLeads, metric: str) -> Message:
    """Return whether the best candidate beats the baselines, with intervals."""
    majority, words = leads.majority, leads.words
    values: dict[str, str] = {
        "mix": mix,
        "metric": metric,
        "score": fixed(majority.score),
        "majority": leads.baseline,
        "lead": interval_of(majority),
    }
    if not majority.low > 0:
        key = "advise.beats.nothing.linear" if leads.beyond_linear else "advise.beats.nothing"
        return Message(key, floor=fixed(majority.baseline), **values)
    if words is None:
        return Message("advise.beats.majority", **values)
    if words.low > 0:
        return Message("advise.beats.both", above=interval_of(words), **values)
    values["words"] = fixed(words.baseline)
    if words.difference < 0:
        key = "advise.beats.words.higher" if words.high < 0 else "advise.beats.words.level"
        return Message(key, behind=interval_of(words.reversed()), **values)
    return Message("advise.beats.words.undecided", above=interval_of(words), **values)


def _nothing_more(
    comparison: CandidateComparison,
    candidates: list[Candidate],
    leads: BaselineLeads,
    metric: str,
    few_groups: Message | None,
) -> list[Message]:
    """Return the sentences that follow where no candidate is shown to beat the majority."""
    messages = []
    words = leads.words_over_majority
    if words is not None:
        key = "advise.words.only" if words.low > 0 else "advise.words.neither"
        values = {"metric": metric, "words": fixed(words.score), "lead": interval_of(words)}
        messages.append(Message(key, majority=leads.baseline, **values))
    if comparison.differs:
        messages.append(_certainty(comparison, candidates, metric, few_groups))
    return [*messages, few_groups or Message("advise.nothing.hedge")]


def _take_sentence(
    comparison: CandidateComparison,
    candidates: list[Candidate],
    sizes: list[int],
    cheap: int,
    metric: str,
    take: Message,
) -> Message:
    """Return which candidate to take; `take` begins the sentence."""
    best = comparison.best
    values = {"take": take, "mix": candidates[best].short_name, "metric": metric}
    cost: dict[str, Value] = {"share": percent(candidates[best].cost), "size": sizes[best]}
    if cheap == best:
        key = "advise.take.single" if len(candidates) == 1 else "advise.take.best"
        return Message(key, **values, **cost)
    gap = comparison.scores[best] - comparison.scores[cheap]
    values |= {
        "cheapest": candidates[cheap].short_name,
        "gap": difference_with_interval(gap, comparison.low[cheap], comparison.high[cheap]),
        "savings": _savings(candidates[cheap].cost, candidates[best].cost, sizes[cheap], sizes[best]),
    }
    if comparison.high[cheap] <= AS_GOOD:
        return Message("advise.take.as.good", margin=fixed(AS_GOOD, 2), **values)
    return Message("advise.take.either", score=fixed(comparison.scores[cheap]), **values, **cost)


def _as_good_sentence(
    comparison: CandidateComparison, candidates: list[Candidate], sizes: list[int]
) -> list[Message]:
    """Return that the cheapest candidate whose interval allows it is as good as the best; nothing without one."""
    best = comparison.best
    as_good = [
        i
        for i in range(len(candidates))
        if comparison.high[i] <= AS_GOOD
        and (candidates[i].cost, sizes[i]) < (candidates[best].cost, sizes[best])
    ]
    if not as_good:
        return []
    cheap = min(as_good, key=lambda i: (candidates[i].cost, sizes[i], -comparison.scores[i]))
    gap = comparison.scores[best] - comparison.scores[cheap]
    message = Message(
        "advise.as.good",
        cheapest=candidates[cheap].short_name,
        mix=candidates[best].short_name,
        margin=fixed(AS_GOOD, 2),
        gap=difference_with_interval(gap, comparison.low[cheap], comparison.high[cheap]),
        savings=_savings(candidates[cheap].cost, candidates[best].cost, sizes[cheap], sizes[best]),
    )
    return [message]


def _certainty(
    comparison: CandidateComparison, candidates: list[Candidate], metric: str, few_groups: Message | None
) -> Message:
    best = comparison.best
    mix = candidates[best].short_name
    if len(candidates) == 1:
        return Message("advise.single")
    if not comparison.differs:
        return _no_difference_sentence(comparison, candidates, metric, few_groups)
    worse = [i for i in range(len(candidates)) if comparison.p[i] < 0.05]
    rivals = [i for i in range(len(candidates)) if i != best and i not in worse]
    if not rivals:
        return Message("advise.best.all", n=len(worse), mix=mix)
    names = [candidates[i].short_name for i in rivals]
    return Message("advise.best.some", n=len(worse), mixes=names, mix=mix)


def _no_difference_sentence(
    comparison: CandidateComparison, candidates: list[Candidate], metric: str, few_groups: Message | None
) -> Message:
    best = comparison.best
    last = len(candidates) - 1 - int(comparison.scores[::-1].argmin())  # the last one if several are equal
    gap = comparison.scores[best] - comparison.scores[last]
    if gap == 0:
        return Message("advise.equal", metric=metric, score=fixed(comparison.scores[best]))
    is_open = not has_interval(comparison.low[last], comparison.high[last])
    return Message(
        "advise.undecided.open" if is_open else "advise.undecided",
        metric=metric,
        mix=candidates[best].short_name,
        score=fixed(comparison.scores[best]),
        lowest=candidates[last].short_name,
        low=fixed(comparison.scores[last]),
        gap=difference_with_interval(gap, comparison.low[last], comparison.high[last]),
        more=few_groups or Message("advise.undecided.rows"),
    )


def _savings(cost: float, best_cost: float, size: int, best_size: int) -> Message:
    forward = Message("advise.saving.forward", share=percent(cost), of=percent(best_cost))
    bytes_per_row = Message("advise.saving.bytes", size=size, of=best_size)
    if cost < best_cost and size < best_size:
        return Message("advise.saving.both", forward=forward, bytes=bytes_per_row)
    return forward if cost < best_cost else bytes_per_row


def _cheapest(comparison: CandidateComparison, candidates: list[Candidate], sizes: list[int]) -> int:
    """Return the cheapest candidate within one standard error of the best, of those whose difference has an interval."""
    best = comparison.best
    gaps = comparison.scores[best] - comparison.scores
    is_near = (gaps < comparison.error) & np.isfinite(comparison.low)
    near = [i for i in range(len(candidates)) if i == best or is_near[i]]
    cheapest = min(near, key=lambda i: (candidates[i].cost, sizes[i], -comparison.scores[i]))
    cost = (candidates[cheapest].cost, sizes[cheapest])
    return cheapest if cost < (candidates[best].cost, sizes[best]) else best
