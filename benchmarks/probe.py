"""How long a probe takes, against scikit-learn's grid per layer on the same folds, and against extracting.

5,000 paragraphs of documentation; the label is the third of the lengths that a text is in. The plain way is
timed on some of the outer folds of one layer and multiplied.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Goal, heading, show, show_goals
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from layerwise.heads.solve import CS
from layerwise.probing.candidates import Candidate, candidates, fitter
from layerwise.probing.design import Design, DesignBuilder, crossed
from layerwise.probing.evaluate import CandidateEvaluation
from layerwise.probing.mix_importance import mix_importance
from layerwise.probing.problem import ProbeProblem, gather
from layerwise.probing.run import FOLDS
from layerwise.probing.summary import RESAMPLED
from layerwise.read.docstrings import paragraphs
from layerwise.store import LayerDataset

TEXTS, TIMED, LAYER = 5000, 3, "4"
WEIGHTS = "weights of learned(all)"
NARROW = ("mean(1:)", "mean(-4:)")
WIDE = ("concat(-4:)", "concat(all)", "learned(all)", WEIGHTS)


def main() -> int:
    """Measure and print both tables."""
    heading("A default probe (5 × 5 nested folds, three online codes) of 5,000 texts, minilm")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        dataset = lw.extract(_source(Path(folder)), Path(folder, "d"), level="text")
        extracting = time.perf_counter() - start
        problem = gather(
            dataset, "classify", "label", groups=None, split=None, folds=FOLDS, max_rows=TEXTS, seed=0
        )
        build = DesignBuilder(problem.groups, problem.targets, problem.count, spread=True)
        design = crossed(build, 5, FOLDS, 0, [])
        seconds, folds = {}, {}
        for candidate in candidates(dataset, None):
            seconds[candidate.name], folds[candidate.name] = _ours(dataset, problem, design, candidate)
        start = time.perf_counter()
        lw.probe(dataset, task="classify", label="label", mix=list(NARROW))
        whole = time.perf_counter() - start
        start = time.perf_counter()
        mix_importance(dataset, problem, design, candidate, CS.index(0.1), draws=RESAMPLED, seed=0)
        seconds[WEIGHTS] = time.perf_counter() - start
        one_fold, plain = _plain(dataset, problem, design)
    show([("candidate", "seconds"), *((name, f"{s:.1f}") for name, s in seconds.items())], right=(1,))
    print(f"\nextracting: {extracting:.1f} s; lw.probe without the wide mixes: {whole:.1f} s")
    print(f"scikit-learn's grid for layer {LAYER}: {one_fold * 25:.0f} s")
    print(f"(from {TIMED} of 25 folds)\n")
    wide = sum(s for name, s in seconds.items() if name in WIDE)
    gap = 100 * float(np.abs(np.array(folds[LAYER][:TIMED]) - plain).max())
    show_goals(
        [
            Goal(
                "`lw.probe` of layers and mixes that keep the width, baselines and all, against extracting",
                whole / extracting,
                3,
                " ×",
                most=True,
            ),
            Goal("concat and learned, against extracting", wide / extracting, 20, " ×", most=True),
            Goal(
                f"layer {LAYER}, scikit-learn's time against ours", one_fold * 25 / seconds[LAYER], 10, " ×"
            ),
            Goal("largest difference of a fold's score from scikit-learn's", gap, 0.3, " points", most=True),
        ]
    )
    return 0


def _source(folder: Path) -> Path:
    """Write the texts with the third of the lengths that each is in."""
    texts = [text for _, (_, text) in zip(range(TEXTS), paragraphs(), strict=False)]
    cuts = np.quantile([len(text) for text in texts], [1 / 3, 2 / 3])
    lines = (" ".join(text.split()) + f"\t{np.searchsorted(cuts, len(text))}" for text in texts)
    source = folder / "texts.tsv"
    source.write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return source


def _ours(
    dataset: LayerDataset, problem: ProbeProblem, design: Design, candidate: Candidate
) -> tuple[float, list[float]]:
    """Return the seconds that a candidate takes, and its score in each outer fold."""
    start = time.perf_counter()
    evaluation = CandidateEvaluation(design, problem.scorer)
    fits = fitter(dataset, problem.labelled.rows, candidate)
    scores = evaluation.run(fits)
    pairs = zip(scores.predicted, design.outers, strict=True)
    folds = [problem.scorer.score(predicted, outer.test) for predicted, outer in pairs]
    return time.perf_counter() - start, folds


def _plain(dataset: LayerDataset, problem: ProbeProblem, design: Design) -> tuple[float, list[float]]:
    """Return the seconds of one outer fold in scikit-learn, and the scores of the folds that were timed."""
    x, y = dataset.layer(LAYER, rows=problem.labelled.rows), np.asarray(problem.targets)
    start = time.perf_counter()
    out = []
    for outer in design.outers[:TIMED]:
        rows = np.flatnonzero(design.fits.train[outer.fit])
        inner = [
            (np.flatnonzero(~np.isin(rows, h)), np.flatnonzero(np.isin(rows, h))) for _, h in outer.inner
        ]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        search = GridSearchCV(model, {"logisticregression__C": list(CS)}, cv=inner)
        out.append(search.fit(x[rows], y[rows]).score(x[outer.test], y[outer.test]))
    return (time.perf_counter() - start) / TIMED, out


if __name__ == "__main__":
    sys.exit(main())
