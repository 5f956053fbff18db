"""Align the words of parallel texts: link the words that translate each other, at every layer of a model.

A and B are files with a sentence per line; line n of B is the translation of line n of A. Words stand between blanks,
or with --raw are split as `extract` splits them. Use a model that was trained on both languages. With --gold, each layer
and method is scored by its alignment error rate (AER), and the table ends in advice.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from layerwise import api
from layerwise.choices import LANGS, one_of
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import AlignOptions, RunOptions
from layerwise.wording import fixed, in_language, phrase

HELP = "align the words of parallel texts at every layer"
EXAMPLES = """\
  layerwise align news.en news.de --model e5-small --out links.jsonl
  layerwise align news.en news.de --model e5-small --layers 7 --to pharaoh --out links.txt
  layerwise align pairs.txt --model e5-small --method argmax itermax --gold pairs.gold --gold-base 1 --out links.jsonl
  layerwise align pairs.csv --text english,german --raw --model e5-small --out links.jsonl
  layerwise align zh.txt en.txt --model e5-small --gold zh-en.gold --lang zh --out links.jsonl
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
    flags.add_lang(parser, "the advice, the table and the notes")
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    one_of("lang", args.lang, LANGS)
    with progress_display(args) as progress:
        alignment = api.align.align(
            args.a,
            args.b,
            out=args.out,
            **flags.values(args, AlignOptions),
            progress=progress,
            threads=args.threads,
        )
    content = alignment.to_json()
    result, say = in_language(content, args.lang), partial(phrase, args.lang)
    output.print_translated(result["notes"], content["notes"])
    if args.json:
        output.print_json(content)
        return 0
    rows = _rows(result["methods"], say, scored=alignment.has_gold)
    output.print_lines(*output.table(list(rows), right=(2, 4, 5)), "")
    if alignment.advice is not None:
        output.print_lines(result["advice"]["text"])
    output.print_lines(say("terminal.links", n=alignment.sentences, file=str(args.out)))
    return 0


def _rows(methods: Mapping[str, Any], say: Callable[..., str], *, scored: bool) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each method and layer; rates are in percent."""
    names = ("precision", "recall") if scored else ()
    rate = "aer" if scored else "agreement"
    heads = (say("terminal.method"), say("markdown.layer"), say(f"terminal.{rate}"), "95%")
    yield (*heads, *(say(f"terminal.{name}") for name in names))
    for method, of_layers in methods.items():
        for layer, links in of_layers.items():
            ends = {name: _percent(links[name]) for name in ("low", "high")}
            interval = say("markdown.interval.to", **ends)
            yield (method, layer, _percent(links[rate]), interval, *(_percent(links[name]) for name in names))


def _percent(value: float | None) -> str:
    return fixed(float("nan") if value is None else 100 * value, 1)
