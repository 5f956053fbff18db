"""A recipe whose makers get nothing done unless they do the steps of several tasks at the same time."""

import threading
from typing import Any

from waiting import SECONDS

TASKS = ("a", "b", "c", "d")


class Overlapping:
    """Makes a task only once the next is prepared, and commits it only once the next is made."""

    def start(self, index: int, count: int) -> "Overlapping":
        """Begin, in the process that does the tasks."""
        self.done = {(step, task): threading.Event() for step in ("prepare", "make") for task in TASKS}
        self.busy = {step: threading.Lock() for step in ("prepare", "make", "commit")}
        return self

    def describe(self) -> str:
        """Say what all say."""
        return "description"

    def prepare(self, task: str) -> str:
        """Note it."""
        with self._alone("prepare"):
            self.done["prepare", task].set()
        return task

    def make(self, task: str, report: Any) -> str:
        """Wait for the next to be prepared."""
        with self._alone("make"):
            self._wait("prepare", task)
            self.done["make", task].set()
        return task

    def commit(self, task: str) -> str:
        """Wait for the next to be made."""
        with self._alone("commit"):
            self._wait("make", task)
        return task

    def _alone(self, step: str) -> threading.Lock:
        lock = self.busy[step]
        if lock.locked():
            raise RuntimeError(f"two tasks are in the step {step!r} at the same time")
        return lock

    def _wait(self, step: str, task: str) -> None:
        following = dict(zip(TASKS[:-1:2], TASKS[1::2], strict=True)).get(task)
        if following is not None and not self.done[step, following].wait(SECONDS):
            raise RuntimeError(f"the step {step!r} of {following} isn't done beside that of {task}")
