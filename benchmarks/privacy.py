"""`make results`: what vectors of SST-2 give away, and what privacy costs; rewrites the tables of docs/explanation/privacy.md.

With names of tables as arguments (leakage, noise, private), only those. The corpora are those of ../shared/data; without
them nothing is done. All models are minilm.
"""

import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, SHARED, put
from sklearn.linear_model import LogisticRegression

import layerwise as lw
from layerwise._util.versions import versions
from layerwise.figures.markdown import table
from layerwise.heads.accounting import noise_multiplier

PAGE = ROOT / "docs" / "explanation" / "privacy.md"
LAYER, DELTA, TRAININGS = "4", 1e-5, 10
EPSILONS = (0.5, 1.0, 2.0, 4.0)
LOCAL = (8.0, 32.0, 128.0)
SENTENCES, TEXTS = 400, 2000


class Corpora:
    """Datasets of minilm's layers, made when they are needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dataset(self, name: str, source: str, **options: Any) -> Any:
        """Return the dataset of a file of ../shared/data."""
        return lw.extract(SHARED / source, self.folder / f"{name}.lw", model="minilm", **options)

    def sst2(self, part: str) -> Any:
        """Return layer 4 of a part of SST-2."""
        return self.dataset(f"sst2_{part}", f"sst2/{part}.csv", layers=LAYER)

    @property
    def public(self) -> Any:
        """Questions of TREC: texts of another kind, which stand for what anyone may see."""
        return self.dataset("public", "trec6/train.csv", layers=LAYER, limit=1500)


def leakage(corpora: Corpora) -> str:
    """Return the table of what a simple attacker recovers from each layer."""
    options: dict[str, Any] = {"measure": ["leakage"], "max_rows": 20_000}
    tokens = lw.analyze(corpora.dataset("tokens", "sst2/dev.csv", level="token", limit=SENTENCES), **options)
    texts = lw.analyze(corpora.dataset("texts", "sst2/train.csv", limit=TEXTS), **options)
    header = ("what is recovered", *tokens.layers, "always guessing the commonest")
    rows = []
    for analysis, name, title in (
        (tokens, "leakage_tokens_untrained", "tokens, nothing trained"),
        (tokens, "leakage_tokens_trained", "tokens, trained on the other half of the texts"),
        (tokens, "leakage_tokens_unseen", "of these, tokens that no text of the training has"),
        (texts, "leakage_words", f"content words from the mean vector of a text, {TEXTS:,} texts"),
        (texts, "leakage_attribute:label", "the label of the text"),
    ):
        measured = analysis[name]
        floor = measured.floor[0] if measured.floor is not None else math.nan
        rows.append((title, *(f"{value:.3f}" for value in measured.values), f"{floor:.3f}"))
    return table(header, rows)


def _labelled(dataset: Any) -> tuple[Any, Any]:
    return dataset.layer(LAYER).astype(np.float64), np.array(dataset.texts["label"].to_pylist())


def noise(corpora: Corpora) -> str:
    """Return the table of local privacy: every vector gets noise before it is stored.

    Vectors are centred by the public mean and clipped at the median public length; replacing a text moves its vector by at
    most twice that. The accuracy is that of a logistic regression on noisy rows, on noisy test rows.
    """
    public = corpora.public.layer(LAYER).astype(np.float64)
    mean = public.mean(axis=0)
    clip = float(np.median(np.linalg.norm(public - mean, axis=1)))
    rng = np.random.default_rng(0)
    parts = [_labelled(corpora.sst2(part)) for part in ("train", "test")]

    def accuracy(epsilon: float | None) -> float:
        noisy = []
        for x, _ in parts:
            y = x - mean
            y *= np.minimum(1, clip / np.linalg.norm(y, axis=1))[:, None]
            if epsilon is not None:
                y += rng.standard_normal(y.shape) * noise_multiplier(epsilon, DELTA, 1) * 2 * clip
            noisy.append(y / y.std())
        model = LogisticRegression(C=0.01, max_iter=2000).fit(noisy[0], parts[0][1])
        return float(model.score(noisy[1], parts[1][1]))

    names = ("ε", *(f"{epsilon:g}" for epsilon in LOCAL), "without noise")
    return table(names, [("accuracy", *(f"{accuracy(epsilon):.3f}" for epsilon in (*LOCAL, None)))])


def private(corpora: Corpora) -> str:
    """Return the table of private heads: the median accuracy of ten trainings, and the least and the largest."""
    train, test, public = corpora.sst2("train"), corpora.sst2("test"), corpora.public
    task: dict[str, Any] = {"task": "classify", "label": "label", "mix": LAYER}

    labels = np.array(test.texts["label"].to_pylist())

    def scores(count: int, **options: Any) -> list[float]:
        accuracies = []
        for _ in range(count):
            (head,) = lw.train(train, **task, **options).task_heads
            answers = np.array(head.classes)[head.scores(test.layer, False).argmax(axis=1)]
            accuracies.append(float((answers == labels).mean()))
        return accuracies

    header, rows = ("ε", *(f"{epsilon:g}" for epsilon in EPSILONS), "without privacy"), []
    without = f"{scores(1)[0]:.3f}"
    for title, given in (("standardised by public rows (TREC)", public), ("rows as they are", None)):
        cells = []
        for epsilon in EPSILONS:
            of_epsilon = scores(TRAININGS, private=epsilon, delta=DELTA, public=given)
            median = statistics.median(of_epsilon)
            cells.append(f"{median:.3f} ({min(of_epsilon):.3f} to {max(of_epsilon):.3f})")
        rows.append((title, *cells, without))
    return table(header, rows)


TABLES: dict[str, Callable[[Corpora], str]] = {"leakage": leakage, "noise": noise, "private": private}


def main(names: Sequence[str]) -> int:
    """Measure, and put each table in its place."""
    unknown = set(names) - set(TABLES)
    if unknown:
        print(f"no table {sorted(unknown)}; there are {[*TABLES]}", file=sys.stderr)
        return 2
    if not SHARED.exists():
        print(f"left out: {SHARED} isn't there", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        corpora = Corpora(Path(folder))
        for name in names or TABLES:
            put(name, TABLES[name](corpora), versions(), path=PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
