"""The result of a probe from the scores of all candidates: intervals, tests, baselines, importances and advice.

The inner folds alone choose C and the candidate; the scores of rows that took part in a choice would be too high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from layerwise._util.progress import Tracker
from layerwise.array_types import F64
from layerwise.heads.solve import regularisation
from layerwise.labels.scorers import Predicted
from layerwise.probing import baselines
from layerwise.probing.advice import advise
from layerwise.probing.candidates import Candidate, time_of
from layerwise.probing.comparison import CandidateComparison, compare
from layerwise.probing.evaluate import CandidateScores
from layerwise.probing.influence import CandidatePredictions
from layerwise.probing.mix_importance import mix_importance
from layerwise.probing.results import CandidateResult, ProbeResult
from layerwise.probing.run import ENCODING, RANDOM_FITS, ProbeRun, RandomModel
from layerwise.results import Estimate
from layerwise.states import Layered
from layerwise.wording import Message

RESAMPLED = 20  # number of refits of a learned mix, for the intervals of its weights
# Durations relative to a layer of medium depth, from the table in docs/performance.md.
_BASELINES = 1.0
_WEIGHTS = 1.2  # importance of a learned mix, relative to its own time as a candidate


def time_after(candidates: Sequence[Candidate], random_models: int) -> float:
    """Return about how long the steps after all candidates take, relative to a layer of medium depth."""
    longest = max(time_of(candidate) for candidate in candidates)
    after = _BASELINES + random_models * (ENCODING + RANDOM_FITS * longest)
    return after + _WEIGHTS * _learned_time(candidates)


def _learned_time(candidates: Sequence[Candidate]) -> float:
    """Return the time of the longest learned mix; 0 without one."""
    return max(
        (time_of(candidate) for candidate in candidates if candidate.mix.how == "learned"), default=0.0
    )


@dataclass
class ResultBuilder:
    """Builds the result from the scores of all candidates."""

    run: ProbeRun
    candidates: list[Candidate]
    evaluations: list[CandidateScores]
    task: str
    label: str

    def make(self, random_models: Sequence[RandomModel], track: Tracker) -> ProbeResult:
        """Return the result."""
        run = self.run
        predictions = [scores.predictions for scores in self.evaluations]
        folds = np.stack([run.folds(candidate.predicted) for candidate in predictions])
        estimates = run.estimates(predictions)
        comparison = compare(run.influence(predictions), run.seed)
        results = tuple(
            self._candidate_result(index, estimates[index], comparison, folds[index])
            for index in range(len(self.candidates))
        )
        (chosen,) = run.estimates([self._chosen()])
        sizes = [result.bytes_per_row for result in results]
        advice = advise(comparison, self.candidates, sizes, chosen, run.scorer.metric)
        best = self.candidates[comparison.best]
        encoding = len(random_models) * (ENCODING + RANDOM_FITS * time_of(best))
        parts = track.split(_BASELINES, _WEIGHTS * _learned_time(self.candidates), encoding)
        baseline_estimates = self._baselines(estimates, parts[0].named("baselines"))
        importance = self._importance(estimates, parts[1])
        if random_models:
            baseline_estimates["random_model"] = self._random_baseline(random_models, best, parts[2])
        return ProbeResult(
            self.task,
            self.label,
            run.scorer.metric,
            len(run.problem.labelled),
            run.problem.names,
            run.design.text,
            results,
            chosen,
            baseline_estimates,
            advice,
            tuple(self.run.notes),
            run.seed,
            run.problem.group_column,
            importance,
        )

    def _importance(self, estimates: list[Estimate], track: Tracker) -> Mapping[str, Any] | None:
        """Return the layer importances of the best learned mix as JSON values; `None` without one."""
        mixes = [index for index, candidate in enumerate(self.candidates) if candidate.mix.how == "learned"]
        if not mixes:
            return None
        best = max(mixes, key=lambda index: estimates[index].score)
        candidate, scores, run = self.candidates[best], self.evaluations[best], self.run
        track = track.named(f"weights of {candidate.name}")
        c_index = scores.chosen[0]
        importance = mix_importance(
            run.dataset,
            run.problem,
            run.design,
            candidate,
            c_index,
            draws=RESAMPLED,
            seed=run.seed,
            track=track,
        )
        if importance is None:
            return None
        return {
            "mix": candidate.name,
            **regularisation(self.task, scores.Cs[c_index]),
            **importance.to_json(),
        }

    def _candidate_result(
        self, index: int, estimate: Estimate, comparison: CandidateComparison, folds: F64
    ) -> CandidateResult:
        candidate, scores, run = self.candidates[index], self.evaluations[index], self.run
        metrics = self._further_metrics(scores.predicted)
        task_score = metrics.get("word_accuracy", estimate.score)
        control = float(np.mean(scores.control)) if scores.control else None
        return CandidateResult(
            candidate.name,
            candidate.kind,
            candidate.mix.layers,
            estimate.score,
            estimate.low,
            estimate.high,
            float(comparison.p[index]),
            None if control is None else task_score - control,
            control,
            self._codelength(scores),
            candidate.cost,
            len(candidate.mix.layers) * run.dataset.width * _itemsize(run.dataset),
            metrics,
            tuple(folds.tolist()),
            **_regularisation(self.task, [scores.Cs[c_index] for c_index in scores.chosen]),
        )

    def _further_metrics(self, predicted: Sequence[Predicted]) -> dict[str, float]:
        outers = self.run.design.outers
        metrics_per_fit = [
            self.run.scorer.further_metrics(p, outer.test) for p, outer in zip(predicted, outers, strict=True)
        ]
        return {
            name: float(np.mean([metrics[name] for metrics in metrics_per_fit]))
            for name in metrics_per_fit[0]
        }

    def _codelength(self, scores: CandidateScores) -> Mapping[str, float] | None:
        if not scores.bits:
            return None
        labels = sum(len(block.rows) for block in self.run.design.orders[0])
        bits = float(np.mean(scores.bits))
        uniform = labels * float(np.log2(self.run.problem.count))
        return {"bits": bits, "bits_per_label": bits / labels, "compression": uniform / bits}

    def _chosen(self) -> CandidatePredictions:
        """Return, for each outer fit, the predictions of the candidate that its inner folds choose."""
        inner = np.array([scores.inner for scores in self.evaluations])
        chosen = [self.evaluations[int(best)] for best in inner.argmax(axis=0)]
        first = sum(outer.repeat == 0 for outer in self.run.design.outers)
        return CandidatePredictions(
            [scores.predicted[number] for number, scores in enumerate(chosen)],
            [scores.held_out[number] for number, scores in enumerate(chosen[:first])],
        )

    def _baselines(self, estimates: list[Estimate], track: Tracker) -> dict[str, Estimate]:
        run = self.run
        (majority,) = run.estimates([CandidatePredictions(baselines.majority(run.design, run.scorer))])
        estimates_by_name = {"majority": majority}
        names = [candidate.name for candidate in self.candidates]
        if "emb" in names:
            estimates_by_name["emb"] = estimates[names.index("emb")]
        words = run.problem.words
        if words is None:
            run.notes.append(Message("note.no.bag"))
            return estimates_by_name
        outers = [outer for outer in run.design.outers if outer.repeat == 0]
        of_words = run.dataset.level in ("token", "word")
        predicted = baselines.bag_of_words(words, run.design, run.scorer, outers, words=of_words, track=track)
        (estimates_by_name["bag_of_words"],) = run.estimates([predicted])
        if len(outers) < len(run.design.outers):
            run.notes.append(Message("note.bag.folds", n=len(outers)))
        return estimates_by_name

    def _random_baseline(self, models: Sequence[RandomModel], best: Candidate, track: Tracker) -> Estimate:
        """Return the mean, lowest and highest score of the best candidate on models with random weights."""
        scores = []
        for model, step_track in track.each(models, ["random model"] * len(models)):
            predicted = self.run.evaluate_on(model, best, step_track).predicted
            scores.append(float(self.run.folds(predicted).mean()))
        self.run.notes.append(Message("note.random.model", mix=best.short_name, n=len(scores)))
        return Estimate(float(np.mean(scores)), min(scores), max(scores))


def with_dropped(
    result: ProbeResult, candidates: Sequence[Candidate], dropped: Mapping[str, float], dataset: Layered
) -> ProbeResult:
    """Return the result with the candidates that the coarse pass ruled out, in the order of `candidates`."""
    compared = {candidate.mix: candidate for candidate in result.candidates}
    every = tuple(
        compared.get(candidate.name) or _dropped_result(candidate, dropped[candidate.name], dataset)
        for candidate in candidates
    )
    return replace(
        result,
        candidates=every,
        notes=(*result.notes, Message("note.dropped", n=len(dropped), of=len(every))),
    )


def _dropped_result(candidate: Candidate, score: float, dataset: Layered) -> CandidateResult:
    size = len(candidate.mix.layers) * dataset.width * _itemsize(dataset)
    return CandidateResult(
        candidate.name,
        candidate.kind,
        candidate.mix.layers,
        score,
        low=None,
        high=None,
        p_vs_best=None,
        selectivity=None,
        control=None,
        codelength=None,
        cost=candidate.cost,
        bytes_per_row=size,
        scores={},
        folds=(),
        dropped=True,
    )


def _itemsize(dataset: Layered) -> int:
    """Return the stored bytes per number; rows in memory are float32."""
    kind = str(getattr(dataset, "dtype", "float32"))
    return {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[kind]


def _regularisation(task: str, Cs: Sequence[float]) -> dict[str, Any]:
    """Return `C` and `alpha` of each outer fit; the one that the task doesn't use is `None`."""
    values = [regularisation(task, C) for C in Cs]
    name, other_name = ("alpha", "C") if task == "regress" else ("C", "alpha")
    return {name: tuple(value[name] for value in values), other_name: None}
