"""Write a dataset, some of its layers, or a mix of them in other people's formats."""

import argparse

from layerwise import api
from layerwise.cli import flags, options
from layerwise.cli.progress import shown
from layerwise.options import ExportOptions

HELP = "other people's formats"
EXAMPLES = """\
  layerwise export reviews.lw --to parquet --out reviews.parquet
  layerwise export reviews.lw --to npy --layers 1: --out reviews-npy
  layerwise export reviews.lw --to parquet --mix 'mean(-4:)' --out mean.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=options.path, metavar="DATASET", help="the folder of a dataset")
    parser.add_argument(
        "--out", required=True, type=options.path, metavar="FILE", help="the file, or the folder of npy files"
    )
    flags.add(parser, ExportOptions)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        path = api.export.export(
            args.dataset, args.out, **flags.values(args, ExportOptions), progress=progress
        )
    if args.json:
        options.print_json({"out": str(path)})
    else:
        options.say(f"{path} is written")
    return 0
