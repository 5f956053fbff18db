"""Recognise UTF-16 and UTF-32 by the first bytes of a file."""

import codecs

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SHORTEST = 20  # bytes, for a guess from zeros


def wide_encoding(start: bytes) -> str | None:
    """Return the encoding of text that begins with these bytes, if it has more than one byte for every character.

    It is known by a byte order mark, or by zeros in every second byte.
    """
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if marked is not None or len(start) < _SHORTEST:
        return marked
    first, second = start[::2].count(0), start[1::2].count(0)
    if first + second < len(start) * 0.3 or min(first, second) > 0.05 * max(first, second):
        return None
    return "utf-16-le" if second > first else "utf-16-be"
