"""Serve the page of a dataset to the browser of this machine, with the data behind it: for sets too large for a file.

The map shows a sample of the rows; neighbours and search are of all of them. Ctrl-C ends it.
"""

import argparse
from contextlib import suppress

from layerwise import api
from layerwise.cli import options
from layerwise.cli.progress import shown
from layerwise.cli.report import page_of, page_options
from layerwise.errors import RequestError
from layerwise.options import PageOptions
from layerwise.server.loopback import Loopback

HELP = "the page of a large set, with the data behind it"
EXAMPLES = """\
  layerwise explore reviews.lw
  layerwise explore reviews.lw --probe probe --points 20000 --port 8123
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=options.path, metavar="DATASET", help="the folder of a dataset")
    page_options(parser, points=50_000)
    parser.add_argument(
        "--port", type=options.count, default=0, metavar="N", help="of 127.0.0.1 (a free one)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.port > 65535:
        raise RequestError(
            f"--port {args.port} is out of range; take another up to 65535, or 0 for a free one"
        )
    with shown(args) as progress:
        page, answer = api.explore.served(
            args.dataset, PageOptions(**page_of(args)), progress=progress, threads=args.threads
        )
    # Ctrl-C is the way to end it, however early it comes.
    with Loopback(page, answer, args.port) as server, suppress(KeyboardInterrupt):
        options.say(server.url)
        options.flush()
        options.note(
            "open it in a browser of this machine, and tell nobody: who knows the address sees the data; Ctrl-C ends it"
        )
        server.serve()
    return 0
