"""The advice in words: the best, the cheapest that is nearly as good, and what following it earns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerwise.look.candidates import Candidate
from layerwise.look.results import Advice, Estimate

F64 = NDArray[np.float64]
NAMES = {"accuracy": "accuracy", "r2": "R²", "span_f1": "strict span F1"}


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """All candidates against each other.

    `scores` (C,); `p` (C, C) adjusted over all pairs; `error` (C, C) the standard error of each difference;
    `low` and `high` (C, C) its 95% interval, of the row's score less the column's.
    """

    scores: F64
    p: F64
    error: F64
    low: F64
    high: F64

    @property
    def best(self) -> int:
        """The candidate with the highest score; of equals the first."""
        return int(self.scores.argmax())

    @property
    def differs(self) -> bool:
        """Whether any two can be told apart."""
        return bool((self.p < 0.05).any())


def advise(
    found: Compared, candidates: list[Candidate], sizes: list[int], chosen: Estimate, metric: str
) -> Advice:
    """Return the advice; `sizes` are bytes per row."""
    best = found.best
    cheap = _cheapest(found, candidates, sizes)
    lines = [_first(found, candidates, metric)]
    if cheap != best:
        lines.append(_saving(found, candidates, sizes, cheap, metric))
    else:
        lines.append("No cheaper candidate lies within one corrected standard error of it (a rule of thumb).")
    lines.append(
        f"Choosing by this procedure earns {NAMES[metric]} {_interval(chosen.score, chosen.low, chosen.high)} "
        "on texts that had no part in the choice."
    )
    if any(one.mix.how in ("mean", "sum") for one in candidates):
        lines.append("(mean and sum of the same layers are the same here, as features are standardised.)")
    return Advice(candidates[best].name, candidates[cheap].name, found.differs, " ".join(lines))


def _first(found: Compared, candidates: list[Candidate], metric: str) -> str:
    best = found.best
    name, score = candidates[best].name, found.scores[best]
    if not found.differs:
        other = int(found.scores.argmin())
        gap = found.scores[best] - found.scores[other]
        return (
            f"No candidate can be told apart from another with these texts: the highest {NAMES[metric]} is "
            f"{score:.3f} ({name}), the lowest {found.scores[other]:.3f} ({candidates[other].name}), and the "
            f"difference is {_interval(gap, found.low[best, other], found.high[best, other])}. That doesn't show that "
            "they are equal; more texts may tell them apart."
        )
    rivals = [i for i in range(len(candidates)) if i != best and not found.p[best, i] < 0.05]
    worse = len(candidates) - 1 - len(rivals)
    text = f"Best: {name}, {NAMES[metric]} {score:.3f}"
    if rivals:
        names = ", ".join(candidates[i].name for i in rivals)
        return f"{text}; it can be told apart from {worse} of the others, and not from {names}."
    return f"{text}; it can be told apart from all {worse} others."


def _saving(found: Compared, candidates: list[Candidate], sizes: list[int], cheap: int, metric: str) -> str:
    best = found.best
    gap = found.scores[best] - found.scores[cheap]
    one, top = candidates[cheap], candidates[best]
    saved = []
    if one.cost < top.cost:
        saved.append(f"{one.cost:.0%} of the forward instead of {top.cost:.0%}")
    if sizes[cheap] < sizes[best]:
        saved.append(f"{sizes[cheap]:,} bytes per row instead of {sizes[best]:,}")
    return (
        f"Cheapest within one corrected standard error of it (a rule of thumb): {one.name}, "
        f"{NAMES[metric]} {found.scores[cheap]:.3f}, lower by {_interval(gap, found.low[best, cheap], found.high[best, cheap])}; "
        f"it needs {' and '.join(saved)}."
    )


def _cheapest(found: Compared, candidates: list[Candidate], sizes: list[int]) -> int:
    best = found.best
    near = [
        i
        for i in range(len(candidates))
        if i == best or found.scores[best] - found.scores[i] < found.error[best, i]
    ]
    cheapest = min(near, key=lambda i: (candidates[i].cost, sizes[i], -found.scores[i]))
    here = (candidates[cheapest].cost, sizes[cheapest])
    return cheapest if here < (candidates[best].cost, sizes[best]) else best


def _interval(score: float, low: float | None, high: float | None) -> str:
    if low is None or high is None or not np.isfinite([low, high]).all():
        return f"{score:.3f}"
    return f"{score:.3f} (95%: {low:.3f} to {high:.3f})"
