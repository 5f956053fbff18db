"""Write a dataset, some layers, one mix of layers, or the trained mix of a head as Parquet, npy or small vectors for search.

The page "Exporting vectors" of the documentation is on small vectors: what their recall means, and how queries are made small.
"""

import argparse

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import ExportOptions

HELP = "write a dataset as Parquet, npy or small vectors for search"
EXAMPLES = """\
  layerwise export reviews.lw --to parquet --out reviews.parquet
  layerwise export reviews.lw --to npy --layers 1: --out reviews-npy
  layerwise export reviews.lw --to parquet --mix 'mean(-4:)' --out mean.parquet
  layerwise export reviews.lw --to npy --mix sentiment.head --out sentiment-npy
  layerwise export reviews.lw --to binary --mix 6 --out reviews-bits
  layerwise export reviews.lw --to faiss --mix 'mean(-4:)' --out reviews-index
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="folder of a dataset")
    parser.add_argument(
        "--out",
        required=True,
        type=flags.path,
        metavar="FILE",
        help="file to write with --to parquet; a folder with all others",
    )
    flags.add(parser, ExportOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        exported = api.export.export(
            args.dataset, args.out, **flags.values(args, ExportOptions), progress=progress
        )
    if args.json:
        output.print_json(exported.to_json())
    else:
        output.print_lines(f"wrote {exported.path}", *(f"  {line}" for line in exported.small_lines()))
        if exported.transform is not None:
            output.print_lines(
                f"  for queries: {exported.transform} (lw.load_transform, layerwise serve --transform)"
            )
    return 0
