"""What the benchmarks share: a heading that says where and with what, interleaved runs, goals."""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import history
from history import Figure

from layerwise.cli.output import table
from layerwise.read.docstrings import paragraphs

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
_RESULTS = ROOT / "docs" / "results.md"
_STAT = Path("/proc/stat")
_since: tuple[float, float] | None = None
_env: dict[str, str] = {}
_VERSIONS = ("layerwise", "python", "torch", "transformers", "tokenizers", "numpy", "pyarrow")


@dataclass(frozen=True)
class Goal:
    """A figure and its goal: the least value to reach, or, with `most`, the greatest to stay under."""

    what: str
    value: float
    bound: float
    unit: str = ""
    most: bool = False

    def row(self) -> tuple[str, ...]:
        """Return the goal as a row of a table."""
        met = self.value <= self.bound if self.most else self.value >= self.bound
        return (
            self.what,
            f"{self.value:.3g}{self.unit}",
            f"{'at most' if self.most else 'at least'} {self.bound:g}{self.unit}",
            "yes" if met else "no",
        )

    def figure(self) -> Figure:
        """Return the figure without its goal."""
        return Figure(self.what, self.value, self.unit, self.most)


def machine() -> dict[str, str]:
    """Return what `layerwise env` says of this machine."""
    if not _env:
        # In a process of its own: this one stays small, without torch, for those who measure memory.
        command = [sys.executable, "-m", "layerwise", "env", "--json"]
        _env.update(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return _env


def heading(title: str, *packages: str) -> None:
    """Print what is measured, when, with which versions (of `packages` too), and on which machine."""
    env = machine()
    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    print(title)
    print(", ".join([*(f"{name} {env[name]}" for name in _VERSIONS), *map(_version, packages)]))
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {env['processor']} ({env['vector instructions']}), "
        f"{env['cores']} cores, {env['threads']} threads{load}"
    )
    print(flush=True)
    global _since
    _since = _busy()


def _version(package: str) -> str:
    with suppress(metadata.PackageNotFoundError):
        return f"{package} {metadata.version(package)}"
    return f"no {package}"


def _busy() -> tuple[float, float] | None:
    """Return the core seconds that went by, and those that other processes took; nothing but on Linux."""
    if not _STAT.exists():
        return None
    ticks = [int(number) for number in _STAT.read_text().splitlines()[0].split()[1:9]]
    passed, idle = sum(ticks), ticks[3] + ticks[4]
    second = os.sysconf("SC_CLK_TCK")
    return passed / second, (passed - idle) / second - sum(os.times()[:4])


def show(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (1,)) -> None:
    """Print a table; its first row names the columns."""
    print(*table(rows, right=right), sep="\n", flush=True)


def show_goals(goals: Sequence[Goal]) -> None:
    """Print each figure beside its goal, and `finish` with these figures."""
    print()
    show([("figure", "value", "goal", "met"), *(goal.row() for goal in goals)])
    finish([goal.figure() for goal in goals])


def finish(figures: Sequence[Figure]) -> None:
    """Print how busy the machine was, write the figures as JSON, and print those that are worse than the stored ones."""
    show_others()
    name = Path(sys.argv[0]).stem
    print(f"figures written to {history.write(name, _env, figures).relative_to(ROOT)}")
    lines = history.losses(name)
    if lines is None:
        print("nothing is stored for such a machine; `make bench-store` stores these figures", flush=True)
    else:
        print(*(lines or ["no figure is worse by a fifth than the stored one"]), sep="\n", flush=True)


def show_others() -> None:
    """Print how busy the machine was with other things since the heading."""
    now = _busy()
    if now is not None and _since is not None and now[0] > _since[0]:
        share = (now[1] - _since[1]) / (now[0] - _since[0])
        print(f"other processes took {share:.0%} of the machine meanwhile", flush=True)


def interleaved(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way per round, after one run of each that doesn't count.

    Every way runs once per round, every second round backwards, so that a machine that grows slower or
    busier does it to all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            kept = ways[name]()  # let go of after the clock has stopped
            seconds[name].append(time.perf_counter() - start)
            del kept
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median over the rounds of one way's seconds by another's in the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def documentation(number: int) -> list[str]:
    """Return paragraphs of the standard library's documentation strings, drawn by chance with a fixed seed."""
    found = [text for _, text in paragraphs()]
    return random.Random(0).sample(found, min(number, len(found)))


def write_jsonl(path: Path, texts: Sequence[str]) -> Path:
    """Write texts as a source for `extract`."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def put(
    name: str,
    text: str,
    versions: Mapping[str, str],
    seed: int = 0,
    command: str = "make results",
    path: Path = _RESULTS,
) -> None:
    """Put a text, with date, versions, seed, processor and command, between the marks of `name` in a page of docs.

    What stands around them is written by hand.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = path.read_text(encoding="utf-8")
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{path} lacks the lines {begin} and {end}, between which the text goes")
    made = f"{datetime.now(UTC):%Y-%m-%d}, " + ", ".join(f"{library} {v}" for library, v in versions.items())
    env = machine()
    made += f", seed {seed}, {env['processor']} ({env['vector instructions']}, {env['cores']} cores)"
    whole = f"{before}{begin}\n{text}\n\nMade {made}, by `{command}`.\n{end}{after}"
    path.write_text(whole, encoding="utf-8")
    print(f"written to {path.relative_to(ROOT)}")
