"""How long `import layerwise` and `layerwise -h` take: whole processes, from start to end."""

import shutil
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from common import Goal, heading, interleaved, show, show_goals

ROUNDS = 7


def main() -> None:
    """Measure and print."""
    heading(f"startup: whole processes, median of {ROUNDS} interleaved runs")
    beside = Path(sys.executable).with_name("layerwise")
    script = str(beside) if beside.exists() else shutil.which("layerwise")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import layerwise": [sys.executable, "-c", "import layerwise"],
        "layerwise -h": [script, "-h"] if script else [sys.executable, "-m", "layerwise", "-h"],
        "import torch": [sys.executable, "-c", "import torch"],
    }

    def run(command: list[str]) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    seconds = interleaved({name: partial(run, command) for name, command in commands.items()}, ROUNDS)
    rows = [("process", "seconds", "fastest", "slowest")]
    rows += [
        (name, f"{statistics.median(s):.3f}", f"{min(s):.3f}", f"{max(s):.3f}") for name, s in seconds.items()
    ]
    show(rows, right=(1, 2, 3))
    show_goals(
        [
            Goal("import layerwise", statistics.median(seconds["import layerwise"]), 0.3, " s", True),
            Goal("layerwise -h", statistics.median(seconds["layerwise -h"]), 0.7, " s", True),
        ]
    )


if __name__ == "__main__":
    main()
