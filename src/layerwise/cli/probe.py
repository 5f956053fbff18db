"""Score every layer, and mixes of layers, for your own labels, and advise which to use.

Writes probe.json with all results, probe.md with the table and the advice, and figures as SVG and PNG: the scores by
layer (probe) and the weights of a learned mix (weights).
"""

import argparse
import shlex
from typing import Any

from layerwise import api
from layerwise._util.display import score_digits
from layerwise.arguments import flag_name
from layerwise.cli import flags, output
from layerwise.cli.mix_report import mix_report
from layerwise.cli.progress import progress_display
from layerwise.options import ProbeOptions, RunOptions

HELP = "find the best layer or mix for your labels"
EXAMPLES = """\
  layerwise probe reviews.lw --task classify --label label --out probe
  layerwise probe words.lw --task tag --label ner --split part --out probe
  layerwise probe news.lw --task classify --labels-from gold.csv:topic --out probe
  layerwise probe pairs.lw --task regress --label score --mix -1 --mix mean:-4: --quick --out probe
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="folder of a dataset")
    parser.add_argument(
        "--task",
        required=True,
        metavar="{classify,regress,tag}",
        help="classify: classes; regress: numbers; tag: one tag per word",
    )
    parser.add_argument("--label", metavar="COL", help="column that holds the labels")
    parser.add_argument(
        "--out",
        required=True,
        type=flags.path,
        metavar="DIR",
        help="folder for the results; it must not exist",
    )
    flags.add(parser, ProbeOptions)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
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
    output.print_notes(result["notes"])
    if args.json:
        output.print_json(result)
        return 0
    summary = f"{result['rows']:,} rows, {result['design']}; all results are in {args.out}"
    output.print_lines(*_table(result), "", *_learned(result), result["advice"]["text"], "")
    output.print_lines(summary, f"next: {_train(args)}")
    return 0


def _learned(result: dict[str, Any]) -> list[str]:
    """Return what each layer adds to the learned mix, if there is one, and an empty line."""
    learned = result["learned"]
    if not learned:
        return []
    return [f"{output.visible(learned['mix'])}, layer by layer:", *mix_report(learned), ""]


def _train(args: argparse.Namespace) -> str:
    """Return the command that trains a head on the advised mix, with the same labels, groups and split."""
    names = ("task", "label", "labels_from", "label_separator", "groups", "split")
    values = {name: getattr(args, name) for name in names} | {"mix_from": args.out}
    options = [
        part
        for name, value in values.items()
        if value is not None
        for part in (f"--{flag_name(name)}", value)
    ]
    return f"layerwise train {shlex.join([args.dataset, *options])} --out HEAD"


def _table(result: dict[str, Any]) -> list[str]:
    head = ("mix", result["metric"], "95% interval", "p vs best", "compression", "cost")
    rows = [head]
    digits = score_digits(((c["low"], c["high"]) for c in result["candidates"]), result["rows"])
    for candidate in result["candidates"]:
        length = candidate["codelength"]
        rows.append(
            (
                output.visible(candidate["mix"]),
                _score(candidate["score"], digits),
                _ends(candidate, digits),
                "best" if candidate["mix"] == result["advice"]["best"] else _number(candidate["p_vs_best"]),
                f"{length['compression']:.2f}" if length else "",
                f"{candidate['cost']:.0%}",
            )
        )
    others = {"chosen": result["chosen"]}
    others |= {f"baseline: {name}": baseline for name, baseline in result["baselines"].items()}
    rows += [
        (name, _score(candidate["score"], digits), _ends(candidate, digits), "", "", "")
        for name, candidate in others.items()
    ]
    return output.table(rows, right=(1, 3, 4, 5))


def _score(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _ends(estimate: dict[str, Any], digits: int) -> str:
    if estimate["low"] is None:
        return ""
    return f"{_score(estimate['low'], digits)} to {_score(estimate['high'], digits)}"


def _number(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
