"""Check every file of a dataset against its hashes, and a sample of its rows against plain transformers.

Exits with 1 when anything is changed, missing, truncated, not finite, or out of the tolerance that follows from the
precision of the computation and the stored type.
"""

import argparse

from layerwise import api
from layerwise.cli import flags, options
from layerwise.cli.progress import shown
from layerwise.options import LoadOptions, RunOptions, VerifyOptions

HELP = "checks every file's hash, and a sample of rows against plain transformers"
EXAMPLES = """\
  layerwise verify reviews.lw
  layerwise verify private.lw --source reviews.csv --sample 100
  layerwise verify reviews.lw --sample 0 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=options.path, metavar="DATASET", help="the folder of a dataset")
    parser.add_argument(
        "--source", nargs="+", metavar="SOURCE", help="the corpus, when the dataset holds no texts"
    )
    parser.add_argument("--model", type=options.path, help="where the model is now, when it has moved")
    flags.add(parser, VerifyOptions)
    flags.add(parser, LoadOptions, without=("revision",))
    flags.add(parser, RunOptions)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with shown(args) as progress:
        check = api.verify.verify(
            args.dataset,
            source=args.source,
            model=args.model,
            **flags.values(args, VerifyOptions),
            **flags.values(args, LoadOptions, without=("revision",)),
            progress=progress,
            threads=args.threads,
        )
    if args.json:
        options.print_json(check.to_json())
        return 0 if check.ok else 1
    for problem in check.problems:
        options.say(f"{problem.file}: {problem.what}")
    if check.parity is not None:
        rows = [("layer", "max abs", "max rel", "cosine")]
        rows += [
            (layer, f"{p.max_abs:.1e}", f"{p.max_rel:.1e}", f"{p.cosine:.6f}")
            for layer, p in check.parity.items()
        ]
        options.say(*options.table(rows, right=(1, 2, 3)))
        options.say(
            f"{check.texts} texts against one-text forwards of transformers; tolerance on max rel {check.tolerance:.1e}"
        )
    if check.note is not None:
        options.note(check.note)
    if not check.ok:
        options.say(f"not ok: {len(check.problems)} problems")
    elif check.parity is None:
        options.say("ok: the files are as they were written; no row was compared")
    else:
        options.say("ok")
    return 0 if check.ok else 1
