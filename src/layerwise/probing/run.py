"""The run of a probe: one design for all candidates, each of which is fitted and scored on it.

Every candidate has the same folds, so that fold scores can be compared in pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F64, I64
from layerwise.labels.scorers import ClassScorer, LabelsScorer, Predicted, Scorer
from layerwise.probing import stats
from layerwise.probing.bounded import SAME, certain_ends
from layerwise.probing.candidates import Candidate, Fitter, fitter, time_of
from layerwise.probing.comparison import estimates
from layerwise.probing.design import Design, DesignBuilder, crossed, split
from layerwise.probing.evaluate import CandidateEvaluation, CandidateScores, control_scores
from layerwise.probing.influence import CandidatePredictions, Influence, influence
from layerwise.probing.problem import ProbeProblem
from layerwise.results import Estimate
from layerwise.states import Layered
from layerwise.wording import Message

FOLDS = 5
# Durations relative to a layer of medium depth, from the table in docs/explanation/performance.md.
RANDOM_FITS = 0.75  # a candidate on a random model, without codes, relative to its own time
ENCODING = 3.5  # encoding all texts to the last layer
CODES = 3  # orders of the online code
_CONTROLS = 3
_DRAWS = 2000  # bootstrap samples of a test set
RandomModel = Callable[[Sequence[str], I64, Tracker], Layered]
"""(layer names, ascending text numbers, tracker) -> the rows of these texts from a model with random weights"""


class ProbeRun:
    """The problem and design of a probe; evaluates candidates on them."""

    def __init__(
        self,
        dataset: Layered,
        problem: ProbeProblem,
        repeats: int,
        seed: int,
        *,
        codes: int = CODES,
        balanced: bool = False,
    ) -> None:
        """Lay out the design; `balanced`: rows are weighted so that every class has the same total weight."""
        self.dataset, self.problem, self.seed = dataset, problem, seed
        self.notes = list(problem.notes)
        spread = isinstance(problem.scorer, ClassScorer | LabelsScorer)
        builder = DesignBuilder(problem.groups, problem.targets, problem.count, spread=spread)
        fixed = problem.roles is not None
        seeds = range(seed, seed + (_CONTROLS if fixed else min(_CONTROLS, repeats)))
        labels, self.controls = problem.controls(seeds) if self._has_control() else ([], [])
        if problem.roles is not None:
            self.design: Design = split(builder, problem.roles, seed, labels, codes)
        else:
            self.design = crossed(builder, repeats, FOLDS, seed, labels, codes)
        self.design = replace(self.design, fits=replace(self.design.fits, balanced=balanced))

    def _has_control(self) -> bool:
        is_control = self.dataset.level in ("token", "word") and bool(self.problem.names)
        if not is_control or self.problem.labelled.multi:
            return False
        if self.problem.words is None:
            self.notes.append(Message("note.no.control"))
            return False
        return True

    def evaluate(self, candidate: Candidate, track: Tracker = SILENT) -> CandidateScores:
        """Fit and score one candidate, control task and codes included."""
        scoring, controlling = track.split(len(self.design.fits.train), len(self.design.controls))
        solver = fitter(self.dataset, self.problem.labelled.rows, candidate)
        scores = _evaluate(self.design, solver, self.scorer, scoring)
        if scores.unfinished:
            count = len(self.design.outers)
            self.notes.append(
                Message("note.unfinished", mix=candidate.name, n=scores.unfinished, count=count)
            )
        scores.control = control_scores(solver, self.design, self.controls, scores.chosen, controlling)
        return scores

    def evaluate_on(self, model: RandomModel, candidate: Candidate, track: Tracker) -> CandidateScores:
        """Fit and score one candidate on the same rows of another model, without control task and codes."""
        rows = self.problem.labelled.rows
        all_docs = self.dataset.index["doc"].to_numpy()
        docs = np.unique(all_docs[rows])
        doc_rows = np.flatnonzero(np.isin(all_docs, docs))  # all rows of these texts, in order
        encoding, scoring = track.split(ENCODING * max(candidate.cost, 0.1), RANDOM_FITS * time_of(candidate))
        random_states = model(candidate.mix.layers, docs, encoding.named(f"encoding {len(docs):,} texts"))
        solver = fitter(random_states, np.searchsorted(doc_rows, rows), candidate)
        return _evaluate(self.design.scored_only(), solver, self.scorer, scoring)

    @property
    def scorer(self) -> Scorer:
        """The scorer of the task."""
        return self.problem.scorer

    def folds(self, predicted: Sequence[Predicted]) -> F64:
        """Return the score of each outer fit (J,), or of the first ones that have predictions."""
        pairs = zip(predicted, self.design.outers, strict=False)
        return np.array([self.scorer.score(values, outer.test) for values, outer in pairs])

    def influence(self, predictions: Sequence[CandidatePredictions]) -> Influence:
        """Return the scores of candidates or baselines, and what each row adds to them."""
        scores = np.array([self.folds(candidate.predicted).mean() for candidate in predictions])
        return influence(self.scorer, self.design, self.problem.groups, predictions, scores)

    def estimates(self, predictions: Sequence[CandidatePredictions]) -> list[Estimate]:
        """Return scores with their intervals: of influence values over folds, of a bootstrap on a test set.

        A score that all draws of the bootstrap give has the interval of `bounded.certain_ends`.
        """
        if not self.design.fixed:
            return estimates(self.influence(predictions))
        bootstrap = self.bootstrap([candidate.predicted for candidate in predictions])
        units = len(np.unique(self.problem.groups[self.design.outers[0].test]))
        out = []
        for score, low, high in zip(*(bootstrap.scores, bootstrap.low, bootstrap.high), strict=True):
            ends = (float(low), float(high)) if high - low > SAME else None
            out.append(
                Estimate(float(score), *(ends or certain_ends(float(score), self.scorer.metric, units)))
            )
        return out

    def bootstrap(self, predictions: Sequence[Sequence[Predicted]]) -> stats.Bootstrap:
        """Resample the groups of the test set, with the same draws for all candidates."""
        rows = self.design.outers[0].test
        counts = np.stack([self.scorer.counts(predicted[0], rows) for predicted in predictions])
        units = stats.unit_sums(counts, self.problem.groups[rows])
        return stats.paired_bootstrap(units, self.scorer.of_sums, _DRAWS, self.seed)


def _evaluate(design: Design, solver: Fitter, scorer: Scorer, track: Tracker) -> CandidateScores:
    """Fit one candidate on all training sets of a design and collect its scores."""
    return CandidateEvaluation(design, scorer).run(solver, track)
