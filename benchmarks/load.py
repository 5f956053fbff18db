"""`make bench-load`: what five commands cost beside processes that never sleep, against what they cost alone.

Each command runs as its own process: processor time (of it and its children) and seconds on the clock, alone and
beside `--busy` loops, which this script starts and ends itself; medians of interleaved rounds. With `--before
CHECKOUT` the same commands of another checkout run in the same rounds. The figures are written to `--out` as JSON.
"""

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import ROOT, Goal, heading, show, show_goals

from layerwise.read.docstrings import paragraphs

MOST = 1.5  # times the processor time alone
LOST = 1.03  # times the seconds alone before the change
_LOOP = "while True: pass"
_FIRST = ", torch loaded first"
# As where somebody else's program has computed with torch before layerwise is imported.
_TORCH_FIRST = """
import sys, torch
torch.ones(500, 500) @ torch.ones(500, 500)
from layerwise.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, nargs="+", default=[6], help="processes that never sleep (6)")
    parser.add_argument("--only", nargs="+", help="some of the commands")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="compare with another checkout")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench-load.json", metavar="FILE")
    args = parser.parse_args()
    heading("Five commands alone, and beside processes that never sleep")
    sources = {"now": ROOT / "src"}
    if args.before is not None:
        sources["before"] = args.before.resolve() / "src"
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
        room = Path(folder)
        commands = _commands(room)
        wanted = args.only or list(commands)
        runs = _measure({name: commands[name] for name in wanted}, sources, [0, *args.busy], args.rounds)
    found = _summary(runs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"runs": runs, "medians": found}, indent=1) + "\n")
    rows: list[tuple[str, ...]] = [
        ("command", "checkout", "busy", "processor s", "times alone", "clock s", "times alone")
    ]
    for one in found:
        rows.append(
            (
                *(str(one[name]) for name in ("command", "checkout", "busy")),
                f"{one['processor']:.1f}", f"{one['processor_ratio']:.2f}",
                f"{one['clock']:.1f}", f"{one['clock_ratio']:.2f}",
            )
        )  # fmt: skip
    show(rows, right=(2, 3, 4, 5, 6))
    print(f"\nall runs are in {args.out}")
    show_goals(_goals(found))
    return 0


def _commands(room: Path) -> dict[str, list[str]]:
    """Prepare the inputs, and return the arguments of each command; `OUT` is a path that isn't there."""
    texts = [(text, "early" if package < "m" else "late") for package, text in paragraphs()]
    some = random.Random(0).sample(texts, 1500)
    for name, rows in (("texts", some), ("labelled", some[:872])):
        with (room / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    dataset, head = str(room / "rows.lw"), str(room / "label.head")
    train = ["train", dataset, "--task", "classify", "--label", "label"]
    for prepared in (
        ["extract", str(room / "labelled.csv"), "--out", dataset],
        [*train, "--mix", "mean:1:", "--out", head],
    ):
        subprocess.run([sys.executable, "-m", "layerwise", *prepared], check=True, stdout=subprocess.DEVNULL)
    return {
        "extract": ["extract", str(room / "texts.csv"), "--out", "OUT"],
        f"extract{_FIRST}": ["extract", str(room / "texts.csv"), "--out", "OUT"],
        "probe": ["probe", dataset, "--task", "classify", "--label", "label", "--quick", "--out", "OUT"],
        "train": [*train, "--mix", "mean:1:", "--out", "OUT"],
        "train learned": [*train, "--mix", "learned:all", "--out", "OUT"],
        "predict": ["predict", head, str(room / "texts.csv")],
        "analyze": ["analyze", dataset, "--label", "label", "--out", "OUT"],
    }


def _measure(
    commands: dict[str, list[str]], sources: dict[str, Path], loads: list[int], rounds: int
) -> list[dict[str, Any]]:
    runs = []
    for number in range(rounds):
        for busy in loads:
            for name, arguments in commands.items():
                for checkout, source in list(sources.items())[:: -1 if number % 2 else 1]:
                    start = ["-c", _TORCH_FIRST] if name.endswith(_FIRST) else ["-m", "layerwise"]
                    with _busy(busy):
                        processor, clock = _run([*start, *arguments], source)
                    runs.append(
                        {"command": name, "checkout": checkout, "busy": busy, "round": number,
                         "processor": processor, "clock": clock}
                    )  # fmt: skip
                    print(
                        f"{name}, {checkout}, {busy} busy: {processor:.1f} s, {clock:.1f} s", file=sys.stderr
                    )
    return runs


def _run(arguments: list[str], source: Path) -> tuple[float, float]:
    """Return the processor seconds of a command and of its children, and those on the clock."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, *(str(out) if a == "OUT" else a for a in arguments)]
        env = {**os.environ, "PYTHONPATH": str(source)}
        start = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        clock = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, clock


@contextmanager
def _busy(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-S", "-c", _LOOP]) for _ in range(count)]
    try:
        if count:
            time.sleep(1)  # until they run
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return medians, and medians of the ratios of rounds to the same round alone."""
    found = []
    of = {(r["command"], r["checkout"], r["busy"], r["round"]): r for r in runs}
    for command, checkout, busy in dict.fromkeys(key[:3] for key in of):
        rounds = [r for r in runs if (r["command"], r["checkout"], r["busy"]) == (command, checkout, busy)]
        one: dict[str, Any] = {"command": command, "checkout": checkout, "busy": busy}
        for what in ("processor", "clock"):
            one[what] = statistics.median(r[what] for r in rounds)
            alone = [of[command, checkout, 0, r["round"]][what] for r in rounds]
            one[f"{what}_ratio"] = statistics.median(r[what] / a for r, a in zip(rounds, alone, strict=True))
        found.append(one)
    return found


def _goals(found: list[dict[str, Any]]) -> list[Goal]:
    goals = []
    clock = {(one["command"], one["checkout"], one["busy"]): one["clock"] for one in found}
    for one in found:
        if one["checkout"] == "now" and one["busy"]:
            what = f"{one['command']}: processor time beside {one['busy']} busy processes"
            goals.append(Goal(what, one["processor_ratio"], MOST, " x", most=True))
    for name in dict.fromkeys(one["command"] for one in found):
        if (name, "before", 0) in clock:
            lost = clock[name, "now", 0] / clock[name, "before", 0]
            goals.append(Goal(f"{name}: seconds alone, against before", lost, LOST, " x", most=True))
    return goals


if __name__ == "__main__":
    sys.exit(main())
