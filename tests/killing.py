"""Killing workers while they write, by what /proc says of them."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from waiting import until

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


class Killing(threading.Thread):
    """Kills a process that holds one of the workers' locks, so many times, at random moments of its work.

    `committed` are the numbers of shards that were committed when it did.
    """

    def __init__(self, folder: Path, kills: int) -> None:
        """Begin."""
        super().__init__(daemon=True)
        self._folder, self._kills = folder, kills
        self._over = threading.Event()
        self.committed: list[int] = []
        self.start()

    def run(self) -> None:
        """Kill."""
        rng = random.Random(0)
        while len(self.committed) < self._kills and not self._over.wait(0.02):
            if not holders(self._folder):
                continue
            time.sleep(rng.uniform(0.0, 0.8))  # anywhere in its work, and not where it takes the lock
            there, committed = holders(self._folder), len(list(self._folder.glob("work/[0-9]*.json")))
            if there:
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(rng.choice(there), signal.SIGKILL)
                    self.committed.append(committed)

    def between(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Let tasks come slowly, so that kills come anywhere between them, and the last after all kills."""
        yield from slowly(tasks, 0.2, lambda: len(self.committed) == self._kills, f"{self._kills} kills")

    def check(self) -> None:
        """Make sure that all came before the end, and at various times."""
        self._over.set()
        assert len(self.committed) == self._kills, f"{self._kills} kills were to come: {self.committed}"
        various = len(set(self.committed))
        assert various >= self._kills // 2, f"kills came at these numbers of shards: {self.committed}"


def slowly(tasks: Iterable[Any], pause: float, over: Callable[[], bool], what: str) -> Iterator[Any]:
    """Yield tasks with pauses, the last one only when something is over that is to happen before the end."""
    ahead = iter(tasks)
    last = next(ahead)
    for task in ahead:
        time.sleep(pause)
        yield last
        last = task
    until(over, what)
    yield last


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


def killed_anywhere(python: list[str], *arguments: object) -> int:
    """Run kill_extract.py; return the number of kills."""
    command = [*python, str(Path(__file__).with_name("kill_extract.py")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-1])
