"""Cut a model at a layer: write the smaller model that ends there, as a folder of transformers and sentence-transformers.

The folder has the tokenizer, the pool and the prompts of MODEL, and a model card. It is compared with MODEL before it is
done. `layerwise probe` says which layer is enough for a label.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from layerwise import api
from layerwise._util.display import count_of, interval, number
from layerwise.choices import METRICS
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import CutOptions, RunOptions

HELP = "write a smaller model that ends at a layer"
EXAMPLES = """\
  layerwise cut minilm --at 4 --out minilm-4
  layerwise cut minilm --at emb --out minilm-emb
  layerwise cut minilm --drop 3,4 --out minilm-short
  layerwise cut minilm --at 5 --drop 3 --probe probe --out minilm-5
  layerwise cut minilm --at 4 --to onnx --precision int8 --out minilm-onnx
  layerwise cut minilm --table --probe probe
  layerwise cut minilm --at 4 --static --out minilm-static
  layerwise cut minilm --to onnx --mix 'mean(1:5)' --out minilm-mix
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "source", type=flags.path, metavar="MODEL", help="text model: minilm, a folder, or a Hugging Face id"
    )
    parser.add_argument(
        "--out",
        type=flags.path,
        metavar="DIR",
        help="folder to write; with --table a JSON file, or nothing; it must not exist",
    )
    flags.add(parser, CutOptions)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
        result = api.cut.cut(
            args.source,
            args.out,
            **flags.values(args, CutOptions),
            progress=progress,
            threads=args.threads,
        )
    output.print_notes(result.notes)
    if args.json:
        output.print_json(result.to_json())
    elif args.table:
        output.print_lines(*_table_lines(result))
    else:
        output.print_lines(*_lines(result))
    return 0


def _table_lines(table: Any) -> Iterator[str]:
    """Yield the cost of each cut."""
    scored = table.metric is not None
    head = ("layer", "blocks", "parameters", "on disk", "tokens/s")
    score = (f"{table.label}, {METRICS.get(table.metric, table.metric)}", "95%") if scored else ()
    rows = [(*head, *score), *((*_cost(row), *(_scored(row) if scored else ())) for row in table.rows)]
    yield from output.table(rows, right=(1, 2, 3, 4, 5))
    yield (
        f"speed: {count_of(table.texts, 'text')}, {count_of(table.tokens, 'token')}, median of "
        f"{count_of(table.rounds, 'round')} on {table.device}; "
        "size: weights and tokenizer"
    )


def _cost(row: Any) -> tuple[str, ...]:
    return (
        row.layer,
        str(row.blocks),
        f"{row.parameters:,}",
        output.size(row.bytes),
        f"{row.tokens_per_s:,.0f}",
    )


def _scored(row: Any) -> tuple[str, str]:
    if row.score is None:
        return "not probed", ""
    coarse = " (coarse pass)" if row.coarse else ""
    return number(row.score), interval(row.low, row.high).strip(" ()") + coarse


def _lines(result: Any) -> Iterator[str]:
    """Yield what was written, and how far it is from its source."""
    source = result.source
    without = f" without {', '.join(map(str, result.dropped))}" if result.dropped else ""
    if result.to == "static":
        yield (
            f"{result.out}: vectors of {count_of(result.width, 'number')} for the tokens of {source['id']}, layer {result.at}, "
            f"{output.size(result.bytes)}"
        )
        return
    yield (
        f"{result.out}: {source['id']} up to layer {result.at}{without}: {result.blocks} of "
        f"{count_of(source['blocks'], 'block')}, "
        f"{count_of(result.parameters, 'parameter')}, {output.size(result.bytes)}"
    )
    for name, difference in result.parity.items():
        yield f"  {name}: differs from the source by at most {difference:.1g} of the largest number"
    for name, error in result.errors.items():
        yield f"  {name}: the error of int8 is {error:.2g} of the length of the output"
    if result.score is not None:
        yield from _score(result.score)


def _score(score: Any) -> Iterator[str]:
    """Yield the score without some blocks, and that of the whole model on the same rows."""
    yield (
        f"  {score.label}, {METRICS.get(score.metric, score.metric)} on {count_of(score.rows, 'row')} that were encoded anew: "
        f"{_estimate(score.without)}, with all blocks {_estimate(score.whole)}"
    )


def _estimate(estimate: Any) -> str:
    return f"{number(estimate.score)}{interval(estimate.low, estimate.high)}"
