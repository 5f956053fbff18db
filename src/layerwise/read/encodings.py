"""Recognise UTF-8, UTF-16 and UTF-32 by the first bytes of a file."""

import codecs

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    codecs.BOM_UTF8: "utf-8",
}
_SHORTEST = 20  # bytes, for a guess from zeros


def other_encoding(start: bytes, encoding: str) -> str | None:
    """Return the encoding of a file that begins with these bytes, if it certainly isn't the given one.

    It is known by a byte order mark, by the zeros of wide characters (of most letters in Latin script, of line ends in
    others), or by the lack of zeros.
    """
    name = codecs.lookup(encoding).name.removesuffix("-sig")
    marked = next((kind for mark, kind in _MARKS.items() if start.startswith(mark)), None)
    if marked is not None:
        family = marked.removesuffix("-le").removesuffix("-be")
        return None if name in (marked, family) else family
    if len(start) < _SHORTEST:
        return None
    guess = _by_zeros(start)
    if name.startswith(("utf-16", "utf-32")):
        default = f"{name}-le" if name in ("utf-16", "utf-32") else name  # what has no mark is read so
        return guess if guess not in (None, default) else _narrow(start)
    return guess


def _by_zeros(start: bytes) -> str | None:
    characters = len(start) // 4
    zeros = [start[place::4][:characters].count(0) for place in range(4)]
    if zeros[3] == characters and zeros[2] > 0.9 * characters > 9 * zeros[0]:
        return "utf-32-le"
    if zeros[0] == characters and zeros[1] > 0.9 * characters > 9 * zeros[3]:
        return "utf-32-be"
    first, second = start[::2].count(0), start[1::2].count(0)
    if min(first, second) > 0.05 * max(first, second) or first == second:
        return None
    name = "utf-16-le" if second > first else "utf-16-be"
    return name if first + second > len(start) * 0.3 or "\n" in (_decoded(start, name) or "") else None


def _decoded(start: bytes, encoding: str) -> str | None:
    """Return bytes as text, whose last character may be cut off; `None` if they aren't in this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        return None


def _narrow(start: bytes) -> str | None:
    """Return `utf-8` for bytes that are UTF-8 without a zero, as nearly no text in a wide encoding is."""
    return "utf-8" if 0 not in start and _decoded(start, "utf-8") is not None else None
