"""Measure on this machine how fast every layer is had: the plain loop, padded batches, and layerwise."""

import argparse
from dataclasses import asdict

from layerwise import api
from layerwise.cli import options
from layerwise.cli.progress import shown

HELP = "speed on this machine against plain transformers"
EXAMPLES = """\
  layerwise bench
  layerwise bench --shape bert-base --texts 256 --rounds 5
  layerwise bench --device cuda
  layerwise bench --model bert-base-uncased --source my.txt --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--model",
        type=options.path,
        default="minilm",
        help="minilm (default), a folder, or a Hugging Face id",
    )
    parser.add_argument(
        "--shape", metavar="{bert-base}", help="random weights in this shape instead of a model"
    )
    parser.add_argument(
        "--source", nargs="+", metavar="SOURCE", help="a corpus (Python's documentation strings)"
    )
    parser.add_argument("--texts", type=int, default=256, metavar="N", help="how many texts (256)")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="interleaved rounds; the median counts (3)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the fastest there is)")
    parser.add_argument("--no-bf16", action="store_true", help="leave bf16 out")
    parser.add_argument("--no-int8", action="store_true", help="leave int8 out")
    options.threads_option(parser)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        found = api.bench.bench(
            model=args.model,
            shape=args.shape,
            source=args.source,
            texts=args.texts,
            rounds=args.rounds,
            device=args.device,
            bf16=not args.no_bf16,
            int8=not args.no_int8,
            progress=progress,
            threads=args.threads,
        )
    if args.json:
        options.print_json(asdict(found))
        return 0
    options.say(
        f"{found.model}: {found.texts} texts, {found.tokens:,} tokens, median of {found.rounds} interleaved rounds"
    )
    rows = [("way", "tokens/s", "against loop", "of ceiling")]
    rows += [
        (way, f"{s.tokens_per_s:,.0f}", f"{s.against_loop:.2f}", f"{s.of_ceiling:.0%}")
        for way, s in found.ways.items()
    ]
    options.say(*options.table(rows, right=(1, 2, 3)))
    ceilings = ", ".join(f"{name} {value:,.0f} GFLOP/s" for name, value in found.ceilings.items())
    options.say(
        f"ceilings of a matrix product: {ceilings}; the model needs {found.flop_per_token / 1e6:,.0f} MFLOP per token"
    )
    for name, why in found.left_out.items():
        options.note(f"{name} left out: {why}")
    return 0
