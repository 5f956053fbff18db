"""`make results`: STS-B with its two sentences encoded each alone and joined, for every layer of minilm.

Rewrites its table in docs/results.md. Left: the scores of `layerwise probe` on training pairs. Right: ridge heads of
`layerwise train` on all training pairs, scored on the test part; intervals of differences are of bootstrap samples of the
test pairs, the same for both encodings.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from common import SHARED, put, show
from numpy.typing import NDArray
from scipy import stats

import layerwise as lw
from layerwise._util.versions import versions
from layerwise.figures.markdown import table

FOLDER = SHARED / "stsb_en"
MODEL, ENCODINGS = "minilm", ("separate", "joint")
PROBED, DRAWS = 2000, 1000
Floats = NDArray[np.float64]
Answers = dict[str, dict[str, Floats]]
"""The predicted similarities of the test pairs, (pairs,), by encoding and layer."""


def main() -> int:
    """Measure, print, and put the table in its place."""
    if not FOLDER.exists():
        print(f"left out: {FOLDER} isn't there", file=sys.stderr)
        return 0
    probed: dict[str, dict[str, float]] = {}
    answers: Answers = {}
    with tempfile.TemporaryDirectory() as folder:
        for encoding in ENCODINGS:
            train, test = (_extracted(part, encoding, Path(folder)) for part in ("train", "test"))
            probed[encoding] = _probed(train)
            answers[encoding] = {
                name: np.array([answer["value"] for answer in _head(train, name).predict_rows(test)])
                for name in train.layers
            }
        gold = np.array(test.texts["score"].to_pylist(), dtype=float)
    rows = _rows(probed, answers, gold)
    show(rows, right=(1, 2, 3, 4, 5))
    note = (
        f"Spearman's rank correlation with the scores that people gave. `probe --quick --metric spearman` on {PROBED:,} of 5,749 "
        f"training pairs, then `train --task regress` on all of them and {len(gold):,} test pairs; minilm, mean pool."
    )
    put("pairs", f"{table(rows[0], rows[1:])}\n\n{note}", versions(), command="python benchmarks/pairs.py")
    return 0


def _extracted(part: str, encoding: str, folder: Path) -> lw.LayerDataset:
    return lw.extract(
        FOLDER / f"stsb-en-{part}.csv",
        folder / f"{part}-{encoding}.lw",
        model=MODEL,
        columns=("a", "b", "score"),
        text="a,b",
        pair_encoding=encoding,
    )


def _head(train: lw.LayerDataset, layer: str) -> lw.Head:
    return lw.train(train, task="regress", label="score", mix=layer)


def _probed(train: lw.LayerDataset) -> dict[str, float]:
    """Return the score of each single layer."""
    result = lw.probe(
        train,
        task="regress",
        label="score",
        metric="spearman",
        mix=["mean(1:)"],
        quick=True,
        no_codelength=True,
        max_rows=PROBED,
    )
    scores = {candidate["mix"]: candidate["score"] for candidate in result.to_json()["candidates"]}
    return {name: scores[name] for name in train.layers}


def _rows(probed: dict[str, dict[str, float]], answers: Answers, gold: Floats) -> list[tuple[str, ...]]:
    chance = np.random.default_rng(0)
    draws = [chance.integers(0, len(gold), len(gold)) for _ in range(DRAWS)]
    rows: list[tuple[str, ...]] = [
        (
            "layer",
            "probe, separate",
            "probe, joint",
            "test, separate",
            "test, joint",
            "joint − separate, 95% interval",
        )
    ]
    for name in probed[ENCODINGS[0]]:
        separate, joint = (answers[encoding][name] for encoding in ENCODINGS)
        apart = [_spearman(joint[d], gold[d]) - _spearman(separate[d], gold[d]) for d in draws]
        low, high = np.percentile(apart, [2.5, 97.5])
        test = [_spearman(separate, gold), _spearman(joint, gold)]
        rows.append(
            (
                name,
                *(f"{probed[encoding][name]:.4f}" for encoding in ENCODINGS),
                *(f"{score:.4f}" for score in test),
                f"{test[1] - test[0]:+.4f} ({low:+.4f} to {high:+.4f})",
            )
        )
    return rows


def _spearman(values: Floats, gold: Floats) -> float:
    return float(stats.spearmanr(values, gold).statistic)


if __name__ == "__main__":
    sys.exit(main())
