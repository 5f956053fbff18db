"""How long processes take from start to end: imports, help, a first vector, a prediction; plain transformers beside them.

Other processes make wall time longer, and processor time less so; both are printed. `e5=FOLDER` adds the model that
`e5_small.py` makes.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from common import Goal, heading, show, show_goals

QUICK, SLOW = 7, 3  # rounds
_VECTOR = "import layerwise as lw; lw.load_encoder({!r}).encode(['How deep is the sea?'])"
_PLAIN = """
import torch, transformers
transformers.utils.logging.disable_progress_bar()
tokenizer, model = transformers.AutoTokenizer.from_pretrained({0!r}), transformers.AutoModel.from_pretrained({0!r})
with torch.inference_mode():
    model(**tokenizer('How deep is the sea?', return_tensors='pt'), output_hidden_states=True)
"""
_IMPORTS = "from transformers.models.bert.modeling_bert import BertModel"


@dataclass
class Process:
    """A command, and its wall and processor seconds in each round."""

    command: list[str]
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run the command once and keep its seconds."""
        start, before = time.perf_counter(), os.times()
        subprocess.run(self.command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = os.times()
        self.wall.append(time.perf_counter() - start)
        self.processor.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )


def main() -> None:
    """Measure and print."""
    heading(
        f"startup: whole processes, medians of {QUICK} interleaved runs, of {SLOW} where models are loaded"
    )
    beside = Path(sys.executable).with_name("layerwise")
    script = str(beside) if beside.exists() else shutil.which("layerwise")
    layerwise = [script] if script else [sys.executable, "-m", "layerwise"]
    quick = {
        "python -c pass": Process([sys.executable, "-c", "pass"]),
        "import layerwise": Process([sys.executable, "-c", "import layerwise"]),
        "layerwise -h": Process([*layerwise, "-h"]),
        "import torch": Process([sys.executable, "-c", "import torch"]),
    }
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        slow = {title: Process(command) for title, command in _with_models(Path(name), layerwise).items()}
        for processes, rounds in ((quick, QUICK), (slow, SLOW)):
            for number in range(rounds):
                for process in list(processes.values())[:: -1 if number % 2 else 1]:
                    process.run()
    processes = quick | slow
    rows: list[tuple[str, ...]] = [("process", "seconds", "fastest", "slowest", "processor seconds")]
    rows += [
        (
            title,
            *(
                f"{s:.3f}"
                for s in (statistics.median(p.wall), min(p.wall), max(p.wall), statistics.median(p.processor))
            ),
        )
        for title, p in processes.items()
    ]
    show(rows, right=(1, 2, 3, 4))
    bounds = {
        "import layerwise": 0.3,
        "layerwise -h": 0.7,
        "minilm: first vector": 1.5,
        "minilm: predict one line": 2,
    }
    bounds |= {"e5-small: first vector": 3}
    show_goals(
        [
            Goal(title, statistics.median(processes[title].wall), bound, " s", True)
            for title, bound in bounds.items()
            if title in processes
        ]
    )


def _with_models(folder: Path, layerwise: list[str]) -> dict[str, list[str]]:
    """Return the commands that load a model, after training a head in `folder`."""
    from layerwise.encode.checkpoint import find_checkpoint

    def python(code: str) -> list[str]:
        return [sys.executable, "-c", code]

    texts = folder / "texts.csv"
    texts.write_text(
        "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(8)), encoding="utf-8"
    )
    line = folder / "line.txt"
    line.write_text("How deep is the sea?\n", encoding="utf-8")
    dataset, head = str(folder / "texts.lw"), str(folder / "head")
    for command in (
        ["extract", str(texts), "--out", dataset],
        ["train", dataset, "--mix", "4", "--task", "classify", "--label", "label", "--out", head],
    ):
        subprocess.run([*layerwise, *command], check=True, capture_output=True)
    commands = {
        "import transformers' BERT": python(_IMPORTS),
        "minilm by transformers: first vector": python(_PLAIN.format(str(find_checkpoint("minilm").folder))),
        "minilm: first vector": python(_VECTOR.format("minilm")),
        "minilm: predict one line": [*layerwise, "predict", head, str(line)],
    }
    for argument in sys.argv[1:]:
        if argument.startswith("e5="):
            e5 = argument.removeprefix("e5=")
            commands["e5-small by transformers: first vector"] = python(_PLAIN.format(e5))
            commands["e5-small: first vector"] = python(_VECTOR.format(e5))
    return commands


if __name__ == "__main__":
    main()
