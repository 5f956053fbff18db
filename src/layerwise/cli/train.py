"""Train a head on a dataset: a classifier, a regressor or a tagger, with its mix of layers.

The regularisation of a linear head is chosen on held-out rows: the dev part of --split, else a part of the training
rows, by whole texts and groups. The head is then fitted to all training rows. The scores that are printed are those on
the held-out rows, of the head before this last fit, and those on test rows. Several tasks, each as NAME=TASK:COL, are
trained together.
"""

import argparse
import shlex
from typing import Any

from layerwise import api
from layerwise.arguments import argument
from layerwise.cli import flags, output
from layerwise.cli.evaluation_report import evaluation_lines
from layerwise.cli.progress import progress_display
from layerwise.cli.tasks import TaskArguments, named_tasks
from layerwise.cli.train_report import report
from layerwise.errors import RequestError
from layerwise.options import LoadOptions, ReadOptions, RunOptions, StoredModelOptions, TrainOptions

HELP = "train a head: a classifier, a regressor or a tagger"
EXAMPLES = """\
  layerwise train reviews.lw --task classify --label label --mix mean:-4: --out sentiment.head
  layerwise train reviews.lw --task classify --label label --mix-from probe --out sentiment.head
  layerwise train words.lw --task tag --label tag --mix 5 --head-type mlp --out ner.head --eval test.conll
  layerwise train pairs.lw --task regress --label score --mix learned:all --out similar.head
  layerwise train reviews.lw --task mood=classify:label --task stars=regress:stars --shared-hidden 64 --out two.head
  layerwise train letters.lw --task classify --label topic --mix 4 --private 1 --delta 1e-6 --groups author --out topic.head
"""
_OF_SOURCES = (StoredModelOptions, LoadOptions, ReadOptions)
"""The options of the texts that `--eval` names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="folder of a dataset")
    parser.add_argument(
        "--task",
        required=True,
        action="append",
        metavar="{classify,regress,tag}",
        help="classify: classes; regress: numbers; tag: one tag per word. For several tasks, repeat --task NAME=TASK:COL",
    )
    parser.add_argument("--label", metavar="COL", help="column that holds the labels")
    parser.add_argument(
        "--mix",
        action="append",
        metavar="MIX",
        help="mix of layers that the head uses, such as 6, mean:-4: or learned:all; for one of several tasks NAME=MIX "
        "(default: the mean of all stored layers except emb)",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=flags.path,
        metavar="HEAD",
        help="folder of the head to write; it must not exist",
    )
    flags.add(parser, TrainOptions)
    parser.add_argument(
        "--eval",
        action="append",
        type=flags.path,
        metavar="SOURCE",
        help="also score the head on labelled texts or on a dataset; repeat the flag for several. The options below are for "
        "these texts",
    )
    for options in _OF_SOURCES:
        flags.add(parser, options)
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def _check_sources(args: argparse.Namespace, named: TaskArguments) -> None:
    """Check the sources of `--eval` before the head is trained.

    Raises:
        LayerwiseError: a source can't be read, or has no column of the labels; or options for sources that there aren't.
    """
    if not args.eval:
        _refuse_options_of_sources(args)
        return
    labels = [(args.label, args.label)] if args.label else []
    labels += [(name, what.partition(":")[2]) for name, what in (named.tasks or {}).items()]
    if args.private is not None:
        api.evaluate.check_not_private(args.dataset, args.eval)
    api.evaluate.check_sources(
        args.dataset, args.eval, labels, ReadOptions(**flags.values(args, ReadOptions))
    )


def _refuse_options_of_sources(args: argparse.Namespace) -> None:
    for options in _OF_SOURCES:
        for name, value in flags.changed(args, options).items():
            raise RequestError(
                f"{argument(name, value)} is for the texts of --eval, and there are none; add --eval SOURCE, or leave it out"
            )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    named = named_tasks(args.task, args.mix)
    _check_sources(args, named)
    with progress_display(args) as progress:
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
        output.print_note(message)
    if not args.json:
        output.print_lines(*report(args.out, head))
    evaluations: dict[str, Any] = {}
    if args.eval:
        loading = flags.values(args, StoredModelOptions) | flags.values(args, LoadOptions)
        saved = api.evaluate.open_head(args.out, loading)
        for source in args.eval:
            with progress_display(args) as progress:
                reading = api.evaluate.reading_options(source, flags.values(args, ReadOptions))
                evaluations[source] = api.evaluate.evaluate(
                    saved, source, progress=progress, threads=args.threads, **reading
                )
            for task in evaluations[source].tasks.values():
                output.print_notes(task.notes)
            if not args.json:
                output.print_lines("", *evaluation_lines(source, evaluations[source]))
    if args.json:
        output.print_json(
            {
                "out": args.out,
                "mixes": head.mixes,
                "training": head.training,
                "eval": {source: scores.to_json() for source, scores in evaluations.items()},
            }
        )
    else:
        out = shlex.quote(args.out)
        output.print_lines(f"next: layerwise evaluate {out} SOURCE   ·   layerwise predict {out} SOURCE")
    return 0
