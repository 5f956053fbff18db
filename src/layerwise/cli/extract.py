"""Write every layer of a whole corpus to a dataset. The same command again goes on, or says that it is done."""

import argparse
import shlex
from typing import Any

from layerwise import api
from layerwise.cli import flags, options
from layerwise.cli.progress import shown
from layerwise.errors import RequestError
from layerwise.options import ExtractOptions, RunOptions, WorkerOptions

HELP = "every layer of a whole corpus, on disk"
EXAMPLES = """\
  layerwise extract reviews.csv --out reviews.lw
  layerwise extract train.conll --words token --level word --out ner.lw
  layerwise extract 'books/**/*.txt' --format docs --layers -4: --dtype int8 --out books.lw
  layerwise extract sts.csv --columns a,b,score --text a,b --out sts.lw
  layerwise extract reviews.csv --out reviews.lw --workers 2
  layerwise extract more.csv --out reviews.lw --append
  layerwise extract *.jsonl --out big.lw --num-workers 100 --worker-index 7
  layerwise extract 's3://corpus/*.jsonl' --out s3://rows/big.lw --cluster ray --workers 8
  zcat lines.gz | layerwise extract - --model bert-base-uncased --out lines.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="files, globs, a folder (--format docs), URLs of them (s3://, gs://, hf://), or - for stdin",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=options.path,
        metavar="DIR",
        help="the folder of the dataset, or its URL (s3://, gs://)",
    )
    flags.add(parser, ExtractOptions)
    flags.add(parser, WorkerOptions)
    parser.add_argument(
        "--num-workers",
        type=int,
        metavar="N",
        help="for job queues: this is one of N such commands, in any order",
    )
    parser.add_argument(
        "--worker-index",
        type=int,
        metavar="I",
        help="which of them, 0 to N - 1; `layerwise finish` joins them",
    )
    flags.add(parser, RunOptions)
    options.quiet_option(parser)
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    share, request = _share(args), flags.values(args, ExtractOptions)
    before = options.stamp(args.out)
    with shown(args) as progress:
        if share is not None:
            progress_of_share = api.extract.extract_share(
                args.source, args.out, share, progress=progress, threads=args.threads, **request
            )
        else:
            dataset = api.extract.extract(
                args.source,
                args.out,
                **flags.values(args, WorkerOptions),
                progress=progress,
                threads=args.threads,
                **request,
            )
    if share is not None:
        return _tell_share(args, share, progress_of_share)
    facts = api.info.describe_dataset(dataset)
    nothing = before is not None and before == options.stamp(args.out)
    for message in facts["notices"]:
        options.note(message)
    for record in facts["skipped"]:
        options.note(f"skipped {record['source']}, line {record['line']}: {record['why']}")
    if args.json:
        options.print_json({"out": args.out, "already_finished": nothing, **_summary(facts)})
    else:
        options.say(*_report(args.out, facts, nothing))
    return 0


def _share(args: argparse.Namespace) -> tuple[int, int] | None:
    """Return which worker of how many this is.

    Raises:
        RequestError: options that don't go together.
    """
    if args.num_workers is None and args.worker_index is None:
        return None
    if args.num_workers is None or args.worker_index is None:
        raise RequestError("--num-workers and --worker-index go together: --num-workers 4 --worker-index 0")
    others = {
        "--append": args.append,
        f"--workers {args.workers}": args.workers is not None,
        f"--cluster {args.cluster}": args.cluster is not None,
    }
    other = next((name for name, is_given in others.items() if is_given), None)
    if other is not None:
        raise RequestError(f"{other} doesn't go with --num-workers; leave one of them out")
    return args.worker_index, args.num_workers


def _tell_share(args: argparse.Namespace, share: tuple[int, int], counts: dict[str, Any]) -> int:
    if args.json:
        options.print_json({"out": args.out, "worker_index": share[0], "num_workers": share[1], **counts})
        return 0
    options.say(
        f"{args.out}: worker {share[0]} of {share[1]} is through: {counts['shards']:,} of {counts['of_shards']:,} "
        f"shards, {counts['texts']:,} of {counts['of_texts']:,} texts"
    )
    options.say(f"next, when all workers are: layerwise finish {shlex.quote(args.out)}")
    return 0


def _summary(facts: dict[str, Any]) -> dict[str, Any]:
    totals = options.totals(facts)
    return {
        "layers": facts["layers"],
        "width": facts["width"],
        "level": facts["level"],
        "pool": facts["pool"],
        **totals,
        "skipped": len(facts["skipped"]),
    }


def _report(out: str, facts: dict[str, Any], before: bool) -> list[str]:
    if before:
        return [f"{out} is already finished: the same settings and the same source; nothing to do."]
    sums = _summary(facts)
    seconds = sums["seconds"]
    speed = (
        ""
        if seconds is None
        else f" in {seconds:,.1f} s ({sums['tokens'] / max(seconds, 1e-9):,.0f} tokens/s)"
    )
    pool = f", pool {sums['pool']}" if sums["pool"] else ""
    lines = [
        f"{out}: {sums['rows']:,} rows × {len(sums['layers'])} layers × {sums['width']} "
        f"({facts['dtype']}, {options.size(sums['bytes'])}), level {sums['level']}{pool}",
        f"  {sums['texts']:,} texts, {sums['tokens']:,} tokens{speed}",
    ]
    lines += [f"  {line}" for line in _coverage(sums)]
    quoted = shlex.quote(out)
    return [*lines, f"next: layerwise info {quoted}   ·   layerwise verify {quoted}"]


def _coverage(sums: dict[str, Any]) -> list[str]:
    """Say what became of texts that didn't go through whole; nothing when all did."""
    says = {
        "windowed_texts": f"{sums['windowed_texts']:,} long texts in overlapping windows ({sums['windows']:,} windows in all)",
        "truncated_texts": f"{sums['truncated_texts']:,} texts cut: {sums['truncated_tokens']:,} tokens are not in the dataset",
        "dropped_words": f"{sums['dropped_words']:,} words that the tokenizer drops stand as the unknown token",
        "lost_words": f"{sums['lost_words']:,} words without any token have no row",
        "special_only_texts": f"{sums['special_only_texts']:,} texts have only special tokens",
        "skipped": f"{sums['skipped']:,} bad records skipped",
    }
    return [line for name, line in says.items() if sums[name]]
