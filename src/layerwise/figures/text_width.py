"""Text as figures show it: escapes, width in columns, lines."""

from __future__ import annotations

import re
import unicodedata

from layerwise.figures.display_names import coded

_WIDE = 1.75  # of an ideograph, in letters
_JOINERS = "\u200c\u200d"
_JOINED_FROM = 0x590  # the first script in which joiners change the shape of letters
_IDEOGRAPHS = r"\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CLOSING = "，。、；：！？）】》」』”’"  # no line begins with these
# A line may break at blanks, and on both sides of ideographs and kana.
_PIECE = re.compile(rf"\s+|[{_IDEOGRAPHS}][{_CLOSING}]*|[^\s{_IDEOGRAPHS}]+")


def drawable(text: str, most: int | None = None) -> str:
    """Return text with control characters, and those that change the direction of text, as escapes.

    Text wider than `most` columns, or than twice as many with escapes, is cut and ends in `…`.
    """
    if most is not None and columns(text) > most:
        text = _cut(text, most - 1) + "…"
    characters = [c if c.isprintable() or _joins(text, at) else coded(c) for at, c in enumerate(text)]
    while most is not None and sum(map(columns, characters)) > 2 * most:
        characters = [*characters[:-2], "…"]
    return "".join(characters)


def columns(text: str) -> float:
    """Return the approximate width of a line of text, in letters: an ideograph counts 1.75, a combining mark 0."""
    return sum(map(_width, text))


def ignorable(character: str) -> bool:
    """Return whether a character only changes how others are drawn: joiners and variation selectors."""
    return character in _JOINERS or "\ufe00" <= character <= "\ufe0f"


def wrapped(text: str, width: float, most: int) -> str:
    """Return text in at most `most` lines of about `width` columns; the last ends in `…` if text is cut."""
    lines = [""]
    for piece in _PIECE.findall(text):
        while columns(lines[-1] + piece.rstrip()) > width:
            if lines[-1].strip():
                lines[-1] = lines[-1].rstrip()
                lines.append("")
                piece = piece.lstrip()
            else:
                head = _cut(piece, width) or piece[0]
                lines[-1], piece = head, piece[len(head) :]
                lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    lines = [line.rstrip() for line in lines if line.strip()]
    if len(lines) > most:
        lines = [*lines[: most - 1], _shortened(lines[most - 1], width)]
    return "\n".join(lines)


def _shortened(line: str, width: float) -> str:
    """Return a line that ends in `…`, cut at a blank if it has to be cut."""
    if columns(line) + 1 <= width:
        return f"{line}…"
    head = _cut(line, width - 1)
    return f"{head.rsplit(maxsplit=1)[0] if ' ' in head.strip() else head.rstrip()}…"


def _width(character: str) -> float:
    if ignorable(character) or unicodedata.combining(character):
        return 0.0
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else 1.0


def _cut(text: str, most: float) -> str:
    """Return as much of the beginning of a text as `most` columns hold."""
    used = 0.0
    for at, character in enumerate(text):
        used += _width(character)
        if used > most:
            return text[:at]
    return text


def _joins(text: str, at: int) -> bool:
    """Return whether a character is a joiner that follows a letter on which it has an effect."""
    return text[at] in _JOINERS and at > 0 and ord(text[at - 1]) >= _JOINED_FROM
