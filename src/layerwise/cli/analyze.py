"""Measure how the layers of a dataset are shaped (geometry), and how alike they are.

Writes analysis.json (everything), and as SVG and PNG a figure of what is measured along the layers (geometry), one of
each matrix (linear_cka, …), and the rows on a plane at every layer (projection).
"""

import argparse
from collections.abc import Mapping
from typing import Any

from layerwise import api
from layerwise.cli import options
from layerwise.cli.progress import shown

HELP = "geometry and similarity of layers"
EXAMPLES = """\
  layerwise analyze reviews.lw --out analysis
  layerwise analyze reviews.lw --label label --sample 5000 --out analysis
  layerwise analyze before.lw --against after.lw --measure against_linear_cka --out change
  layerwise analyze parallel.lw --pairs sentence --sides language --out retrieval
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=options.path, metavar="DATASET", help="the folder of a dataset")
    parser.add_argument(
        "--out", required=True, type=options.path, metavar="DIR", help="the folder of the results"
    )
    parser.add_argument(
        "--label", metavar="COL", help="a column of classes: how far each layer tells them apart"
    )
    parser.add_argument(
        "--against", type=options.path, metavar="OTHER", help="a dataset of the same texts by another model"
    )
    parser.add_argument(
        "--pairs",
        metavar="COL",
        help="the column whose equal values join two texts (part, for extract --text a,b): is a text's "
        "partner its nearest?",
    )
    parser.add_argument(
        "--sides",
        metavar="COL",
        help="with --pairs, a column of two values (languages) that tells them apart",
    )
    parser.add_argument(
        "--sample",
        type=options.count,
        default=2000,
        metavar="N",
        help="rows that are looked at, drawn by whole texts (2000)",
    )
    parser.add_argument("--seed", type=options.count, default=0, metavar="N", help="of the sample (0)")
    parser.add_argument(
        "--measure", action="append", metavar="NAME", help="only this measure, repeatable (default: all)"
    )
    parser.add_argument(
        "--intervals",
        default="quick",
        metavar="{quick,all,none}",
        help="where rows are a sample: quick (default) has none of svcca, pwcca and procrustes, which take long",
    )
    options.threads_option(parser)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        found = api.analyze.analyze(
            args.dataset,
            out=args.out,
            label=args.label,
            against=args.against,
            pairs=args.pairs,
            sides=args.sides,
            sample=args.sample,
            seed=args.seed,
            measures=args.measure,
            intervals=args.intervals,
            progress=progress,
            threads=args.threads,
        )
    result = found.to_json()
    if options.told(result, as_json=args.json):
        return 0
    drawn = f"{result['rows']:,} of {result['of']:,} rows, seed {result['seed']}"
    options.say(*_table(result), "", f"{drawn}; everything is in {args.out}")
    return 0


def _table(result: Mapping[str, Any]) -> list[str]:
    """A row per measure, a column per layer; of a matrix what each layer has with the last."""
    layers = result["layers"]
    rows = [("", *layers)]
    for name, one in result["measures"].items():
        matrix = isinstance(one["values"][0], list)
        values = [row[-1] for row in one["values"]] if matrix else one["values"]
        rows.append((f"{name} with {layers[-1]}" if matrix else name, *map(_number, values)))
    return options.table(rows, right=range(1, len(layers) + 1))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
