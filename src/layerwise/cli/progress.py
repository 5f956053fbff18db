"""Progress on stderr: on a terminal one line that is redrawn, elsewhere a line a minute."""

import argparse
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self, TextIO

from layerwise._util import display
from layerwise._util.progress import Progress
from layerwise.cli import output
from layerwise.wording import text_in

REDRAWN = 0.5  # seconds between two drawings of the line on a terminal
LOGGED = 60.0  # seconds between two lines of a log, and before the first
_POLL = 1.0  # seconds between two checks whether a line is due when no event arrives


class ProgressDisplay:
    """Callback for `progress=` that prints events; on a terminal it erases its line at the end."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        lang: str = "en",
    ) -> None:
        """Start the clock.

        Args:
            stream: where lines are written; stderr by default.
            quiet: write nothing.
            clock: returns the time in seconds.
            lang: the language of notes that are results.
        """
        self._lang = lang
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet or self._stream is None  # None when stderr is closed
        self._terminal = not self._quiet and self._stream.isatty()
        self._clock, self._lock, self._closed = clock, threading.RLock(), threading.Event()
        self._event: Progress | None = None
        self._at = self._last = clock()
        if self._terminal:
            self._last -= REDRAWN  # print the first event at once
        self._width = 0  # of the line on the terminal, in columns

    def __enter__(self) -> Self:
        if not self._quiet:
            # Some steps take minutes without an event.
            threading.Thread(target=self._poll, name="layerwise-progress", daemon=True).start()
            self._showwarning, warnings.showwarning = warnings.showwarning, self._warn
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with self._lock:
            self._event = None
            self._wipe()
        if not self._quiet:
            warnings.showwarning = self._showwarning

    def __call__(self, event: Progress) -> None:
        """Store an event, and print it when a line is due."""
        with self._lock:
            if event.note and not self._quiet and output.NOTES.is_new(event.note):
                self._wipe()
                self._write(f"layerwise: {output.visible(text_in(event.note, self._lang), 400)}\n")
            self._event, self._at = replace(event, note=""), self._clock()
            self.tick()

    def tick(self) -> None:
        """Print the last event when a line is due."""
        with self._lock:
            now = self._clock()
            if self._quiet or self._event is None:
                return
            if now - self._last < (REDRAWN if self._terminal else LOGGED):
                return
            self._last = now
            line = output.visible(str(self._aged(now)), 400)
            if self._terminal:
                self._draw(display.clipped(line, self._columns() - 1))
            else:
                self._write(f"layerwise: {line}\n")

    def _aged(self, now: float) -> Progress:
        """Return the last event, with the time left reduced by the time since then."""
        assert self._event is not None
        left = self._event.seconds_left
        return (
            self._event
            if left is None
            else replace(self._event, seconds_left=max(0.0, left - (now - self._at)))
        )

    def _poll(self) -> None:
        while not self._closed.wait(_POLL):
            self.tick()

    def _warn(self, *args: Any, **kwargs: Any) -> None:
        """Erase the line, then show a warning."""
        with self._lock:
            self._wipe()
            self._showwarning(*args, **kwargs)

    def _columns(self) -> int:
        with suppress(OSError, ValueError, AttributeError):  # a stream without a file, or of unknown size
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        return 80

    def _draw(self, line: str) -> None:
        width = display.width(line)
        self._write("\r" + line + " " * (self._width - width))
        self._width = width

    def _wipe(self) -> None:
        if self._width:
            self._draw("")
            self._write("\r")

    def _write(self, text: str) -> None:
        # Errors of stderr must not stop the command: it may be closed, full, or unable to encode a name.
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def progress_display(args: argparse.Namespace, *, quiet: bool = False) -> ProgressDisplay:
    """Return the display of the progress of a command on stderr; it is silent with `--quiet` or `quiet`."""
    return ProgressDisplay(quiet=quiet or args.quiet, lang=getattr(args, "lang", "en"))
