"""Join datasets that were made by the same model with the same settings; they stay as they are."""

import argparse

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.finished import manifest_bytes
from layerwise.cli.progress import progress_display

HELP = "one dataset of several"
EXAMPLES = """\
  layerwise merge 2024.lw 2025.lw --out all.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "datasets", nargs="+", type=flags.path, metavar="DATASET", help="their folders or URLs, in order"
    )
    parser.add_argument(
        "--out",
        required=True,
        type=flags.path,
        metavar="DIR",
        help="the folder of the new dataset, or its URL (s3://, gs://)",
    )
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    before = manifest_bytes(args.out)
    with progress_display(args) as progress:
        totals = api.merge.merge(args.datasets, args.out, progress=progress).manifest["totals"]
    if args.json:
        output.print_json({"out": args.out, "already_finished": before is not None, **totals})
    elif before is not None:
        output.print_lines(f"{args.out} is already finished: the same datasets; nothing to do.")
    else:
        size = output.size(totals["bytes"])
        output.print_lines(f"{args.out}: {totals['rows']:,} rows of {totals['texts']:,} texts ({size})")
    return 0
