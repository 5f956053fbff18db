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
from layerwise.cli import options
from layerwise.cli.progress import shown
from layerwise.cli.tasks import named_tasks
from layerwise.cli.train_report import evaluation, report

HELP = "train a head: a classifier, a regressor or a tagger"
EXAMPLES = """\
  layerwise train reviews.lw --task classify --label label --mix mean:-4: --out sentiment.head
  layerwise train words.lw --task tag --label tag --mix 5 --head mlp --out ner.head --eval test.conll
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
    parser.add_argument(
        "--head", default="linear", metavar="{linear,mlp}", help="linear, or with a hidden layer (linear)"
    )
    parser.add_argument(
        "--hidden", type=int, metavar="N", help="the width of the hidden layer of --head mlp (128)"
    )
    parser.add_argument(
        "--shared-hidden", type=int, metavar="N", help="one hidden layer of N units for all tasks"
    )
    parser.add_argument("--groups", metavar="COL", help="rows with equal values stay on one side of a cut")
    parser.add_argument("--split", metavar="COL", help="your own split: a column with train, dev and test")
    parser.add_argument(
        "--class-weight", metavar="{balanced}", help="let all classes count alike, however rare they are"
    )
    parser.add_argument(
        "--separator", metavar="TEXT", help="cuts a string into several labels, such as ';' (classify)"
    )
    _loop_options(parser)
    parser.add_argument(
        "--seed", type=options.count, default=0, metavar="N", help="of all that is random (0)"
    )
    parser.add_argument(
        "--eval",
        action="append",
        type=options.path,
        metavar="SOURCE",
        help="score the head on labelled texts or a dataset, repeatable; the options below are for these texts",
    )
    parser.add_argument("--model", type=options.path, help="where the model is now (as it was extracted)")
    options.loading_options(parser)
    options.source_options(parser)
    options.threads_option(parser)
    options.quiet_option(parser)
    options.json_option(parser)


def _loop_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, metavar="N", help="the most epochs of the gradient loop (200)")
    parser.add_argument(
        "--patience", type=int, metavar="N", help="epochs without a better held-out loss before it stops (10)"
    )
    parser.add_argument(
        "--layer-dropout",
        type=float,
        default=0.0,
        metavar="P",
        help="learned mixes: the chance that a layer is left out of a step (0)",
    )
    parser.add_argument(
        "--draws",
        type=options.count,
        default=20,
        metavar="N",
        help="learned mixes: refits on resampled groups, for the intervals of the weights (20)",
    )


def _check_sources(args: argparse.Namespace, given: Any) -> None:
    """Look at what the head is to be evaluated on before it is trained."""
    if not args.eval:
        return
    labels = [(args.label, args.label)] if args.label else []
    labels += [(name, what.partition(":")[2]) for name, what in (given.tasks or {}).items()]
    api.evaluate.check_sources(args.dataset, args.eval, labels, **options.source_of(args))


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    given = named_tasks(args.task, args.mix)
    _check_sources(args, given)
    with shown(args) as progress:
        head = api.train.train(
            args.dataset,
            task=given.task,
            tasks=given.tasks,
            label=args.label,
            mix=given.mix,
            head=args.head,
            out=args.out,
            groups=args.groups,
            split=args.split,
            class_weight=args.class_weight,
            separator=args.separator,
            shared_hidden=args.shared_hidden,
            layer_dropout=args.layer_dropout,
            epochs=args.epochs,
            patience=args.patience,
            draws=args.draws,
            seed=args.seed,
            hidden=args.hidden,
            progress=progress,
            threads=args.threads,
        )
    for message in head.training["notes"]:
        options.note(message)
    if not args.json:
        options.say(*report(args.out, head.data))
    found: dict[str, Any] = {}
    if args.eval:
        saved = layerwise.load_head(
            args.out,
            model=args.model,
            revision=args.revision,
            device=args.device,
            allow_pickle=args.allow_pickle,
            trust_remote_code=args.trust_remote_code,
        )
        for source in args.eval:
            with shown(args) as progress:
                found[source] = saved.evaluate(
                    source, progress=progress, threads=args.threads, **options.source_of(args)
                )
            if not args.json:
                options.say("", *evaluation(source, found[source]))
    if args.json:
        options.print_json(
            {"out": args.out, "mixes": head.mixes, "training": head.data.training, "eval": found}
        )
    else:
        options.say(f"next: layerwise predict {shlex.quote(args.out)} SOURCE")
    return 0
