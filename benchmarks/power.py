"""How often `probe` finds a better candidate, and how often it claims one that isn't: the table in docs/probe.md.

Each run draws rows with 13 candidates of 16 numbers, of which one is better by `--gap` points in the planted shapes, and
any two differ on about 12% of rows. `--fits squares` scores them by least squares with the folds and statistics of
`probe`, in well under a second; `--fits probe` runs `probe` itself, with C chosen on inner folds. The true score is the
mean over all runs. Found: the best is the planted candidate, and the candidate with the median score differs
significantly from it. `--quick` is the first repeat of the default. `python benchmarks/power.py --runs 1000` makes the table.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from common import heading
from numpy.typing import NDArray

from layerwise.cli.output import table
from layerwise.labels.scorers import ClassScorer, Scorer, SpanScorer
from layerwise.probing.batched_solver import Fits
from layerwise.probing.comparison import CandidateComparison, compare, estimates
from layerwise.probing.design import INNER, Design, OuterFit
from layerwise.probing.influence import CandidatePredictions, Influence, influence
from layerwise.wording import Message

FOLDS, REPEATS, CANDIDATES, WIDTH = 5, 5, 13, 16
ACCURACY, ALIKE = 0.83, 0.755  # of the lesser candidates; the correlation of errors that gives 12%
SENTENCE, DOCUMENT = 12, 20  # words of a sentence, rows of a document; a document of spans has 10 sentences
SHAPES = ("planted", "equal", "noise", "documents", "documents, equal", "spans", "spans, equal")
F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of one run: features (candidates, n, width), class numbers, groups and texts (n,), and the best candidate."""

    features: F32
    labels: I64
    groups: I64
    docs: I64
    spans: bool
    planted: int


@dataclass(frozen=True, eq=False)
class Run:
    """What the statistics of one design say about one sample."""

    scores: NDArray[np.float64]
    ends: NDArray[np.float64]
    comparison: CandidateComparison


def sample(shape: str, rows: int, gap: float, rng: np.random.Generator) -> Sample:
    """Return the rows of one run."""
    spans, documents = shape.startswith("spans"), shape.startswith(("documents", "spans"))
    size = 10 * SENTENCE if spans else DOCUMENT if documents else 1
    groups = np.arange(rows) // size

    def normal(count: int) -> F32:
        own = rng.standard_normal((count, rows))
        if documents:
            shared = rng.standard_normal((count, int(groups.max()) + 1))[:, groups]
            own = np.sqrt(0.8) * own + np.sqrt(0.2) * shared
        return own.astype(np.float32)

    accuracies, planted = np.full(CANDIDATES, ACCURACY), int(rng.integers(CANDIDATES))
    if not shape.endswith(("equal", "noise")):
        accuracies[planted] += gap
    known = np.cos((1 - accuracies) * np.pi).astype(np.float32)[:, None]
    target = normal(1)
    errors = np.sqrt(ALIKE) * normal(1) + np.sqrt(1 - ALIKE) * normal(CANDIDATES)
    signal = known * target + np.sqrt(1 - known**2) * errors
    features = rng.standard_normal((CANDIDATES, rows, WIDTH), np.float32)
    features[:, :, 0] = signal
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
            inner = tuple((0, held_out) for held_out in folds(train, INNER)) if repeat == 0 else ()
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
        self.x = np.concatenate([sample.features, ones], axis=2)
        self.y = (2 * sample.labels - 1).astype(np.float32)
        self.total = self._sums(np.arange(len(self.y)))

    def _sums(self, rows: I64) -> tuple[F32, F32]:
        x = self.x[:, rows]
        return x.transpose(0, 2, 1) @ x, x.transpose(0, 2, 1) @ self.y[rows]

    def predict(self, left_out: I64, rows: I64, cut: float) -> I64:
        """Return classes (candidates, m) of rows, by fits to all rows that aren't left out."""
        products, targets = (
            whole - part for whole, part in zip(self.total, self._sums(left_out), strict=True)
        )
        weights = np.linalg.solve(products + np.eye(WIDTH + 1, dtype=np.float32), targets[..., None])
        return ((self.x[:, rows] @ weights)[..., 0] > cut).astype(np.int64)


