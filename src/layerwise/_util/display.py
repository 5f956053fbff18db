"""How objects are shown: HTML in a notebook, a few short lines of text elsewhere.

Names, labels and texts of users are shown as text: HTML is escaped, and no control character reaches a terminal.
"""

import itertools
import math
import statistics
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from html import escape
from typing import Any

COLUMNS, LINES = 100, 5  # of a text display
_CELL = 200  # characters of a cell
_ROWS = 200  # rows of a table
DECIMALS = 3  # the most decimals of a measure's numbers
_HALF_UP = Context(prec=400, rounding=ROUND_HALF_UP)  # digits enough for all floats
_EMOJI_STYLE = "\ufe0f"  # shows the character before it as an emoji, in two columns


def text(lines: Iterable[str]) -> str:
    """Return at most five lines, each cut to 100 columns of a terminal; the last one is wrapped where lines are free."""
    shown = [printable(line) for line in lines if line]
    if len(shown) > LINES:
        shown = [*shown[: LINES - 1], f"… and {count_of(len(shown) - LINES + 1, 'line')} more"]
    free = LINES - len(shown)
    last = textwrap.wrap(shown[-1], COLUMNS)
    wrapped = [*last[:free], *([" ".join(last[free:])] if last[free:] else [])]
    return "\n".join(clipped(line, COLUMNS) for line in [*shown[:-1], *wrapped])


