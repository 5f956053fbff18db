"""Options that several commands share, and how results are printed."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from layerwise._util import threads
from layerwise._util.paths import place
from layerwise.errors import SourceError

_TOKENIZER = "RAYON_NUM_THREADS"
_SAID: set[str] = set()


def quiet_option(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="show no progress on stderr")


@contextmanager
def threads_of(args: argparse.Namespace) -> Iterator[None]:
    """Check `--threads` before anything is done, and give as many to the tokenizer, which reads the environment.

    Raises:
        RequestError: less than one.
    """
    number = getattr(args, "threads", None)
    if number is None:
        yield
        return
    threads.choose(number)
    if _TOKENIZER in os.environ:
        yield
        return
    os.environ[_TOKENIZER] = str(number)
    try:
        yield
    finally:
        os.environ.pop(_TOKENIZER, None)


def path(argument: str) -> str:
    """Return an argument that is a path or a name; an empty one is a variable that the shell hasn't set."""
    if not argument:
        raise argparse.ArgumentTypeError("'' is empty; give a path or a name")
    return argument


def count(argument: str) -> int:
    """Return an argument that is a number of things, 0 or more."""
    if not (argument.isascii() and argument.isdecimal()):
        raise argparse.ArgumentTypeError(f"{argument!r} is no whole number of 0 or more")
    return int(argument)


def numbers(argument: str) -> list[int]:
    """Return an argument that is a list of whole numbers, `0,17,42`."""
    return [count(item.strip()) for item in argument.split(",")]


def json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for machines")


def say(*lines: str) -> None:
    """Print lines for people on stdout, with nothing in them that a terminal would act on."""
    for line in lines:
        print(one_line(line))


def put(line: str) -> None:
    """Print a line of data on stdout as it is; where a person looks at it, as `say` does, but for tabs."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    print("\t".join(map(one_line, line.split("\t"))) if is_terminal else line)


def flush() -> None:
    """Let whoever reads stdout have what was printed."""
    print(end="", flush=True)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, in ASCII: it is the same whatever the encoding of stdout."""
    print(json.dumps(value))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Return the lines of rows as aligned columns; the columns numbered in `right` are aligned to the right."""
    shown = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    lines = []
    for row in shown:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def size(number: float) -> str:
    """Return a number of bytes for people.

    >>> size(1_500_000)
    '1.5 MB'
    """
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def is_new(text: str) -> bool:
    """Tell whether a command says this for the first time, and keep that in mind."""
    new = text not in _SAID
    _SAID.add(text)
    return new


def forget_notes() -> None:
    """Begin anew, with another command."""
    _SAID.clear()


def note(text: str) -> None:
    """Print a message for people on stderr, in one line of at most a thousand characters, and once."""
    if is_new(text):
        tell(_cut(one_line(text), 1000))


def tell(text: str) -> None:
    """Print what is wrong, or a message, on stderr, in one line."""
    if sys.stderr is not None:  # closed; print would take stdout instead
        print(f"layerwise: {one_line(text)}", file=sys.stderr)


def told(result: dict[str, Any], *, as_json: bool) -> bool:
    """Show the notes of a result, and print it when JSON is asked for; tell whether that is all."""
    for text in result["notes"]:
        note(text)
    if as_json:
        print_json(result)
    return as_json


def finished(out: str) -> bool:
    """Tell whether a finished dataset stands at `out`."""
    return (place(out) / "manifest.json").is_file()


def stamp(out: str) -> bytes | None:
    """Return what tells one finished dataset at `out` from another; `None` where there is none."""
    path = place(out) / "manifest.json"
    return path.read_bytes() if path.is_file() else None


def totals(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the totals of a dataset; a note on stderr says why its seconds aren't known, if they aren't."""
    if facts["run_problem"] is not None:
        note(f"how long it took isn't known: {facts['run_problem']}")
    totals: dict[str, Any] = facts["totals"]
    return totals


def read_text(argument: str) -> str:
    """Return the argument, or all of stdin for `-`, without its last line break.

    Raises:
        SourceError: stdin is closed, or isn't UTF-8.
    """
    if argument != "-":
        return argument
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise SourceError("stdin isn't there; give the text as an argument")
    raw: bytes = stream.read()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = f"byte {error.start + 1} (0x{error.object[error.start]:02x})"
        raise SourceError(
            f"stdin: {at} isn't utf-8; convert the text first, for example with iconv"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def one_line(text: str) -> str:
    """Return text in one line, in which characters that aren't seen, and that a terminal may act on, are escapes.

    >>> one_line("a name\\nof two lines, \\x1b[31min red")
    'a name of two lines, \\\\x1b[31min red'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def visible(text: str, most: int = 40) -> str:
    """Return text as a cell of a table: in one line, without control characters, cut to `most` characters."""
    return _cut("".join(c if c.isprintable() else "·" for c in text), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
