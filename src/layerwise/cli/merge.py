"""Write one dataset with the rows of several, which stay unchanged. They must have the same model and settings."""

import argparse

from layerwise import api
from layerwise._util.display import count_of
from layerwise.cli import flags, output
from layerwise.cli.finished import dataset_facts, manifest_bytes
from layerwise.cli.progress import progress_display

HELP = "merge several datasets into one"
EXAMPLES = """\
  layerwise merge 2024.lw 2025.lw --out all.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "datasets",
        nargs="+",
        type=flags.path,
        metavar="DATASET",
        help="folders or URLs of the datasets, in the order of their rows",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=flags.path,
        metavar="DIR",
        help="folder of the new dataset, or its URL (s3://, gs://)",
    )
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    already_finished = manifest_bytes(args.out) is not None
    with progress_display(args) as progress:
        totals = dataset_facts(api.merge.merge(args.datasets, args.out, progress=progress))["totals"]
    if args.json:
        output.print_json({"out": args.out, "already_finished": already_finished, **totals})
    elif already_finished:
        output.print_lines(f"{args.out} is already finished: the same datasets; nothing to do.")
    else:
        size = output.size(totals["bytes"])
        output.print_lines(
            f"{args.out}: {count_of(totals['rows'], 'row')} of {count_of(totals['texts'], 'text')} ({size})"
        )
    return 0
