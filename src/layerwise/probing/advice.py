"""The advice as text: the best candidate, the cheapest one that is nearly as good, and the score to expect."""

import numpy as np

from layerwise.choices import METRICS
from layerwise.probing.candidates import Candidate
from layerwise.probing.comparison import CandidateComparison
from layerwise.probing.results import Advice
from layerwise.results import Estimate


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
    lines = [_best_sentence(comparison, candidates, metric)]
    if cheap != best:
        lines.append(_cheapest_sentence(comparison, candidates, sizes, cheap, metric))
    else:
        lines.append("No cheaper candidate lies within one standard error of it (a rule of thumb).")
    lines.append(
        f"A candidate that this procedure chooses scores {METRICS[metric]} "
        f"{_interval(chosen.score, chosen.low, chosen.high)} on texts that weren't used for the choice."
    )
    if any(candidate.mix.how in ("mean", "sum") for candidate in candidates):
        lines.append("(mean and sum of the same layers are the same here, as features are standardised.)")
    return Advice(candidates[best].name, candidates[cheap].name, comparison.differs, " ".join(lines))


def _best_sentence(comparison: CandidateComparison, candidates: list[Candidate], metric: str) -> str:
    best = comparison.best
    name, score = candidates[best].name, comparison.scores[best]
    if len(candidates) == 1:
        return f"There is one candidate: {name}, {METRICS[metric]} {score:.3f}."
    if not comparison.differs:
        return _no_difference_sentence(comparison, candidates, metric)
    worse = [i for i in range(len(candidates)) if comparison.p[i] < 0.05]
    rivals = [i for i in range(len(candidates)) if i != best and i not in worse]
    text = f"Best: {name}, {METRICS[metric]} {score:.3f}"
    if not rivals:
        other_names = f"all {len(worse)} others" if len(worse) > 1 else "the other"
        return f"{text}; it differs significantly from {other_names}."
    names = ", ".join(candidates[i].name for i in rivals)
    return f"{text}; it differs significantly from {len(worse)} of the others, but not from {names}."


def _no_difference_sentence(comparison: CandidateComparison, candidates: list[Candidate], metric: str) -> str:
    best = comparison.best
    last = len(candidates) - 1 - int(comparison.scores[::-1].argmin())  # the last one if several are equal
    start = "No candidate differs significantly from the best on these texts"
    gap = comparison.scores[best] - comparison.scores[last]
    if gap == 0:
        return f"{start}: all have the same {METRICS[metric]}, {comparison.scores[best]:.3f}."
    interval = _interval(gap, comparison.low[last], comparison.high[last])
    return (
        f"{start}: the highest {METRICS[metric]} is {comparison.scores[best]:.3f} ({candidates[best].name}), the lowest "
        f"{comparison.scores[last]:.3f} ({candidates[last].name}), and the difference is {interval}, "
        "an interval that allows for the choice of the best. That doesn't show that they are equal; more texts "
        "may show a difference."
    )


def _cheapest_sentence(
    comparison: CandidateComparison, candidates: list[Candidate], sizes: list[int], cheap: int, metric: str
) -> str:
    best = comparison.best
    gap = comparison.scores[best] - comparison.scores[cheap]
    candidate, best_candidate = candidates[cheap], candidates[best]
    interval = _interval(gap, comparison.low[cheap], comparison.high[cheap])
    savings = []
    if candidate.cost < best_candidate.cost:
        savings.append(f"{candidate.cost:.0%} of the forward instead of {best_candidate.cost:.0%}")
    if sizes[cheap] < sizes[best]:
        savings.append(f"{sizes[cheap]:,} bytes per row instead of {sizes[best]:,}")
    return (
        f"Cheapest within one standard error of it (a rule of thumb): {candidate.name}, "
        f"{METRICS[metric]} {comparison.scores[cheap]:.3f}, lower by {interval}; "
        f"it needs {' and '.join(savings)}."
    )


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
        return f"{score:.3f}"
    return f"{score:.3f} (95%: {low:.3f} to {high:.3f})"
