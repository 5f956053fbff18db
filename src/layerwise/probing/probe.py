"""The probe: score every layer and mix on the same folds, and test which differences are significant.

Every candidate has the same nested design, so that fold scores can be compared in pairs. The inner folds alone
choose C and the candidate; the scores of rows that took part in a choice would be too high.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.heads.solve import regularisation
from layerwise.labels.scorers import F64, ClassScorer, Predicted, Scorer
from layerwise.probing import baselines, stats
from layerwise.probing.advice import CandidateComparison, advise
from layerwise.probing.candidates import Candidate, Fitter, candidates, fitter, time_of
from layerwise.probing.design import Design, DesignBuilder, crossed, split
from layerwise.probing.evaluate import CandidateScores, Evaluation, control_scores
from layerwise.probing.mix_importance import mix_importance
from layerwise.probing.problem import ProbeProblem, gather
from layerwise.probing.results import CandidateResult, Estimate, ProbeResult
from layerwise.states import I64, Layered

MOST_ROWS = 20_000
FOLDS = 5
RESAMPLED = 20  # number of refits of a learned mix, for the intervals of its weights
_REPEATS = 5
_CONTROLS = 3
_DRAWS = 2000  # bootstrap samples of a test set
# Durations relative to a layer of medium depth, from the table in docs/performance.md.
_BASELINES = 1.0
_WEIGHTS = 0.65  # importance of a learned mix, relative to its own time as a candidate
_RANDOM_FITS = 0.75  # a candidate on a random model, without codes, relative to its own time
_ENCODING = 3.5  # encoding all texts to the last layer
RandomModel = Callable[[Sequence[str], I64, Tracker], Layered]
"""(layer names, ascending text numbers, tracker) -> the rows of these texts from a model with random weights"""


def probe(
    dataset: Layered,
    task: str,
    label: str,
    *,
    mixes: Sequence[str] | None = None,
    groups: str | None = None,
    split: str | None = None,
    quick: bool = False,
    seed: int = 0,
    max_rows: int = MOST_ROWS,
    random_models: Sequence[RandomModel] = (),
    track: Tracker = SILENT,
) -> ProbeResult:
    """Score every layer and mix of a dataset for a label, with intervals, tests, baselines and advice.

    By nested cross-validation, repeated with several seeds, or by the user's own split. See `ProbeResult`.

    Args:
        dataset: rows on disk or in memory; one layer of the used rows is in memory at a time, and for a mix
            all of its layers.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels.
        mixes: mix strings besides the single layers; `candidates.DEFAULTS` if not given.
        groups: a column of the texts; texts with equal values are never split between training and test.
        split: a column of the texts with `train`, `dev` and `test`.
        quick: 1 × 5 folds instead of 5 × 5.
        seed: seed of folds, orders, samples and resamples.
        max_rows: about the largest number of rows to use; whole texts are sampled.
        random_models: models with random weights, on which the best candidate is scored as a baseline.
        track: progress over candidates, folds and Cs, and the steps after them.

    Raises:
        RequestError: no labels, too few classes or texts, a column or mix that doesn't exist.
    """
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise RequestError(
            f"{argument('seed', seed)} is out of range; take a whole number from 0 to {(1 << 32) - 1}"
        )
    if max_rows < 1:
        raise RequestError(f"{argument('max_rows', max_rows)} is too small; take at least 1")
    all_candidates = candidates(dataset, [mixes] if isinstance(mixes, str) else mixes)
    reading, working = track.split(1, 99)
    reading.named("reading the labels")
    problem = gather(
        dataset, task, label, groups=groups, split=split, folds=FOLDS, max_rows=max_rows, seed=seed
    )
    run = _ProbeRun(dataset, problem, 1 if quick else _REPEATS, seed)
    fitting, comparing = working.split(*_times(all_candidates, len(random_models)))
    names, times = (
        (f"candidate {candidate.name}" for candidate in all_candidates),
        [time_of(candidate) for candidate in all_candidates],
    )
    evaluations = [
        run.evaluate(candidate, step_track)
        for candidate, step_track in fitting.each(all_candidates, names, times)
    ]
    return _ResultBuilder(run, all_candidates, evaluations, task, label).make(random_models, comparing)


def _times(all_candidates: Sequence[Candidate], random_models: int) -> tuple[float, float]:
    """Return about how long all candidates take, and the steps after them, relative to a layer of medium depth."""
    times = [time_of(candidate) for candidate in all_candidates]
    after = _BASELINES + random_models * (_ENCODING + _RANDOM_FITS * max(times))
    return sum(times), after + _WEIGHTS * _learned_time(all_candidates)


def _learned_time(all_candidates: Sequence[Candidate]) -> float:
    """Return the time of the longest learned mix; 0 without one."""
    return max(
        (time_of(candidate) for candidate in all_candidates if candidate.mix.how == "learned"), default=0.0
    )


class _ProbeRun:
    """The problem and design of a probe; evaluates candidates on them."""

    def __init__(self, dataset: Layered, problem: ProbeProblem, repeats: int, seed: int) -> None:
        self.dataset, self.problem, self.seed = dataset, problem, seed
        self.notes = list(problem.notes)
        spread = isinstance(problem.scorer, ClassScorer)
        builder = DesignBuilder(problem.groups, problem.targets, problem.count, spread=spread)
        fixed = problem.roles is not None
        seeds = range(seed, seed + (_CONTROLS if fixed else min(_CONTROLS, repeats)))
        labels, self.controls = problem.controls(seeds) if self._has_control() else ([], [])
        if problem.roles is not None:
            self.design: Design = split(builder, problem.roles, seed, labels)
        else:
            self.design = crossed(builder, repeats, FOLDS, seed, labels)

    def _has_control(self) -> bool:
        if self.dataset.level not in ("token", "word") or not self.problem.names:
            return False
        if self.problem.words is None:
            self.notes.append("There is no control task, as it goes by words and texts aren't stored.")
            return False
        return True

    def evaluate(self, candidate: Candidate, track: Tracker = SILENT) -> CandidateScores:
        """Fit and score one candidate, control task and codes included."""
        scoring, controlling = track.split(len(self.design.fits.train), len(self.design.controls))
        solver = fitter(self.dataset, self.problem.labelled.rows, candidate)
        scores = _evaluate(self.design, solver, self.scorer, scoring)
        scores.control = control_scores(solver, self.design, self.controls, scores.chosen, controlling)
        return scores

    def evaluate_on(self, model: RandomModel, candidate: Candidate, track: Tracker) -> CandidateScores:
        """Fit and score one candidate on the same rows of another model, without control task and codes."""
        rows = self.problem.labelled.rows
        all_docs = self.dataset.index["doc"].to_numpy()
        docs = np.unique(all_docs[rows])
        doc_rows = np.flatnonzero(np.isin(all_docs, docs))  # all rows of these texts, in order
        encoding, scoring = track.split(
            _ENCODING * max(candidate.cost, 0.1), _RANDOM_FITS * time_of(candidate)
        )
        random_states = model(candidate.mix.layers, docs, encoding.named(f"encoding {len(docs):,} texts"))
        solver = fitter(random_states, np.searchsorted(doc_rows, rows), candidate)
        return _evaluate(self.design.scored_only(), solver, self.scorer, scoring)

    @property
    def scorer(self) -> Scorer:
        """The scorer of the task."""
        return self.problem.scorer

    def folds(self, predicted: Sequence[Predicted]) -> F64:
        """Return the score of each outer fit (J,)."""
        pairs = zip(predicted, self.design.outers, strict=True)
        return np.array([self.scorer.score(values, outer.test) for values, outer in pairs])

    def estimate(self, predicted: Sequence[Predicted]) -> Estimate:
        """Return the score with its interval: a corrected t over folds, or a bootstrap of the test set."""
        if self.design.fixed:
            bootstrap = self.bootstrap([predicted])
            return Estimate(float(bootstrap.scores[0]), float(bootstrap.low[0]), float(bootstrap.high[0]))
        return self.of_folds(self.folds(predicted))

    def of_folds(self, folds: F64) -> Estimate:
        """Return the corrected t interval of fold scores."""
        mean, low, high = stats.corrected_interval(folds, self.design.n_train, self.design.n_test)
        return Estimate(mean, low, high)

    def bootstrap(self, predictions: Sequence[Sequence[Predicted]]) -> stats.Bootstrap:
        """Resample the groups of the test set, with the same draws for all candidates."""
        rows = self.design.outers[0].test
        counts = np.stack([self.scorer.counts(predicted[0], rows) for predicted in predictions])
        units = stats.unit_sums(counts, self.problem.groups[rows])
        return stats.paired_bootstrap(units, self.scorer.of_sums, _DRAWS, self.seed)


def _evaluate(design: Design, solver: Fitter, scorer: Scorer, track: Tracker) -> CandidateScores:
    """Fit one candidate on all training sets of a design and collect its scores."""
    evaluation = Evaluation(design, scorer)
    return evaluation.collect(solver.path(design.fits, evaluation.may_stop, evaluation.on_begin(track)))


@dataclass
class _ResultBuilder:
    """Builds the result from the scores of all candidates."""

    run: _ProbeRun
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
        encoding = len(random_models) * (_ENCODING + _RANDOM_FITS * time_of(best))
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
            run.notes.append("There is no bag of words, as texts aren't stored.")
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
                run.notes.append(
                    f"The bag of words was fitted on the {len(outers)} folds of the first repeat."
                )
        return estimates_by_name

    def _random_baseline(self, models: Sequence[RandomModel], best: Candidate, track: Tracker) -> Estimate:
        """Return the mean, lowest and highest score of the best candidate on models with random weights."""
        scores = []
        for model, step_track in track.each(models, ["random model"] * len(models)):
            predicted = self.run.evaluate_on(model, best, step_track).predicted
            scores.append(float(self.run.folds(predicted).mean()))
        self.run.notes.append(
            f"random_model is {best.name} of the same architecture with random weights, "
            f"{len(scores)} seeds; its interval is the lowest and the highest."
        )
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
