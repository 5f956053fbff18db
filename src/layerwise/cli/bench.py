"""Measure the speed of encoding all layers on this machine: layerwise, against a plain loop and padded batches."""

import argparse

from layerwise import api
from layerwise._util.display import count_of
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import BenchOptions, RunOptions

HELP = "measure the speed on this machine against plain transformers"
EXAMPLES = """\
  layerwise bench
  layerwise bench --shape bert-base --texts 256 --rounds 5
  layerwise bench --device cuda
  layerwise bench --model bert-base-uncased --source my.txt --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--source",
        nargs="+",
        metavar="SOURCE",
        help="corpus to encode (default: Python's documentation strings)",
    )
    flags.add(parser, BenchOptions)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        result = api.bench.bench(
            source=args.source,
            **flags.values(args, BenchOptions),
            progress=progress,
            threads=args.threads,
        )
    if args.json:
        output.print_json(result.to_json())
        return 0
    output.print_lines(
        f"{result.model}: {count_of(result.texts, 'text')}, {count_of(result.tokens, 'token')}, median of "
        f"{count_of(result.rounds, 'round')}"
    )
    rows = [("way", "tokens/s", "against loop", "of ceiling")]
    rows += [
        (name, f"{speed.tokens_per_s:,.0f}", f"{speed.against_loop:.2f}", f"{speed.of_ceiling:.0%}")
        for name, speed in result.ways.items()
    ]
    output.print_lines(*output.table(rows, right=(1, 2, 3)))
    ceilings = ", ".join(f"{name} {value:,.0f} GFLOP/s" for name, value in result.ceilings.items())
    output.print_lines(
        f"ceilings (fastest matrix product): {ceilings}; the model needs {result.flop_per_token / 1e6:,.0f} MFLOP per token"
    )
    for name, why in result.left_out.items():
        output.print_note(f"{name} was not measured: {why}")
    return 0
