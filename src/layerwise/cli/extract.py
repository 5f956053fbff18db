"""Encode a corpus and write all layers to a dataset on disk.

After an interruption, run the same command again: it continues. On a finished dataset it does nothing.
"""

import argparse
import shlex
from collections.abc import Mapping
from typing import Any

from layerwise import api
from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.cli import flags, output
from layerwise.cli.finished import dataset_facts, manifest_bytes
from layerwise.cli.progress import progress_display
from layerwise.errors import RequestError
from layerwise.options import ExtractOptions, LoadOptions, RunOptions, WorkerOptions
from layerwise.widths import shown_width

HELP = "write every layer of a whole corpus to disk"
EXAMPLES = """\
  layerwise extract reviews.csv --out reviews.lw
  layerwise extract train.conll --words token --level word --out ner.lw
  layerwise extract 'books/**/*.txt' --format docs --layers -4: --dtype int8 --out books.lw
  layerwise extract sts.csv --columns a,b,score --text a,b --out sts.lw
  layerwise extract reviews.csv --out reviews.lw --layers all,value.1:,attention.6
  layerwise extract reviews.csv --out reviews.lw --workers 2
  layerwise extract more.csv --out reviews.lw --append
  layerwise extract *.jsonl --out big.lw --num-workers 100 --worker-index 7
  layerwise extract 's3://corpus/*.jsonl' --out s3://rows/big.lw --cluster ray --workers 8
  layerwise extract lines.txt.gz --model bert-base-uncased --out lines.lw
  layerwise extract shop.csv --separator ';' --text title,description --join '. ' --na NA --out shop.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="files, globs, a folder (with --format docs, or of save_to_disk), URLs (s3://, gs://, hf://), or - for stdin",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=flags.path,
        metavar="DIR",
        help="folder of the dataset to write, or its URL (s3://, gs://)",
    )
    flags.add(parser, ExtractOptions)
    flags.add(parser, WorkerOptions)
    parser.add_argument(
        "--num-workers",
        type=flags.integer,
        metavar="N",
        help="for job queues: divide the work between N commands, each with its own --worker-index",
    )
    parser.add_argument(
        "--worker-index",
        type=flags.integer,
        metavar="I",
        help="which of the N commands this is, from 0 to N - 1; run `layerwise finish` after all of them",
    )
    flags.add(parser, RunOptions)
    flags.add_quiet(parser)
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    share, request = _share(args), flags.values(args, ExtractOptions)
    manifest_before = manifest_bytes(args.out)
    with progress_display(args) as progress:
        if share is not None:
            share_counts = api.extract.extract_share(
                args.source,
                args.out,
                share,
                ExtractOptions(**request),
                progress=progress,
                threads=args.threads,
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
        return _print_share(args, share, share_counts)
    facts = dataset_facts(dataset)
    already_finished = manifest_before is not None and manifest_before == manifest_bytes(args.out)
    for message in facts["notices"]:
        output.print_note(message)
    for record in facts["skipped"]:
        output.print_note(f"skipped {record['source']}, line {record['line']}: {record['why']}")
    if args.json:
        heading = {"out": args.out, "already_finished": already_finished}
        output.print_json({**heading, **_summary(facts), "notices": facts["notices"]})
    else:
        output.print_lines(*_report(args.out, facts, already_finished))
        if not already_finished:
            output.print_lines(*_next(args, dataset))
    return 0


def _next(args: argparse.Namespace, dataset: Any) -> list[str]:
    """Return the commands that are likely next, with those of the options of this one that they need too."""
    quoted = shlex.quote(args.out)
    needed = [
        argument(name, value)
        for name, value in flags.values(args, LoadOptions, without=("revision", "adapter")).items()
        if value
    ]
    if args.no_text and "-" not in args.source:
        needed.append(f"--source {shlex.join(args.source)}")
    lines = [f"next: layerwise info {quoted}   ·   layerwise verify {' '.join([quoted, *needed])}"]
    task_and_label = api.extract.likely_label(dataset)
    if task_and_label is not None:
        task, label = task_and_label
        options = shlex.join(["--task", task, "--label", label, "--out", _probe_of(args.out)])
        lines.append(f"      layerwise probe {quoted} {options}")
    return lines


def _probe_of(out: str) -> str:
    """Return the folder for a probe of a dataset, beside it."""
    return f"{out.rstrip('/').removesuffix('.lw')}.probe"


def _share(args: argparse.Namespace) -> tuple[int, int] | None:
    """Return the index of this worker and the number of workers; `None` without `--num-workers`.

    Raises:
        RequestError: options that can't be used together.
    """
    if args.num_workers is None and args.worker_index is None:
        return None
    if args.num_workers is None or args.worker_index is None:
        raise RequestError(
            "--num-workers and --worker-index need each other; give both, for example --num-workers 4 --worker-index 0"
        )
    others = {
        "--append": args.append,
        f"--workers {args.workers}": args.workers is not None,
        f"--cluster {args.cluster}": args.cluster is not None,
    }
    other = next((name for name, is_given in others.items() if is_given), None)
    if other is not None:
        raise RequestError(f"{other} can't be used with --num-workers; leave one of them out")
    return args.worker_index, args.num_workers


def _print_share(args: argparse.Namespace, share: tuple[int, int], counts: dict[str, Any]) -> int:
    if args.json:
        output.print_json({"out": args.out, "worker_index": share[0], "num_workers": share[1], **counts})
        return 0
    output.print_lines(
        f"{args.out}: worker {share[0]} of {share[1]} is done: {counts['shards']:,} of {counts['of_shards']:,} "
        f"shards, {counts['texts']:,} of {count_of(counts['of_texts'], 'text')}"
    )
    output.print_lines(f"next, when all workers are done: layerwise finish {shlex.quote(args.out)}")
    return 0


def _summary(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "layers": facts["layers"],
        "width": facts["width"],
        "level": facts["level"],
        "pool": facts["pool"],
        **facts["totals"],
        "skipped": len(facts["skipped"]),
    }


def _report(out: str, facts: Mapping[str, Any], already_finished: bool) -> list[str]:
    if already_finished:
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
        f"{out}: {count_of(sums['rows'], 'row')} × {count_of(len(sums['layers']), 'layer')} × "
        f"{shown_width(facts['width_of_layers'])} "
        f"({facts['dtype']}, {output.size(sums['bytes'])}), level {sums['level']}{pool}",
        f"  {count_of(sums['texts'], 'text')}, {count_of(sums['tokens'], 'token')}{speed}",
    ]
    return [*lines, *(f"  {line}" for line in _coverage(sums))]


def _coverage(sums: dict[str, Any]) -> list[str]:
    """Return a line for each kind of text or word that is not stored as a whole."""
    lines = {
        "windowed_texts": "long texts, encoded in overlapping windows: {windowed_texts:,} ({windows:,} windows)",
        "truncated_texts": "truncated texts: {truncated_texts:,} ({truncated_tokens:,} tokens are not stored)",
        "unknown": "tokens that the model doesn't know, each read as its unknown token: {unknown:,}",
        "dropped_words": "words that the tokenizer drops, encoded as the unknown token: {dropped_words:,}",
        "lost_words": "words without any token, which have no row: {lost_words:,}",
        "context_tokens": "tokens of neighbours, read as context: {context_tokens:,}",
        "cut_contexts": "texts whose window had no room for all of their context: {cut_contexts:,}",
        "special_only_texts": "empty texts, which have only special tokens: {special_only_texts:,}",
        "skipped": "records skipped, because they can't be read: {skipped:,}",
    }
    return [line.format_map(sums) for name, line in lines.items() if sums.get(name)]
