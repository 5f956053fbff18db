"""Score every layer, and mixes of several, for your own labels; and say which to take, with evidence.

Writes probe.json (everything), probe.md (the table and the advice), and as SVG and PNG the layer curve (probe) and what
a learned mix weighs (weights).
"""

import argparse
from typing import Any

from layerwise import api
from layerwise.cli import flags, options
from layerwise.cli.progress import shown
from layerwise.options import ProbeOptions, RunOptions

HELP = "which layer, which mix, with evidence"
EXAMPLES = """\
  layerwise probe reviews.lw --task classify --label label --out probe
  layerwise probe words.lw --task tag --label ner --split part --out probe
  layerwise probe pairs.lw --task regress --label score --mix -1 --mix mean:-4: --quick --out probe
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=options.path, metavar="DATASET", help="the folder of a dataset")
    parser.add_argument("--task", required=True, metavar="{classify,regress,tag}", help="what the labels are")
    parser.add_argument("--label", required=True, metavar="COL", help="the column of the labels")
    parser.add_argument(
        "--out", required=True, type=options.path, metavar="DIR", help="the folder of the results"
    )
    flags.add(parser, ProbeOptions)
    flags.add(parser, RunOptions)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        probed = api.probe.probe(
            args.dataset,
            task=args.task,
            label=args.label,
            out=args.out,
            **flags.values(args, ProbeOptions),
            progress=progress,
            threads=args.threads,
        )
    result = probed.to_json()
    if options.told(result, as_json=args.json):
        return 0
    about = f"{result['rows']:,} rows, {result['design']}; everything is in {args.out}"
    options.say(*_table(result), "", result["advice"]["text"], "", about)
    return 0


def _table(result: dict[str, Any]) -> list[str]:
    head = ("mix", result["metric"], "95% interval", "p vs best", "compression", "cost")
    rows = [head]
    for candidate in result["candidates"]:
        length = candidate["codelength"]
        rows.append(
            (
                options.visible(candidate["mix"]),
                f"{candidate['score']:.4f}",
                _ends(candidate),
                "best" if candidate["mix"] == result["advice"]["best"] else _number(candidate["p_vs_best"]),
                f"{length['compression']:.2f}" if length else "",
                f"{candidate['cost']:.0%}",
            )
        )
    named = {"chosen": result["chosen"], **result["baselines"]}
    rows += [
        (name, f"{candidate['score']:.4f}", _ends(candidate), "", "", "") for name, candidate in named.items()
    ]
    return options.table(rows, right=(1, 3, 4, 5))


def _ends(estimate: dict[str, Any]) -> str:
    return "" if estimate["low"] is None else f"{estimate['low']:.4f} to {estimate['high']:.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
