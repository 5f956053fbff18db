"""What commands print: results on stdout, messages on stderr. No other file of the package prints."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from layerwise._util import display
from layerwise._util.once import ToldMessages

NOTES = ToldMessages()


def print_lines(*lines: str) -> None:
    """Print lines for people on stdout; control characters are escaped."""
    for line in lines:
        print(one_line(line))


def print_data(line: str) -> None:
    """Print a line of data on stdout, unchanged; on a terminal control characters other than tabs are escaped."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    print("\t".join(map(one_line, line.split("\t"))) if is_terminal else line)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, in ASCII: it is the same for every encoding of stdout."""
    print(json.dumps(value))


def flush() -> None:
    """Send what was printed to the reader of stdout."""
    print(end="", flush=True)


def print_message(text: str) -> None:
    """Print an error or another message on stderr, in one line."""
    if sys.stderr is not None:  # None when it is closed; print would then write to stdout
        print(f"layerwise: {one_line(text)}", file=sys.stderr)


def print_note(text: str) -> None:
    """Print a message on stderr, in one line of at most 1,000 characters; not a second time in the same command."""
    if NOTES.is_new(text):
        print_message(f"note: {_cut(one_line(text), 1000)}")


def print_notes(texts: Iterable[str]) -> None:
    """Print several messages as `print_note` does."""
    for text in texts:
        print_note(text)


def print_translated(texts: Iterable[str], english: Iterable[str]) -> None:
    """Print messages in another language as `print_notes` does, but none that was printed in English before."""
    both = zip(texts, english, strict=True)
    print_notes(text for text, original in both if text == original or NOTES.is_new(original))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Return the lines of rows as aligned columns; the columns numbered in `right` are aligned to the right.

    Cells are measured in columns of a terminal, of which wide characters take two.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(display.width(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        aligned = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - display.width(cell))
            aligned.append(blanks + cell if column in right else cell + blanks)
        lines.append("  ".join(aligned).rstrip())
    return lines


def size(number: float) -> str:
    """Return a number of bytes with a unit.

    >>> size(1_500_000)
    '1.5 MB'
    """
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def one_line(text: str) -> str:
    """Return text in one line, with escapes for characters that are invisible or control a terminal.

    >>> one_line("a name\\nof two lines, \\x1b[31min red")
    'a name of two lines, \\\\x1b[31min red'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def visible(text: str, most: int = 40) -> str:
    """Return text as a cell of a table: in one line, without control characters, cut to `most` columns."""
    return display.clipped("".join(c if c.isprintable() else "·" for c in text), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
