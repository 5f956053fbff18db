"""One candidate through the whole design: predictions, choices, bits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.heads.linear import CS
from layerwise.probing.batched_solver import Began, Scores
from layerwise.probing.candidates import Fitter
from layerwise.probing.design import Block, Design
from layerwise.probing.scorers import F64, Judge, Predicted
from layerwise.states import F32, I64

_FIRST = 2  # the C of the first fitted block of an online code, which has no past to choose by


@dataclass(slots=True, eq=False)
class Evaluated:
    """What a candidate gets in each outer fit, by the C that its inner folds choose.

    Attributes:
        predicted: the predictions for each outer fit's test rows.
        chosen: the position of C.
        inner: the mean inner score of that C.
        control: the scores on the control task.
        bits: of each order of the online code, or none.
    """

    predicted: list[Predicted]
    chosen: list[int]
    inner: list[float]
    control: list[float]
    bits: list[float]
    Cs: tuple[float, ...] = CS


@dataclass(slots=True, eq=False)
class _Asked:
    """What is wanted of one fit: places where its inner scores, its predictions, its bits go."""

    inner: list[tuple[int, I64]] = field(default_factory=list)
    outer: list[int] = field(default_factory=list)
    block: list[tuple[int, int]] = field(default_factory=list)


class Evaluation:
    """Takes the scores of fits as the solver makes them, and keeps only what the design asks for."""

    def __init__(self, design: Design, judge: Judge) -> None:
        """Begin with nothing known."""
        self.design, self.judge, self.outers = design, judge, design.outers
        count = len(CS)
        self._inner = np.full((len(self.outers), count), -np.inf)  # not reached
        self._predicted: list[list[Predicted | None]] = [[None] * count for _ in self.outers]
        self._bits = [np.full((len(order), count), np.inf) for order in design.orders]
        self._asked = [_Asked() for _ in design.fits.train]
        # What decides, by the number of the family, how far its path goes.
        self._curves: dict[int, int] = {}
        self._codes: dict[int, F64] = {}
        self._ask()

    def _ask(self) -> None:
        """Note for each fit what its scores are wanted for."""
        family = self.design.fits.family.tolist()
        for number, outer in enumerate(self.outers):
            self._curves[family[outer.fit]] = number
            self._asked[outer.fit].outer.append(number)
            for fit, rows in outer.inner:
                self._asked[fit].inner.append((number, rows))
        for order, blocks in enumerate(self.design.orders):
            for place, block in enumerate(blocks):
                if block.fit is not None:
                    self._codes[family[block.fit]] = self._bits[order]
                    self._asked[block.fit].block.append((order, place))

    def over(self, family: int) -> bool:
        """Tell whether a path may end, for fits that are judged together.

        It may where weaker regularisation has been worse twice in a row, or once by more than an error that a
        share of so many rows can have; a code, whose length goes smoothly, where it has become longer.
        """
        if family in self._codes:
            bits = self._codes[family][1:].sum(axis=0)
            bits = bits[np.isfinite(bits)]
            return len(bits) > _FIRST and bool(bits[-1] > bits.min())
        number = self._curves[family]
        curve = self._inner[number][np.isfinite(self._inner[number])]
        rows = sum(len(rows) for _, rows in self.outers[number].inner)
        fell = curve.max() - curve
        return len(curve) > 1 and bool(fell[-1] > 0.5 / rows**0.5 or (fell[-2:] > 0).all())

    def began(self, track: Tracker) -> Began:
        """Return what reports, for the solver, which folds and orders are fitted at which C."""
        family = self.design.fits.family
        folds = np.full(len(family), -1)
        for number, outer in enumerate(self.outers):
            folds[family == family[outer.fit]] = number

        def report(fits: I64, place: int, done: float) -> None:
            track.report(done, f"{_named(folds[fits], len(self.outers))}, {c_of(place)}")

        return report

    def take(self, scores: Iterable[Scores]) -> Evaluated:
        """Go through all scores and return what came of them."""
        for item in scores:
            for place, fit in enumerate(item.fits.tolist()):
                self._take(item.place, fit, item.values[place])
        return self._result()

    def _take(self, place: int, fit: int, values: F32) -> None:
        asked = self._asked[fit]
        for number, rows in asked.inner:
            score = self.judge.score(self.judge.decide(values[:, rows], rows), rows) / len(
                self.outers[number].inner
            )
            before = self._inner[number, place]
            self._inner[number, place] = score + (before if np.isfinite(before) else 0.0)
        for number in asked.outer:
            rows = self.outers[number].test
            self._predicted[number][place] = self.judge.decide(values[:, rows], rows)
        for order, number in asked.block:
            block = self.design.orders[order][number]
            self._bits[order][number, place] = block_bits(values, self._gold(block.rows), block)

    def _gold(self, rows: I64) -> I64:
        return np.asarray(self.design.fits.targets[0][rows], np.int64)

    def _result(self) -> Evaluated:
        best = self._inner.argmax(axis=1)  # the first of equals, which is the strongest regularisation
        predicted = [self._at(number, int(best[number])) for number in range(len(self.outers))]
        first_bits = [
            len(order[0].rows) * float(np.log2(self.design.fits.count)) for order in self.design.orders
        ]
        bits = [code_bits(table, first) for table, first in zip(self._bits, first_bits, strict=True)]
        inner = [float(self._inner[n, best[n]]) for n in range(len(self.outers))]
        return Evaluated(predicted, best.tolist(), inner, [], bits)

    def _at(self, number: int, place: int) -> Predicted:
        found = self._predicted[number][place]
        assert found is not None  # the solver gives every fit at every C
        return found


def _named(folds: I64, count: int) -> str:
    """Return what to call fits by their outer folds, -1 for those of online codes."""
    own = folds[folds >= 0]
    if not len(own):
        return "online code"
    ends = sorted({int(own.min()) + 1, int(own.max()) + 1})
    codes = " and online code" if len(own) < len(folds) else ""
    return f"fold{'s' * (len(ends) > 1)} {' to '.join(map(str, ends))} of {count}{codes}"


def c_of(place: int) -> str:
    """Return what to call C by its position.

    >>> c_of(3)
    'C 4 of 6'
    """
    return f"C {place + 1} of {len(CS)}"


def control_scores(
    fitter: Fitter,
    design: Design,
    judges: Sequence[Judge],
    chosen: Sequence[int],
    track: Tracker = SILENT,
) -> list[float]:
    """Return what a candidate scores on the control task: the same probe, so with the Cs chosen for the task.

    Args:
        fitter: of the candidate.
        design: which outer fits are repeated, with which random labels.
        judges: of each set of random labels.
        chosen: the position of C of each outer fit.
        track: reports the Cs.

    Source: Hewitt and Liang 2019: selectivity is a property of a probe with its hyperparameters.
    """
    out = []
    places = sorted({chosen[number] for number, _ in design.controls})
    for place, part in track.each(places, ["control task"] * len(places)):
        some = [(design.outers[n], labels) for n, labels in design.controls if chosen[n] == place]
        labels = np.array([label for _, label in some])
        train = design.fits.train[[outer.fit for outer, _ in some]]
        fits = replace(design.fits, train=train, labels=labels, family=np.zeros_like(labels))
        numbers = np.array([n for n, _ in design.controls if chosen[n] == place])
        found = fitter.at(fits, place, _controlled(numbers, len(design.outers), part))
        for values, (outer, label) in zip(found.values, some, strict=True):
            judge = judges[label - 1]
            out.append(judge.score(judge.decide(values[:, outer.test], outer.test), outer.test))
    return out


def _controlled(outers: I64, count: int, track: Tracker) -> Began:
    """Return what reports which folds are fitted to the control task."""

    def report(fits: I64, place: int, done: float) -> None:
        track.report(done, f"{_named(outers[fits], count)}, {c_of(place)}")

    return report


def block_bits(logp: F32, gold: I64, block: Block) -> float:
    """Return the bits that a block's labels take, given log-probabilities (K, n) of all rows.

    A class that no earlier row had would cost without end, so one row's worth of equal chances is mixed in:
    p = (m · model + 1 / K) / (m + 1), m being the rows before.
    """
    chances = np.exp(logp[gold, block.rows].astype(np.float64))
    mixed = (block.before * chances + 1 / len(logp)) / (block.before + 1)
    return float(-np.log2(mixed).sum())


def code_bits(table: F64, first: float) -> float:
    """Return the length of an online code in bits.

    Each block after the first is coded at the C that was cheapest over all blocks before it; the
    first of them, which has none before it, at a middling one.

    Args:
        table: bits (blocks, Cs) of every block by every C; its first row isn't used.
        first: bits of the first block, log2 K per label.
    """
    total = first
    for place in range(1, len(table)):
        past = table[1:place].sum(axis=0)
        C = int(past.argmin()) if place > 1 else _FIRST
        total += float(table[place, C])
    return total
