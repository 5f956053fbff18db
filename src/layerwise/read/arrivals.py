"""Input that arrives over time: tell whether the next line has arrived, so that the lines before needn't wait for it."""

import io
import select
from contextlib import suppress
from typing import Any

_CHUNK = 1 << 16


class WatchedInput(io.RawIOBase):
    """The bytes of standard input or of a pipe; knows where the last complete line ends that has arrived."""

    def __init__(self, stream: io.FileIO) -> None:
        self._stream = stream
        self._arrived = bytearray()  # bytes that were looked at, and aren't read yet
        self._size = self._end_of_lines = 0
        self._has_ended = False

    def readable(self) -> bool:
        """Return true, for the buffer around it."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with bytes that have arrived, after waiting for the first; return how many."""
        if not self._arrived:
            self._receive(len(buffer))
        data = self._arrived[: len(buffer)]
        buffer[: len(data)] = data
        del self._arrived[: len(data)]
        return len(data)

    def must_wait(self, done: int) -> bool:
        """Return whether the line after the first `done` bytes hasn't arrived, and the input hasn't ended."""
        while done >= self._end_of_lines and not self._has_ended:
            if not self._is_ready():
                return True
            self._receive(_CHUNK)
        return False

    def _is_ready(self) -> bool:
        with suppress(OSError, ValueError):  # on Windows only sockets can be asked
            return bool(select.select([self._stream], [], [], 0)[0])
        return True

    def _receive(self, size: int) -> None:
        """Take what has arrived, at most `size` bytes, after waiting for the first."""
        data = self._stream.read(size) or b""
        last = data.rfind(b"\n")
        if last >= 0:
            self._end_of_lines = self._size + last + 1
        self._size += len(data)
        self._arrived += data
        self._has_ended = not data
