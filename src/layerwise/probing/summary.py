"""The result of a probe from the scores of all candidates: intervals, tests, baselines, importances and advice.

The inner folds alone choose C and the candidate; the scores of rows that took part in a choice would be too high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import Tracker
from layerwise.array_types import F64
from layerwise.heads.solve import regularisation
from layerwise.labels.scorers import Predicted
from layerwise.probing import baselines, stats
from layerwise.probing.advice import CandidateComparison, advise
from layerwise.probing.candidates import Candidate, time_of
from layerwise.probing.evaluate import CandidateScores
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
        folds = np.stack([run.folds(scores.predicted) for scores in self.evaluations])
        estimates, comparison = self._compare(folds)
        results = tuple(
            self._candidate_result(index, estimates[index], comparison, folds[index])
            for index in range(len(self.candidates))
        )
        chosen = run.estimate(self._chosen())
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

    def _compare(self, folds: F64) -> tuple[list[Estimate], CandidateComparison]:
        run, count = self.run, len(self.candidates)
        if run.design.fixed:
            bootstrap = run.bootstrap([scores.predicted for scores in self.evaluations])
            gaps = bootstrap.samples[:, :, None] - bootstrap.samples[:, None, :]
            low, high = np.nanpercentile(gaps, [2.5, 97.5], axis=0)
            p = stats.max_statistic(bootstrap.samples, bootstrap.scores)
            estimates = [
                Estimate(*map(float, ends))
                for ends in zip(bootstrap.scores, bootstrap.low, bootstrap.high, strict=True)
            ]
            critical = stats.max_critical(bootstrap.samples, bootstrap.scores)
            return estimates, CandidateComparison(
                bootstrap.scores, p, np.nanstd(gaps, axis=0), low, high, critical, False
            )
        n_train, n_test = run.design.n_train, run.design.n_test
        low, high, error = np.zeros((3, count, count))
        for i in range(count):
            for j in range(count):
                gap = folds[i] - folds[j]
                error[i, j] = stats.corrected_error(gap, n_train, n_test)
                _, low[i, j], high[i, j] = stats.corrected_interval(gap, n_train, n_test)
        estimates = [run.of_folds(row) for row in folds]
        p = stats.paired_tests(folds, n_train, n_test)
        critical = stats.bonferroni_critical(count, folds.shape[1])
        return estimates, CandidateComparison(folds.mean(axis=1), p, error, low, high, critical, True)

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
            float(comparison.p[comparison.best, index]),
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

    def _chosen(self) -> list[Predicted]:
        """Return, for each outer fit, the predictions of the candidate that its inner folds choose."""
        inner = np.array([scores.inner for scores in self.evaluations])
        return [
            self.evaluations[int(best)].predicted[number] for number, best in enumerate(inner.argmax(axis=0))
        ]

    def _baselines(self, estimates: list[Estimate], track: Tracker) -> dict[str, Estimate]:
        run = self.run
        estimates_by_name = {"majority": run.estimate(baselines.majority(run.design, run.scorer))}
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
        if run.design.fixed:
            estimates_by_name["bag_of_words"] = run.estimate(predicted)
        else:
            pairs = zip(predicted, outers, strict=True)
            scores: NDArray[np.float64] = np.array([run.scorer.score(p, outer.test) for p, outer in pairs])
            estimates_by_name["bag_of_words"] = run.of_folds(scores)
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


def _itemsize(dataset: Layered) -> int:
    """Return the stored bytes per number; rows in memory are float32."""
    kind = str(getattr(dataset, "dtype", "float32"))
    return {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[kind]


def _regularisation(task: str, Cs: Sequence[float]) -> dict[str, tuple[float | None, ...] | None]:
    """Return `C` and `alpha` of each outer fit; the one that the task doesn't use is `None`."""
    values = [regularisation(task, C) for C in Cs]
    name, other_name = ("alpha", "C") if task == "regress" else ("C", "alpha")
    return {name: tuple(value[name] for value in values), other_name: None}
