"""Locks and counts of the whole process that a forked child finds fresh: the threads that had them aren't there."""

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class _RLock(Protocol):
    """What `threading.RLock()` gives, as far as it is used here."""

    def __enter__(self) -> bool: ...
    def __exit__(self, *_: object) -> None: ...
    def _is_owned(self) -> bool: ...
    def _at_fork_reinit(self) -> None: ...


class _Fresh(Protocol):
    def forget(self) -> None:
        """Begin anew, in a forked child."""


_locks: "weakref.WeakSet[_RLock]" = weakref.WeakSet()
_shared: "weakref.WeakSet[_Fresh]" = weakref.WeakSet()
_forked = False


def new_lock() -> _RLock:
    """Return a lock for one thread at a time, which a forked child finds open unless its own thread had it.

    It is one of the interpreter's own: with one that is written in Python an interrupt may come between the taking
    and the block that gives it back.
    """
    lock: Any = threading.RLock()
    _locks.add(lock)
    return lock  # type: ignore[no-any-return]


class Shared:
    """Something of the whole process that is on while at least one block needs it."""

    def __init__(self, on: Callable[[], Callable[[], None]]) -> None:
        """Begin with nobody; `on` switches it on and returns what switches it off."""
        self._on, self._lock, self._process = on, new_lock(), 0
        self._blocks: set[object] = set()
        self._off: Callable[[], None] = lambda: None
        _shared.add(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it on until the end of the block."""
        block = object()
        try:
            with self._lock:
                if not self._blocks:
                    self._off = self._on()
                self._blocks.add(block)
            yield
        finally:
            with self._lock:
                if block in self._blocks:
                    self._blocks.discard(block)
                    if not self._blocks:
                        self._off()

    def forget(self) -> None:
        """Begin anew, in a forked child: the threads of the parent that had it on aren't there."""
        if self._blocks:
            self._blocks = set()
            self._off()


def is_forked() -> bool:
    """Tell whether this process was forked after torch was loaded: no thread of torch's pools is there."""
    return _forked


def _after_fork() -> None:
    global _forked
    _forked = "torch" in sys.modules
    for lock in list(_locks):
        if not lock._is_owned():
            lock._at_fork_reinit()
    for one in list(_shared):
        one.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
