"""Make the shards again that `verify` finds changed, cut or missing, from the source of the dataset."""

import argparse

from layerwise import api
from layerwise.cli import flags, options
from layerwise.cli.progress import shown
from layerwise.options import LoadOptions, RunOptions

HELP = "make damaged shards again"
EXAMPLES = """\
  layerwise repair reviews.lw
  layerwise repair reviews.lw --source /elsewhere/reviews.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "dataset", type=options.path, metavar="DATASET", help="its folder, or its URL (s3://, gs://)"
    )
    parser.add_argument(
        "--source", nargs="+", metavar="SOURCE", help="where its corpus is now, if the files have moved"
    )
    parser.add_argument("--model", type=options.path, help="where the model is now, if its name has changed")
    flags.add(parser, LoadOptions, without=("revision",))
    flags.add(parser, RunOptions)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        repaired = api.repair.repair(
            args.dataset,
            source=args.source,
            model=args.model,
            **flags.values(args, LoadOptions, without=("revision",)),
            progress=progress,
            threads=args.threads,
        )
    for name in repaired.foreign:
        options.note(f"{name} is no part of the dataset and was left alone; remove it if nobody needs it")
    if args.json:
        options.print_json({"dataset": args.dataset, **repaired.to_json()})
    elif not repaired.shards:
        options.say(f"{args.dataset}: every shard is as it was written; nothing to do.")
    else:
        options.say(f"{args.dataset}: made again: {', '.join(f'shard {n}' for n in repaired.shards)}")
        if repaired.changed:
            options.say(
                f"  of other bytes than before ({', '.join(map(str, repaired.changed))}), as another machine or other "
                "versions make them; the manifest says so now"
            )
    return 0
