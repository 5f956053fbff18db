"""Progress on stderr: on a terminal one line that is redrawn, elsewhere a line a minute."""

import argparse
import os
import sys
import threading
import time
import unicodedata
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self, TextIO

from layerwise._util.progress import Progress
from layerwise.cli import output

REDRAWN = 0.5  # seconds between two drawings of the line on a terminal
LOGGED = 60.0  # seconds between two lines of a log, and before the first
_LOOK = 1.0  # seconds between two looks whether a line is due that no event brings


class ProgressDisplay:
    """Shows events of progress; wipes the line of a terminal at the end. A callback for `progress=`."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count time.

        Args:
            stream: where to; stderr when left out.
            quiet: show nothing.
            clock: gives seconds.
        """
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet or self._stream is None  # Python has none where it was closed
        self._terminal = not self._quiet and self._stream.isatty()
        self._clock, self._lock, self._closed = clock, threading.RLock(), threading.Event()
        self._event: Progress | None = None
        self._at = self._last = clock()
        if self._terminal:
            self._last -= REDRAWN  # the first event shows at once
        self._width = 0  # of what is drawn

    def __enter__(self) -> Self:
        if not self._quiet:
            # Some steps take minutes without an event.
            threading.Thread(target=self._look, name="layerwise-progress", daemon=True).start()
            self._shown, warnings.showwarning = warnings.showwarning, self._warn
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with self._lock:
            self._event = None
            self._wipe()
        if not self._quiet:
            warnings.showwarning = self._shown

    def __call__(self, event: Progress) -> None:
        """Take an event, and show it when a line is due."""
        with self._lock:
            self._event, self._at = event, self._clock()
            self.tick()

    def tick(self) -> None:
        """Show the last event when a line is due."""
        with self._lock:
            now = self._clock()
            if self._quiet or self._event is None:
                return
            if now - self._last < (REDRAWN if self._terminal else LOGGED):
                return
            self._last = now
            line = output.visible(str(self._aged(now)), 400)
            if self._terminal:
                self._draw(_cut(line, self._columns() - 1))
            else:
                self._write(f"layerwise: {line}\n")

    def _aged(self, now: float) -> Progress:
        """Return the last event, whose time left has gone down since."""
        assert self._event is not None
        left = self._event.seconds_left
        return (
            self._event
            if left is None
            else replace(self._event, seconds_left=max(0.0, left - (now - self._at)))
        )

    def _look(self) -> None:
        while not self._closed.wait(_LOOK):
            self.tick()

    def _warn(self, *args: Any, **kwargs: Any) -> None:
        """Show a warning where the line stood."""
        with self._lock:
            self._wipe()
            self._shown(*args, **kwargs)

    def _columns(self) -> int:
        with suppress(OSError, ValueError, AttributeError):  # a terminal of tests, or one that doesn't say
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        return 80

    def _draw(self, line: str) -> None:
        width = sum(map(_cells, line))
        self._write("\r" + line + " " * (self._width - width))
        self._width = width

    def _wipe(self) -> None:
        if self._width:
            self._draw("")
            self._write("\r")

    def _write(self, text: str) -> None:
        # Progress is no reason to fail: stderr may be closed, full, or unable to show a name.
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def progress_display(args: argparse.Namespace, *, quiet: bool = False) -> ProgressDisplay:
    """Return what shows the progress of a command, unless `--quiet` was given; its `--json` goes to stdout."""
    return ProgressDisplay(quiet=quiet or args.quiet)


def _cells(character: str) -> int:
    """Return how many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(line: str, columns: int) -> str:
    """Return a line that fits so many columns of a terminal, in which a longer one would begin another line."""
    if sum(map(_cells, line)) <= columns:
        return line
    kept, width = "", 0
    for character in line:
        width += _cells(character)
        if width > columns - 1:
            break
        kept += character
    return kept + "…"
