"""What the comparison at load costs, and the memory of a model: shapes of 12 blocks and width 768, each in new processes.

The time of the comparison is that of the plain forwards and of those that are compared with them. It includes reading
weights from disk that are used there first, as files are mapped to memory.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from common import Goal, heading, show, show_goals

ROUNDS = 3
_STATUS = Path("/proc/self/status")


def child(folder: str) -> None:
    """Load a model in this process twice, and print seconds and, of the first time, memory in MB, as JSON."""
    start, cpu = time.perf_counter(), time.process_time()
    import layerwise as lw
    from layerwise.encode import compare

    seconds = {"wall": 0.0, "cpu": 0.0}

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **settings: Any) -> Any:
            begun, begun_cpu = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **settings)
            finally:
                seconds["wall"] += time.perf_counter() - begun
                seconds["cpu"] += time.process_time() - begun_cpu

        return call

    for name in ("__init__", "agrees", "unpackable_tokens"):
        setattr(compare.Comparison, name, timed(getattr(compare.Comparison, name)))
    results: dict[str, float] = {}
    before = _memory()
    for load in ("first", "again"):
        if load == "again":
            start, cpu = time.perf_counter(), time.process_time()
        seconds.update(wall=0.0, cpu=0.0)
        encoder = lw.load_encoder(folder, device="cpu")
        results |= {f"{load} wall": time.perf_counter() - start, f"{load} cpu": time.process_time() - cpu}
        results |= {f"{load} comparison {kind}": number for kind, number in seconds.items()}
        if load == "first":
            after = _memory()
            results |= {f"{name} added": after[name] - before[name] for name in after}
        del encoder
    results["weights"] = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors")) / 1e6
    print(json.dumps(results))


def _memory() -> dict[str, float]:
    """Return the memory of this process in MB: what isn't of files, and the peak of all; nothing but on Linux."""
    if not _STATUS.exists():
        return {}
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    names = {"resident": "VmRSS", "not of files": "RssAnon", "peak": "VmHWM"}
    return {name: int(fields[field].split()[0]) * 1024 / 1e6 for name, field in names.items()}


def main() -> None:
    """Measure and print."""
    heading(f"load_model: the comparison at load, medians of {ROUNDS} interleaved processes per shape")
    from layerwise.encode.checkpoint import find_checkpoint
    from layerwise.encode.hf import saving
    from layerwise.extraction.speed import SHAPES

    measured: dict[str, list[dict[str, float]]] = {shape: [] for shape in SHAPES}
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        for shape, family in SHAPES.items():
            saving.save_random(Path(name) / shape, find_checkpoint("minilm"), family)
        for _ in range(ROUNDS):
            for shape, runs in measured.items():
                command = [sys.executable, __file__, str(Path(name) / shape)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                runs.append(json.loads(done.stdout))
    _show_times(measured)
    _show_memory(measured)
    goals = []
    for shape, runs in measured.items():
        goals.append(
            Goal(
                f"{shape}: comparison, share of the first load", _share(runs, "first", "wall"), 0.1, "", True
            )
        )
        goals.append(
            Goal(f"{shape}: comparison, share of a second load", _share(runs, "again", "wall"), 0.1, "", True)
        )
    show_goals(goals)


def _show_times(measured: dict[str, list[dict[str, float]]]) -> None:
    rows: list[tuple[str, ...]] = [
        ("shape", "load", "seconds", "comparison", "share", "processor s", "comparison", "share")
    ]
    for shape, runs in measured.items():
        for load in ("first", "again"):
            cells = []
            for kind in ("wall", "cpu"):
                total, part = _median(runs, f"{load} {kind}"), _median(runs, f"{load} comparison {kind}")
                cells += [f"{total:.2f}", f"{part:.2f}", f"{_share(runs, load, kind):.0%}"]
            rows.append((shape, "in a new process" if load == "first" else "again in it", *cells))
    show(rows, right=(2, 3, 4, 5, 6, 7))
    print()


def _show_memory(measured: dict[str, list[dict[str, float]]]) -> None:
    rows: list[tuple[str, ...]] = [
        ("shape", "weights, MB", "resident added, MB", "not of files, MB", "peak added, MB")
    ]
    for shape, runs in measured.items():
        names = ("weights", "resident added", "not of files added", "peak added")
        if "peak added" in runs[0]:
            rows.append((shape, *(f"{_median(runs, name):,.0f}" for name in names)))
    show(rows, right=(1, 2, 3, 4))


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def _share(runs: list[dict[str, float]], load: str, kind: str) -> float:
    return statistics.median(run[f"{load} comparison {kind}"] / run[f"{load} {kind}"] for run in runs)


if __name__ == "__main__":
    child(sys.argv[1]) if len(sys.argv) > 1 else main()
