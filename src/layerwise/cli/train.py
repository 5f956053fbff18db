"""Train a head on a dataset: a classifier, a regressor or a tagger, with its mix of layers.

How much a linear head is restrained is chosen on a held-out part of the rows (whole texts and groups; the dev
part of --split where there is one), and the head is then fitted to all training rows. The scores that are printed
are those on held-out rows before that, and on test rows. Several tasks, as NAME=TASK:COL, share one reading of the
layers.
"""

import argparse
import shlex
from typing import Any

import layerwise
from layerwise import api
from layerwise.cli import flags, options
from layerwise.cli.progress import shown
from layerwise.cli.tasks import named_tasks
from layerwise.cli.train_report import evaluation, report
from layerwise.options import LoadOptions, ReadOptions, RunOptions, TrainOptions

HELP = "train a head: a classifier, a regressor or a tagger"
EXAMPLES = """\
  layerwise train reviews.lw --task classify --label label --mix mean:-4: --out sentiment.head
  layerwise train words.lw --task tag --label tag --mix 5 --head-type mlp --out ner.head --eval test.conll
  layerwise train pairs.lw --task regress --label score --mix learned:all --out similar.head
  layerwise train reviews.lw --task mood=classify:label --task stars=regress:stars --shared-hidden 64 --out two.head
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=options.path, metavar="DATASET", help="the folder of a dataset")
    parser.add_argument(
        "--task",
        required=True,
        action="append",
        metavar="{classify,regress,tag}",
        help="what the labels are; NAME=TASK:COL, repeatable, for several tasks",
    )
    parser.add_argument("--label", metavar="COL", help="the column of the labels")
    parser.add_argument(
        "--mix",
        action="append",
        metavar="MIX",
        help="what is made of the layers; NAME=MIX for one task (the mean of all stored layers but emb)",
    )
    parser.add_argument(
        "--out", required=True, type=options.path, metavar="HEAD", help="the folder of the head"
    )
    flags.add(parser, TrainOptions)
    parser.add_argument(
        "--eval",
        action="append",
        type=options.path,
        metavar="SOURCE",
        help="score the head on labelled texts or a dataset, repeatable; the options below are for these texts",
    )
    parser.add_argument("--model", type=options.path, help="where the model is now (as it was extracted)")
    flags.add(parser, LoadOptions)
    flags.add(parser, ReadOptions)
    flags.add(parser, RunOptions)
    options.quiet_option(parser)
    options.json_option(parser)


def _check_sources(args: argparse.Namespace, named: Any) -> None:
    """Look at what the head is to be evaluated on before it is trained."""
    if not args.eval:
        return
    labels = [(args.label, args.label)] if args.label else []
    labels += [(name, what.partition(":")[2]) for name, what in (named.tasks or {}).items()]
    api.evaluate.check_sources(args.dataset, args.eval, labels, **flags.values(args, ReadOptions))


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    named = named_tasks(args.task, args.mix)
    _check_sources(args, named)
    with shown(args) as progress:
        head = api.train.train(
            args.dataset,
            task=named.task,
            tasks=named.tasks,
            label=args.label,
            mix=named.mix,
            out=args.out,
            **flags.values(args, TrainOptions),
            progress=progress,
            threads=args.threads,
        )
    for message in head.training["notes"]:
        options.note(message)
    if not args.json:
        options.say(*report(args.out, head))
    evaluations: dict[str, Any] = {}
    if args.eval:
        saved = layerwise.load_head(
            args.out,
            model=args.model,
            **flags.values(args, LoadOptions),
        )
        for source in args.eval:
            with shown(args) as progress:
                evaluations[source] = saved.evaluate(
                    source, progress=progress, threads=args.threads, **flags.values(args, ReadOptions)
                )
            if not args.json:
                options.say("", *evaluation(source, evaluations[source]))
    if args.json:
        options.print_json(
            {"out": args.out, "mixes": head.mixes, "training": head.training, "eval": evaluations}
        )
    else:
        options.say(f"next: layerwise predict {shlex.quote(args.out)} SOURCE")
    return 0
