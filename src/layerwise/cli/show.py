"""Show every layer of one text at once: its name, its norm, its first numbers."""

import argparse

from layerwise import api
from layerwise.cli import options

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
    options.model_options(parser)
    parser.add_argument("--layers", default="all", help="all, emb, 8, -1, 1,6,12, 1:, -4: (all)")
    options.level_options(parser, ("token", "word", "text"), "text")
    parser.add_argument(
        "--numbers",
        type=options.count,
        default=4,
        metavar="N",
        help="how many numbers of each vector (4)",
    )
    options.threads_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    shown = api.show.show(
        options.read_text(args.text),
        model=args.model,
        revision=args.revision,
        device=args.device,
        layers=args.layers,
        level=args.level,
        pool=args.pool,
        special_tokens=not args.no_special_tokens,
        allow_pickle=args.allow_pickle,
        trust_remote_code=args.trust_remote_code,
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
