"""How objects are shown: HTML in a notebook, a few short lines of text elsewhere.

Names, labels and texts of users are shown as text: HTML is escaped, and no control character reaches a terminal.
"""

import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

COLUMNS, LINES = 100, 5  # of a text display
_CELL = 200  # characters of a cell
_ROWS = 200  # rows of a table


def text(lines: Iterable[str]) -> str:
    """Return at most five lines, each cut to 100 columns of a terminal; the last one is wrapped where lines are free."""
    shown = [printable(line) for line in lines if line]
    if len(shown) > LINES:
        shown = [*shown[: LINES - 1], f"… and {len(shown) - LINES + 1} lines more"]
    free = LINES - len(shown)
    last = textwrap.wrap(shown[-1], COLUMNS)
    wrapped = [*last[:free], *([" ".join(last[free:])] if last[free:] else [])]
    return "\n".join(map(_cut, [*shown[:-1], *wrapped]))


def html(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> str:
    """Return a title, a table and a note as HTML; long cells are cut, numbers have four significant digits."""
    all_rows = list(rows)
    head = "".join(f"<th>{_cell(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in all_rows[:_ROWS]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if header else ""
    more = f"… {len(all_rows) - _ROWS:,} rows more." if len(all_rows) > _ROWS else ""
    notes = "".join(f"<p>{_cell(line, 2000)}</p>" for line in (more, note) if line)
    return f"<div><p><b>{_cell(title)}</b></p>{table}{notes}</div>"


def number(value: float | None) -> str:
    """Return a number with four significant digits; `–` for `None`.

    >>> number(0.123456), number(None)
    ('0.1235', '–')
    """
    return "–" if value is None else f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """Return the ends of an interval in brackets, with a blank before; nothing without ends.

    >>> interval(0.1, 0.2), interval(None, None)
    (' (0.1 to 0.2)', '')
    """
    return "" if low is None or high is None else f" ({number(low)} to {number(high)})"


def printable(line: str) -> str:
    """Return text in which the replacement character stands for all that isn't printable, and for surrogates."""
    return "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "\ufffd" for c in line)


def _cell(value: Any, most: int = _CELL) -> str:
    shown = printable(number(value) if value is None or isinstance(value, float) else str(value))
    return escape(shown if len(shown) <= most else f"{shown[: most - 1]}…")


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes; Chinese characters, for example, take two each."""
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(line: str, columns: int) -> str:
    """Return a line that takes at most so many columns of a terminal; `…` stands for what was left out."""
    if columns_of(line) <= columns:
        return line
    count = total = 0
    while total + _columns_of(line[count]) < columns:
        total += _columns_of(line[count])
        count += 1
    return f"{line[:count]}…"


def _cut(line: str) -> str:
    return cut(line, COLUMNS)
