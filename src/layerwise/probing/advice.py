"""The advice in words: the best, the cheapest that is nearly as good, and what following it earns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerwise.probing.candidates import Candidate
from layerwise.probing.results import Advice, Estimate

F64 = NDArray[np.float64]
NAMES = {"accuracy": "accuracy", "r2": "R²", "span_f1": "strict span F1"}


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """All candidates against each other.

    `scores` (C,); `p` (C, C) adjusted over all pairs; `error` (C, C) the standard error of each difference;
    `low` and `high` (C, C) its 95% interval, of the row's score less the column's; `critical` errors to both
    sides make one that holds for all pairs at once; `corrected` tells whether errors are those of Nadeau and Bengio.
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
        lines.append(f"No cheaper candidate lies within one {_error(found)} of it (a rule of thumb).")
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
    if len(candidates) == 1:
        return f"There is one candidate: {name}, {NAMES[metric]} {score:.3f}."
    if not found.differs:
        return _nothing_differs(found, candidates, metric)
    worse = [i for i in range(len(candidates)) if found.p[best, i] < 0.05]
    rivals = [i for i in range(len(candidates)) if i != best and i not in worse]
    text = f"Best: {name}, {NAMES[metric]} {score:.3f}"
    if not rivals:
        others = f"all {len(worse)} others" if len(worse) > 1 else "the other"
        return f"{text}; it can be told apart from {others}."
    names = ", ".join(candidates[i].name for i in rivals)
    if worse:
        return f"{text}; it can be told apart from {len(worse)} of the others, and not from {names}."
    one, other = np.unravel_index(int(np.nanargmin(found.p)), found.p.shape)
    return (
        f"Highest: {name}, {NAMES[metric]} {score:.3f}, but it can't be told apart from any other; "
        f"{candidates[one].name} and {candidates[other].name} can be from each other."
    )


def _nothing_differs(found: Compared, candidates: list[Candidate], metric: str) -> str:
    best = found.best
    last = len(candidates) - 1 - int(found.scores[::-1].argmin())  # of equals the last
    start = "No candidate can be told apart from another with these texts"
    gap, half = found.scores[best] - found.scores[last], found.critical * found.error[best, last]
    if gap == 0:
        return f"{start}: all have the same {NAMES[metric]}, {found.scores[best]:.3f}."
    return (
        f"{start}: the highest {NAMES[metric]} is {found.scores[best]:.3f} ({candidates[best].name}), the lowest "
        f"{found.scores[last]:.3f} ({candidates[last].name}), and the difference is {_interval(gap, gap - half, gap + half)}, "
        "an interval that allows for all pairs that were compared. That doesn't show that they are equal; more texts "
        "may tell them apart."
    )


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
        f"Cheapest within one {_error(found)} of it (a rule of thumb): {one.name}, "
        f"{NAMES[metric]} {found.scores[cheap]:.3f}, lower by {_interval(gap, found.low[best, cheap], found.high[best, cheap])}; "
        f"it needs {' and '.join(saved)}."
    )


def _error(found: Compared) -> str:
    return "corrected standard error" if found.corrected else "standard error"


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
