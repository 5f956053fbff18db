"""`make results`: parts of speech on UD English EWT with and without the context of documents, for every layer of minilm.

Rewrites its table in docs/results.md. The head is scikit-learn's logistic regression on standardised words, its folds are
whole documents. Intervals of differences: bootstrap samples of the documents, the same for both sides.
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, put, show
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from layerwise._util.versions import versions
from layerwise.figures.markdown import table

SOURCE = SHARED / "ud_english_ewt" / "en_ewt-ud-dev.conllu"
MODEL, LABEL = "minilm", "upos"
CONTEXTS = ("0", "64", "64,64")
WORDS, FOLDS, DRAWS, C = 6000, 5, 1000, 0.05
Right = dict[str, NDArray[np.bool_]]
"""Which words were labelled right, (words,), by layer."""


def main() -> int:
    """Measure, print, and put the table in its place."""
    if not SOURCE.exists():
        print(f"left out: {SOURCE} isn't there", file=sys.stderr)
        return 0
    right: dict[str, Right] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = _sample(Path(folder, "sample.conllu"))
        for context in CONTEXTS:
            dataset = lw.extract(source, Path(folder, context), model=MODEL, level="word", context=context)
            labels = np.array(dataset.index[LABEL].to_pylist())
            documents = _documents(dataset)
            right[context] = {name: _right(dataset.layer(name), labels, documents) for name in dataset.layers}
            print(context, {name: round(float(words.mean()), 4) for name, words in right[context].items()})
    found = _rows(right, documents)
    show(found, right=(1, 2, 4))
    note = (
        f"{len(documents):,} words of {len(np.unique(documents)):,} documents, drawn by chance from the dev part; "
        f"accuracy of `{LABEL}`, {FOLDS} folds of whole documents; minilm, float16, `--context` as the column says."
    )
    put(
        "context",
        f"{table(found[0], found[1:])}\n\n{note}",
        versions(),
        command="python benchmarks/context.py",
    )
    return 0


def _sample(out: Path) -> Path:
    """Write some documents of the source, drawn by chance, to the file `out`, and return it."""
    marks = re.split(r"^(?=# newdoc)", SOURCE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    order = np.random.default_rng(0).permutation(len(marks))
    sizes = np.cumsum([len(re.findall(r"^\d+\t", marks[number], re.MULTILINE)) for number in order])
    out.write_text("".join(marks[number] for number in order[sizes <= WORDS]), encoding="utf-8")
    return out


def _documents(dataset: lw.LayerDataset) -> NDArray[np.int64]:
    """Return the number of the document of each word, (words,)."""
    texts = dataset.texts
    names = dict(zip(texts["doc"].to_pylist(), texts["document"].to_pylist(), strict=True))
    numbers: NDArray[np.int64] = np.unique(
        [names[doc] for doc in dataset.index["doc"].to_pylist()], return_inverse=True
    )[1]
    return numbers


def _right(vectors: NDArray[Any], labels: NDArray[Any], documents: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which held-out words (words,) get their label from their vectors (words, width)."""
    right = np.zeros(len(labels), dtype=bool)
    for train, test in GroupKFold(FOLDS).split(vectors, labels, documents):
        head = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=300))
        head.fit(vectors[train], labels[train])
        right[test] = head.predict(vectors[test]) == labels[test]
    return right


def _rows(right: dict[str, Right], documents: NDArray[np.int64]) -> list[tuple[str, ...]]:
    numbers = np.unique(documents, return_inverse=True)[1]
    chance = np.random.default_rng(0)
    draws = chance.integers(0, numbers.max() + 1, (DRAWS, numbers.max() + 1))
    weights = np.stack([np.bincount(draw, minlength=numbers.max() + 1) for draw in draws])
    sizes = np.bincount(numbers)
    rows: list[tuple[str, ...]] = [
        (
            "layer",
            "alone",
            *(cell for c in CONTEXTS[1:] for cell in (f"context {c}", "difference, 95% interval")),
        )
    ]
    for name, alone in right[CONTEXTS[0]].items():
        cells = [name, f"{alone.mean():.4f}"]
        for context in CONTEXTS[1:]:
            gains = np.bincount(numbers, right[context][name].astype(float) - alone)
            low, high = np.percentile(weights @ gains / (weights @ sizes), [2.5, 97.5])
            gain = gains.sum() / sizes.sum()
            cells += [f"{right[context][name].mean():.4f}", f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"]
        rows.append(tuple(cells))
    return rows


if __name__ == "__main__":
    sys.exit(main())
