"""How often `probe` finds a better candidate, and how often it claims one that isn't: the tables in docs/explanation/probe.md.

Each run draws rows with 13 candidates of 16 numbers, of which one is better by `--gap` in the planted shapes, and any two
differ on about 12% of rows. `--fits squares` scores them by least squares with the folds and statistics of `probe`, in a
tenth of a second on one core; `--fits probe` runs `probe` itself, with C chosen on inner folds. `--quick` is the first
repeat of the default. The true score is the mean over all runs of the table. Found: the best is the planted candidate,
and the candidate with the median score differs significantly from it.

Every run is appended to `--out` as soon as it is done; runs that stand there already aren't repeated, so a stopped
command goes on where it was. `python benchmarks/power.py --runs 1000 --first 100000` makes the first table.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, heading, show, show_others
from numpy.typing import NDArray

from layerwise._util.threads import computing
from layerwise.labels import metrics
from layerwise.labels.scorers import Predicted, Scorer
from layerwise.labels.tags import f1_of_counts, lengths, span_counts_of_codes
from layerwise.probing.comparison import compare, estimates, retraining_weight
from layerwise.probing.design import INNER, Design, OuterFit
from layerwise.probing.fits import Fits
from layerwise.probing.influence import CandidatePredictions, Influence, influence
from layerwise.wording import Message

_DRAWS = 5_000  # of the distribution of the largest difference, a quarter of those of `probe`
FOLDS, REPEATS, CANDIDATES, WIDTH = 5, 5, 13, 16
ACCURACY, ALIKE = 0.83, 0.755  # of the lesser candidates; the correlation of errors that gives 12%
SENTENCE, DOCUMENT = 12, 20  # words of a sentence; rows of a document, of spans 10 sentences
SHAPES = ("planted", "equal", "noise", "documents", "documents, equal", "spans", "spans, equal")
DESIGNS = ("default", "--quick")
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """What the runs of one row of the table have in common."""

    fits: str
    shape: str
    rows: int
    gap: float
    document: int = DOCUMENT
    accuracy: float = ACCURACY

    @property
    def planted(self) -> bool:
        """Whether one candidate is better than the others."""
        return not self.shape.endswith(("equal", "noise"))


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of one run: features (n, candidates, width), class numbers, groups and texts (n,), and the best candidate."""

    features: F32
    labels: I64
    groups: I64
    docs: I64
    spans: bool
    planted: int


class CountScorer(Scorer):
    """Scores predictions that are counts of rows (m, k) already, so that they are counted once for all candidates."""

    def __init__(self, sample: Sample) -> None:
        self.metric = "span_f1" if sample.spans else "accuracy"
        self._sample = sample

    def count(self, classes: NDArray[np.bool_], rows: I64) -> F64:
        """Return the counts (candidates, m, k) of predictions (candidates, m) of some rows."""
        gold = self._sample.labels[rows]
        if not self._sample.spans:
            right = classes == gold
            return np.stack([right, np.ones_like(right)], axis=2).astype(np.float64)
        sizes = np.asarray(lengths(self._sample.docs[rows]), np.int64)
        counts = np.zeros((*classes.shape, 3))
        tags = ["O", "B-X"]
        counts[:, np.cumsum(sizes) - sizes] = span_counts_of_codes(
            gold, classes.astype(np.int64), sizes, tags
        )
        return counts

    def decide(self, values: F32, rows: I64) -> Predicted:
        """Raise: these predictions are decided."""
        raise NotImplementedError

    def counts(self, predicted: Predicted, rows: I64) -> F64:
        """Return the predictions, which are counts."""
        return np.asarray(predicted, np.float64)

    def of_sums(self, sums: F64) -> F64:
        """Return accuracy, or F1 of spans."""
        return f1_of_counts(sums) if self._sample.spans else metrics.accuracy_of_counts(sums)

    def further_metrics(self, predicted: Predicted, rows: I64) -> dict[str, float]:
        """Return none."""
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class StoredInfluence(Influence):
    """Influence values whose covariances (C, C) are computed once, for all that asks for them."""

    of_rows: F64 = field(default_factory=lambda: np.zeros(0))
    of_retraining: F64 = field(default_factory=lambda: np.zeros(0))

    def sampling_covariance(self) -> F64:
        """Return the covariance over samples of units."""
        return self.of_rows

    def retraining_covariance(self) -> F64:
        """Return the covariance between inner fits."""
        return self.of_retraining


