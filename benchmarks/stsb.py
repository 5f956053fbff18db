"""`make results`: STS-B (English, test), for every layer of minilm; rewrites its table in docs/results.md.

The cosine of the two sentences' vectors (mean of all tokens, special ones included) against the score that
people gave; Spearman's rank correlation.
"""

import csv
import re
import sys
from collections import Counter
from typing import Any

import numpy as np
from common import SHARED, put, show
from numpy.typing import NDArray
from scipy import stats

import layerwise as lw
from layerwise._util.versions import versions

SOURCE = SHARED / "stsb_en" / "stsb-en-test.csv"
ELSEWHERE, DRAWS = 0.8203, 1000
Floats = NDArray[Any]


def main() -> int:
    """Measure, print, and put the table in its place."""
    if not SOURCE.exists():
        print(f"left out: {SOURCE} isn't there", file=sys.stderr)
        return 0
    with SOURCE.open(encoding="utf-8", newline="") as file:
        pairs = [(first, second, float(score)) for first, second, score in csv.reader(file)]
    gold = np.array([score for _, _, score in pairs])
    states = lw.load_encoder("minilm").encode([text for pair in pairs for text in pair[:2]], pool="mean")
    found = {name: _cosines(states.layer(name)) for name in states.layers}
    found["none: word counts"] = np.array([_overlap(*pair[:2]) for pair in pairs])
    rows = _rows(found, gold, states.layers[-1])
    show(rows, right=(1, 3))
    last = float(stats.spearmanr(found[states.layers[-1]], gold).statistic)
    note = (
        f"{len(pairs):,} pairs; minilm (all-MiniLM-L6-v2), mean of all tokens; intervals: {DRAWS:,} bootstrap "
        f"samples of the pairs. Another implementation gave {ELSEWHERE} for the last layer; the difference "
        f"is {last - ELSEWHERE:+.4f}."
    )
    print(note)
    put("stsb.py", f"{_markdown(rows)}\n\n{note}", versions(), command="python benchmarks/stsb.py")
    return 0


def _cosines(vectors: Floats) -> Floats:
    """(2 x pairs, width), the sentences of a pair one after the other -> (pairs,)"""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines: Floats = (unit[0::2] * unit[1::2]).sum(axis=1)
    return cosines


def _overlap(first: str, second: str) -> float:
    """Return the cosine of two sentences' word counts: what is had without a model."""
    a, b = (Counter(re.findall(r"\w+", text.lower())) for text in (first, second))
    shared = sum(a[word] * b[word] for word in a)
    norm = sum(n * n for n in a.values()) * sum(n * n for n in b.values())
    return shared / norm**0.5 if norm else 0.0


def _rows(found: dict[str, Floats], gold: Floats, last: str) -> list[tuple[str, ...]]:
    """Return the table: the correlation per layer, its interval, and its difference to the last layer's."""
    chance = np.random.default_rng(0)
    draws = [chance.integers(0, len(gold), len(gold)) for _ in range(DRAWS)]
    drawn = {
        name: np.array([stats.spearmanr(cosines[draw], gold[draw]).statistic for draw in draws])
        for name, cosines in found.items()
    }
    rows: list[tuple[str, ...]] = [
        ("layer", "Spearman", "95% interval", "against the last layer", "95% interval")
    ]
    of_last = stats.spearmanr(found[last], gold).statistic
    for name, cosines in found.items():
        got = stats.spearmanr(cosines, gold).statistic
        apart = (f"{got - of_last:+.4f}", _interval(drawn[name] - drawn[last])) if name != last else ("", "")
        rows.append((name, f"{got:.4f}", _interval(drawn[name], sign=""), *apart))
    return rows


def _interval(values: Floats, sign: str = "+") -> str:
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def _markdown(rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- | ---: | --- | ---: | --- |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
