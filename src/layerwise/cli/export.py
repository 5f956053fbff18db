"""Write a dataset, some of its layers, one mix of layers, or the trained mix of a head as Parquet or npy."""

import argparse

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import ExportOptions

HELP = "write a dataset as Parquet or npy"
EXAMPLES = """\
  layerwise export reviews.lw --to parquet --out reviews.parquet
  layerwise export reviews.lw --to npy --layers 1: --out reviews-npy
  layerwise export reviews.lw --to parquet --mix 'mean(-4:)' --out mean.parquet
  layerwise export reviews.lw --to npy --mix sentiment.head --out sentiment-npy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="folder of a dataset")
    parser.add_argument(
        "--out", required=True, type=flags.path, metavar="FILE", help="file to write; a folder with --to npy"
    )
    flags.add(parser, ExportOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        path = api.export.export(
            args.dataset, args.out, **flags.values(args, ExportOptions), progress=progress
        )
    if args.json:
        output.print_json({"out": str(path)})
    else:
        output.print_lines(f"wrote {path}")
    return 0
