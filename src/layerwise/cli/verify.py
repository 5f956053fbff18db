"""Check the hash of every file of a dataset, and compare a sample of its rows with plain transformers.

Exits with 1 when a file is changed, missing or truncated, when a vector isn't finite, or when a row differs by more than
the tolerance. The tolerance follows from the precision of the computation and the stored type.
"""

import argparse

from layerwise import api
from layerwise._util.display import count_of
from layerwise.cli import flags, output
from layerwise.cli.progress import progress_display
from layerwise.options import LoadOptions, RunOptions, StoredModelOptions, VerifyOptions

HELP = "check the files of a dataset, and some rows against transformers"
EXAMPLES = """\
  layerwise verify reviews.lw
  layerwise verify private.lw --source reviews.csv --sample 100
  layerwise verify reviews.lw --sample 0 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", type=flags.path, metavar="DATASET", help="folder of a dataset")
    parser.add_argument(
        "--source", nargs="+", metavar="SOURCE", help="corpus of the dataset; needed when it stores no texts"
    )
    flags.add(parser, StoredModelOptions)
    flags.add(parser, VerifyOptions)
    flags.add(parser, LoadOptions, without=("revision",))
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with progress_display(args) as progress:
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
        output.print_json(check.to_json())
        return 0 if check.ok else 1
    for problem in check.problems:
        output.print_lines(f"{problem.file}: {problem.what}")
    if check.parity is not None:
        rows = [("layer", "max abs", "max rel", "cosine")]
        rows += [
            (layer, f"{p.max_abs:.1e}", f"{p.max_rel:.1e}", f"{p.cosine:.6f}")
            for layer, p in check.parity.items()
        ]
        output.print_lines(*output.table(rows, right=(1, 2, 3)))
        output.print_lines(
            f"{count_of(check.texts, 'text')} compared with plain transformers, one text at a time; tolerance of max rel: "
            f"{check.tolerance:.1e}"
        )
    if check.note is not None:
        output.print_note(check.note)
    if not check.ok:
        output.print_lines(f"not ok: {len(check.problems)} problems")
    elif check.parity is None:
        output.print_lines("ok: all files are unchanged; no row was compared")
    else:
        output.print_lines("ok")
    return 0 if check.ok else 1
