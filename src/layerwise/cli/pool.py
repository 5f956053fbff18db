"""Derive a coarser dataset from a finer one without the model: token to word or text, or word to text."""

import argparse

from layerwise import api
from layerwise.cli import flags, options
from layerwise.cli.progress import shown
from layerwise.options import PoolOptions, RunOptions

HELP = "derive a coarser dataset without the model"
EXAMPLES = """\
  layerwise pool tokens.lw --level text --pool mean --out texts.lw
  layerwise pool tokens.lw --level word --pool first --out words.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "dataset", type=options.path, metavar="DATASET", help="the folder of a dataset of level token or word"
    )
    parser.add_argument(
        "--out", required=True, type=options.path, metavar="DIR", help="the folder of the new dataset"
    )
    flags.add(parser, PoolOptions)
    flags.add(parser, RunOptions)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    before = options.finished(args.out)
    with shown(args) as progress:
        pooled = api.pool.pool(
            args.dataset,
            args.out,
            **flags.values(args, PoolOptions),
            progress=progress,
            threads=args.threads,
        )
    size = pooled.manifest.totals.bytes
    if args.json:
        shape = {"level": pooled.level, "pool": pooled.pool, "rows": pooled.rows, "bytes": size}
        options.print_json({"out": args.out, "already_finished": before, **shape})
    elif before:
        options.say(f"{args.out} is already finished: the same settings and the same dataset; nothing to do.")
    else:
        options.say(
            f"{args.out}: {pooled.rows:,} rows of level {pooled.level}, pool {pooled.pool} ({options.size(size)})"
        )
    return 0
