"""Measure the geometry of the layers of a dataset, and how similar the layers are to each other.

Writes analysis.json with all results, and figures as SVG and PNG: one of the measures that have a value per layer
(geometry), one for each measure that compares layers (linear_cka, …), and the rows in two dimensions at every layer
(projection).
"""

import argparse
from typing import Any

from layerwise import api
from layerwise._util.display import count_of
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import AnalyzeOptions, RunOptions

HELP = "measure the geometry of layers, and how similar they are"
EXAMPLES = """\
  layerwise analyze reviews.lw --out analysis
  layerwise analyze reviews.lw --label label --max-rows 5000 --out analysis
  layerwise analyze before.lw --against after.lw --measure against_linear_cka --out change
  layerwise analyze parallel.lw --pairs sentence --sides language --out retrieval
  layerwise analyze secret.lw --measure leakage --source letters.jsonl --out leakage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="folder of a dataset")
    parser.add_argument(
        "--out",
        required=True,
        type=flags.path,
        metavar="DIR",
        help="folder for the results; it must not exist",
    )
    flags.add(parser, AnalyzeOptions)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        analysis = api.analyze.analyze(
            args.dataset,
            out=args.out,
            **flags.values(args, AnalyzeOptions),
            progress=progress,
            threads=args.threads,
        )
    result = analysis.to_json()
    output.print_notes([*result["notes"], *analysis.cautions()])
    if args.json:
        output.print_json(result)
        return 0
    advice = [] if analysis.retrieval is None else ["", analysis.retrieval.text]
    sample = f"{result['rows']:,} of {count_of(result['of'], 'row')}, seed {result['seed']}"
    output.print_lines(*_table(analysis), *advice, "", f"{sample}; all results are in {args.out}")
    return 0


def _table(analysis: Any) -> list[str]:
    """Return a line per measure, with a column per layer; of a matrix, the values of each layer with the last one.

    The last column is what rows, classes or layers without any relation give.
    """
    layers = analysis.layers
    rows = [("", *layers, "by chance")]
    for name, measure in analysis.each_direction().items():
        matrix = f" with {layers[-1]}{' (distance)' if measure.alike == 0 else ''}"
        title = f"{name}{matrix if measure.is_matrix else ''}"
        rows.append((title, *measure.written(), measure.floor_written()))
    return output.table(rows, right=range(1, len(layers) + 2))
