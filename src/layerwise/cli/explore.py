"""Serve the page of `layerwise report` to a browser on this machine, for datasets that are too large for one file.

The map shows a sample of the rows; search and nearest neighbours use all rows. Ctrl-C stops the server.
"""

import argparse
from contextlib import suppress

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.cli.report import page_of, page_options
from layerwise.errors import RequestError
from layerwise.options import PageOptions
from layerwise.server.loopback import Loopback

HELP = "serve the page of a large dataset on this machine"
EXAMPLES = """\
  layerwise explore reviews.lw
  layerwise explore reviews.lw --probe probe --points 20000 --port 8123
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="folder of a dataset")
    page_options(parser, points=50_000)
    parser.add_argument(
        "--port",
        type=flags.count,
        default=0,
        metavar="N",
        help="port on 127.0.0.1; 0: a free one (default: 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.port > 65535:
        raise RequestError(
            f"--port {args.port} is out of range; give a port up to 65535, or 0 for a free one"
        )
    with progress_display(args) as progress:
        page, answer = api.explore.served(
            args.dataset, PageOptions(**page_of(args)), progress=progress, threads=args.threads
        )
    # Ctrl-C is the normal end, at any time.
    with Loopback(page, answer, args.port) as server, suppress(KeyboardInterrupt):
        output.print_lines(server.url)
        output.flush()
        output.print_note(
            "open this address in a browser on this machine; don't share it, because it gives access to the data; "
            "Ctrl-C stops the server"
        )
        server.serve()
    return 0
