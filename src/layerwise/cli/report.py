"""Write one HTML page that shows a dataset: a map of its rows at every layer, tokens, and results.

The page needs no network and opens from disk. To include results, give the folders that probe and analyze wrote.
"""

import argparse
from typing import Any

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import PageOptions, RunOptions
from layerwise.wording import phrase

HELP = "write one HTML page that shows a dataset"
EXAMPLES = """\
  layerwise report reviews.lw --out page.html
  layerwise report reviews.lw --probe probe --analysis analysis --out page.html
  layerwise report reviews.lw --texts 0,17,42 --attention --lang zh --out page.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="folder of a dataset")
    parser.add_argument(
        "--out", required=True, type=flags.path, metavar="FILE", help="HTML file to write; it must not exist"
    )
    page_options(parser)
    flags.add_json(parser)


def page_options(parser: argparse.ArgumentParser, points: int = 5000) -> None:
    """Add the options of the page, which `report` and `explore` share."""
    flags.add(parser, PageOptions, points=points)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)


def page_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the flags that `page_options` added, as parameters of the verbs."""
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
    output.print_lines(phrase(args.lang, "terminal.page", path=str(path), size=output.size(size)))
    return 0
