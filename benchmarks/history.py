"""Figures of benchmarks, stored per machine, so that a figure that fell is reported.

    build/benchmarks/NAME.json      figures of the last run of benchmarks/NAME.py
    benchmarks/stored/MACHINE.json  figures that runs on such a machine are compared with

A machine is its processor, vector instructions, cores and threads: figures of other kinds of machines aren't comparable.
Run as a script (`make bench-store`) this puts the last runs into the stored file.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "build" / "benchmarks"
STORED = ROOT / "benchmarks" / "stored"
_MACHINE = ("processor", "vector instructions", "cores", "threads")
_VERSIONS = ("layerwise", "python", "torch", "transformers", "tokenizers", "numpy", "pyarrow")
LARGEST_LOSS = 0.2  # machines are shared: medians of ratios vary by a tenth from run to run


@dataclass(frozen=True)
class Figure:
    """A measured value; `most` marks one of which less is better (seconds, memory)."""

    what: str
    value: float
    unit: str = ""
    most: bool = False


def machine_of(env: Mapping[str, str]) -> str:
    """Return the name of the stored file of a machine, from what `lw.env()` returns."""
    parts = [env["processor"], env["vector instructions"], env["cores"], env["threads"].partition(" ")[0]]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")


def write(name: str, env: Mapping[str, str], figures: Sequence[Figure]) -> Path:
    """Write the figures of one run of a benchmark; return the file."""
    run = {
        "machine": {key: env[key] for key in _MACHINE},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": {key: env[key] for key in _VERSIONS},
        "figures": {
            figure.what: {"value": figure.value, "unit": figure.unit, "less_is_better": figure.most}
            for figure in figures
        },
    }
    RUNS.mkdir(parents=True, exist_ok=True)
    path = RUNS / f"{name}.json"
    path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    return path


def losses(name: str) -> list[str] | None:
    """Return a line for each figure of the last run that is worse by `LARGEST_LOSS` than the stored one.

    `None` when there is no run, or nothing stored for its machine.
    """
    if not (RUNS / f"{name}.json").exists():
        return None
    run = _read(RUNS / f"{name}.json")
    path = STORED / f"{machine_of(run['machine'])}.json"
    stored = _read(path).get(name) if path.exists() else None
    if stored is None:
        return None
    lines = []
    for what, entry in run["figures"].items():
        before = stored["figures"].get(what)
        loss = _loss(entry, before["value"]) if before else 0.0
        if loss >= LARGEST_LOSS:
            values = f"{entry['value']:.3g}{entry['unit']}, stored {before['value']:.3g}{entry['unit']}"
            lines.append(f"{name}: {what}: {values} ({stored['date']}), worse by {loss:.0%}")
    return lines


def _loss(entry: Mapping[str, Any], stored: float) -> float:
    """Return by how much a figure is worse than a stored value, as a share of the better one."""
    worse, better = (entry["value"], stored) if entry["less_is_better"] else (stored, entry["value"])
    return round(1 - better / worse, 6) if worse else 0.0  # 1 - 1.6 / 2 is a fifth


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def main() -> int:
    """Put the last runs into the stored file of their machine; the other stored figures of it stay."""
    runs = sorted(RUNS.glob("*.json"))
    if not runs:
        print(f"no figures in {RUNS.relative_to(ROOT)}; run `make bench` first", file=sys.stderr)
        return 2
    STORED.mkdir(exist_ok=True)
    for path in runs:
        run = _read(path)
        file = STORED / f"{machine_of(run['machine'])}.json"
        stored = _read(file) if file.exists() else {}
        file.write_text(
            json.dumps(stored | {path.stem: run}, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        print(f"{path.stem}: {len(run['figures'])} figures stored in {file.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
