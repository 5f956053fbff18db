"""Measure on this machine how fast every layer is had: the plain loop, padded batches, and layerwise."""

import argparse

from layerwise import api
from layerwise.cli import flags, options
from layerwise.cli.progress import shown
from layerwise.options import BenchOptions, RunOptions

HELP = "speed on this machine against plain transformers"
EXAMPLES = """\
  layerwise bench
  layerwise bench --shape bert-base --texts 256 --rounds 5
  layerwise bench --device cuda
  layerwise bench --model bert-base-uncased --source my.txt --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--source", nargs="+", metavar="SOURCE", help="a corpus (Python's documentation strings)"
    )
    flags.add(parser, BenchOptions)
    flags.add(parser, RunOptions)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        result = api.bench.bench(
            source=args.source,
            **flags.values(args, BenchOptions),
            progress=progress,
            threads=args.threads,
        )
    if args.json:
        options.print_json(result.to_json())
        return 0
    options.say(
        f"{result.model}: {result.texts} texts, {result.tokens:,} tokens, median of {result.rounds} interleaved rounds"
    )
    rows = [("way", "tokens/s", "against loop", "of ceiling")]
    rows += [
        (way, f"{s.tokens_per_s:,.0f}", f"{s.against_loop:.2f}", f"{s.of_ceiling:.0%}")
        for way, s in result.ways.items()
    ]
    options.say(*options.table(rows, right=(1, 2, 3)))
    ceilings = ", ".join(f"{name} {value:,.0f} GFLOP/s" for name, value in result.ceilings.items())
    options.say(
        f"ceilings of a matrix product: {ceilings}; the model needs {result.flop_per_token / 1e6:,.0f} MFLOP per token"
    )
    for name, why in result.left_out.items():
        options.note(f"{name} left out: {why}")
    return 0
