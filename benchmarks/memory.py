"""Peak memory of extracting, probing and analyzing ten times as many texts, each in a process of its own, with minilm.

The larger source is the smaller one ten times over, so that both have the same lengths. A probe and an analysis look
at some of the rows of a dataset, here at as many of the larger as of the smaller one.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Goal, documentation, heading, show, show_goals

SIZES = {"text": (2_000, 20_000), "token": (500, 5_000)}
# Rows: of tokens more, as what stands in the larger source ten times is never cut apart.
PROBED = {"text": 2_000, "token": 10_000}
ANALYZED = 1_000  # rows: fewer than there are, so that both have intervals
ROUNDS = 1  # a peak hardly varies, and 20,000 texts take their time


def child(source: str, out: str, level: str) -> None:
    """Extract, and print the peak memory after loading the model and at the end, in MB."""
    import layerwise as lw

    encoder = lw.load_encoder("minilm")
    encoder.encode(["One text, so that everything is loaded that is loaded when it is needed."])
    loaded = _peak()
    lw.extract(source, out, model=encoder, level=level)
    print(json.dumps({"loaded": loaded, "peak": _peak()}))


def probing(dataset: str) -> None:
    """Probe some rows of a dataset, and print the peak memory before the dataset is opened and at the end, in MB."""
    import layerwise as lw

    loaded = _peak()
    opened = lw.open_dataset(dataset)
    lw.probe(
        opened, task="classify", label="third", mix=["mean(-4:)"], quick=True, max_rows=PROBED[opened.level]
    )
    print(json.dumps({"loaded": loaded, "peak": _peak()}))


def analyzing(dataset: str, rows: str) -> None:
    """Analyze some rows of a dataset, and print the peak memory before it is opened and at the end, in MB."""
    import layerwise as lw

    loaded = _peak()
    lw.analyze(lw.open_dataset(dataset), label="third", max_rows=int(rows))
    print(json.dumps({"loaded": loaded, "peak": _peak()}))


def _peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _measure(*arguments: str | Path | int) -> dict[str, float]:
    command = [sys.executable, __file__, *map(str, arguments)]
    found: dict[str, float] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    )
    return found


def main() -> None:
    """Measure and print."""
    heading(
        f"memory: peak resident memory of lw.extract, lw.probe and lw.analyze with minilm, {ROUNDS} process each"
    )
    rows: list[tuple[str, ...]] = [("what", "texts", "loaded before, MB", "peak, MB")]
    goals = []
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        folder = Path(name)
        for level, (few, many) in SIZES.items():
            texts = documentation(few)
            for size in (few, many):
                _write(folder / f"{size}.jsonl", (texts * (size // few + 1))[:size])
            extracted: dict[int, list[dict[str, float]]] = {few: [], many: []}
            probed: dict[int, list[dict[str, float]]] = {few: [], many: []}
            analyzed: dict[int, list[dict[str, float]]] = {few: [], many: []}
            for turn in range(ROUNDS):
                for size in extracted:
                    out = folder / f"{level}-{size}-{turn}.lw"
                    extracted[size].append(_measure(folder / f"{size}.jsonl", out, level))
                    probed[size].append(_measure(out))
                    analyzed[size].append(_measure(out, ANALYZED))
            for what, found in (("extract", extracted), ("probe", probed), ("analyze", analyzed)):
                goals.append(_compare(f"{what}, {level} level", found, rows))
    show(rows, right=(1, 2, 3))
    show_goals(goals)


def _write(path: Path, texts: list[str]) -> None:
    """Write texts with a label each."""
    lines = (json.dumps({"text": text, "third": str(len(text) % 3)}) + "\n" for text in texts)
    path.write_text("".join(lines), encoding="utf-8")


def _compare(what: str, found: dict[int, list[dict[str, float]]], rows: list[tuple[str, ...]]) -> Goal:
    """Add a row per size to the table; return the goal for the larger one against the smaller."""
    few, many = found
    peaks = {size: statistics.median(run["peak"] for run in runs) for size, runs in found.items()}
    for size, runs in found.items():
        loaded = statistics.median(run["loaded"] for run in runs)
        rows.append((what, f"{size:,}", f"{loaded:,.0f}", f"{peaks[size]:,.0f}"))
    return Goal(f"{what}: {many:,} texts against {few:,}", peaks[many] / peaks[few], 1.2, " x", True)


if __name__ == "__main__":
    parts: dict[int, Callable[..., Any]] = {1: main, 2: probing, 3: analyzing, 4: child}
    parts[len(sys.argv)](*sys.argv[1:])
