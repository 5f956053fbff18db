"""Make a dataset of what several workers wrote, when every shard is there. On a finished one it does nothing."""

import argparse

from layerwise import api
from layerwise.cli import options
from layerwise.cli.progress import shown

HELP = "complete a dataset that several workers wrote"
EXAMPLES = """\
  layerwise extract big.jsonl --out big.lw --num-workers 2 --worker-index 0
  layerwise extract big.jsonl --out big.lw --num-workers 2 --worker-index 1
  layerwise finish big.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "dataset", type=options.path, metavar="DATASET", help="its folder, or its URL (s3://, gs://)"
    )
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    before = options.stamp(args.dataset)
    with shown(args) as progress:
        totals = options.totals(api.info.describe_dataset(api.finish.finish(args.dataset, progress=progress)))
    nothing = before is not None and before == options.stamp(args.dataset)
    if args.json:
        options.print_json({"dataset": args.dataset, "already_finished": nothing, **totals})
    elif nothing:
        options.say(f"{args.dataset} is already finished; nothing to do.")
    else:
        size = options.size(totals["bytes"])
        options.say(
            f"{args.dataset}: finished, {totals['rows']:,} rows of {totals['texts']:,} texts ({size})"
        )
    return 0
