"""How long a probe takes, against scikit-learn's grid per layer on the same folds, and against extracting.

5,000 paragraphs of documentation; the label is the third of the lengths that a text is in. The plain way is
timed on some of the outer folds of one layer and multiplied.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Goal, heading, show
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from layerwise.learn.solver import STRENGTHS
from layerwise.look.candidates import candidates, scores
from layerwise.look.design import Builder, crossed
from layerwise.look.evaluate import Evaluation
from layerwise.look.material import gather
from layerwise.look.probe import FOLDS
from layerwise.read.docstrings import paragraphs

TEXTS, TIMED = 5000, 3
WIDE = ("concat(-4:)", "concat(all)", "learned(all)")


def main() -> int:
    """Measure and print one table."""
    heading("A default probe (5 × 5 nested folds, three online codes) of 5,000 texts, minilm")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "texts.tsv")
        texts = [
            text.replace("\t", " ").replace("\n", " ")
            for _, (_, text) in zip(range(TEXTS), paragraphs(), strict=False)
        ]
        cuts = np.quantile([len(text) for text in texts], [1 / 3, 2 / 3])
        lines = [f"{text}\t{np.searchsorted(cuts, len(text))}" for text in texts]
        source.write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
        start = time.perf_counter()
        dataset = lw.extract(source, Path(folder, "d"), level="text")
        extracting = time.perf_counter() - start
        material = gather(
            dataset, "classify", "label", groups=None, split=None, folds=FOLDS, most=TEXTS, seed=0
        )
        build = Builder(material.groups, material.targets, material.count, spread=True)
        design = crossed(build, 5, FOLDS, 0, [])
        seconds: dict[str, float] = {}
        folds: list[float] = []
        for one in candidates(dataset, None):
            start = time.perf_counter()
            found = Evaluation(design, material.judge, []).take(
                scores(dataset, material.labelled.rows, one, design.fits)
            )
            seconds[one.name] = time.perf_counter() - start
            if one.name == "4":
                pairs = zip(found.predicted, design.outers, strict=True)
                folds = [material.judge.score(p, outer.test) for p, outer in pairs]
        x, y = dataset.layer("4", rows=material.labelled.rows), np.asarray(material.targets)
        start = time.perf_counter()
        plain = []
        for outer in design.outers[:TIMED]:
            rows = np.flatnonzero(design.fits.train[outer.fit])
            inner = [
                (np.flatnonzero(~np.isin(rows, h)), np.flatnonzero(np.isin(rows, h))) for _, h in outer.inner
            ]
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
            search = GridSearchCV(model, {"logisticregression__C": list(STRENGTHS)}, cv=inner)
            plain.append(search.fit(x[rows], y[rows]).score(x[outer.test], y[outer.test]))
        one_fold = (time.perf_counter() - start) / TIMED
    narrow = sum(s for name, s in seconds.items() if name not in WIDE)
    wide = sum(s for name, s in seconds.items() if name in WIDE)
    show([("candidate", "seconds"), *((name, f"{s:.1f}") for name, s in seconds.items())], right=(1,))
    print(
        f"\nextracting: {extracting:.1f} s; scikit-learn's grid for layer 4: {one_fold * 25:.0f} s (from {TIMED} folds)\n"
    )
    gap = 100 * float(np.abs(np.array(folds[:TIMED]) - plain).max())
    goals = [
        Goal(
            "layers and mixes that keep the width, against extracting",
            narrow / extracting,
            3,
            " ×",
            most=True,
        ),
        Goal("concat and learned, against extracting", wide / extracting, 20, " ×", most=True),
        Goal("layer 4, scikit-learn's time against ours", one_fold * 25 / seconds["4"], 10, " ×"),
        Goal("largest difference of a fold's score from scikit-learn's", gap, 0.3, " points", most=True),
    ]
    show([("goal", "got", "wanted", "met"), *(goal.row() for goal in goals)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
