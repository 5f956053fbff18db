"""Which layer, which mix: every candidate through the same folds, and what can be said of the differences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import SILENT, Tracker
from layerwise.errors import RequestError
from layerwise.heads.linear import regularisation
from layerwise.probing import baselines, stats
from layerwise.probing.advice import Compared, advise
from layerwise.probing.candidates import Candidate, Fitter, candidates, fitter, time_of
from layerwise.probing.design import Builder, Design, crossed, split
from layerwise.probing.evaluate import Evaluated, Evaluation, control_scores
from layerwise.probing.mix_importance import weighed
from layerwise.probing.problem import Material, gather
from layerwise.probing.results import Estimate, ProbeResult, Scored
from layerwise.probing.scorers import F64, Judge, Predicted
from layerwise.states import I64, Layered

MOST_ROWS = 20_000
FOLDS = 5
RESAMPLED = 20  # refits of a learned mix, for the intervals of its weights
_REPEATS = 5
_CONTROLS = 3
_DRAWS = 2000  # bootstrap samples of a test set
# How long things take in times of a middling layer, by the table in docs/performance.md.
_BASELINES = 1.0
_WEIGHTS = 0.65  # of a learned mix, against its own time as a candidate
_RANDOM_FITS = 0.75  # of a candidate on a random model, without codes, against its own
_ENCODING = 3.5  # encoding all texts to the last layer
RandomModel = Callable[[Sequence[str], I64, Tracker], Layered]
"""(names of layers, numbers of texts, ascending, tracker) -> the rows of these from a model with random weights"""


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
    """Return what every layer and mix of a dataset is worth for a label, with evidence.

    Nested cross-validation repeated with seeds, or the user's own split. See `ProbeResult`.

    Args:
        dataset: rows on disk or in memory; one layer of the rows looked at is in memory at a time, and for
            a mix of several those of its layers.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels.
        mixes: mix strings besides the single layers; the defaults of `candidates.DEFAULTS` when left out.
        groups: a column of the texts whose equal values are never cut apart.
        split: a column of the texts with `train`, `dev` and `test`.
        quick: 1 × 5 folds instead of 5 × 5.
        seed: of folds, orders, samples and draws.
        max_rows: at most about so many rows are looked at, drawn by whole texts.
        random_models: give the best candidate's layers as models with random weights make them.
        track: reports candidates, folds and Cs, and what comes after.

    Raises:
        RequestError: no labels, too few classes or texts, a column or mix that doesn't exist.
    """
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise RequestError(f"--seed {seed!r} is out of range; take a whole number from 0 to {(1 << 32) - 1}")
    if max_rows < 1:
        raise RequestError(f"--max-rows {max_rows} is too small; take at least 1")
    several = candidates(dataset, [mixes] if isinstance(mixes, str) else mixes)
    reading, working = track.split(1, 99)
    reading.named("reading the labels")
    material = gather(dataset, task, label, groups=groups, split=split, folds=FOLDS, most=max_rows, seed=seed)
    run = _Run(dataset, material, 1 if quick else _REPEATS, seed)
    fitting, comparing = working.split(*_times(several, len(random_models)))
    names, times = (f"candidate {one.name}" for one in several), [time_of(one) for one in several]
    found = [run.evaluate(one, step) for one, step in fitting.each(several, names, times)]
    return _Report(run, several, found, task, label).make(random_models, comparing)


def _times(several: Sequence[Candidate], random_models: int) -> tuple[float, float]:
    """Return how long all candidates take, and what comes after them."""
    times = [time_of(one) for one in several]
    after = _BASELINES + random_models * (_ENCODING + _RANDOM_FITS * max(times))
    return sum(times), after + _WEIGHTS * _time_of_learned(several)


def _time_of_learned(several: Sequence[Candidate]) -> float:
    """Return the time of the longest learned mix; 0 where there is none."""
    return max((time_of(one) for one in several if one.mix.how == "learned"), default=0.0)


class _Run:
    """The design, and candidates going through it."""

    def __init__(self, dataset: Layered, material: Material, repeats: int, seed: int) -> None:
        self.dataset, self.material, self.seed = dataset, material, seed
        self.notes = list(material.notes)
        spread = material.judge.metric == "accuracy"
        build = Builder(material.groups, material.targets, material.count, spread=spread)
        fixed = material.roles is not None
        seeds = range(seed, seed + (_CONTROLS if fixed else min(_CONTROLS, repeats)))
        labels, self.controls = material.controls(seeds) if self._controlled() else ([], [])
        if material.roles is not None:
            self.design: Design = split(build, material.roles, seed, labels)
        else:
            self.design = crossed(build, repeats, FOLDS, seed, labels)

    def _controlled(self) -> bool:
        if self.dataset.level not in ("token", "word") or not self.material.names:
            return False
        if self.material.words is None:
            self.notes.append("There is no control task, as it goes by words and texts aren't stored.")
            return False
        return True

    def evaluate(self, one: Candidate, track: Tracker = SILENT) -> Evaluated:
        """Fit and score one candidate."""
        scoring, controlling = track.split(len(self.design.fits.train), len(self.design.controls))
        fits = fitter(self.dataset, self.material.labelled.rows, one)
        found = _through(self.design, fits, self.judge, scoring)
        found.control = control_scores(fits, self.design, self.controls, found.chosen, controlling)
        return found

    def evaluate_on(self, model: RandomModel, one: Candidate, track: Tracker) -> Evaluated:
        """Fit and score one candidate on the same rows as another model makes them; without controls and codes."""
        rows = self.material.labelled.rows
        every = self.dataset.index["doc"].to_numpy()
        docs = np.unique(every[rows])
        kept = np.flatnonzero(np.isin(every, docs))  # what these texts have of rows, in order
        encoding, scoring = track.split(_ENCODING * max(one.cost, 0.1), _RANDOM_FITS * time_of(one))
        made = model(one.mix.layers, docs, encoding.named(f"encoding {len(docs):,} texts"))
        fits = fitter(made, np.searchsorted(kept, rows), one)
        return _through(self.design.scored(), fits, self.judge, scoring)

    @property
    def judge(self) -> Judge:
        """Scores predictions of the task."""
        return self.material.judge

    def folds(self, predicted: Sequence[Predicted]) -> F64:
        """Return the score of each outer fit (J,)."""
        pairs = zip(predicted, self.design.outers, strict=True)
        return np.array([self.judge.score(values, outer.test) for values, outer in pairs])

    def estimate(self, predicted: Sequence[Predicted]) -> Estimate:
        """Return the score with its interval: corrected t over folds, or a bootstrap of the test set."""
        if self.design.fixed:
            made = self.bootstrap([predicted])
            return Estimate(float(made.scores[0]), float(made.low[0]), float(made.high[0]))
        return self.of_folds(self.folds(predicted))

    def of_folds(self, folds: F64) -> Estimate:
        """Return the corrected t interval of fold scores."""
        mean, low, high = stats.corrected_interval(folds, self.design.n_train, self.design.n_test)
        return Estimate(mean, low, high)

    def bootstrap(self, several: Sequence[Sequence[Predicted]]) -> stats.Bootstrap:
        """Draw the groups of the one test set again and again, the same for all candidates."""
        rows = self.design.outers[0].test
        counts = np.stack([self.judge.counts(predicted[0], rows) for predicted in several])
        units = stats.unit_sums(counts, self.material.groups[rows])
        return stats.paired_bootstrap(units, self.judge.of_sums, _DRAWS, self.seed)


def _through(design: Design, fits: Fitter, judge: Judge, track: Tracker) -> Evaluated:
    """Take one candidate through a design."""
    evaluation = Evaluation(design, judge)
    return evaluation.take(fits.path(design.fits, evaluation.over, evaluation.began(track)))


@dataclass
class _Report:
    """Makes the result of what the candidates got."""

    run: _Run
    several: list[Candidate]
    found: list[Evaluated]
    task: str
    label: str

    def make(self, random_models: Sequence[RandomModel], track: Tracker) -> ProbeResult:
        """Return the result."""
        run = self.run
        folds = np.stack([run.folds(one.predicted) for one in self.found])
        estimates, compared = self._compare(folds)
        scored = tuple(
            self._scored(place, estimates[place], compared, folds[place])
            for place in range(len(self.several))
        )
        chosen = run.estimate(self._chosen())
        sizes = [one.bytes_per_row for one in scored]
        advice = advise(compared, self.several, sizes, chosen, run.judge.metric)
        best = self.several[compared.best]
        encoding = len(random_models) * (_ENCODING + _RANDOM_FITS * time_of(best))
        parts = track.split(_BASELINES, _WEIGHTS * _time_of_learned(self.several), encoding)
        beaten = self._baselines(estimates, parts[0].named("baselines"))
        learned = self._learned(estimates, parts[1])
        if random_models:
            beaten["random_model"] = self._random(random_models, best, parts[2])
        return ProbeResult(
            self.task,
            self.label,
            run.judge.metric,
            len(run.material.labelled),
            run.material.names,
            run.design.text,
            scored,
            chosen,
            beaten,
            advice,
            tuple(self.run.notes),
            run.seed,
            learned,
        )

    def _learned(self, estimates: list[Estimate], track: Tracker) -> Mapping[str, Any] | None:
        """Return what the best of the learned mixes weighs."""
        mixes = [n for n, one in enumerate(self.several) if one.mix.how == "learned"]
        if not mixes:
            return None
        place = max(mixes, key=lambda n: estimates[n].score)
        one, got, run = self.several[place], self.found[place], self.run
        track = track.named(f"weights of {one.name}")
        place = got.chosen[0]
        found = weighed(
            run.dataset,
            run.material,
            run.design,
            one,
            place,
            draws=RESAMPLED,
            seed=run.seed,
            track=track,
        )
        if found is None:
            return None
        return {"mix": one.name, **regularisation(self.task, got.Cs[place]), **found.to_json()}

    def _compare(self, folds: F64) -> tuple[list[Estimate], Compared]:
        run, count = self.run, len(self.several)
        if run.design.fixed:
            made = run.bootstrap([one.predicted for one in self.found])
            gaps = made.samples[:, :, None] - made.samples[:, None, :]
            low, high = np.nanpercentile(gaps, [2.5, 97.5], axis=0)
            p = stats.max_statistic(made.samples, made.scores)
            estimates = [
                Estimate(*map(float, ends)) for ends in zip(made.scores, made.low, made.high, strict=True)
            ]
            critical = stats.max_critical(made.samples, made.scores)
            return estimates, Compared(made.scores, p, np.nanstd(gaps, axis=0), low, high, critical, False)
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
        return estimates, Compared(folds.mean(axis=1), p, error, low, high, critical, True)

    def _scored(self, place: int, estimate: Estimate, compared: Compared, folds: F64) -> Scored:
        one, got, run = self.several[place], self.found[place], self.run
        others = self._others(got.predicted)
        plain = others.get("token_accuracy", estimate.score)
        control = float(np.mean(got.control)) if got.control else None
        return Scored(
            one.name,
            one.kind,
            one.mix.layers,
            estimate.score,
            estimate.low,
            estimate.high,
            float(compared.p[compared.best, place]),
            None if control is None else plain - control,
            control,
            self._codelength(got),
            one.cost,
            len(one.mix.layers) * run.dataset.width * _itemsize(run.dataset),
            others,
            tuple(folds.tolist()),
            **_regularisation(self.task, [got.Cs[place] for place in got.chosen]),
        )

    def _others(self, predicted: Sequence[Predicted]) -> dict[str, float]:
        outers = self.run.design.outers
        made = [self.run.judge.others(p, outer.test) for p, outer in zip(predicted, outers, strict=True)]
        return {name: float(np.mean([one[name] for one in made])) for name in made[0]}

    def _codelength(self, got: Evaluated) -> Mapping[str, float] | None:
        if not got.bits:
            return None
        labels = sum(len(block.rows) for block in self.run.design.orders[0])
        bits = float(np.mean(got.bits))
        uniform = labels * float(np.log2(self.run.material.count))
        return {"bits": bits, "bits_per_label": bits / labels, "compression": uniform / bits}

    def _chosen(self) -> list[Predicted]:
        """Return the predictions of the candidate that the inner folds choose, for each outer fit."""
        inner = np.array([one.inner for one in self.found])
        return [self.found[int(best)].predicted[number] for number, best in enumerate(inner.argmax(axis=0))]

    def _baselines(self, estimates: list[Estimate], track: Tracker) -> dict[str, Estimate]:
        run = self.run
        out = {"majority": run.estimate(baselines.majority(run.design, run.judge))}
        names = [one.name for one in self.several]
        if "emb" in names:
            out["emb"] = estimates[names.index("emb")]
        words = run.material.words
        if words is None:
            run.notes.append("There is no bag of words, as texts aren't stored.")
            return out
        outers = [outer for outer in run.design.outers if outer.repeat == 0]
        of_words = run.dataset.level in ("token", "word")
        predicted = baselines.bag_of_words(words, run.design, run.judge, outers, words=of_words, track=track)
        if run.design.fixed:
            out["bag_of_words"] = run.estimate(predicted)
        else:
            pairs = zip(predicted, outers, strict=True)
            own: NDArray[np.float64] = np.array([run.judge.score(p, outer.test) for p, outer in pairs])
            out["bag_of_words"] = run.of_folds(own)
            if len(outers) < len(run.design.outers):
                run.notes.append(
                    f"The bag of words was fitted on the {len(outers)} folds of the first repeat."
                )
        return out

    def _random(self, models: Sequence[RandomModel], best: Candidate, track: Tracker) -> Estimate:
        """Return the mean score of the best candidate on models with random weights, and their extremes."""
        got = []
        for model, step in track.each(models, ["random model"] * len(models)):
            predicted = self.run.evaluate_on(model, best, step).predicted
            got.append(float(self.run.folds(predicted).mean()))
        self.run.notes.append(
            f"random_model is {best.name} of the same architecture with random weights, "
            f"{len(got)} seeds; its interval is the lowest and the highest."
        )
        return Estimate(float(np.mean(got)), min(got), max(got))


def _itemsize(dataset: Layered) -> int:
    """Return the bytes that a number takes at rest; rows in memory are float32."""
    kind = str(getattr(dataset, "dtype", "float32"))
    return {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[kind]


def _regularisation(task: str, Cs: Sequence[float]) -> dict[str, tuple[float | None, ...] | None]:
    """Return `C` of each outer fit, and `alpha`; the one that the task hasn't is `None`."""
    each = [regularisation(task, C) for C in Cs]
    mine, other = ("alpha", "C") if task == "regress" else ("C", "alpha")
    return {mine: tuple(one[mine] for one in each), other: None}
