"""`make bench`: every benchmark, one after the other; each prints its own table and writes its figures as JSON."""

import subprocess
import sys
from pathlib import Path

import history

SCRIPTS = (
    "startup",
    "load_model",
    "storage",
    "memory",
    "disk",
    "speed",
    "shares",
    "sites",
    "others",
    "probe",
    "probe_classes",
    "probe_cost",
    "analyze",
    "page",
    "together",
    "tf_checkpoint",
)


def main() -> int:
    """Run the scripts; 1 if one of them broke, or a figure is worse by a fifth than the stored one."""
    broken = []
    for name in SCRIPTS:
        if subprocess.run(
            [sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=False
        ).returncode:
            broken.append(name)
        print(flush=True)
    if broken:
        print(f"broken: {', '.join(broken)}", file=sys.stderr)
    worse = [line for name in SCRIPTS for line in history.losses(name) or ()]
    if worse:
        print("worse by a fifth or more than stored:", *worse, sep="\n", file=sys.stderr)
    return 1 if broken or worse else 0


if __name__ == "__main__":
    sys.exit(main())
