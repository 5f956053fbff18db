"""Locks and shared state of the whole process that are reset in a forked child.

A child has only the thread that forked: a lock that another thread held would never be released there.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class _RLock(Protocol):
    """The part of `threading.RLock()` that is used here."""

    def __enter__(self) -> bool: ...
    def __exit__(self, *_: object) -> None: ...
    def _is_owned(self) -> bool: ...
    def _at_fork_reinit(self) -> None: ...


class _Resettable(Protocol):
    def forget(self) -> None:
        """Reset the state, in a forked child."""


_locks: "weakref.WeakSet[_RLock]" = weakref.WeakSet()
_shared: "weakref.WeakSet[_Resettable]" = weakref.WeakSet()
_forked = False


def new_lock() -> _RLock:
    """Return a reentrant lock that is released in a forked child, unless the forking thread held it.

    It is a lock of the interpreter: in a lock written in Python, an interrupt could come after it is acquired and
    before the block that releases it.
    """
    lock: Any = threading.RLock()
    _locks.add(lock)
    return lock  # type: ignore[no-any-return]


class Shared:
    """A setting of the whole process that is on while at least one block needs it."""

    def __init__(self, on: Callable[[], Callable[[], None]]) -> None:
        """Start switched off; `on` switches the setting on and returns the function that switches it off."""
        self._on, self._lock, self._process = on, new_lock(), 0
        self._blocks: set[object] = set()
        self._off: Callable[[], None] = lambda: None
        _shared.add(self)

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """Keep the setting on until the end of the block."""
        block = object()
        try:
            with self._lock:
                if not self._blocks:
                    self._off = self._on()
                self._blocks.add(block)
            yield
        finally:
            with self._lock:
                # Absent after an interrupt before it was added, and in a forked child, where `forget` has removed it.
                if block in self._blocks:
                    self._blocks.discard(block)
                    if not self._blocks:
                        self._off()

    def forget(self) -> None:
        """Switch the setting off in a forked child, which lacks the threads that needed it."""
        if self._blocks:
            self._blocks = set()
            self._off()


def is_forked() -> bool:
    """Return whether this process was forked after torch was loaded: it then lacks the threads of torch's pools."""
    return _forked


def _after_fork() -> None:
    global _forked
    _forked = "torch" in sys.modules
    for lock in list(_locks):
        if not lock._is_owned():
            lock._at_fork_reinit()
    for shared in list(_shared):
        shared.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
