"""Recipes for workers of any kind; a process that only runs these loads no model, and no torch."""

import os
import signal
import sys
import time
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError

FAULTS: dict[str, BaseException] = {
    "fail": ValueError("a fault of ours"),
    "end": EOFError("a file that is cut"),
    "exit": SystemExit("a library that gives up"),
}


class Fatal:
    """A recipe whose makers die of a task, or of being started."""

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once

    def start(self, index: int, count: int) -> "Fatal":
        """Begin, or die."""
        if self.at_once:
            self.die()
        return self

    def die(self) -> None:
        """Kill this process."""
        os.kill(os.getpid(), signal.SIGKILL)

    def describe(self) -> str:
        """Say what all say."""
        return "description"

    def prepare(self, task: Any) -> Any:
        """Do nothing."""
        return task

    def make(self, task: Any, report: Any) -> Any:
        """Die of some tasks, and wait longer than any test in others."""
        print("what libraries print does no harm")
        if task == "die":
            self.die()
        if task == "sleep":
            time.sleep(3600)
        if task in FAULTS:
            raise FAULTS[task]
        report(texts=1)
        return task

    def commit(self, task: Any) -> Any:
        """Do nothing."""
        return task


class Exiting(Fatal):
    """A recipe whose makers end, instead of being killed."""

    def die(self) -> None:
        """End this process."""
        os._exit(1)


class Sharing(Fatal):
    """Says how many threads its process may have."""

    def describe(self) -> str:
        """Say it."""
        return " ".join(os.environ[name] for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"))


class Refusing(Fatal):
    """A recipe whose makers refuse an argument."""

    def make(self, task: Any, report: Any) -> Any:
        """Refuse it."""
        raise RequestError(f"{argument('max_rows', task)} is too small")


class Paths(Fatal):
    """Says where its process imports from."""

    def describe(self) -> list[str]:  # type: ignore[override]
        """Say it."""
        return sys.path
