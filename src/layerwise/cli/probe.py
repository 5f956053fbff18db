"""Score every layer, and mixes of several, for your own labels; and say which to take, with evidence.

Writes probe.json (everything), probe.md (the table and the advice), and as SVG and PNG the layer curve (probe) and what
a learned mix weighs (weights).
"""

import argparse
from typing import Any

from layerwise import api
from layerwise.cli import options
from layerwise.cli.progress import shown

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
    parser.add_argument(
        "--mix",
        action="append",
        metavar="MIX",
        help="a mix to score besides the single layers, repeatable "
        "(mean(1:), mean(-4:), concat(-4:), concat(all), learned(all))",
    )
    parser.add_argument("--groups", metavar="COL", help="texts with equal values stay on one side of a cut")
    parser.add_argument("--split", metavar="COL", help="your own split: a column with train, dev and test")
    parser.add_argument(
        "--random-model",
        action="store_true",
        help="score the best on the same architecture with random weights too, by three seeds",
    )
    parser.add_argument("--quick", action="store_true", help="1 × 5 folds instead of 5 × 5")
    parser.add_argument("--seed", type=options.count, default=0, metavar="N", help="of folds and samples (0)")
    parser.add_argument(
        "--max-rows",
        type=options.count,
        default=20_000,
        metavar="N",
        help="rows that are looked at, drawn by whole texts (20000)",
    )
    options.threads_option(parser)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        found = api.probe.probe(
            args.dataset,
            args.task,
            args.label,
            out=args.out,
            mixes=args.mix,
            groups=args.groups,
            split=args.split,
            quick=args.quick,
            seed=args.seed,
            max_rows=args.max_rows,
            random_model=args.random_model,
            progress=progress,
            threads=args.threads,
        )
    result = found.to_json()
    if options.told(result, as_json=args.json):
        return 0
    about = f"{result['rows']:,} rows, {result['design']}; everything is in {args.out}"
    options.say(*_table(result), "", result["advice"]["text"], "", about)
    return 0


def _table(result: dict[str, Any]) -> list[str]:
    head = ("mix", result["metric"], "95% interval", "p vs best", "compression", "cost")
    rows = [head]
    for one in result["candidates"]:
        length = one["codelength"]
        rows.append(
            (
                options.visible(one["mix"]),
                f"{one['score']:.4f}",
                _ends(one),
                "best" if one["mix"] == result["advice"]["best"] else _number(one["p_vs_best"]),
                f"{length['compression']:.2f}" if length else "",
                f"{one['cost']:.0%}",
            )
        )
    named = {"chosen": result["chosen"], **result["baselines"]}
    rows += [(name, f"{one['score']:.4f}", _ends(one), "", "", "") for name, one in named.items()]
    return options.table(rows, right=(1, 3, 4, 5))


def _ends(one: dict[str, Any]) -> str:
    return "" if one["low"] is None else f"{one['low']:.4f} to {one['high']:.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
