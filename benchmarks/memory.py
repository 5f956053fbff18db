"""Peak memory of extracting ten times as many texts, each run in a process of its own, with minilm.

The larger source is the smaller one ten times over, so that both have the same lengths.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Goal, documentation, heading, show, show_goals, write_jsonl

SIZES = {"text": (2_000, 20_000), "token": (500, 5_000)}
ROUNDS = 1  # a peak hardly varies, and 20,000 texts take their time


def child(source: str, out: str, level: str) -> None:
    """Extract, and print the peak memory after loading the model and at the end, in MB."""
    import layerwise as lw

    encoder = lw.load_encoder("minilm")
    encoder.encode(["One text, so that everything is loaded that is loaded when it is needed."])
    loaded = _peak()
    lw.extract(source, out, model=encoder, level=level)
    print(json.dumps({"loaded": loaded, "peak": _peak()}))


def _peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _measure(source: Path, out: Path, level: str) -> dict[str, float]:
    command = [sys.executable, __file__, str(source), str(out), level]
    found: dict[str, float] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    )
    return found


def main() -> None:
    """Measure and print."""
    heading(f"memory: peak resident memory of lw.extract with minilm, {ROUNDS} process each")
    rows = [("level", "texts", "model loaded, MB", "peak, MB")]
    goals = []
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        folder = Path(name)
        for level, (few, many) in SIZES.items():
            texts = documentation(few)
            found: dict[int, list[dict[str, float]]] = {few: [], many: []}
            for size in found:
                write_jsonl(folder / f"{size}.jsonl", (texts * (size // few + 1))[:size])
            for turn in range(ROUNDS):
                for size, runs in found.items():
                    out = folder / f"{level}-{size}-{turn}.lw"
                    runs.append(_measure(folder / f"{size}.jsonl", out, level))
            peaks = {size: statistics.median(run["peak"] for run in runs) for size, runs in found.items()}
            for size, runs in found.items():
                loaded = statistics.median(run["loaded"] for run in runs)
                rows.append((level, f"{size:,}", f"{loaded:,.0f}", f"{peaks[size]:,.0f}"))
            goals.append(
                Goal(
                    f"{many:,} texts against {few:,}, {level} level",
                    peaks[many] / peaks[few],
                    1.2,
                    " x",
                    True,
                )
            )
    show(rows, right=(1, 2, 3))
    show_goals(goals)


if __name__ == "__main__":
    child(*sys.argv[1:]) if len(sys.argv) == 4 else main()
