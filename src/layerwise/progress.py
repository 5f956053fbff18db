"""Progress of long work on a terminal: one line on stderr, rewritten in place; nothing elsewhere."""

import sys
import time
from typing import Self, TextIO

_EVERY = 0.5  # seconds between two lines


class Progress:
    """Counts texts and pieces and shows their rates and the time left; quiet when not on a terminal."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._show = not quiet and self._stream.isatty()
        self._start: float | None = None
        self._before = (0, 0, 0.0)
        self._last = 0.0
        self._shown = 0
        self.texts = self.pieces = 0

    def add(self, *, texts: int = 0, pieces: int = 0, fraction: float | None = None) -> None:
        """Count what is done; `fraction` is the share of the source that has been read and worked on."""
        self.texts += texts
        self.pieces += pieces
        now = time.monotonic()
        if self._start is None:
            # Rates are measured from here on: before it a model was loaded, or finished shards passed over.
            self._start = self._last = now
            self._before = (self.texts, self.pieces, fraction or 0.0)
        elif self._show and now - self._last >= _EVERY:
            self._last = now
            self._write(self.line(max(now - self._start, 1e-9), fraction))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the line."""
        if self._shown:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()
            self._shown = 0

    def line(self, seconds: float, fraction: float | None) -> str:
        """Return the line for `seconds` of work."""
        before_texts, before_pieces, before = self._before
        texts, pieces = (self.texts - before_texts) / seconds, (self.pieces - before_pieces) / seconds
        rate = f"{self.texts:,} texts · {texts:,.0f} texts/s · {pieces:,.0f} pieces/s"
        if fraction is None or not before < fraction <= 1:
            return rate
        return f"{rate} · {fraction:.0%} · {clock(seconds * (1 - fraction) / (fraction - before))} left"

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._shown))
        self._stream.flush()
        self._shown = len(line)


def clock(seconds: float) -> str:
    """Return a duration for people.

    >>> clock(75)
    '1 min 15 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
