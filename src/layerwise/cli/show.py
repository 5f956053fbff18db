"""Print every layer of one text: its name, the norm of its vector, and the first numbers."""

import argparse
import sys

from layerwise import api
from layerwise._util.display import count_of
from layerwise.cli import flags, output
from layerwise.errors import SourceError
from layerwise.options import RunOptions, ShowOptions
from layerwise.widths import shown_width

HELP = "print every layer of one text"
EXAMPLES = """\
  layerwise show "Hello, world!"
  layerwise show "The bank of the river" --level token --layers emb,6
  layerwise show MKWVTF --model models/esm2 --level word --word-split chars
  echo "from a pipe" | layerwise show - --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "text", metavar="TEXT", help="text, or - for stdin; write -- before a text that begins with -"
    )
    flags.add(parser, ShowOptions)
    parser.add_argument(
        "--numbers",
        type=flags.count,
        default=4,
        metavar="N",
        help="how many numbers of each vector are printed (default: 4)",
    )
    flags.add(parser, RunOptions)
    flags.add_json(parser)


def _text(argument: str) -> str:
    """Return the argument; for `-` all of stdin, without its last line break.

    Raises:
        SourceError: stdin is closed, or isn't UTF-8.
    """
    if argument != "-":
        return argument
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise SourceError("stdin is closed; give the text as an argument")
    raw: bytes = stream.read()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        position = f"byte {error.start + 1} (0x{error.object[error.start]:02x})"
        raise SourceError(
            f"stdin: {position} isn't utf-8; convert the text first, for example with iconv"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    shown = api.show.show(
        _text(args.text),
        **flags.values(args, ShowOptions),
        threads=args.threads,
    )
    if args.json:
        output.print_json(shown.to_json())
        return 0
    widths = {row.layer: len(row.vector) for row in shown.rows} or shown.width
    output.print_lines(
        f"{shown.model}: {count_of(shown.layers, 'layer')} of width {shown_width(widths)}, level {args.level}, "
        f"{count_of(shown.tokens, 'token')}" + f", {shown.unknown} of them unknown" * bool(shown.unknown)
    )
    rows = [("layer", "token", "norm", "first numbers")]
    for row in shown.rows:
        numbers = [f"{value:+.3f}" for value in row.vector[: args.numbers]]
        more = ["…"] if len(numbers) < len(row.vector) else []
        # At text level the line above says how many tokens are unknown.
        name = output.visible(row.text) + " (unknown)" * (row.unknown > 0 and args.level != "text")
        rows.append((row.layer, name, f"{row.norm:.3f}", " ".join(numbers + more)))
    if args.level == "text":
        rows = [(layer, norm, numbers) for layer, _, norm, numbers in rows]  # type: ignore[misc]
    output.print_lines(*output.table(rows, right=(len(rows[0]) - 2,)))
    return 0
