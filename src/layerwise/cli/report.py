"""Write one HTML page that shows a dataset: a map of its rows at every layer, its probe, its analysis, its tokens.

The page needs no network and opens from disk. Give it the folders that probe and analyze wrote.
"""

import argparse
from typing import Any

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import PageOptions, RunOptions

HELP = "one self-contained page that shows it all"
EXAMPLES = """\
  layerwise report reviews.lw --out page.html
  layerwise report reviews.lw --probe probe --analysis analysis --out page.html
  layerwise report reviews.lw --texts 0,17,42 --attention --lang zh --out page.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="the folder of a dataset")
    parser.add_argument("--out", required=True, type=flags.path, metavar="FILE", help="the page")
    page_options(parser)
    flags.add_json(parser)


def page_options(parser: argparse.ArgumentParser, points: int = 5000) -> None:
    """Add the options that say what is on the page."""
    flags.add(parser, PageOptions, points=points)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)


def page_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `page_options` were given, as the verbs take it."""
    return flags.values(args, PageOptions)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        path = api.report.report(
            args.dataset, args.out, **page_of(args), progress=progress, threads=args.threads
        )
    size = path.stat().st_size
    if args.json:
        output.print_json({"path": str(path), "bytes": size})
        return 0
    output.print_lines(f"{path}: {output.size(size)}; open it in a browser")
    return 0
