"""Static tables of minilm's layers on TREC: accuracy of a linear classifier, chosen on training rows; see docs/reference/cut.md.

Needs ../shared/data and model2vec; layers may be given as arguments.
"""

import sys
import tempfile
from pathlib import Path

from common import SHARED
from model2vec import StaticModel
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import layerwise as lw
from layerwise.read import open_corpus

LAYERS = ("emb", "1", "2", "3", "4", "5", "6")


def texts_and_labels(part: str) -> tuple[list[str], list[str]]:
    """Return the questions of a part of TREC, and their coarse classes."""
    examples = list(open_corpus(SHARED / f"trec6/{part}.csv"))
    return [example.text for example in examples], [str(example.columns["coarse"]) for example in examples]


def accuracy(layer: str) -> float:
    """Return the accuracy on the test part with the table of a layer."""
    with tempfile.TemporaryDirectory() as folder:
        lw.cut("minilm", Path(folder) / "static", at=layer, static=True)
        table = StaticModel.from_pretrained(Path(folder) / "static")
    (train, labels), (test, expected) = texts_and_labels("train"), texts_and_labels("test")
    search = GridSearchCV(LogisticRegression(max_iter=5000), {"C": [1, 10, 100, 1000]}, cv=5)
    search.fit(table.encode(train), labels)
    return float(search.score(table.encode(test), expected))


if __name__ == "__main__":
    for name in sys.argv[1:] or LAYERS:
        print(f"layer {name}: {accuracy(name):.3f}", flush=True)