def by_squares(sample: Sample, rng: np.random.Generator) -> list[Influence]:
    """Return the influence values of 5 × 5 folds, and of their first repeat."""
    design, solver = designed(sample, rng), Squares(sample)
    cut = -0.3 if sample.spans else 0.0  # few words are spans, and F1 asks for more of them
    outer = [solver.predict(o.test, o.test, cut) for o in design.outers]
    inner = [
        [solver.predict(np.union1d(o.test, rows), rows, cut) for _, rows in o.inner]
        for o in design.outers
        if o.repeat == 0
    ]
    scorer: Scorer = ClassScorer(sample.labels)
    if sample.spans:
        scorer = SpanScorer(sample.labels, sample.docs, ["O", "B-X"])
    out = []
    for outers in (design.outers, design.outers[:FOLDS]):
        predictions = [
            CandidatePredictions(
                [p[c] for p in outer[: len(outers)]], [[p[c] for p in fold] for fold in inner]
            )
            for c in range(CANDIDATES)
        ]
        used = replace(design, outers=outers)
        scores = [
            np.mean([scorer.score(p, o.test) for p, o in zip(c.predicted, outers, strict=True)])
            for c in predictions
        ]
        out.append(influence(scorer, used, sample.groups, predictions, np.array(scores)))
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
    vectors = dict(zip(names, sample.features, strict=True))
    states = LayerStates(vectors, index=rows, texts=rows, blocks=CANDIDATES - 1, level="text", pool="mean")
    problem = gather(
        states, "classify", "y", groups="group", split=None, folds=FOLDS, max_rows=count, seed=seed
    )
    run = ProbeRun(states, problem, REPEATS, seed)
    run.design = run.design.scored_only()
    predictions = [run.evaluate(candidate).predictions for candidate in candidates(states, [])]
    first = [replace(p, predicted=p.predicted[:FOLDS]) for p in predictions]
    return [run.influence(predictions), run.influence(first)]


def runs_of(shape: str, rows: int, gap: float, runs: int, fits: str, first: int) -> Iterator[list[Run]]:
    """Yield, per run, the results of the default and of `--quick`."""
    for seed in range(first, first + runs):
        rng = np.random.default_rng([SHAPES.index(shape), seed])
        drawn = sample(shape, rows, gap, rng)
        both = by_probe(drawn, seed) if fits == "probe" else by_squares(drawn, rng)
        order = [drawn.planted, *(c for c in range(CANDIDATES) if c != drawn.planted)]
        out = []
        for values in both:
            ordered = replace(
                values,
                scores=values.scores[order],
                values=values.values[order],
                retrained=values.retrained[order],
            )
            ends = np.array([[e.low, e.high] for e in estimates(ordered)], float)
            out.append(Run(ordered.scores, ends, compare(ordered, seed)))
        yield out


def summary(results: list[Run], planted: bool) -> list[str]:
    """Return the cells of one design: found, claimed, coverage of scores and of differences, and the gap."""
    scores = np.array([run.scores for run in results])
    truth = np.r_[scores[:, 0].mean(), np.full(CANDIDATES - 1, scores[:, 1:].mean())]
    if not planted:
        truth[:] = scores.mean()
    covered = [(run.ends[:, 0] <= truth) & (truth <= run.ends[:, 1]) for run in results]
    wrong = found = inside = 0
    for run in results:
        comparison = run.comparison
        gaps = truth[comparison.best] - truth
        claims = comparison.p < 0.05
        wrong += bool((claims & (gaps <= 0)).any())
        inside += bool(((comparison.low <= gaps + 1e-9) & (gaps - 1e-9 <= comparison.high)).all())
        median = int(np.argsort(-run.scores, kind="stable")[CANDIDATES // 2])
        found += comparison.best == 0 and bool(claims[median])
    count = len(results)
    return [
        f"{truth[0] - truth[1]:.3f}" if planted else "0",
        f"{found / count:.1%}" if planted else "",
        f"{wrong / count:.1%}",
        f"{np.mean(covered):.1%}",
        f"{inside / count:.1%}",
    ]


def main() -> None:
    """Print the table, a row per shape and design."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--rows", type=int, nargs="+", default=[2000])
    parser.add_argument("--gap", type=float, nargs="+", default=[0.03])
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=SHAPES)
    parser.add_argument("--fits", choices=("squares", "probe"), default="squares")
    args = parser.parse_args()
    heading(f"Power and level of probe, {args.runs} runs, fits: {args.fits}")
    columns = (
        "shape",
        "rows",
        "design",
        "gap",
        "found",
        "false claims",
        "scores covered",
        "differences covered",
    )
    cells: list[tuple[str, ...]] = []
    for shape in args.shape:
        planted = not shape.endswith(("equal", "noise"))
        for rows in args.rows:
            for gap in args.gap if planted else args.gap[:1]:
                results = list(runs_of(shape, rows, gap, args.runs, args.fits, args.first))
                for number, design in enumerate(("default", "--quick")):
                    each = [both[number] for both in results]
                    cells.append((shape, f"{rows:,}", design, *summary(each, planted)))
                print(*table([columns, *cells[-2:]]), sep="\n", flush=True)
    print("", *table([columns, *cells]), sep="\n")


if __name__ == "__main__":
    main()
