"""Locks and counts of the whole process that a forked child finds fresh: the threads that had them aren't there."""

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class _Fresh(Protocol):
    def forget(self) -> None:
        """Begin anew, in a forked child."""


_all: "weakref.WeakSet[_Fresh]" = weakref.WeakSet()
_forked = False


class Lock:
    """A lock for one thread at a time, which a forked child finds open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        if self._lock.locked():  # not where the holder itself forked, in the child
            self._lock.release()

    def __reduce__(self) -> tuple[type["Lock"], tuple[()]]:
        """Travel to another process, or into a copy, as a new lock."""
        return Lock, ()

    def forget(self) -> None:
        """Open it, in a forked child: who held it isn't there."""
        self._lock = threading.Lock()


class Shared:
    """Something of the whole process that is on while at least one block needs it."""

    def __init__(self, on: Callable[[], Callable[[], None]]) -> None:
        """Begin with nobody; `on` switches it on and returns what switches it off."""
        self._on, self._lock, self._blocks, self._process = on, Lock(), 0, 0
        self._off: Callable[[], None] = lambda: None
        _all.add(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it on until the end of the block."""
        with self._lock:
            if not self._blocks:
                self._off = self._on()
            self._blocks += 1
            process = self._process
        try:
            yield
        finally:
            with self._lock:
                if process == self._process:
                    self._blocks -= 1
                    if not self._blocks:
                        self._off()

    def forget(self) -> None:
        """Begin anew, in a forked child: what was on ended with the parent's threads."""
        self._blocks, self._process = 0, self._process + 1


def is_forked() -> bool:
    """Tell whether this process was forked after torch was loaded: no thread of torch's pools is there."""
    return _forked


def _after_fork() -> None:
    global _forked
    _forked = "torch" in sys.modules
    for one in list(_all):
        one.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
