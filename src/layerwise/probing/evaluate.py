"""Evaluate one candidate on the whole design: predictions, chosen Cs, bits of online codes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32, F64, I64
from layerwise.heads.solve import CS
from layerwise.labels.scorers import Predicted, Scorer
from layerwise.probing.batched_solver import CHOOSING, CODING
from layerwise.probing.candidates import Fitter
from layerwise.probing.choice import ChoiceOfC
from layerwise.probing.design import CodeBlock, Design
from layerwise.probing.fits import BeginCallback, select
from layerwise.probing.influence import CandidatePredictions

_FIRST = 2  # position of C for the first fitted block of an online code, before which no block was fitted to choose by


@dataclass(slots=True, eq=False)
class CandidateScores:
    """CandidatePredictions and scores of a candidate in each outer fit, at the C that its inner folds choose.

    Attributes:
        predicted: the predictions for the test rows of each outer fit.
        held_out: for each outer fit of the first repeat, the predictions for the rows that each inner fit holds out.
        chosen: the position of C for each outer fit.
        inner: the mean inner score of that C for each outer fit.
        control: the scores on the control task; empty without one.
        bits: the length of the online code in each order; empty without one.
        Cs: the grid of C.
        unfinished: the number of outer fits that ended before the least loss; see `Scores.unfinished`.
    """

    predicted: list[Predicted]
    chosen: list[int]
    inner: list[float]
    control: list[float]
    bits: list[float]
    Cs: tuple[float, ...] = CS
    held_out: list[list[Predicted]] = field(default_factory=list)
    unfinished: int = 0

    @property
    def predictions(self) -> CandidatePredictions:
        """CandidatePredictions of the outer fits, and of the inner fits of the first repeat."""
        return CandidatePredictions(self.predicted, self.held_out)


class CandidateEvaluation:
    """Scores of one candidate: fits that choose C, or are coded, along the path of Cs, then the outer fits.

    An outer fit is solved only at the C that its inner fits choose (`choice`). It starts from the mean of their solutions.
    """

    def __init__(self, design: Design, scorer: Scorer) -> None:
        """Begin without scores."""
        self.design, self.scorer, self.outers = design, scorer, design.outers
        self._choice = ChoiceOfC(design, scorer, len(CS))
        self._bits = [np.full((len(order), len(CS)), np.inf) for order in design.orders]
        self._unfinished = 0
        family = design.fits.family.tolist()
        # By family: the outer fit or the code whose results decide where its path ends.
        self._curves = {family[outer.fit]: number for number, outer in enumerate(design.outers)}
        self._codes: dict[int, F64] = {}
        self._blocks: dict[int, tuple[int, int]] = {}  # by fit: the order and the block that it codes
        for order, blocks in enumerate(design.orders):
            for index, block in enumerate(blocks):
                if block.fit is not None:
                    self._codes[family[block.fit]] = self._bits[order]
                    self._blocks[block.fit] = order, index

    def may_stop(self, family: int) -> bool:
        """Return whether the path of a family may end.

        See `ChoiceOfC.may_stop`; for a code, whose length changes smoothly, it may if the code has become longer.
        """
        if family in self._codes:
            bits = self._codes[family][1:].sum(axis=0)
            bits = bits[np.isfinite(bits)]
            return len(bits) > _FIRST and bool(bits[-1] > bits.min())
        return self._choice.may_stop(self._curves[family])

    def _on_begin(self, track: Tracker, numbers: I64) -> BeginCallback:
        """Return the callback that reports which folds and codes the solver fits at which C; `numbers` are its fits."""
        family = self.design.fits.family
        folds = np.full(len(family), -1)
        for number, outer in enumerate(self.outers):
            folds[family == family[outer.fit]] = number

        def report(fits: I64, c_index: int, done: float) -> None:
            track.report(done, f"{_fold_names(folds[numbers[fits]], len(self.outers))}, {c_of(c_index)}")

        return report

    def run(self, fitter: Fitter, track: Tracker = SILENT) -> CandidateScores:
        """Fit everything, and return the results."""
        train = self.design.fits.train
        choosing = np.array(self._choice.fits, np.int64)
        coding = np.array(sorted(self._blocks), np.int64)
        outer = [outer.fit for outer in self.outers]
        weights = (len(CS) * train[choosing].sum(), len(CS) * train[coding].sum(), train[outer].sum())
        parts = track.split(*map(float, weights))
        self._follow(fitter, choosing, CHOOSING, parts[0])
        self._follow(fitter, coding, CODING, parts[1])
        curves = np.stack([self._choice.curve(number) for number in range(len(self.outers))])
        # The first of equal ones, which has the strongest regularisation.
        chosen = curves.argmax(axis=1)
        return self._result(curves.max(axis=1), chosen, self._predict(fitter, chosen, parts[2]))

    def _follow(self, fitter: Fitter, numbers: I64, tolerance: float, track: Tracker) -> None:
        """Fit the fits with these numbers along the path of Cs."""
        if not len(numbers):
            return
        fits = select(self.design.fits, numbers)
        if tolerance == CODING:  # a code is shortest with probabilities of the classes as they are
            fits = replace(fits, balanced=False)
        for batch in fitter.path(fits, self.may_stop, self._on_begin(track, numbers), tolerance):
            assert batch.parameters is not None
            for index, fit in enumerate(numbers[batch.fits].tolist()):
                self._add(batch.c_index, fit, batch.values[index], batch.parameters[index])

    def _add(self, c_index: int, fit: int, values: F32, parameters: F32) -> None:
        self._choice.add(fit, c_index, values, parameters)
        if fit in self._blocks:
            order, number = self._blocks[fit]
            block = self.design.orders[order][number]
            self._bits[order][number, c_index] = block_bits(values, self._gold(block.rows), block)

    def _predict(self, fitter: Fitter, chosen: I64, track: Tracker) -> list[Predicted]:
        """Return the predictions of each outer fit at its chosen C."""
        predicted: dict[int, Predicted] = {}
        parts = track.split(*np.bincount(chosen, minlength=len(CS)).tolist())
        for c_index in np.unique(chosen).tolist():
            numbers = np.flatnonzero(chosen == c_index)
            outer_fits = np.array([self.outers[number].fit for number in numbers])
            fits = select(self.design.fits, outer_fits)
            start = np.stack([self._choice.start(number) for number in numbers.tolist()])
            scores = fitter.at(fits, c_index, self._on_begin(parts[c_index], outer_fits), start)
            self._unfinished += scores.unfinished
            for number, values in zip(numbers.tolist(), scores.values, strict=True):
                rows = self.outers[number].test
                predicted[number] = self.scorer.decide(values[:, rows], rows)
        return [predicted[number] for number in range(len(self.outers))]

    def _gold(self, rows: I64) -> I64:
        return np.asarray(self.design.fits.targets[0][rows], np.int64)

    def _result(self, inner: F64, chosen: I64, predicted: list[Predicted]) -> CandidateScores:
        first_bits = [
            len(order[0].rows) * float(np.log2(self.design.fits.count)) for order in self.design.orders
        ]
        bits = [code_bits(table, first) for table, first in zip(self._bits, first_bits, strict=True)]
        held_out = [
            self._choice.held_out(number, int(chosen[number]))
            for number, outer in enumerate(self.outers)
            if outer.repeat == 0
        ]
        unfinished = self._unfinished
        return CandidateScores(
            predicted, chosen.tolist(), inner.tolist(), [], bits, held_out=held_out, unfinished=unfinished
        )


def _fold_names(folds: I64, count: int) -> str:
    """Return the name of fits for progress, from their outer folds; -1 stands for online codes."""
    outer_folds = folds[folds >= 0]
    if not len(outer_folds):
        return "online code"
    ends = sorted({int(outer_folds.min()) + 1, int(outer_folds.max()) + 1})
    codes = " and online code" if len(outer_folds) < len(folds) else ""
    return f"fold{'s' * (len(ends) > 1)} {' to '.join(map(str, ends))} of {count}{codes}"


def c_of(c_index: int) -> str:
    """Return the name of C for progress, from its position.

    >>> c_of(3)
    'C 4 of 6'
    """
    return f"C {c_index + 1} of {len(CS)}"


def control_scores(
    fitter: Fitter,
    design: Design,
    scorers: Sequence[Scorer],
    chosen: Sequence[int],
    track: Tracker = SILENT,
) -> list[float]:
    """Return the scores of a candidate on the control task, with the Cs that were chosen for the task itself.

    Args:
        fitter: the solver of the candidate.
        design: its `controls` name the outer fits to repeat, and their random labels.
        scorers: one for each set of random labels.
        chosen: the position of C for each outer fit.
        track: progress over the Cs.

    Source: Hewitt and Liang 2019: selectivity is a property of a probe with its hyperparameters.
    """
    out = []
    c_indices = sorted({chosen[number] for number, _ in design.controls})
    for c_index, part in track.each(c_indices, ["control task"] * len(c_indices)):
        repeated = [(design.outers[n], labels) for n, labels in design.controls if chosen[n] == c_index]
        labels = np.array([label for _, label in repeated])
        train = design.fits.train[[outer.fit for outer, _ in repeated]]
        fits = replace(design.fits, train=train, labels=labels, family=np.zeros_like(labels))
        outers = np.array([n for n, _ in design.controls if chosen[n] == c_index])
        scores = fitter.at(fits, c_index, _control_progress(outers, len(design.outers), part))
        for values, (outer, label) in zip(scores.values, repeated, strict=True):
            scorer = scorers[label - 1]
            out.append(scorer.score(scorer.decide(values[:, outer.test], outer.test), outer.test))
    return out


def _control_progress(outers: I64, count: int, track: Tracker) -> BeginCallback:
    """Return the callback that reports which folds are fitted to the control task."""

    def report(fits: I64, c_index: int, done: float) -> None:
        track.report(done, f"{_fold_names(outers[fits], count)}, {c_of(c_index)}")

    return report


def block_bits(logp: F32, gold: I64, block: CodeBlock) -> float:
    """Return the code length in bits of a block's labels, given log-probabilities (K, n) of all rows.

    A class that no earlier row had would cost infinitely many bits, so the uniform distribution is mixed in with the
    weight of one row: p = (m · model + 1 / K) / (m + 1), m being the number of rows before the block.
    """
    chances = np.exp(logp[gold, block.rows].astype(np.float64))
    mixed = (block.before * chances + 1 / len(logp)) / (block.before + 1)
    return float(-np.log2(mixed).sum())


def code_bits(table: F64, first: float) -> float:
    """Return the length of an online code in bits.

    Each block is coded at the C with the fewest bits over all fitted blocks before it; the second block of the code,
    before which no block was fitted, at a C in the middle of the grid. The first block takes `first` bits.

    Args:
        table: bits (blocks, Cs) of every block at every C; its first row isn't used.
        first: bits of the first block, log2 K per label.
    """
    total = first
    for block in range(1, len(table)):
        past_bits = table[1:block].sum(axis=0)
        C = int(past_bits.argmin()) if block > 1 else _FIRST
        total += float(table[block, C])
    return total
