"""Score every layer, and mixes of layers, for your own labels, and advise which to use.

Writes probe.json with all results, probe.md with the table and the advice, and figures as SVG and PNG: the scores by
layer (probe) and the weights of a learned mix (weights).
"""

import argparse
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any

from layerwise import api
from layerwise._util.display import score_digits
from layerwise.arguments import flag_name
from layerwise.cli import flags, output
from layerwise.cli.mix_report import mix_report
from layerwise.cli.progress import progress_display
from layerwise.layers import short_mix
from layerwise.options import ProbeOptions, RunOptions
from layerwise.wording import fixed, in_language, name_of, phrase, text_in

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
    content = probed.to_json()
    result, say = in_language(content, args.lang), partial(phrase, args.lang)
    output.print_notes(result["notes"])
    if args.json:
        output.print_json(content)
        return 0
    output.print_lines(*_table(result, say, args.lang), "", *_learned(result, say, args.lang))
    output.print_lines(
        result["advice"]["text"],
        "",
        say("terminal.candidates", rows=result["rows"], design=result["design"], folder=str(args.out)),
        say("terminal.next", command=_train(args)),
    )
    return 0


def _learned(result: dict[str, Any], say: Callable[..., str], lang: str) -> list[str]:
    """Return what each layer adds to the learned mix, if there is one, and an empty line."""
    learned = result["learned"]
    if not learned:
        return []
    title = say("terminal.learned", mix=output.visible(short_mix(learned["mix"])))
    return [title, *mix_report(learned, lang), ""]


def _train(args: argparse.Namespace) -> str:
    """Return the command that trains a head on the advised mix, with the same labels, groups and split."""
    names = ("task", "label", "labels_from", "label_separator", "groups", "split", "class_weight")
    values = {name: getattr(args, name) for name in names} | {"mix_from": args.out}
    options = [
        part
        for name, value in values.items()
        if value is not None
        for part in (f"--{flag_name(name)}", value)
    ]
    return f"layerwise train {shlex.join([args.dataset, *options])} --out HEAD"


def _table(result: dict[str, Any], say: Callable[..., str], lang: str) -> list[str]:
    columns = [say(f"markdown.{name}") for name in ("mix", "interval", "p", "compression", "cost")]
    metric = text_in(name_of("metric", result["metric"]), lang)
    head = (columns[0], metric, *columns[1:])
    rows = [head]
    digits = score_digits(((c["low"], c["high"]) for c in result["candidates"]), result["rows"])
    for candidate in result["candidates"]:
        length = candidate["codelength"]
        rows.append(
            (
                output.visible(short_mix(candidate["mix"])),
                _score(candidate["score"], digits),
                _ends(candidate, digits, say),
                say("markdown.best")
                if candidate["mix"] == result["advice"]["best"]
                else _number(candidate["p_vs_best"]),
                f"{length['compression']:.2f}" if length else "",
                f"{candidate['cost']:.0%}",
            )
        )
    others = {say("probe.chosen"): result["chosen"]}
    for name, baseline in result["baselines"].items():
        others[say("terminal.baseline", name=text_in(name_of("baseline", name), lang))] = baseline
    rows += [
        (name, _score(candidate["score"], digits), _ends(candidate, digits, say), "", "", "")
        for name, candidate in others.items()
    ]
    return output.table(rows, right=(1, 3, 4, 5))


def _score(value: float | None, digits: int) -> str:
    return "" if value is None else fixed(value, digits)


def _ends(estimate: dict[str, Any], digits: int, say: Callable[..., str]) -> str:
    if estimate["low"] is None:
        return ""
    ends = {name: fixed(estimate[name], digits) for name in ("low", "high")}
    return say("markdown.interval.to", **ends)


def _number(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
