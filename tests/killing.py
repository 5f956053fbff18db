"""Killing workers while they write, by what /proc says of them."""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def killing(folder: Path, kills: int) -> threading.Thread:
    """Kill the process that holds one of the workers' locks, at random moments, so many times."""

    def run() -> None:
        rng = random.Random(0)
        for _ in range(kills):
            time.sleep(rng.uniform(0.0, 0.6))
            pids: list[int] = []
            while not pids:
                time.sleep(0.02)
                pids = holders(folder)
            os.kill(rng.choice(pids), signal.SIGKILL)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def holders(folder: Path) -> list[int]:
    """The other processes that have a lock of a worker open."""
    found = []
    for process in Path("/proc").glob("[0-9]*/fd"):
        try:
            names = [str(link.readlink()) for link in process.iterdir()]
        except OSError:
            continue
        if any(name.startswith(str(folder)) and name.endswith(".lock") and "-of-" in name for name in names):
            found.append(int(process.parent.name))
    return [pid for pid in found if pid != os.getpid()]
