"""Pool the rows of a dataset into coarser ones, without the model: tokens to words or texts, or words to texts."""

import argparse

from layerwise import api
from layerwise._util.display import count_of
from layerwise.cli import flags, output
from layerwise.cli.finished import manifest_bytes
from layerwise.cli.progress import progress_display
from layerwise.options import PoolOptions, RunOptions

HELP = "pool a dataset to words or texts, without the model"
EXAMPLES = """\
  layerwise pool tokens.lw --level text --pool mean --out texts.lw
  layerwise pool tokens.lw --level word --pool first --out words.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "dataset", type=flags.path, metavar="DATASET", help="folder of a dataset of level token or word"
    )
    parser.add_argument(
        "--out", required=True, type=flags.path, metavar="DIR", help="folder of the new dataset"
    )
    flags.add(parser, PoolOptions)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    already_finished = manifest_bytes(args.out) is not None
    with progress_display(args) as progress:
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
        output.print_json({"out": args.out, "already_finished": already_finished, **shape})
    elif already_finished:
        output.print_lines(
            f"{args.out} is already finished: the same settings and the same dataset; nothing to do."
        )
    else:
        output.print_lines(
            f"{args.out}: {count_of(pooled.rows, 'row')} of level {pooled.level}, pool {pooled.pool} ({output.size(size)})"
        )
    return 0
