"""The result of a probe from the scores of all candidates: intervals, tests, baselines, importances and advice.

The inner folds alone choose C and the candidate; the scores of rows that took part in a choice would be too high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from layerwise._util.display import score_digits
from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.array_types import F64
from layerwise.heads.mixing import input_width
from layerwise.heads.solve import regularisation
from layerwise.labels.scorers import ClassScorer, Predicted
from layerwise.probing import baselines
from layerwise.probing.advice import BaselineLeads, advise
from layerwise.probing.advice_extras import is_above
from layerwise.probing.candidates import Candidate, time_of
from layerwise.probing.comparison import CandidateComparison, compare, lead
from layerwise.probing.evaluate import CandidateScores
from layerwise.probing.extras import ScoredExtras, chosen_predictions, inner_choices
from layerwise.probing.influence import CandidatePredictions
from layerwise.probing.mix_importance import mix_importance
from layerwise.probing.power import few_groups
from layerwise.probing.results import CandidateResult, ProbeResult
from layerwise.probing.run import ENCODING, RANDOM_FITS, ProbeRun, RandomModel
from layerwise.results import Estimate
from layerwise.states import Layered
from layerwise.wording import Message, digits, percent, some

RESAMPLED = 20  # number of refits of a learned mix, for the intervals of its weights
# Durations relative to a layer of medium depth, from the table in docs/explanation/performance.md.
_BASELINES = 1.0
_IMBALANCED = (
    4.0  # from how many times the mean of the other classes the largest one has, an imbalance is told
)
_WEIGHTS = 0.6  # importance of a learned mix, relative to its own time as a candidate


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

    def make(self, random_models: Sequence[RandomModel], extras: ScoredExtras, track: Tracker) -> ProbeResult:
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
        choices = inner_choices(self.evaluations)
        (chosen,) = run.estimates([chosen_predictions(self.evaluations, choices)])
        best = self.candidates[comparison.best]
        encoding = len(random_models) * (ENCODING + RANDOM_FITS * time_of(best))
        parts = track.split(_BASELINES, _WEIGHTS * _learned_time(self.candidates), encoding)
        baseline_predictions = self._baseline_predictions(parts[0].named("baselines"))
        if extras.vectors is not None:
            baseline_predictions["word_vectors"] = extras.vectors
        baseline_estimates = self._baselines(estimates, baseline_predictions)
        leads = self._leads(predictions, baseline_predictions, extras)
        sizes = [result.bytes_per_row for result in results]
        few = few_groups(run, len(self.candidates))
        with digits(score_digits(((e.low, e.high) for e in estimates), len(run.problem.labelled))):
            advice = advise(
                comparison,
                self.candidates,
                sizes,
                chosen,
                leads,
                run.scorer.metric,
                self._imbalance(),
                extras,
                None if few is None else Message("advise.groups.few", **few),
            )
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
            extras.mlp,
            extras.coverage,
            extras.expected,
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
        # The control task is scored by accuracy.
        task_score = metrics.get("word_accuracy", metrics.get("accuracy", estimate.score))
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
            _bytes_per_row(candidate, run),
            metrics,
            tuple(folds.tolist()),
            **_regularisation(self.task, [scores.Cs[c_index] for c_index in scores.chosen]),
            parameters=_parameters(candidate, run),
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

    def _baseline_predictions(self, track: Tracker) -> dict[str, CandidatePredictions]:
        """Return the predictions of the baselines without a model: `majority`, and `bag_of_words` where texts are stored."""
        run = self.run
        predictions = {"majority": CandidatePredictions(baselines.majority(run.design, run.scorer))}
        words = run.problem.words
        if words is None:
            run.notes.append(Message("note.no.bag"))
            return predictions
        outers = [outer for outer in run.design.outers if outer.repeat == 0]
        of_words = run.dataset.level in ("token", "word")
        predictions["bag_of_words"] = baselines.bag_of_words(
            *(words, run.design, run.scorer, outers),
            words=of_words,
            letters=run.dataset.word_split == "chars",
            track=track,
        )
        if len(outers) < len(run.design.outers):
            run.notes.append(Message("note.bag.folds", n=len(outers)))
        return predictions

    def _baselines(
        self, estimates: list[Estimate], predictions: Mapping[str, CandidatePredictions]
    ) -> dict[str, Estimate]:
        """Return the scores of the baselines by name; the embedding layer is one where it is a candidate."""
        out = {name: self.run.estimates([predicted])[0] for name, predicted in predictions.items()}
        names = [candidate.name for candidate in self.candidates]
        if "emb" in names:
            emb = {"emb": estimates[names.index("emb")]}
            out = {"majority": out.pop("majority")} | emb | out
        return out

    def _leads(
        self,
        candidates: list[CandidatePredictions],
        predictions: Mapping[str, CandidatePredictions],
        extras: ScoredExtras,
    ) -> BaselineLeads:
        """Return the leads over the baselines, of rows in pairs."""
        run, count = self.run, len(candidates)
        influence = run.influence([*candidates, *predictions.values()])
        leads = {
            name: lead(influence, range(count), count + number, run.seed)
            for number, name in enumerate(predictions)
        }
        majority, words = leads["majority"], leads.get("bag_of_words")
        over_majority = None
        if words is not None:
            position = count + list(predictions).index("bag_of_words")
            over_majority = lead(influence, [position], count, run.seed)
        beyond_linear = extras.mlp is not None and is_above(extras.mlp.difference)
        return BaselineLeads(
            majority, words, over_majority, self.task == "regress", leads.get("word_vectors"), beyond_linear
        )

    def _imbalance(self) -> Message | None:
        """Note an imbalance of the classes; return the sentence of the advice where accuracy is the metric."""
        problem = self.run.problem
        if not isinstance(problem.scorer, ClassScorer):
            return None
        shares = np.bincount(np.asarray(problem.targets, np.int64), minlength=problem.count)
        shares = shares / shares.sum()
        order = np.argsort(-shares, kind="stable").tolist()
        if shares[order[0]] < _IMBALANCED * (1 - shares[order[0]]) / (len(shares) - 1):
            return None
        listed = [f"{problem.names[index]!r} {_share(shares[index])}" for index in order]
        self.run.notes.append(Message("note.imbalance", shares=some(listed)))
        if problem.scorer.metric != "accuracy":
            return None
        largest = {"share": _share(shares[order[0]]), "label": repr(problem.names[order[0]])}
        return Message("advise.imbalance", option=argument("metric", "macro_f1"), **largest)

    def _random_baseline(self, models: Sequence[RandomModel], best: Candidate, track: Tracker) -> Estimate:
        """Return the mean, lowest and highest score of the best candidate on models with random weights."""
        scores = []
        for model, step_track in track.each(models, ["random model"] * len(models)):
            predicted = self.run.evaluate_on(model, best, step_track).predicted
            scores.append(float(self.run.folds(predicted).mean()))
        self.run.notes.append(Message("note.random.model", mix=best.short_name, n=len(scores)))
        return Estimate(float(np.mean(scores)), min(scores), max(scores))


def with_dropped(
    result: ProbeResult, candidates: Sequence[Candidate], dropped: Mapping[str, float], run: ProbeRun
) -> ProbeResult:
    """Return the result with the candidates that the coarse pass ruled out, in the order of `candidates`."""
    compared = {candidate.mix: candidate for candidate in result.candidates}
    every = tuple(
        compared.get(candidate.name) or _dropped_result(candidate, dropped[candidate.name], run)
        for candidate in candidates
    )
    return replace(
        result,
        candidates=every,
        notes=(*result.notes, Message("note.dropped", n=len(dropped), of=len(every))),
    )


def _dropped_result(candidate: Candidate, score: float, run: ProbeRun) -> CandidateResult:
    size = _bytes_per_row(candidate, run)
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
        parameters=_parameters(candidate, run),
    )


def _share(share: float) -> str:
    """Return a share in per cents, with as many digits as its distance from 0% and 100% needs.

    >>> _share(0.5), _share(0.997)
    ('50%', '99.7%')
    """
    return percent(share, 1 if min(share, 1 - share) < 0.095 else 0)


def _parameters(candidate: Candidate, run: ProbeRun) -> int:
    """Return how many numbers a candidate trains; two classes have one vector of weights."""
    mix = candidate.mix
    inputs = input_width(mix, run.dataset.widths, run.problem.labelled.rows.ndim == 2)
    layers = len(mix.layers) if mix.how == "learned" and len(mix.layers) > 1 else 0
    return run.design.fits.columns * (inputs + 1) + layers


def _bytes_per_row(candidate: Candidate, run: ProbeRun) -> int:
    """Return the stored bytes of a row of all layers of a candidate."""
    widths = run.dataset.widths
    return sum(widths[name] for name in candidate.mix.layers) * _itemsize(run.dataset)


def _itemsize(dataset: Layered) -> int:
    """Return the stored bytes per number; rows in memory are float32."""
    kind = str(getattr(dataset, "dtype", "float32"))
    return {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[kind]


def _regularisation(task: str, Cs: Sequence[float]) -> dict[str, Any]:
    """Return `C` and `alpha` of each outer fit; the one that the task doesn't use is `None`."""
    values = [regularisation(task, C) for C in Cs]
    name, other_name = ("alpha", "C") if task == "regress" else ("C", "alpha")
    return {name: tuple(value[name] for value in values), other_name: None}
