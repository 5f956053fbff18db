"""What a probe scores when it is asked to: word vectors as a baseline, a small network, and cumulative mixes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from layerwise._util.progress import Tracker, duration
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.heads.solve import HIDDEN
from layerwise.probing.batched_solver import Solver
from layerwise.probing.candidates import Candidate
from layerwise.probing.comparison import Lead, lead
from layerwise.probing.evaluate import CandidateEvaluation, CandidateScores
from layerwise.probing.expected_layer import expected_layer, expected_layer_time
from layerwise.probing.influence import CandidatePredictions
from layerwise.probing.mlp import mlp_parameters, mlp_scores, mlp_seconds
from layerwise.probing.problem import ProbeProblem, row_texts
from layerwise.probing.results import ExpectedLayer, MlpResult
from layerwise.probing.run import RANDOM_FITS, ProbeRun
from layerwise.probing.word_features import WordFeatures, word_features
from layerwise.results import Estimate
from layerwise.states import Layered
from layerwise.word_vectors import VectorReader
from layerwise.wording import Message

# The networks of all folds, relative to a layer of medium depth: 20 to 30 for 2,000 rows of 128 numbers and two classes.
_NETWORKS = 25.0
_LEAST_SECONDS = 5.0  # an estimate of less isn't worth a note


@dataclass(frozen=True, slots=True)
class ScoredExtras:
    """The results of what was asked for; `None` where it wasn't.

    Attributes:
        vectors: the predictions of the word vectors; `coverage` says how many words have one.
        mlp: the small network.
        expected: the expected layer.
    """

    vectors: CandidatePredictions | None = None
    coverage: Mapping[str, Any] | None = None
    mlp: MlpResult | None = None
    expected: ExpectedLayer | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ProbeExtras:
    """What is asked for besides the candidates.

    Attributes:
        run: the problem and the design.
        features: those of word vectors, or `None`.
        network: whether the best mix is put under a small network.
        cumulative: the mixes for the expected layer; empty where it isn't asked for.
    """

    run: ProbeRun
    features: WordFeatures | None
    network: bool
    cumulative: Sequence[Candidate]

    def time(self, candidates: Sequence[Candidate]) -> float:
        """Return about how long this takes, relative to a layer of medium depth."""
        return sum(self._times(candidates))

    def solver_time(self, candidates: Sequence[Candidate]) -> float:
        """Return the same without the networks, whose time has little to do with that of a layer; see `network_time`."""
        vectors, _, cumulative = self._times(candidates)
        return vectors + cumulative

    def network_time(self, candidates: Sequence[Candidate]) -> Message | None:
        """Return the estimated duration of the networks in words; `None` without them, or for a few seconds."""
        seconds = mlp_seconds(self.run, candidates[len(candidates) // 2]) if self.network else 0.0
        return Message("note.mlp.estimate", duration=duration(seconds)) if seconds >= _LEAST_SECONDS else None

    def _times(self, candidates: Sequence[Candidate]) -> tuple[float, float, float]:
        return (
            RANDOM_FITS if self.features is not None else 0.0,
            _NETWORKS if self.network else 0.0,
            expected_layer_time(self.run, self.cumulative, candidates) if self.cumulative else 0.0,
        )

    def score(
        self, candidates: Sequence[Candidate], evaluations: Sequence[CandidateScores], track: Tracker
    ) -> ScoredExtras:
        """Score what is asked for, given the scores of all candidates."""
        parts = track.split(*(time + 1e-9 for time in self._times(candidates)))
        fitted = {
            candidate.mix: scores.predictions
            for candidate, scores in zip(candidates, evaluations, strict=True)
        }
        return ScoredExtras(
            self._vectors(parts[0]),
            asdict(self.features.coverage) if self.features is not None else None,
            self._mlp(candidates, evaluations, parts[1]) if self.network else None,
            expected_layer(self.run, self.cumulative, fitted, parts[2]) if self.cumulative else None,
        )

    def _vectors(self, track: Tracker) -> CandidatePredictions | None:
        if self.features is None:
            return None
        solver, design = Solver(self.features.x), self.run.design.scored_only()
        return (
            CandidateEvaluation(design, self.run.scorer).run(solver, track.named("word vectors")).predictions
        )

    def _mlp(
        self, candidates: Sequence[Candidate], evaluations: Sequence[CandidateScores], track: Tracker
    ) -> MlpResult:
        run = self.run
        first = [outer for outer in run.design.outers if outer.repeat == 0]
        chosen = inner_choices(evaluations)[: len(first)]
        scores = mlp_scores(run, [candidates[index] for index in chosen], track)
        linear = chosen_predictions(evaluations, chosen)
        gap = lead(run.influence([scores.predictions, linear]), [0], 1, run.seed)
        estimate, linear_estimate = run.estimates([scores.predictions, linear])
        mixes = tuple(candidates[index].name for index in chosen)
        (often, _), *_ = Counter(chosen).most_common(1)
        if len(first) < len(run.design.outers):
            run.notes.append(Message("note.mlp.folds", n=len(first)))
        return MlpResult(
            mixes,
            HIDDEN,
            mlp_parameters(candidates[often], run),
            scores.epochs,
            estimate.score,
            estimate.low,
            estimate.high,
            linear_estimate,
            _estimate(gap),
        )


def inner_choices(evaluations: Sequence[CandidateScores]) -> list[int]:
    """Return, for each outer fit, the position of the candidate that its inner folds choose."""
    choices: list[int] = np.array([scores.inner for scores in evaluations]).argmax(axis=0).tolist()
    return choices


def chosen_predictions(
    evaluations: Sequence[CandidateScores], choices: Sequence[int]
) -> CandidatePredictions:
    """Return the predictions of the first outer fits, each by the candidate at the position of its choice."""
    chosen = [evaluations[index] for index in choices]
    first = len(evaluations[0].held_out)
    return CandidatePredictions(
        [scores.predicted[number] for number, scores in enumerate(chosen)],
        [scores.held_out[number] for number, scores in enumerate(chosen[:first])],
    )


def read_vectors(dataset: Layered, problem: ProbeProblem, read: VectorReader) -> WordFeatures:
    """Return the features of the words of a problem's rows, and add the notes on them to the problem.

    Raises:
        RequestError: no texts are stored.
        SourceError: a file that can't be read, or isn't one of word vectors.
    """
    rows = problem.labelled.rows
    texts = row_texts(dataset, rows.reshape(-1))
    if texts is None:
        raise RequestError(
            f"{argument('vectors')} needs the words of the rows, and the dataset stores no texts; extract it with them, or "
            "leave it out"
        )
    features = word_features(texts, dataset.level, rows.ndim == 2, read)
    coverage = features.coverage
    if not coverage.covered:
        raise RequestError(
            f"{argument('vectors')}: {coverage.source} has none of the {coverage.words:,} words of these rows; give vectors "
            "of their language"
        )
    problem.notes.extend(coverage.notes())
    return features


def _estimate(gap: Lead) -> Estimate:
    if not np.isfinite([gap.low, gap.high]).all():
        return Estimate(gap.difference, None, None)
    return Estimate(gap.difference, gap.low, gap.high)
