"""Write a dataset, some of its layers, or a mix of them in other people's formats."""

import argparse

from layerwise import api
from layerwise.cli import options
from layerwise.cli.progress import shown

HELP = "other people's formats"
EXAMPLES = """\
  layerwise export reviews.lw --to parquet --out reviews.parquet
  layerwise export reviews.lw --to npy --layers 1: --out reviews-npy
  layerwise export reviews.lw --to parquet --mix 'mean(-4:)' --out mean.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=options.path, metavar="DATASET", help="the folder of a dataset")
    parser.add_argument("--to", default="parquet", metavar="{parquet,npy}", help="the format (parquet)")
    parser.add_argument(
        "--out", required=True, type=options.path, metavar="FILE", help="the file, or the folder of npy files"
    )
    parser.add_argument("--layers", default="all", help="all, emb, 8, -1, 1,6,12, 1:, -4: (all)")
    parser.add_argument("--mix", help="a mix instead of layers, such as 'mean(-4:)'")
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        path = api.export.export(
            args.dataset, args.out, to=args.to, layers=args.layers, mix=args.mix, progress=progress
        )
    if args.json:
        options.print_json({"out": str(path)})
    else:
        options.say(f"{path} is written")
    return 0
