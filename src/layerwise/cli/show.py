"""Show every layer of one text at once: its name, its norm, its first numbers."""

import argparse

from layerwise import api
from layerwise.cli import flags, options
from layerwise.options import RunOptions, ShowOptions

HELP = "every layer of one text, at once"
EXAMPLES = """\
  layerwise show "Hello, world!"
  layerwise show "The bank of the river" --level token --layers emb,6
  echo "from a pipe" | layerwise show - --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "text", metavar="TEXT", help="the text, or - for stdin; put -- before one that begins with -"
    )
    flags.add(parser, ShowOptions)
    parser.add_argument(
        "--numbers",
        type=options.count,
        default=4,
        metavar="N",
        help="how many numbers of each vector (4)",
    )
    flags.add(parser, RunOptions)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    shown = api.show.show(
        options.read_text(args.text),
        **flags.values(args, ShowOptions),
        threads=args.threads,
    )
    if args.json:
        options.print_json(shown.to_json())
        return 0
    options.say(
        f"{shown.model}: {shown.layers} layers of width {shown.width}, level {args.level}, {shown.tokens} tokens"
    )
    rows = [("layer", "token", "norm", "first numbers")]
    for row in shown.rows:
        numbers = [f"{value:+.3f}" for value in row.vector[: args.numbers]]
        more = ["…"] if len(numbers) < shown.width else []
        rows.append((row.layer, options.visible(row.text), f"{row.norm:.3f}", " ".join(numbers + more)))
    if args.level == "text":
        rows = [(layer, norm, numbers) for layer, _, norm, numbers in rows]  # type: ignore[misc]
    options.say(*options.table(rows, right=(len(rows[0]) - 2,)))
    return 0
