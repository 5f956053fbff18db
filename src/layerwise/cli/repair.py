"""Write shards again that `layerwise verify` finds changed, truncated or missing, from the source of the dataset."""

import argparse

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import LoadOptions, RunOptions, StoredModelOptions

HELP = "write damaged shards of a dataset again"
EXAMPLES = """\
  layerwise repair reviews.lw
  layerwise repair reviews.lw --source /elsewhere/reviews.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "dataset", type=flags.path, metavar="DATASET", help="folder of the dataset, or its URL (s3://, gs://)"
    )
    parser.add_argument(
        "--source", nargs="+", metavar="SOURCE", help="where the corpus is now (default: where it was)"
    )
    flags.add(parser, StoredModelOptions)
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="device to compute on: cpu, cuda, cuda:1 or mps (default: that of the dataset)",
    )
    flags.add(parser, LoadOptions, without=("revision", "device"))
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        repaired = api.repair.repair(
            args.dataset,
            source=args.source,
            model=args.model,
            **flags.values(args, LoadOptions, without=("revision",)),
            progress=progress,
            threads=args.threads,
        )
    for name in repaired.foreign:
        output.print_note(
            f"{name} is not part of the dataset and was not changed; remove it if nobody needs it"
        )
    if args.json:
        output.print_json({"dataset": args.dataset, **repaired.to_json()})
    elif not repaired.shards:
        output.print_lines(f"{args.dataset}: every shard is unchanged; nothing to do.")
    else:
        output.print_lines(
            f"{args.dataset}: written again: {', '.join(f'shard {n}' for n in repaired.shards)}"
        )
        if repaired.changed:
            output.print_lines(
                f"  with other bytes than before: {', '.join(f'shard {n}' for n in repaired.changed)}; another machine or other "
                "versions cause this; the manifest records it"
            )
    return 0
