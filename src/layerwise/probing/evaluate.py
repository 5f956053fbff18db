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
from layerwise.probing.design import Design
from layerwise.probing.fits import BeginCallback, Fits, select
from layerwise.probing.influence import CandidatePredictions
from layerwise.probing.online_codes import OnlineCodes


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
        self._codes = OnlineCodes(design.orders, design.fits.targets[0], design.fits.count, len(CS))
        self._unfinished = 0
        family = design.fits.family.tolist()
        # By family: the outer fit or the code whose results decide where its path ends.
        self._curves = {family[outer.fit]: number for number, outer in enumerate(design.outers)}
        self._orders = {family[fit]: order for fit, order in self._codes.orders.items()}

    def may_stop(self, family: int) -> bool:
        """Return whether the path of a family may end.

        See `ChoiceOfC.may_stop`, and for codes `OnlineCodes.may_stop`.
        """
        if family in self._orders:
            return self._codes.may_stop(self._orders[family])
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
        coding, last = self._codes.followed, np.array(self._codes.last, np.int64)
        outer = [outer.fit for outer in self.outers]
        rows = [float(train[numbers].sum()) for numbers in (choosing, coding, last, outer)]
        parts = track.split(len(CS) * rows[0], len(CS) * rows[1], rows[2], rows[3])
        self._follow(fitter, choosing, CHOOSING, parts[0])
        self._follow(fitter, coding, CODING, parts[1])
        self._code_last(fitter, last, parts[2])
        curves = np.stack([self._choice.curve(number) for number in range(len(self.outers))])
        # The first of equal ones, which has the strongest regularisation.
        chosen = curves.argmax(axis=1)
        return self._result(curves.max(axis=1), chosen, self._predict(fitter, chosen, parts[3]))

    def _follow(self, fitter: Fitter, numbers: I64, tolerance: float, track: Tracker) -> None:
        """Fit the fits with these numbers along the path of Cs."""
        if not len(numbers):
            return
        fits = self._coding(numbers) if tolerance == CODING else select(self.design.fits, numbers)
        for batch in fitter.path(fits, self.may_stop, self._on_begin(track, numbers), tolerance):
            assert batch.parameters is not None
            for index, fit in enumerate(numbers[batch.fits].tolist()):
                self._add(batch.c_index, fit, batch.values[index], batch.parameters[index])

    def _add(self, c_index: int, fit: int, values: F32, parameters: F32) -> None:
        self._choice.add(fit, c_index, values, parameters)
        if fit in self._codes.orders:
            self._codes.add(fit, c_index, values, parameters)

    def _coding(self, numbers: I64) -> Fits:
        """Return fits of codes, which are shortest with probabilities of the classes as they are."""
        return replace(select(self.design.fits, numbers), balanced=False)

    def _code_last(self, fitter: Fitter, last: I64, track: Tracker) -> None:
        """Fit the last block of each code at its chosen C, from the solution of the block before it."""
        chosen = np.array([self._codes.chosen(fit) for fit in last.tolist()], np.int64)
        parts = track.split(*np.bincount(chosen, minlength=len(CS)).tolist()) if len(last) else []
        for c_index in np.unique(chosen).tolist():
            numbers = last[chosen == c_index]
            report, start = self._on_begin(parts[c_index], numbers), self._codes.starts(numbers.tolist())
            scores = fitter.at(self._coding(numbers), c_index, report, start, CODING)
            for fit, values in zip(numbers.tolist(), scores.values, strict=True):
                self._codes.add(fit, c_index, values)

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

    def _result(self, inner: F64, chosen: I64, predicted: list[Predicted]) -> CandidateScores:
        bits = self._codes.lengths()
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
