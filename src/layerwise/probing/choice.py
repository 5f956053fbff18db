"""Choose C for each outer fit of one candidate, from the scores of its inner fits at each C."""

from dataclasses import dataclass, field

import numpy as np

from layerwise.array_types import F32, F64, I64
from layerwise.labels.scorers import Predicted, Scorer
from layerwise.probing.design import Design


@dataclass(slots=True, eq=False)
class _SolutionSum:
    """The sum of the solutions of the inner fits of an outer fit at one C, and their number."""

    c_index: int
    total: F32
    count: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class _InnerFit:
    """An inner fit, and its predictions of the rows that it holds out, at the Cs that its path has reached in turn."""

    fit: int
    rows: I64
    predicted: list[Predicted] = field(default_factory=list)


class ChoiceOfC:
    """The inner fits of one candidate: their predictions, the scores of each C, and their mean solution at the best C.

    The solutions are apart for each outer fit, as the inner fits of others were trained on rows that it is tested on.
    """

    def __init__(self, design: Design, scorer: Scorer, count: int) -> None:
        """Begin without predictions; `count` is the number of Cs."""
        self._scorer = scorer
        self._inner = [[_InnerFit(fit, rows) for fit, rows in outer.inner] for outer in design.outers]
        self._by_fit: dict[int, list[tuple[int, _InnerFit]]] = {}
        for number, inner_fits in enumerate(self._inner):
            for inner in inner_fits:
                self._by_fit.setdefault(inner.fit, []).append((number, inner))
        # -inf where no inner fit is solved yet.
        self._scores = np.full((len(design.outers), count), -np.inf)
        # By outer fit: the sums at the best C that is complete, and at the C that its paths are at.
        self._best: dict[int, _SolutionSum] = {}
        self._last: dict[int, _SolutionSum] = {}

    @property
    def fits(self) -> list[int]:
        """The numbers of the inner fits, ascending."""
        return sorted(self._by_fit)

    def add(self, fit: int, c_index: int, values: F32, parameters: F32) -> None:
        """Take the scores of all rows (K, n) by an inner fit at the next C of its path, and its solution (size,)."""
        for number, inner in self._by_fit.get(fit, ()):
            predicted = self._scorer.decide(values[:, inner.rows], inner.rows)
            inner.predicted.append(predicted)
            score = self._scorer.score(predicted, inner.rows) / len(self._inner[number])
            before = self._scores[number, c_index]
            self._scores[number, c_index] = score + (before if np.isfinite(before) else 0.0)
            self._add_solution(number, c_index, parameters)

    def _add_solution(self, number: int, c_index: int, parameters: F32) -> None:
        last = self._last.get(number)
        if last is None or last.c_index != c_index:
            self._settle(number)
            self._last[number] = _SolutionSum(c_index, parameters.copy())
        else:
            last.total += parameters
            last.count += 1

    def _settle(self, number: int) -> None:
        """Keep the solutions at the last C if it is better than those before; of equal ones the first is the best."""
        last, best = self._last.get(number), self._best.get(number)
        curve = self._scores[number]
        if last is not None and (best is None or curve[last.c_index] > curve[best.c_index]):
            self._best[number] = last

    def may_stop(self, number: int) -> bool:
        """Return whether the paths of the inner fits of an outer fit may end.

        They may if weaker regularisation was worse twice in a row, or once by more than 0.5 / √rows, the largest
        standard error of a share of that many rows.
        """
        curve = self._scores[number][np.isfinite(self._scores[number])]
        rows = sum(len(inner.rows) for inner in self._inner[number])
        drop = curve.max() - curve
        return len(curve) > 1 and bool(drop[-1] > 0.5 / rows**0.5 or (drop[-2:] > 0).all())

    def curve(self, number: int) -> F64:
        """Return the mean inner scores (Cs,) of an outer fit at each C; -inf for Cs that its paths haven't reached."""
        scores: F64 = self._scores[number]
        return scores

    def start(self, number: int) -> F32:
        """Return the mean solution (size,) of the inner fits of an outer fit at the best C, from which it starts."""
        self._settle(number)
        solutions = self._best[number]
        return (solutions.total / solutions.count).astype(np.float32)

    def held_out(self, number: int, c_index: int) -> list[Predicted]:
        """Return the predictions of the rows that each inner fit of an outer fit holds out, at a C."""
        return [inner.predicted[c_index] for inner in self._inner[number]]
