"""Apply a trained head to new texts: print labels with probabilities, numbers, or tagged spans.

Texts are encoded only up to the deepest layer of the heads' mixes. Results are in input order; those of a line from stdin
are printed before the next line is waited for.
"""

import argparse
import sys

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import PredictOptions, RunOptions

HELP = "apply a head to new texts"
EXAMPLES = """\
  layerwise predict sentiment.head new.csv
  layerwise predict sentiment.head new.csv --to csv --id key
  layerwise predict ner.head test.conll --words token --to conll
  layerwise predict sentiment.head new.csv --head ner.head topic.head --keep key date
  echo "A charming and often affecting journey." | layerwise predict sentiment.head -
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("head", type=flags.path, metavar="HEAD", help="folder of a head")
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="files, globs, a folder (with --format docs, or of save_to_disk), or - for stdin",
    )
    parser.add_argument(
        "--to",
        default="jsonl",
        metavar="{jsonl,csv,conll}",
        help="format of the results on stdout (default: jsonl)",
    )
    flags.add(parser, PredictOptions)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    # On a terminal the results themselves show the progress, and a progress line would appear between them.
    with progress_display(args, quiet=sys.stdout is not None and sys.stdout.isatty()) as progress:
        lines, corpus = api.predict.predict_lines(
            args.head,
            args.source,
            PredictOptions(**flags.values(args, PredictOptions)),
            to=args.to,
            progress=progress,
            threads=args.threads,
        )
        for line in lines:
            output.print_data(line)
            output.flush()  # whoever wrote a line to stdin may wait for its answer
    output.print_notes(corpus.reading_notices)
    for record in corpus.skipped:
        output.print_note(f"skipped {record.source}, line {record.line}: {record.why}")
    return 0
