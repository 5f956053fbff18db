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
from layerwise.arguments import flag_name
from layerwise.cli import flags, output
from layerwise.cli.mix_report import mix_report
from layerwise.cli.probe_table import probe_table
from layerwise.cli.progress import progress_display
from layerwise.layers import short_mix
from layerwise.options import ProbeOptions, RunOptions
from layerwise.wording import in_language, phrase

HELP = "find the best layer or mix for your labels"
EXAMPLES = """\
  layerwise probe reviews.lw --task classify --label label --out probe
  layerwise probe words.lw --task tag --label ner --split part --out probe
  layerwise probe news.lw --task classify --labels-from gold.csv:topic --out probe
  layerwise probe news.lw --task classify --label topic --head-type mlp --vectors glove.txt --expected-layer --out probe
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
    output.print_translated(result["notes"], in_language(content, "en")["notes"])
    if args.json:
        output.print_json(content)
        return 0
    output.print_lines(*probe_table(result, args.lang), "", *_learned(result, say, args.lang))
    output.print_lines(
        result["advice"]["text"],
        *([result["transfer"]["text"]] if result["transfer"] else []),
        "",
        say("terminal.candidates", rows=result["rows"], design=result["design"], folder=str(args.out)),
        _next_step(args, result, say),
    )
    return 0


def _learned(result: dict[str, Any], say: Callable[..., str], lang: str) -> list[str]:
    """Return what each layer adds to the learned mix, if there is one, and an empty line."""
    learned = result["learned"]
    if not learned:
        return []
    title = say("terminal.learned", mix=output.visible(short_mix(learned["mix"])))
    return [title, *mix_report(learned, lang), ""]


def _next_step(args: argparse.Namespace, result: dict[str, Any], say: Callable[..., str]) -> str:
    """Return the command that follows from the advice, with the same labels, groups and split.

    It trains a head on the advised mix: a small network if this is shown to score higher than a linear classifier. Where the
    advice recommends no mix, it is another probe.
    """
    values: dict[str, Any] = {"mix_from": args.out}
    mlp = result["mlp"]
    if mlp and (mlp["difference"]["low"] or 0) > 0:
        values["head_type"] = args.head_type
    elif not result["advice"]["recommended"]:
        return say("terminal.next.more", command=_command("probe", args, {}, "DIR"))
    key = "terminal.next" if result["advice"]["needs_model"] else "terminal.next.vectors"
    return say(key, command=_command("train", args, values, "HEAD"))


def _command(verb: str, args: argparse.Namespace, further: dict[str, Any], out: str) -> str:
    """Return a command on the same dataset with the same labels, and with `further` options."""
    names = ("task", "label", "labels_from", "label_separator", "groups", "split", "class_weight")
    values = {name: getattr(args, name) for name in names} | further
    options = [
        part
        for name, value in values.items()
        if value is not None
        for part in (f"--{flag_name(name)}", value)
    ]
    return f"layerwise {verb} {shlex.join([args.dataset, *options])} --out {out}"
