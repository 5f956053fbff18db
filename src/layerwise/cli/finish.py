"""Complete a dataset that several workers wrote: check that every shard exists, and write the manifest.

On a finished dataset it does nothing.
"""

import argparse

from layerwise import api
from layerwise._util.display import count_of
from layerwise.cli import flags, output
from layerwise.cli.finished import dataset_facts, manifest_bytes
from layerwise.cli.progress import progress_display

HELP = "complete a dataset that several workers wrote"
EXAMPLES = """\
  layerwise extract big.jsonl --out big.lw --num-workers 2 --worker-index 0
  layerwise extract big.jsonl --out big.lw --num-workers 2 --worker-index 1
  layerwise finish big.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "dataset", type=flags.path, metavar="DATASET", help="folder of the dataset, or its URL (s3://, gs://)"
    )
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    manifest_before = manifest_bytes(args.dataset)
    with progress_display(args) as progress:
        totals = dataset_facts(api.finish.finish(args.dataset, progress=progress))["totals"]
    already_finished = manifest_before is not None and manifest_before == manifest_bytes(args.dataset)
    if args.json:
        output.print_json({"dataset": args.dataset, "already_finished": already_finished, **totals})
    elif already_finished:
        output.print_lines(f"{args.dataset} is already finished; nothing to do.")
    else:
        size = output.size(totals["bytes"])
        output.print_lines(
            f"{args.dataset}: finished, {count_of(totals['rows'], 'row')} of {count_of(totals['texts'], 'text')} ({size})"
        )
    return 0
