"""Measure how the layers of a dataset are shaped (geometry), and how alike they are.

Writes analysis.json (everything), and as SVG and PNG a figure of what is measured along the layers (geometry), one of
each matrix (linear_cka, …), and the rows on a plane at every layer (projection).
"""

import argparse
from collections.abc import Mapping
from typing import Any

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import AnalyzeOptions, RunOptions

HELP = "geometry and similarity of layers"
EXAMPLES = """\
  layerwise analyze reviews.lw --out analysis
  layerwise analyze reviews.lw --label label --max-rows 5000 --out analysis
  layerwise analyze before.lw --against after.lw --measure against_linear_cka --out change
  layerwise analyze parallel.lw --pairs sentence --sides language --out retrieval
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="the folder of a dataset")
    parser.add_argument(
        "--out", required=True, type=flags.path, metavar="DIR", help="the folder of the results"
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
    output.print_notes(result["notes"])
    if args.json:
        output.print_json(result)
        return 0
    drawn = f"{result['rows']:,} of {result['of']:,} rows, seed {result['seed']}"
    output.print_lines(*_table(result), "", f"{drawn}; everything is in {args.out}")
    return 0


def _table(result: Mapping[str, Any]) -> list[str]:
    """A row per measure, a column per layer; of a matrix what each layer has with the last."""
    layers = result["layers"]
    rows = [("", *layers)]
    for name, measure in result["measures"].items():
        matrix = isinstance(measure["values"][0], list)
        values = [row[-1] for row in measure["values"]] if matrix else measure["values"]
        rows.append((f"{name} with {layers[-1]}" if matrix else name, *map(_number, values)))
    return output.table(rows, right=range(1, len(layers) + 1))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
