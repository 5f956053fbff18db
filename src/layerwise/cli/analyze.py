"""Measure the geometry of the layers of a dataset, and how similar the layers are to each other.

Writes analysis.json with all results, and figures as SVG and PNG: one of the measures that have a value per layer
(geometry), one for each measure that compares layers (linear_cka, …), and the rows in two dimensions at every layer
(projection).
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import AnalyzeOptions, RunOptions
from layerwise.wording import in_language, phrase, text_in

HELP = "measure the geometry of layers, and how similar they are"
EXAMPLES = """\
  layerwise analyze reviews.lw --out analysis
  layerwise analyze reviews.lw --label label --max-rows 5000 --out analysis
  layerwise analyze before.lw --against after.lw --measure against_linear_cka --out change
  layerwise analyze parallel.lw --pairs sentence --sides language --lang zh --out retrieval
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
    content, cautions = analysis.to_json(), analysis.cautions()
    result, say = in_language(content, args.lang), partial(phrase, args.lang)
    notes = [*result["notes"], *(text_in(caution, args.lang) for caution in cautions)]
    output.print_translated(notes, [*content["notes"], *cautions])
    if args.json:
        output.print_json(content)
        return 0
    advice = ["", result["retrieval"]["text"]] if result["retrieval"] else []
    counts = {name: result[name] for name in ("rows", "of", "seed")}
    output.print_lines(
        *_table(analysis, say), *advice, "", say("terminal.sample", **counts, folder=str(args.out))
    )
    return 0


def _table(analysis: Any, say: Callable[..., str]) -> list[str]:
    """Return a line per measure, with a column per layer; of a matrix, the values of each layer with the last one.

    The last column is what rows, classes or layers without any relation give.
    """
    layers = analysis.layers
    rows = [("", *layers, say("terminal.chance"))]
    for name, measure in analysis.each_direction().items():
        key = "terminal.distance.to" if measure.alike == 0 else "terminal.alike.with"
        title = say(key, name=name, layer=layers[-1]) if measure.is_matrix else name
        rows.append((title, *measure.written(), measure.floor_written()))
    return output.table(rows, right=range(1, len(layers) + 2))