def html(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> str:
    """Return a title, a table and a note as HTML; long cells are cut, numbers have four significant digits."""
    all_rows = list(rows)
    head = "".join(f"<th>{_cell(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in all_rows[:_ROWS]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if header else ""
    more = f"… {count_of(len(all_rows) - _ROWS, 'row')} more." if len(all_rows) > _ROWS else ""
    notes = "".join(f"<p>{_cell(line, 2000)}</p>" for line in (more, note) if line)
    return f"<div><p><b>{_cell(title)}</b></p>{table}{notes}</div>"


def count_of(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun; the plural is that with an s unless it is given.

    >>> count_of(1, "row"), count_of(1000, "row"), count_of(2, "query", "queries")
    ('1 row', '1,000 rows', '2 queries')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def number(value: float | None) -> str:
    """Return a number with four significant digits; `–` for `None`.

    >>> number(0.123456), number(None)
    ('0.1235', '–')
    """
    return "–" if value is None else f"{value:.4g}"


def decimals(half_widths: Iterable[float | None] = (), step: float | None = None) -> int:
    """Return how many decimals of numbers are precise, at most three: below that, a digit is smaller than the error.

    The error is the median half width of their 95% intervals, or the step from one possible number to the next.

    >>> decimals(), decimals([0.02, 0.03]), decimals([4]), decimals(step=1 / 52)
    (3, 2, 0, 2)
    """
    halves = sorted(half for half in half_widths if half is not None and math.isfinite(half) and half > 0)
    error = max(halves[len(halves) // 2] if halves else 0.0, step or 0.0)
    return DECIMALS if not error else max(0, min(DECIMALS, math.ceil(-math.log10(error) - 1e-9)))


def half_up(value: float, places: int, *, commas: bool = False) -> str:
    """Return a finite number with so many decimals; halves are rounded away from zero, and 0 has no sign.

    The page does the same (`toFixed` and `minus` in words.js), but `format` rounds halves to the even digit.

    >>> half_up(0.125, 2), half_up(-2.5, 0), half_up(-0.0001, 3), half_up(1234.5, 0, commas=True)
    ('0.13', '−3', '0.000', '1,235')
    """
    digits = Decimal(value).quantize(Decimal(1).scaleb(-places), context=_HALF_UP)
    return f"{digits if digits else abs(digits):{',' if commas else ''}f}".replace("-", "−")


def rounded(value: float | None, most: int = DECIMALS) -> str:
    """Return a number with three significant digits, but at most `most` decimals; `–` for `None` and NaN.

    The page does the same (`num` in words.js).

    >>> rounded(0.12345), rounded(0.12345, 2), rounded(-0.0001), rounded(12.345), rounded(1234.5), rounded(math.nan)
    ('0.123', '0.12', '0.000', '12.3', '1,235', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(_significant(value, 3))
    if size >= 1e6:
        digits, exponent = f"{_significant(value, 2):.1e}".replace("-", "−").split("e")
        return f"{digits}e{int(exponent):+d}"
    places = min(most, 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else DECIMALS)
    return half_up(value, places, commas=True)


def bracketed(values: Sequence[float | None], usable: Sequence[bool] | None, most: int) -> list[str]:
    """Return numbers as `rounded` does, those that can't be used in brackets."""
    texts = [rounded(value, most) for value in values]
    if usable is None:
        return texts
    return [text if fit or text == "–" else f"({text})" for text, fit in zip(texts, usable, strict=True)]


def _significant(value: float, digits: int) -> Decimal:
    return Context(prec=digits, rounding=ROUND_HALF_UP).create_decimal(Decimal(value))


def interval(low: float | None, high: float | None) -> str:
    """Return the ends of an interval in brackets, with a blank before; nothing without ends.

    >>> interval(0.1, 0.2), interval(None, None)
    (' (0.1 to 0.2)', '')
    """
    return "" if low is None or high is None else f" ({number(low)} to {number(high)})"


def score_digits(intervals: Iterable[tuple[float | None, float | None]], rows: float | None = None) -> int:
    """Return the number of digits after the point that scores with these intervals support, 2 to 4.

    The last digit is the first one below the median of the half widths. Without any interval of some width, the half
    width is the largest that a share of `rows` can have, 1 / √rows.

    >>> score_digits([(0.70, 0.82), (0.71, 0.83)]), score_digits([(0.801, 0.812)]), score_digits([], 1e8)
    (2, 3, 4)
    """
    halves = [(high - low) / 2 for low, high in intervals if low is not None and high is not None]
    halves = [half for half in halves if half > 1e-9]
    half = statistics.median(halves) if halves else (rows or 100_000) ** -0.5
    return min(4, max(2, math.ceil(-math.log10(half) - 1e-9)))


def sentence(message: str) -> str:
    """Return a message as a sentence: with a capital letter and a full stop.

    >>> sentence("2 rows have no label")
    '2 rows have no label.'
    """
    return f"{message[:1].upper()}{message[1:]}."


def printable(line: str) -> str:
    """Return text in which the replacement character stands for all that isn't printable, and for surrogates."""
    return "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "\ufffd" for c in line)


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for each Chinese character, none for an accent.

    >>> width("naïve"), width("nai\u0308ve"), width("天气"), width("☀\ufe0f")
    (5, 5, 4, 2)
    """
    return len(text) if text.isascii() else sum(_widths(text))


def clipped(text: str, most: int) -> str:
    """Return a text that takes at most `most` columns of a terminal; where it is cut stands an ellipsis."""
    if width(text) <= most:
        return text
    ends = itertools.accumulate(_widths(text))
    return text[: sum(end < most for end in ends)] + "…"


def _widths(text: str) -> Iterator[int]:
    """Yield the columns that each character of a text adds, as East Asian Width (UAX #11) and emoji (UTS #51) say."""
    before = 0
    for character in text:
        if character == _EMOJI_STYLE:
            added = 1 if before == 1 else 0
        elif unicodedata.category(character) in ("Mn", "Me") or "\u1160" <= character <= "\u11ff":
            added = 0  # accents, and the vowels and final consonants of Hangul that is written in parts
        elif "\U0001f3fb" <= character <= "\U0001f3ff" and before == 2:
            added = 0  # a skin tone
        else:
            added = before = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        yield added


def _cell(value: Any, most: int = _CELL) -> str:
    shown = printable(number(value) if value is None or isinstance(value, float) else str(value))
    return escape(shown if len(shown) <= most else f"{shown[: most - 1]}…")
