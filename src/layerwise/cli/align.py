"""Align the words of parallel texts: link the words that translate each other, at every layer of a model.

A and B are files with a sentence per line; line n of B is the translation of line n of A. Words stand between blanks,
or with --raw are split as `extract` splits them. Use a model that was trained on both languages. With --gold, each layer
and method is scored by its alignment error rate (AER), and the table ends in advice.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import AlignOptions, RunOptions
from layerwise.wording import fixed

HELP = "align the words of parallel texts at every layer"
EXAMPLES = """\
  layerwise align news.en news.de --model e5-small --out links.jsonl
  layerwise align news.en news.de --model e5-small --layers 7 --to pharaoh --out links.txt
  layerwise align pairs.txt --model e5-small --method argmax itermax --gold pairs.gold --gold-base 1 --out links.jsonl
  layerwise align pairs.csv --text english,german --raw --model e5-small --out links.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "a",
        type=flags.path,
        metavar="A",
        help="file with a sentence per line; without B, both sides of a line with ||| between them; or a table with --text",
    )
    parser.add_argument("b", type=flags.path, nargs="?", metavar="B", help="file of the translations")
    parser.add_argument(
        "--out", required=True, type=flags.path, metavar="FILE", help="file for the links; it must not exist"
    )
    flags.add(parser, AlignOptions)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        alignment = api.align.align(
            args.a,
            args.b,
            out=args.out,
            **flags.values(args, AlignOptions),
            progress=progress,
            threads=args.threads,
        )
    output.print_notes(alignment.notes)
    if args.json:
        output.print_json(alignment.to_json())
        return 0
    output.print_lines(*output.table(list(_rows(alignment)), right=(2, 4, 5)), "")
    if alignment.advice is not None:
        output.print_lines(alignment.advice.text)
    count = alignment.sentences
    output.print_lines(f"links of {count:,} sentence pair{'' if count == 1 else 's'}: {args.out}")
    return 0


def _rows(alignment: Any) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each method and layer; rates are in percent."""
    scored = alignment.has_gold
    yield ("method", "layer", *(("AER", "95%", "precision", "recall") if scored else ("agreement", "95%")))
    for method, of_layers in alignment.methods.items():
        for layer, links in of_layers.items():
            yield (method, layer, *(_scored(links) if scored else _rate(links.agreement, links)))


def _scored(links: Any) -> tuple[str, ...]:
    return *_rate(links.aer, links), _percent(links.precision), _percent(links.recall)


def _rate(value: float | None, links: Any) -> tuple[str, str]:
    return _percent(value), f"{_percent(links.low)} to {_percent(links.high)}"


def _percent(value: float | None) -> str:
    return fixed(float("nan") if value is None else 100 * value, 1)
