"""Describe a model, a dataset, a head, a cut or small vectors: layers, width, size, and where it comes from."""

import argparse

from layerwise import api
from layerwise.cli import flags, output
from layerwise.cli.facts.dataset import dataset_rows
from layerwise.cli.facts.head import head_rows
from layerwise.cli.facts.model import model_rows
from layerwise.cli.facts.small import cut_rows, export_rows, transform_rows
from layerwise.options import LoadOptions

_ROWS = {
    "dataset": dataset_rows,
    "head": head_rows,
    "model": model_rows,
    "cut": cut_rows,
    "export": export_rows,
    "transform": transform_rows,
}

HELP = "describe a model, a dataset, a head, a cut or an export"
EXAMPLES = """\
  layerwise info minilm
  layerwise info reviews.lw
  layerwise info sentiment.head
  layerwise info minilm-onnx
  layerwise info reviews-bits/transform.safetensors
  layerwise info reviews.lw --json | jq .totals
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "name",
        type=flags.path,
        metavar="X",
        help="folder of a dataset, a head, a model, a cut or small vectors; file of a transform; or minilm, or a Hugging Face id",
    )
    flags.add(parser, LoadOptions, without=("device",))
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    facts = api.info.info(
        args.name,
        **flags.values(args, LoadOptions, without=("device",)),
    ).to_json()
    if args.json:
        output.print_json(facts)
    else:
        rows = _ROWS[facts["kind"]](facts)
        output.print_lines(*output.table([(name, output.visible(str(value), 200)) for name, value in rows]))
    return 0
