"""Split bytes into lines: a line ends at `\\n` or `\\r\\n` and nowhere else, in any encoding."""

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO, NamedTuple, cast

from layerwise._util.paths import faults, is_remote, reason
from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.read.arrivals import WatchedInput
from layerwise.read.compressed import decompressed, peek
from layerwise.read.encodings import other_encoding
from layerwise.read.file import File
from layerwise.read.options import line_codec

_CHUNK = 1 << 16
_PEEK = 1 << 12
ENCODING_ADVICE = "name the file's encoding with {}, such as cp1252, gb18030, big5 or shift_jis"
LONGEST = 1 << 28  # bytes of a line, or of a file that is one text: endless input can't fill the memory


class Line(NamedTuple):
    """One line of a file with its line end; `wrong` says why its bytes couldn't be decoded."""

    number: int
    text: str
    wrong: str | None = None


def without_end(text: str) -> str:
    """Return a line without its `\\n` or `\\r\\n`."""
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


@contextmanager
def open_bytes(file: File) -> Iterator[IO[bytes]]:
    """Open a file or standard input, and decompress it if need be; turn system errors into one line.

    Raises:
        SourceError: a file that can't be opened or read, a pipe that was read already, an archive.
    """
    if file.once and file.spent:
        raise SourceError(f"{file.label} can be read only once; save it to a file and name that")
    file.spent = True
    try:
        if file.path is None:
            yield decompressed(_stdin(file), file)
        elif file.once:
            with file.path.open("rb", buffering=0) as pipe:
                yield decompressed(_watched(pipe, file), file)
        else:
            with file.path.open("rb") as stream:
                # Without a buffer, a stream of an object store would copy all fetched bytes for each line.
                buffered = io.BufferedReader(cast(io.RawIOBase, stream), _CHUNK)
                yield decompressed(buffered if is_remote(file.path) else stream, file)
    except faults() as error:
        raise SourceError(f"{file.label} can't be read: {reason(error)}; name another file") from error


@contextmanager
def open_text(file: File, encoding: str) -> Iterator[tuple[IO[bytes], bytes]]:
    """Open a file of text; also return its first bytes, which aren't read yet.

    Raises:
        SourceError: as `open_bytes`, or another encoding than that of the file.
    """
    with open_bytes(file) as stream:
        start = peek(stream, _PEEK)
        if name := other_encoding(start, encoding):
            raise SourceError(f"{file.label} is {name}, not {encoding}; give {argument('encoding', name)}")
        yield stream, start


def _stdin(file: File) -> IO[bytes]:
    stream: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise SourceError("stdin isn't available; name a file")
    try:
        # A second reader: Python can't exit while a thread waits for input in sys.stdin itself.
        return _watched(open(stream.fileno(), "rb", buffering=0, closefd=False), file)
    except OSError:  # sys.stdin was replaced by an object without a file descriptor
        return stream


def _watched(stream: io.FileIO, file: File) -> IO[bytes]:
    file.input = WatchedInput(stream)
    return io.BufferedReader(file.input, _CHUNK)


def read_lines(file: File, encoding: str, *, lone_returns: bool = False) -> Iterator[Line]:
    """Yield the lines of a file, the first without a byte order mark; keep `file.done` up to date.

    Raises:
        SourceError: a file that can't be opened or read; without `lone_returns`, one whose lines end with a carriage
            return alone.
    """
    with open_text(file, encoding) as (stream, first):
        if not lone_returns and _has_lone_returns(first, encoding):
            raise SourceError(
                f"{file.label} ends its lines with a carriage return alone, and a newline is needed; "
                "write it so (tr '\\r' '\\n')"
            )
        start = stream.read(4) if codecs.lookup(encoding).name in ("utf-16", "utf-32") else b""
        codec = line_codec(encoding, first[:4])
        for number, raw in enumerate(_cut(stream, start, "\n".encode(codec)), 1):
            if len(raw) > LONGEST:
                raise _too_long(file, f"line {number}", "lines end at a newline")
            file.done += 0 if file.compressed else len(raw)
            text, wrong = decode(raw, codec)
            if number == 1:
                text = text.removeprefix("\ufeff")
            if text:  # a byte order mark alone is no line
                yield Line(number, text, wrong)


def _has_lone_returns(start: bytes, encoding: str) -> bool:
    """Return whether carriage returns stand between lines, and no newline anywhere in the first bytes of a file."""
    text = start.decode(line_codec(encoding, start[:4]), "replace")
    return "\n" not in text and "\r" in text.rstrip()


def _too_long(file: File, what: str, why: str) -> SourceError:
    return SourceError(
        f"{file.label}: {what} has more than {LONGEST:,} bytes, and {why}; is it a file of texts?"
    )


def read_whole(file: File, encoding: str) -> Line:
    """Return a file as one text, without a byte order mark; its number is the line with the error, or 0.

    Raises:
        SourceError: a file that can't be opened or read.
    """
    with open_bytes(file) as stream:
        raw = stream.read(LONGEST + 1)
    if len(raw) > LONGEST:
        raise _too_long(file, "it", "it is one text")
    file.done += 0 if file.compressed else len(raw)
    codec = line_codec(encoding, raw[:4])
    if name := other_encoding(raw[:_PEEK], encoding):
        return Line(1, "", f"it is {name}, not {encoding}; give {argument('encoding', name)}")
    text, wrong = decode(raw, codec)
    if wrong is None:
        return Line(0, text.removeprefix("\ufeff"))
    for number, line in enumerate(_cut_whole(raw, "\n".encode(codec)), 1):
        if wrong := decode(line, codec)[1]:
            return Line(number, text, wrong)
    return Line(1, text, decode(raw, codec)[1])


def decode(raw: bytes, codec: str) -> tuple[str, str | None]:
    """Return the text and `None`, or the text with replacement characters and a message with the bad byte."""
    try:
        return raw.decode(codec), None
    except UnicodeError as error:
        at = error.start if isinstance(error, UnicodeDecodeError) else 0
        byte = f" (0x{raw[at]:02x})" if at < len(raw) else ""
        wrong = (
            f"byte {at + 1} of the line{byte} isn't {codec}; {ENCODING_ADVICE.format(argument('encoding'))}"
        )
        return raw.decode(codec, "replace"), wrong


def _cut(stream: IO[bytes], start: bytes, end: bytes) -> Iterator[bytes]:
    if end == b"\n" and not start:
        return iter(lambda: stream.readline(LONGEST + 1), b"")
    return _cut_units(stream, start, end)


def _cut_units(stream: IO[bytes], start: bytes, end: bytes) -> Iterator[bytes]:
    # A newline counts only at the start of a code unit: other characters (U+0A00 U+0D0A) contain its bytes too.
    width = len(end)
    buffer, position = bytearray(), 0
    read = getattr(stream, "read1", stream.read)  # what has arrived, without waiting for a whole chunk
    for chunk in chain([start], iter(lambda: read(_CHUNK), b"")):
        buffer += chunk
        begin = 0
        while (position := buffer.find(end, position)) >= 0:
            if position % width:
                position += 1
                continue
            position += width
            yield bytes(buffer[begin:position])
            begin = position
        del buffer[:begin]
        if len(buffer) > LONGEST:
            break
        position = len(buffer) - len(buffer) % width
    if buffer:
        yield bytes(buffer)


def _cut_whole(raw: bytes, end: bytes) -> Iterator[bytes]:
    return _cut(io.BytesIO(raw), b"", end)
