"""Score a head on labelled texts, or on a dataset that the same model made.

The labels are read from the columns that the head was trained on. The scores come with 95% intervals, with precision,
recall and F1 of each label, and with the labels that are confused. Labels that the head has never seen are counted, as
errors. The rows of a dataset are scored without running the model.
"""

import argparse

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.evaluation_report import evaluation_lines
from layerwise.cli.progress import progress_display
from layerwise.options import (
    BatchOptions,
    HeadContextOptions,
    LoadOptions,
    ReadOptions,
    RunOptions,
    StoredModelOptions,
)

HELP = "score a head on labelled texts or on a dataset"
EXAMPLES = """\
  layerwise evaluate sentiment.head test.csv
  layerwise evaluate sentiment.head test.lw --json
  layerwise evaluate ner.head test.conll --words token
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("head", type=flags.path, metavar="HEAD", help="folder of a head")
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="texts with labels: files, globs, a folder (with --format docs, or of save_to_disk), or - for stdin; or the "
        "folder of a dataset",
    )
    flags.add(parser, StoredModelOptions)
    flags.add(parser, LoadOptions)
    flags.add(parser, BatchOptions)
    flags.add(parser, ReadOptions)
    flags.add(parser, HeadContextOptions)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        evaluation = api.evaluate.evaluate(
            args.head,
            args.source,
            model=args.model,
            **flags.values(args, LoadOptions),
            batch_tokens=args.batch_tokens,
            context=args.context,
            progress=progress,
            threads=args.threads,
            **flags.values(args, ReadOptions),
        )
    for task in evaluation.tasks.values():
        output.print_notes(task.notes)
    if args.json:
        output.print_json(evaluation.to_json())
    else:
        output.print_lines(*evaluation_lines(" ".join(args.source), evaluation))
    return 0
