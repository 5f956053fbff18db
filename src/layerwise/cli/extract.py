"""Write every layer of a whole corpus to a dataset. The same command again goes on, or says that it is done."""

import argparse
import shlex
from typing import Any

from layerwise import names
from layerwise.cli import options

HELP = "every layer of a whole corpus, on disk"
EXAMPLES = """\
  layerwise extract reviews.csv --out reviews.lw
  layerwise extract train.conll --words token --level word --out ner.lw
  layerwise extract 'books/**/*.txt' --format docs --layers -4: --dtype int8 --out books.lw
  layerwise extract sts.csv --columns a,b,score --text a,b --out sts.lw
  zcat lines.gz | layerwise extract - --model bert-base-uncased --out lines.lw
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of surface.md."""
    parser.add_argument(
        "source", nargs="+", metavar="SOURCE", help="files, globs, a folder (--format docs), or - for stdin"
    )
    parser.add_argument(
        "--out", required=True, type=options.path, metavar="DIR", help="the folder of the dataset"
    )
    options.model_options(parser)
    parser.add_argument("--layers", default="all", help="all, emb, 8, -1, 1,6,12, 1:, -4: (all)")
    options.level_options(parser, ("token", "word", "text"), "text")
    parser.add_argument(
        "--precision", default="fp32", metavar="{fp32,bf16}", help="of the computation (fp32)"
    )
    parser.add_argument(
        "--dtype", default="float16", metavar="TYPE", help=f"at rest: {', '.join(names.DTYPES)} (float16)"
    )
    parser.add_argument(
        "--long",
        default="window",
        metavar="{window,truncate,error}",
        help="what to do with long texts (window)",
    )
    parser.add_argument(
        "--overlap", type=int, metavar="N", help="pieces that windows share (a quarter of the window)"
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="pieces that go through the model at once"
    )
    parser.add_argument("--batch-tokens", type=int, metavar="N", help="pieces of a batch")
    options.source_options(parser)
    parser.add_argument(
        "--no-text", action="store_true", help="store no texts, words, piece numbers or carried strings"
    )
    parser.add_argument(
        "--keep",
        action="extend",
        nargs="+",
        default=[],
        metavar="COL",
        help="with --no-text: columns to keep",
    )
    parser.add_argument("--shard-texts", type=int, metavar="N", help="texts per shard")
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from layerwise.join.extract import extract
    from layerwise.join.info import stored_bytes
    from layerwise.progress import Progress

    before = options.finished(args.out)
    progress = Progress(quiet=args.json)
    try:
        dataset = extract(
            args.source,
            args.out,
            model=args.model,
            layers=args.layers,
            level=args.level,
            pool=args.pool,
            precision=args.precision,
            dtype=args.dtype,
            long=args.long,
            overlap=args.overlap,
            max_length=args.max_length,
            batch_tokens=args.batch_tokens,
            device=args.device,
            special_tokens=not args.no_special_tokens,
            format=args.format,
            text=args.text,
            words=args.words,
            id=args.id,
            columns=args.columns.split(",") if args.columns is not None else None,
            encoding=args.encoding,
            no_text=args.no_text,
            keep=args.keep,
            skip_bad=args.skip_bad,
            limit=args.limit,
            shard_texts=args.shard_texts,
            revision=args.revision,
            allow_pickle=args.allow_pickle,
            trust_remote_code=args.trust_remote_code,
            progress=progress,
        )
    finally:
        progress.close()
    manifest = dataset.manifest
    size = stored_bytes(manifest)
    for message in manifest["notices"]:
        options.note(message)
    for record in manifest["skipped"]:
        options.note(f"skipped {record['source']}, line {record['line']}: {record['why']}")
    if args.json:
        options.print_json({"out": args.out, "already_finished": before, **_summary(manifest, size)})
    else:
        print(_report(args.out, manifest, size, before))
    return 0


def _summary(manifest: dict[str, Any], size: int) -> dict[str, Any]:
    totals = manifest["totals"]
    return {
        "layers": manifest["layers"],
        "width": manifest["width"],
        "level": manifest["level"],
        "pool": manifest["pool"],
        **totals,
        "skipped": len(manifest["skipped"]),
        "bytes": size,
        "seconds": sum(shard["seconds"] for shard in manifest["shards"]),
    }


def _report(out: str, manifest: dict[str, Any], size: int, before: bool) -> str:
    if before:
        return f"{out} is already finished: the same settings and the same source; nothing to do."
    found = _summary(manifest, size)
    seconds = max(found["seconds"], 1e-9)
    pool = f", pool {found['pool']}" if found["pool"] else ""
    lines = [
        f"{out}: {found['rows']:,} rows × {len(found['layers'])} layers × {found['width']} "
        f"({manifest['dtype']}, {options.size(size)}), level {found['level']}{pool}",
        f"  {found['texts']:,} texts, {found['pieces']:,} pieces in {seconds:,.1f} s "
        f"({found['pieces'] / seconds:,.0f} pieces/s)",
    ]
    lines += [f"  {line}" for line in _coverage(found)]
    quoted = shlex.quote(out)
    lines.append(f"next: layerwise info {quoted}   ·   layerwise verify {quoted}")
    return "\n".join(lines)


def _coverage(found: dict[str, Any]) -> list[str]:
    """Say what became of texts that didn't go through whole; nothing when all did."""
    says = {
        "windowed_texts": f"{found['windowed_texts']:,} long texts in overlapping windows ({found['windows']:,} windows in all)",
        "truncated_texts": f"{found['truncated_texts']:,} texts cut: {found['truncated_pieces']:,} pieces are not in the dataset",
        "dropped_words": f"{found['dropped_words']:,} words that the tokenizer drops stand as the unknown piece",
        "lost_words": f"{found['lost_words']:,} words without any piece have no row",
        "special_only_texts": f"{found['special_only_texts']:,} texts have only special pieces",
        "skipped": f"{found['skipped']:,} bad records skipped",
    }
    return [line for name, line in says.items() if found[name]]
