"""Join datasets that were made by the same model with the same settings; they stay as they are."""

import argparse

from layerwise import api
from layerwise.cli import options
from layerwise.cli.progress import shown

HELP = "one dataset of several"
EXAMPLES = """\
  layerwise merge 2024.lw 2025.lw --out all.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "datasets", nargs="+", type=options.path, metavar="DATASET", help="their folders or URLs, in order"
    )
    parser.add_argument(
        "--out",
        required=True,
        type=options.path,
        metavar="DIR",
        help="the folder of the new dataset, or its URL (s3://, gs://)",
    )
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    before = options.stamp(args.out)
    with shown(args) as progress:
        totals = options.totals(
            api.info.describe_dataset(api.merge.merge(args.datasets, args.out, progress=progress))
        )
    if args.json:
        options.print_json({"out": args.out, "already_finished": before is not None, **totals})
    elif before is not None:
        options.say(f"{args.out} is already finished: the same datasets; nothing to do.")
    else:
        size = options.size(totals["bytes"])
        options.say(f"{args.out}: {totals['rows']:,} rows of {totals['texts']:,} texts ({size})")
    return 0
