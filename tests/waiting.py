"""Waiting for what a test means, however busy the machine is."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

SECONDS = 300.0
"""How long is waited for what always comes: long enough for a machine with ten times the work that it can do."""
T = TypeVar("T")


def until(condition: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """Return what a condition gives as soon as that is true.

    Args:
        condition: what is asked again and again.
        what: what is waited for, in words.
        seconds: the longest that is waited.

    Raises:
        AssertionError: it didn't become true in time; says what was seen last.
    """
    end = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}; seen last: {seen!r}"
        time.sleep(0.02)
    return seen


def ended(thread: threading.Thread) -> None:
    """Wait for the end of a thread."""
    thread.join(SECONDS)
    assert not thread.is_alive(), f"waited {SECONDS:g} s for the end of the thread {thread.name}"
