"""Options that several commands share, and how results are printed."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from layerwise import names


def model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which model runs and where."""
    parser.add_argument("--model", default="minilm", help="minilm (default), a folder, or a Hugging Face id")
    parser.add_argument("--revision", help="branch, tag or commit on the hub")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the fastest there is)")
    parser.add_argument(
        "--allow-pickle", action="store_true", help="load weights from a pickle, which can run code"
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that comes with the model")


def level_options(parser: argparse.ArgumentParser, levels: Sequence[str], default: str) -> None:
    """Add the options that say what a row stands for."""
    parser.add_argument(
        "--level", default=default, metavar=_braces(levels), help=f"what a row stands for ({default})"
    )
    parser.add_argument(
        "--pool", metavar=_braces(names.POOLS), help="how pieces become a row (the model's own, or mean)"
    )
    parser.add_argument(
        "--no-special-tokens",
        action="store_true",
        help="leave special pieces out of mean, max and sum of a text",
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for machines")


def _braces(choices: Iterable[str]) -> str:
    return "{" + ",".join(choices) + "}"


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return rows as aligned columns; the columns numbered in `right` are aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


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


def note(text: str) -> None:
    """Print a message for people on stderr."""
    print(f"layerwise: {text}", file=sys.stderr)


def read_text(argument: str) -> str:
    """Return the argument, or all of stdin for `-`, without its last line break."""
    return sys.stdin.read().removesuffix("\n") if argument == "-" else argument


def visible(text: str, most: int = 40) -> str:
    """Return text fit for a terminal: in one line, without control characters, cut to `most` characters."""
    shown = "".join(c if c.isprintable() else "·" for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