def sample(setting: Setting, rng: np.random.Generator) -> Sample:
    """Return the rows of one run."""
    shape, rows = setting.shape, setting.rows
    spans, documents = shape.startswith("spans"), shape.startswith(("documents", "spans"))
    size = 10 * SENTENCE if spans else setting.document if documents else 1
    groups = np.arange(rows) // size

    def normal(count: int) -> F32:
        values = rng.standard_normal((count, rows))
        if documents:
            shared = rng.standard_normal((count, int(groups.max()) + 1))[:, groups]
            values = np.sqrt(0.8) * values + np.sqrt(0.2) * shared
        return values.astype(np.float32)

    accuracies, planted = np.full(CANDIDATES, setting.accuracy), int(rng.integers(CANDIDATES))
    if setting.planted:
        accuracies[planted] += setting.gap
    signal = np.cos((1 - accuracies) * np.pi).astype(np.float32)[:, None]
    target = normal(1)
    errors = np.sqrt(ALIKE) * normal(1) + np.sqrt(1 - ALIKE) * normal(CANDIDATES)
    features = rng.standard_normal((rows, CANDIDATES, WIDTH), np.float32)
    features[:, :, 0] = (signal * target + np.sqrt(1 - signal**2) * errors).T
    labels = (target[0] > (1.0 if spans else 0.0)).astype(np.int64)
    if shape == "noise":
        labels = rng.integers(0, 2, rows)
    return Sample(features, labels, groups, np.arange(rows) // (SENTENCE if spans else 1), spans, planted)


def designed(sample: Sample, rng: np.random.Generator) -> Design:
    """Return 5 × 5 folds of whole groups with three inner folds in the first repeat, whose fits are all numbered 0."""
    units = sample.groups.max() + 1

    def folds(rows: I64, count: int) -> Iterator[I64]:
        fold_of_unit = rng.permutation(np.arange(units) % count)
        for fold in range(count):
            yield rows[fold_of_unit[sample.groups[rows]] == fold]

    every = np.arange(len(sample.labels))
    outers = []
    for repeat in range(REPEATS):
        for test in folds(every, FOLDS):
            train = np.setdiff1d(every, test, assume_unique=True)
            inner = tuple((0, part) for part in folds(train, INNER)) if repeat == 0 else ()
            outers.append(OuterFit(0, test, inner, repeat))
    none = np.zeros((0, len(every)), bool)
    zero = np.zeros(0, np.int64)
    return Design(
        Fits(none, sample.labels[None], zero, 2, zero), tuple(outers), (), (), False, Message("empty")
    )


class Squares:
    """Least squares on all candidates at once, from sums of products, with a small ridge."""

    def __init__(self, sample: Sample) -> None:
        ones = np.ones((*sample.features.shape[:2], 1), np.float32)
        self._x = np.concatenate([sample.features, ones], axis=2)
        self._y = (2 * sample.labels - 1).astype(np.float32)
        self._cut = -0.3 if sample.spans else 0.0  # few words are spans, and F1 asks for more of them
        self._total = sums_of_products(self._x, self._y)

    def predict(self, design: Design) -> tuple[list[NDArray[np.bool_]], list[list[NDArray[np.bool_]]]]:
        """Return the classes (candidates, m) of the test rows of outer fits, and of the rows that inner fits hold out."""
        outer, inner = [], []
        for fit in design.outers:
            test = self._x[fit.test]
            train = self._total - sums_of_products(test, self._y[fit.test])
            outer.append(self._classes(train, test))
            parts = []
            for _, rows in fit.inner:
                part = self._x[rows]
                parts.append(self._classes(train - sums_of_products(part, self._y[rows]), part))
            inner.append(parts)
        return outer, [parts for parts in inner if parts]

    def _classes(self, train: F32, rows: F32) -> NDArray[np.bool_]:
        """Return the classes (candidates, m) of rows, by fits to sums of products."""
        products, targets = train[:, :, :-1], train[:, :, -1:]
        weights = np.linalg.solve(products + np.eye(WIDTH + 1, dtype=np.float32), targets)
        values: F32 = np.matmul(rows.transpose(1, 0, 2), weights)[..., 0]
        return values > self._cut


def sums_of_products(x: F32, y: F32) -> F32:
    """Return the products of the inputs (m, candidates, inputs) with themselves, and last with the targets (m,).

    (candidates, inputs, inputs + 1)
    """
    of_candidate = x.transpose(1, 2, 0)
    sums: F32 = np.concatenate([of_candidate @ x.transpose(1, 0, 2), (of_candidate @ y)[..., None]], axis=2)
    return sums


def by_squares(sample: Sample, rng: np.random.Generator) -> list[Influence]:
    """Return the influence values of 5 × 5 folds, and of their first repeat."""
    design, scorer = designed(sample, rng), CountScorer(sample)
    outer, inner = Squares(sample).predict(design)
    outer_counts = [scorer.count(classes, o.test) for classes, o in zip(outer, design.outers, strict=True)]
    inner_counts = [
        [scorer.count(classes, rows) for classes, (_, rows) in zip(parts, o.inner, strict=True)]
        for parts, o in zip(inner, design.outers[:FOLDS], strict=True)
    ]
    scores = np.stack([scorer.of_sums(counts.sum(axis=1)) for counts in outer_counts])
    out = []
    for count in (len(design.outers), FOLDS):
        predictions = [
            CandidatePredictions(
                [counts[c] for counts in outer_counts[:count]],
                [[counts[c] for counts in parts] for parts in inner_counts],
            )
            for c in range(CANDIDATES)
        ]
        used = replace(design, outers=design.outers[:count])
        out.append(influence(scorer, used, sample.groups, predictions, scores[:count].mean(axis=0)))
    return out


def by_probe(sample: Sample, seed: int) -> list[Influence]:
    """Return the influence values of `probe` itself, by default and with `--quick`."""
    import pyarrow as pa

    from layerwise.probing.candidates import candidates
    from layerwise.probing.problem import gather
    from layerwise.probing.run import ProbeRun
    from layerwise.states import LayerStates

    count = len(sample.labels)
    columns = {"doc": list(range(count)), "text": [str(row) for row in range(count)]}
    columns |= {"y": sample.labels.astype(str).tolist(), "group": sample.groups.astype(str).tolist()}
    names = ["emb", *map(str, range(1, CANDIDATES))]
    rows = pa.table(columns)
    vectors = dict(zip(names, np.ascontiguousarray(sample.features.transpose(1, 0, 2)), strict=True))
    states = LayerStates(vectors, index=rows, texts=rows, blocks=CANDIDATES - 1, level="text", pool="mean")
    problem = gather(
        states, "classify", "y", groups="group", split=None, folds=FOLDS, max_rows=count, seed=seed
    )
    run = ProbeRun(states, problem, REPEATS, seed)
    run.design = run.design.scored_only()
    predictions = [run.evaluate(candidate).predictions for candidate in candidates(states, [])]
    first = [replace(p, predicted=p.predicted[:FOLDS]) for p in predictions]
    return [run.influence(predictions), run.influence(first)]


def records(setting: Setting, number: int) -> list[dict[str, Any]]:
    """Return what the statistics of both designs say about one run; the planted candidate comes first."""
    rng = np.random.default_rng([SHAPES.index(setting.shape), number])
    drawn = sample(setting, rng)
    both = by_probe(drawn, number) if setting.fits == "probe" else by_squares(drawn, rng)
    order = [drawn.planted, *(c for c in range(CANDIDATES) if c != drawn.planted)]
    return [
        {**vars(setting), "run": number, "design": design, **statistics(reordered(values, order), number)}
        for design, values in zip(DESIGNS, both, strict=True)
    ]


def reordered(values: Influence, order: list[int]) -> StoredInfluence:
    """Return influence values with the candidates in another order."""
    pairs = np.ix_(order, order)
    return StoredInfluence(
        values.scores[order],
        values.values[order],
        values.retrained[order],
        values.units,
        values.repeats,
        values.metric,
        values.sampling_covariance()[pairs],
        values.retraining_covariance()[pairs],
    )


def statistics(values: Influence, seed: int) -> dict[str, Any]:
    """Return scores, intervals and p-values (candidates,), and the mean variances of scores and of differences."""
    comparison = compare(values, seed, _DRAWS)
    covariances = {
        "rows": values.sampling_covariance(),
        "retraining": retraining_weight(values.repeats) * values.retraining_covariance(),
    }
    ends = np.array([[e.low, e.high] for e in estimates(values)], float)
    columns = {
        "scores": values.scores,
        "low": ends[:, 0],
        "high": ends[:, 1],
        "p": comparison.p,
        "gap_low": comparison.low,
        "gap_high": comparison.high,
    }
    variances = {f"variance_{name}": float(c.diagonal().mean()) for name, c in covariances.items()}
    of_differences = {f"differences_{name}": mean_of_differences(c) for name, c in covariances.items()}
    return (
        {name: np.round(column, 6).tolist() for name, column in columns.items()} | variances | of_differences
    )


def mean_of_differences(covariance: F64) -> float:
    """Return the mean variance of the difference of two candidates."""
    count = len(covariance)
    return float(2 * (covariance.trace() - covariance.sum() / count) / (count - 1))


def done(out: Path) -> dict[tuple[Setting, str], list[dict[str, Any]]]:
    """Return the records that stand in a file, by setting and design; a line that was cut short is ignored."""
    by_setting: dict[tuple[Setting, str], list[dict[str, Any]]] = {}
    for line in out.read_text(encoding="utf-8").splitlines() if out.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        setting = Setting(*(record.get(field.name, field.default) for field in fields(Setting)))
        by_setting.setdefault((setting, record["design"]), []).append(record)
    return by_setting


def run(setting: Setting, numbers: range, out: Path) -> None:
    """Append the records of all runs that don't stand in the file yet."""
    present = {record["run"] for record in done(out).get((setting, DESIGNS[-1]), [])}
    with open(out, "a", encoding="utf-8") as file, computing(1):
        for number in numbers:
            if number not in present:
                lines = [json.dumps(record) + "\n" for record in records(setting, number)]
                file.write("".join(lines))
                file.flush()


def summary(setting: Setting, results: list[dict[str, Any]]) -> list[str]:
    """Return the cells of one design: runs, mean score, gap, found, claimed, coverage of scores and of differences, variances.

    A score without an interval doesn't count for the coverage; a difference without one can't be wrong.
    """
    scores, ps = columns_of(results, "scores"), columns_of(results, "p")
    truth = np.full(CANDIDATES, scores.mean())
    if setting.planted:
        truth = np.r_[scores[:, 0].mean(), np.full(CANDIDATES - 1, scores[:, 1:].mean())]
    best = scores.argmax(axis=1)
    claims, gaps = ps < 0.05, truth[best][:, None] - truth
    median = np.argsort(-scores, axis=1, kind="stable")[:, CANDIDATES // 2]
    is_median_worse = claims[np.arange(len(results)), median]
    low, high = columns_of(results, "gap_low"), columns_of(results, "gap_high")
    inside = (~(low > gaps + 1e-9) & ~(gaps - 1e-9 > high)).all(axis=1)
    ends = columns_of(results, "low"), columns_of(results, "high")
    covered = ((ends[0] <= truth) & (truth <= ends[1]))[np.isfinite(ends[0])]
    errors = [columns_of(results, f"differences_{name}").mean() for name in ("rows", "retraining")]
    return [
        f"{len(results):,}",
        f"{scores.mean():.3f}",
        f"{truth[0] - truth[1]:.3f}" if setting.planted else "0",
        f"{((best == 0) & is_median_worse).mean():.1%}" if setting.planted else "",
        f"{(claims & (gaps <= 0)).any(axis=1).mean():.1%}",
        f"{covered.mean():.1%}",
        f"{inside.mean():.1%}",
        f"{100 * errors[0] ** 0.5:.2f}",
        f"{errors[1] / errors[0]:.0%}",
    ]


def columns_of(results: list[dict[str, Any]], name: str) -> F64:
    """Return one value of all records, (runs,) or (runs, candidates)."""
    return np.array([record[name] for record in results], np.float64)


def main() -> None:
    """Print the table, a row per shape and design."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--rows", type=int, nargs="+", default=[2000])
    parser.add_argument("--gap", type=float, nargs="+", default=[0.03])
    parser.add_argument("--accuracy", type=float, default=ACCURACY, help="of the lesser candidates")
    parser.add_argument("--document", type=int, default=DOCUMENT, help="rows of a document")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=SHAPES)
    parser.add_argument("--fits", choices=("squares", "probe"), default="squares")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "benchmarks" / "power.jsonl")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    heading(f"Power and level of probe, {args.runs} runs, fits: {args.fits}")
    columns = (
        *("shape", "rows", "design", "runs", "score", "gap", "found", "false claims", "scores covered"),
        *("differences covered", "error of a difference, points", "retraining / rows"),
    )
    cells: list[tuple[str, ...]] = []
    numbers = range(args.first, args.first + args.runs)
    for shape in args.shape:
        for rows in args.rows:
            for gap in args.gap:
                gap = gap if Setting("", shape, 0, 0).planted else 0.0
                setting = Setting(args.fits, shape, rows, gap, args.document, args.accuracy)
                run(setting, numbers, args.out)
                by_setting = done(args.out)
                for design in DESIGNS:
                    results = [r for r in by_setting[setting, design] if r["run"] in numbers]
                    row = (shape, f"{rows:,}", design, *summary(setting, results))
                    if row not in cells:
                        cells.append(row)
                show([columns, *cells[-2:]])
    print()
    show([columns, *cells])
    show_others()


if __name__ == "__main__":
    main()
