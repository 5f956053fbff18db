"""Processor time and memory of a probe as multiples of those of extraction, on the same texts in the same run.

TREC (1,500 questions, six classes) and SST-2 (5,000 sentences, two classes) are in ../shared/data, encoded by minilm. Every
part runs in a process of its own; its processor time counts from the end of the imports, its memory is the peak of the
process. `python benchmarks/probe_cost.py trec` measures one corpus. On a busy machine processor time is still comparable,
wall time isn't; the estimate that a probe prints is one of wall time.
"""

import csv
import importlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from common import SHARED, Goal, heading, show, show_goals

import layerwise as lw

NARROW = ("mean(1:)", "mean(-4:)")
CORPORA = {"trec": ("trec6", 1500, "coarse"), "sst2": ("sst2", 5000, "label")}
NAMES = {"trec": "1,500 TREC questions, six classes", "sst2": "5,000 SST-2 sentences, two classes"}
GOALS = {"trec": 3, "sst2": 1}


@dataclass(frozen=True)
class Cost:
    """What a part took; `estimate` is the number of seconds that the probe expected, 0 for none."""

    processor: float
    wall: float
    peak: float
    estimate: float = 0.0

    def row(self, name: str, extraction: "Cost") -> tuple[str, ...]:
        """Return the row of a table."""
        accuracy = f"{self.estimate / self.wall:.2f}" if self.estimate else ""
        times = f"{self.processor:.1f}", f"{self.processor / extraction.processor:.1f} ×"
        memory = f"{self.peak:,.0f}", f"{self.peak / extraction.peak:.2f} ×"
        return name, *times, *memory, accuracy


def main() -> int:
    """Measure and print a table and the goals."""
    chosen = sys.argv[1:] or list(CORPORA)
    heading("The cost of a probe against extraction: minilm, default design, one process per part")
    goals = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            source = _source(name, Path(folder))
            extraction, narrow, wide = (
                _part(part, str(source), str(Path(folder, "d"))) for part in ("extract", "narrow", "wide")
            )
        print(NAMES[name])
        header = ("part", "processor s", "ratio", "peak MB", "ratio", "estimate / real")
        rows = [("extraction", extraction), ("layers and means", narrow), ("with concat and learned", wide)]
        show([header, *(cost.row(what, extraction) for what, cost in rows)], right=range(1, 6))
        print(flush=True)
        ratios = [cost.processor / extraction.processor for cost in (narrow, wide)]
        goals += [
            Goal(f"{name}: layers and means against extracting", ratios[0], GOALS[name], " ×", most=True),
            Goal(f"{name}: all defaults against extracting", ratios[1], 5, " ×", most=True),
        ]
    show_goals(goals)
    return 0


def _source(name: str, folder: Path) -> Path:
    """Write the first texts of a corpus, each once, with their labels."""
    corpus, count, column = CORPORA[name]
    with (SHARED / corpus / "train.csv").open(encoding="utf-8", newline="") as file:
        labels = {record["text"]: record[column] for record in csv.DictReader(file)}
    source = folder / "texts.jsonl"
    lines = [json.dumps({"text": text, "label": label}) for text, label in list(labels.items())[:count]]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return source


def _part(name: str, source: str, dataset: str) -> Cost:
    """Run a part in a process of its own."""
    with subprocess.Popen([sys.executable, __file__, "--part", name, source, dataset], stdout=-1) as process:
        assert process.stdout is not None
        lines = process.stdout.read().decode().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the part {name} ended with exit code {process.returncode}")
    values = json.loads(lines[-1])
    return Cost(peak=usage.ru_maxrss / 1024, **values)


def run_part(name: str, source: str, folder: str) -> None:
    """Run one part in this process and print its cost as JSON."""
    logging.getLogger("layerwise").setLevel(
        logging.ERROR
    )  # what is left out of minilm's last step doesn't matter here
    lw.load_encoder("minilm").encode(["A text, so that everything is imported and loaded."])
    duration = importlib.import_module("layerwise.probing.duration")
    expected: list[float] = []
    time_estimate = duration.time_estimate

    def noted(*arguments: object) -> object:
        estimate = time_estimate(*arguments)
        expected.append(estimate.seconds if estimate else 0.0)
        return estimate

    vars(duration)["time_estimate"] = noted
    dataset = None if name == "extract" else lw.open_dataset(folder)
    wall, processor = time.perf_counter(), time.process_time()
    if dataset is None:
        lw.extract(source, folder, level="text")
    else:
        mixes = list(NARROW) if name == "narrow" else None
        lw.probe(dataset, task="classify", label="label", mix=mixes, progress=lambda _: None)
    cost = {
        "processor": time.process_time() - processor,
        "wall": time.perf_counter() - wall,
        "estimate": sum(expected),
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        run_part(*sys.argv[2:])
    else:
        sys.exit(main())
