"""How long `lw.analyze` takes, measure by measure: 2,000 of 8,000 rows of random layers, with intervals; and leakage.

Random layers that drift apart; what they hold hardly matters to how long it takes. Leakage needs a real model and texts:
the tokens of 400 sentences of SST-2 in minilm, from ../shared/data; without that it is left out.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from common import SHARED, Goal, finish, heading, show
from history import Figure

import layerwise as lw

SHAPES = {"7 layers × 384 (minilm)": (7, 384), "13 layers × 768 (BERT-base)": (13, 768)}
ROWS, SENTENCES = 8000, 400


def main() -> None:
    """Measure and print."""
    heading("analyze: seconds per measure, once; 2,000 of 8,000 rows at text level")
    seconds = {name: _measured(_states(*shape)) for name, shape in SHAPES.items()}
    measures = next(iter(seconds.values()))
    rows = [("measure", *seconds)]
    rows += [(name, *(f"{of[name]:.1f}" for of in seconds.values())) for name in measures]
    rows.append(("all", *(f"{sum(of.values()):.0f}" for of in seconds.values())))
    show(rows, right=range(1, len(rows[0])))
    goals = _leakage()
    figures = [
        Figure(f"{name}: {measure}", value, " s", most=True)
        for name, measures in seconds.items()
        for measure, value in measures.items()
        if value >= 1  # shorter ones vary by more than a fifth
    ]
    if goals:
        print()
        show([("figure", "value", "goal", "met"), *(goal.row() for goal in goals)])
    finish([*figures, *(goal.figure() for goal in goals)])


def _leakage() -> list[Goal]:
    """Return the seconds of the attacks on tokens, with the loading of the model."""
    source = SHARED / "sst2" / "dev.csv"
    if not source.exists():
        return []
    with tempfile.TemporaryDirectory() as folder:
        dataset = lw.extract(source, Path(folder) / "d.lw", model="minilm", level="token", limit=SENTENCES)
        begun = time.perf_counter()
        lw.analyze(dataset, measure=["leakage"], max_rows=20_000)
        seconds = time.perf_counter() - begun
    return [
        Goal(f"leakage: {SENTENCES} sentences × 7 layers × 384, 30,522 entries", seconds, 20, " s", most=True)
    ]


def _states(layers: int, width: int) -> lw.LayerStates:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS, width)).astype(np.float32)
    vectors = {}
    for name in ("emb", *map(str, range(1, layers))):
        vectors[name] = rows
        turn = rng.normal(size=(width, width)).astype(np.float32) / np.float32(np.sqrt(width))
        rows = rows + np.tanh(rows @ turn)
    table = pa.table({"doc": np.arange(ROWS), "text": [f"text {n}" for n in range(ROWS)]})
    return lw.LayerStates(vectors, index=table, texts=table, blocks=layers - 1, level="text", pool="mean")


def _measured(states: lw.LayerStates) -> dict[str, float]:
    begun: list[tuple[str, float]] = []

    def note(event: lw.Progress) -> None:
        name = event.stage.removeprefix("measure ")
        if name != event.stage and (not begun or begun[-1][0] != name):
            begun.append((name, time.perf_counter()))

    lw.analyze(states, progress=note)
    ends = [*(at for _, at in begun[1:]), time.perf_counter()]
    return {name: end - at for (name, at), end in zip(begun, ends, strict=True)}


if __name__ == "__main__":
    main()
