"""Decompress files as they are read: gzip, bzip2, xz and Zstandard, recognised by their first bytes.

Memory is bounded whatever a file claims: decompression goes in chunks, and dictionaries are limited.
"""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import IO, Any, NamedTuple, cast

from layerwise.errors import SourceError
from layerwise.read.file import File
from layerwise.read.foreign import SIZE, refuse_foreign

_CHUNK = 1 << 16
_XZ_MEMORY = 1 << 28
# A file that becomes larger may become at most `_MOST_TIMES` as large as it is.
_LARGE, _MOST_TIMES = 1 << 28, 1_000


class _Compression(NamedTuple):
    name: str
    magic: re.Pattern[bytes]
    open: Callable[[Any], Any]


class _Counted(io.RawIOBase):
    """The bytes of a compressed file; `file.done` counts them."""

    def __init__(self, stream: IO[bytes], file: File) -> None:
        self._stream, self._file = stream, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._file.done += len(data)
        return len(data)


class _Xz:
    """Bytes of an xz file; `lzma.open` would use as much memory as the file asks for."""

    def __init__(self, stream: _Counted) -> None:
        self._stream = stream
        self._decompressor: lzma.LZMADecompressor | None = None
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return at most `size` decompressed bytes; none at the end.

        Raises:
            EOFError: the file ends too early.
        """
        while True:
            if self._decompressor is None:
                # Between the parts of a file there may be zeros.
                while not self._rest.lstrip(b"\0"):
                    self._rest = self._stream.read(_CHUNK)
                    if not self._rest:
                        return b""
                self._rest = self._rest.lstrip(b"\0")
                self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            if self._decompressor.needs_input and not self._rest:
                self._rest = self._stream.read(_CHUNK)
                if not self._rest:
                    raise EOFError("the file ends too early")
            data = self._decompressor.decompress(self._rest, size)
            self._rest = b""
            if self._decompressor.eof:
                self._rest, self._decompressor = self._decompressor.unused_data, None
            if data:
                return data


def _zstandard(stream: _Counted) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")


_KINDS = (
    _Compression(
        "gzip", re.compile(rb"\x1f\x8b\x08"), lambda stream: gzip.GzipFile(fileobj=stream, mode="rb")
    ),
    _Compression("Zstandard", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), _zstandard),
    _Compression("bzip2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    _Compression("xz", re.compile(rb"\xfd7zXZ\x00"), _Xz),
)


class _Decompressed(io.RawIOBase):
    """The bytes of a compressed file, decompressed; its errors are `OSError`."""

    def __init__(self, stream: Any, kind: _Compression, file: File) -> None:
        self._stream, self._kind, self._file = stream, kind, file
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with decompressed bytes; return how many.

        Raises:
            OSError: damaged data, or a file that becomes implausibly large.
        """
        try:
            data = self._stream.read(len(buffer))
        except (EOFError, zlib.error, lzma.LZMAError, ValueError, OSError) as error:
            why = str(error).partition("\n")[0].strip(". ")
            raise OSError(f"its {self._kind.name} data is damaged or cut off ({why})") from error
        buffer[: len(data)] = data
        self._size += len(data)
        if self._size > max(_LARGE, _MOST_TIMES * self._file.done):
            raise OSError(
                f"it becomes more than {self._size:,} bytes of {self._file.done:,}; beyond {_LARGE:,} at most "
                f"{_MOST_TIMES:,} times as many are read"
            )
        return len(data)


def peek(stream: IO[bytes], size: int) -> bytes:
    """Return the first bytes of a stream without reading them."""
    if hasattr(stream, "peek"):
        return bytes(stream.peek(size)[:size])
    start = stream.read(size)
    stream.seek(0)
    return start


def decompressed(stream: IO[bytes], file: File) -> IO[bytes]:
    """Return a stream of the bytes of a file, without its compression if it has one.

    Raises:
        SourceError: a file that isn't text; one that is compressed twice.
        OSError: damaged data.
    """
    start = peek(stream, SIZE)
    kind = _kind_of(start)
    file.compressed = kind is not None
    if kind is not None:
        raw = _Decompressed(kind.open(_Counted(stream, file)), kind, file)
        stream = cast(IO[bytes], io.BufferedReader(raw, _CHUNK))
        start = peek(stream, SIZE)
        if (inner := _kind_of(start)) is not None:
            raise SourceError(
                f"{file.label} is compressed twice, with {kind.name} and within with {inner.name}; decompress it once"
            )
    refuse_foreign(file.label, start)
    return stream


def _kind_of(start: bytes) -> _Compression | None:
    return next((kind for kind in _KINDS if kind.magic.match(start)), None)


def refuse_other(stream: IO[bytes], label: str, expected: str) -> None:
    """Check that a file isn't compressed as a whole, and in no other format than `expected` (`Parquet`, `Arrow`).

    Raises:
        SourceError: it is.
    """
    start = stream.read(SIZE)
    stream.seek(0)
    if (kind := _kind_of(start)) is not None:
        raise SourceError(
            f"{label} is compressed ({kind.name}), and only files of text are read like that; decompress it"
        )
    refuse_foreign(label, start, expected)
