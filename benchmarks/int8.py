"""How near int8 is to fp32: minilm, every layer, on texts of many kinds; and how often `verify` would doubt it.

Each corpus is that of ../shared/data which is there, and documentation paragraphs: at most so many texts, drawn
with a fixed seed. `cosine` is that of a text's mean vector with the one in fp32, the least over its layers; `apart`
max |a − b| / max(1, max |b|), the most. A false alarm: on 32 texts drawn anew, `verify` would find one beyond the
limit that was derived from the first ones, as in a dataset that begins with any of them (2,000 draws of an order).
"""

import csv
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, documentation, finish, heading, show
from history import Figure
from numpy.typing import NDArray
from scipy import stats

import layerwise as lw
from layerwise.extraction.parity import spread
from layerwise.extraction.verify import SAMPLE
from layerwise.tolerance import measured_limit

TEXTS, DRAWS, LEAST = 3000, 2000, 0.995
Floats = NDArray[Any]


def main() -> int:
    """Measure and print."""
    heading("int8 against fp32, minilm, text level, mean of all tokens")
    exact, rough = (lw.load_encoder("minilm", device="cpu", precision=name) for name in ("fp32", "int8"))
    rows: list[Sequence[str]] = [
        (
            "corpus",
            "texts",
            "least cosine",
            "1%",
            "median",
            f"below {LEAST}",
            "apart, median",
            "most",
            "alarms",
        )
    ]
    figures = []
    for name, texts in corpora().items():
        a, b = rough.encode(texts).stack(), exact.encode(texts).stack()
        near = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        apart = np.abs(a - b).max(-1) / np.maximum(1, np.abs(b).max(-1))
        least = near.min(0)
        figures.append(Figure(f"{name}: median of the least cosine", float(np.median(least))))
        rows.append((
            name, f"{len(texts):,}", f"{least.min():.4f}", f"{np.quantile(least, 0.01):.4f}",
            f"{np.median(least):.4f}", f"{int((least < LEAST).sum()):,}", f"{np.median(apart.max(0)):.3f}",
            f"{apart.max():.3f}", f"{alarms(apart, texts):.2%}",
        ))  # fmt: skip
    show(rows, right=range(1, 9))
    similarity(exact, rough)
    finish(figures)
    return 0


def corpora() -> dict[str, list[str]]:
    """Return texts by the name of their corpus."""
    found = {"documentation": documentation(TEXTS)}
    for name, (path, texts) in FILES.items():
        if (SHARED / path).exists():
            all_of_it = sorted({text for text in texts(SHARED / path) if text.strip()})
            random.Random(0).shuffle(all_of_it)
            found[name] = all_of_it[:TEXTS]
        else:
            print(f"left out: {SHARED / path} isn't there", file=sys.stderr)
    if "STS-B" in found:
        words = sorted({word for text in found["STS-B"] for word in text.split()})
        found["its words, alone"] = random.Random(0).sample(words, min(TEXTS, len(words)))
    return found


def cells(*columns: int) -> Callable[[Path], list[str]]:
    """Return a function that reads these columns of a CSV file."""

    def read(path: Path) -> list[str]:
        with path.open(encoding="utf-8", newline="") as file:
            return [row[column] for row in csv.reader(file) for column in columns]

    return read


def sentences(path: Path) -> list[str]:
    """Return the sentences of a CoNLL file, their words joined by spaces."""
    with path.open(encoding="utf-8") as file:
        blocks = file.read().split("\n\n")
    lines = ([line.split("\t") for line in block.splitlines() if line[:1] != "#"] for block in blocks)
    return [" ".join(cell[0] for cell in block if cell[0]) for block in lines]


FILES: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "STS-B": ("stsb_en/stsb-en-test.csv", cells(0, 1)),
    "SST-2": ("sst2/test.csv", cells(0)),
    "TREC-6": ("trec6/test.csv", cells(0)),
    "Banking77": ("banking77/test.csv", cells(0)),
    "WNUT-17": ("wnut17/emerging.test.annotated", sentences),
}


def alarms(apart: Floats, texts: Sequence[str]) -> float:
    """Return the share of draws in which a sample has a text beyond the limit of its layer; (layers, texts)."""
    chance = np.random.default_rng(0)
    found = 0
    for _ in range(DRAWS):
        order = chance.permutation(len(texts))
        first = [order[place] for place in spread([len(texts[n]) for n in order])]
        limits = np.array([measured_limit(float(worst)) for worst in apart[:, first].max(1)])
        drawn = chance.choice(len(texts), min(SAMPLE, len(texts)), replace=False)
        found += bool((apart[:, drawn] > limits[:, None]).any())
    return found / DRAWS


def similarity(exact: lw.Encoder, rough: lw.Encoder) -> None:
    """Print Spearman's correlation of the cosine of two sentences with people's scores, per layer."""
    path = SHARED / FILES["STS-B"][0]
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        pairs = [(first, second, float(score)) for first, second, score in csv.reader(file)]
    gold = [score for _, _, score in pairs]
    texts = [text for pair in pairs for text in pair[:2]]
    rows = [("STS-B, 100 × Spearman", *exact.layers)]
    for name, encoder in (("fp32", exact), ("int8", rough)):
        unit = encoder.encode(texts).stack()
        unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
        cosines = (unit[:, 0::2] * unit[:, 1::2]).sum(-1)
        rows.append((name, *(f"{100 * stats.spearmanr(one, gold).statistic:.2f}" for one in cosines)))
    print()
    show(rows, right=range(1, len(rows[0])))


if __name__ == "__main__":
    sys.exit(main())
