"""How it grows: time and memory per text as the corpus grows, ten thousand shards, and two workers against one.

`make bench-scale`, or `python benchmarks/scale.py grow` for one part: `grow`, `shards`, `workers`,
`reading`, `tokenising`, `merging`.
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import Goal, documentation, heading, ratio, show, show_goals, write_jsonl

SIZES = {"text": (1_000, 10_000, 100_000), "token": (1_000, 5_000, 20_000)}
SHARDS = 10_000
ROUNDS = 3
WORKED = 6_400  # texts that workers share, in 32 shards


def child(source: str, out: str, level: str) -> None:
    """Extract, and print the seconds that it took and the peak memory in MB, the model loaded before."""
    import layerwise as lw

    encoder = lw.load_encoder("minilm")
    encoder.encode(["One text, so that everything is loaded that is loaded when it is needed."])
    start = time.perf_counter()
    dataset = lw.extract(source, out, model=encoder, level=level)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"seconds": seconds, "peak": peak, "tokens": dataset.manifest.totals.tokens}))


def grow(folder: Path) -> list[Goal]:
    """Extract corpora of growing size: a thousand paragraphs, again and again, so that all are alike."""
    texts = documentation(1_000)
    rows = [("level", "texts", "seconds", "texts/s", "peak MB")]
    goals = []
    for level, sizes in SIZES.items():
        found = {}
        for size in sizes:
            source, out = folder / f"{size}.jsonl", folder / f"{level}-{size}.lw"
            with source.open("w", encoding="utf-8") as file:
                for number in range(size):
                    file.write(json.dumps({"text": texts[number % len(texts)]}) + "\n")
            # What a few seconds take is more of an accident.
            runs = [_extracted(source, out, level) for _ in range(ROUNDS if size == sizes[0] else 1)]
            one = found[size] = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
            cells = (f"{one['seconds']:.1f}", f"{size / one['seconds']:.0f}", f"{one['peak']:.0f}")
            rows.append((level, f"{size:,}", *cells))
        most = sizes[-1]
        # The first thousand texts fill one shard in part, and carry what is paid once; from the second size on
        # all shards are whole.
        for size in sizes[:2]:
            against = f"{most:,} against {size:,}"
            per_text = (found[most]["seconds"] / most) / (found[size]["seconds"] / size)
            memory = found[most]["peak"] / found[size]["peak"]
            goals.append(Goal(f"{level}: time per text, {against}", per_text, 1.1, " x", most=True))
            goals.append(Goal(f"{level}: peak memory, {against}", memory, 1.1, " x", most=True))
    show(rows, right=(1, 2, 3, 4))
    return goals


def _extracted(source: Path, out: Path, level: str) -> dict[str, float]:
    try:
        return _child("child", source, out, level)
    finally:
        _remove(out)


def shards(folder: Path) -> list[Goal]:
    """Open a dataset of ten thousand shards: its manifest and what is known of each shard, no row of them."""
    import layerwise as lw
    from layerwise.store.layout import KINDS, Folder, to_json
    from layerwise.store.records import records_bytes

    (folder / "few.txt").write_text("".join(f"text number {n}\n" for n in range(8)))
    few = lw.extract(folder / "few.txt", folder / "few.lw", shard_texts=4)
    record = next(few.shards)
    records = []
    for number in range(SHARDS):
        files: dict[str, Any] = {
            kind: replace(
                record.files.of(kind),
                name=Folder(few.path).shard(number, kind).name,
                sha256=hashlib.sha256(f"{kind} {number}".encode()).hexdigest(),
            )
            for kind in KINDS
        }
        records.append(replace(record, number=number, files=replace(record.files, **files)))
    data, entry = records_bytes(records)
    writing = _median(lambda: records_bytes(records))
    many = folder / "many.lw"
    many.mkdir()
    (many / entry.name).write_bytes(data)
    (source,) = few.manifest.sources
    manifest = replace(few.manifest, shards=entry, sources=(replace(source, shards=SHARDS),))
    (many / "manifest.json").write_bytes(to_json(manifest.to_json()))
    opening = _median(lambda: lw.open_dataset(many).rows)
    known = _median(lambda: sum(shard.rows for shard in lw.open_dataset(many).shards))
    size = (many / "manifest.json").stat().st_size + len(data)
    show(
        [
            ("10,000 shards", ""),
            ("opened, rows counted", f"{opening * 1e3:.1f} ms"),
            ("every record read", f"{known * 1e3:.0f} ms"),
            ("every record put into bytes, as `finish` does", f"{writing * 1e3:.0f} ms"),
            ("manifest and records", f"{size / 1e6:.2f} MB"),
        ]
    )
    return [Goal("opening a dataset of 10,000 shards", opening * 1e3, 50, " ms", most=True)]


def workers(folder: Path) -> list[Goal]:
    """Let one process of one thread, and two, make the same dataset; loading the model isn't counted."""
    crews: dict[str, Callable[[Any, int], AbstractContextManager[Any]]] = {"locally": _locally}
    if importlib.util.find_spec("ray"):
        crews["on Ray"] = _on_ray
    else:
        print("Ray left out: not installed; run: pip install 'layerwise[ray]'")
    source = write_jsonl(folder / "worked.jsonl", documentation(WORKED))
    rows, goals = [("workers of one thread", "seconds", "texts/s")], []
    for name, executor in crews.items():
        seconds = _worked(source, folder, executor)
        one, two = (statistics.median(seconds[count]) for count in (1, 2))
        rows += [
            (f"1, {name}", f"{one:.1f}", f"{WORKED / one:.0f}"),
            (f"2, {name}", f"{two:.1f}", f"{WORKED / two:.0f}"),
        ]
        goals.append(
            Goal(f"2 workers of one thread against 1, {name}", ratio(seconds[1], seconds[2]), 1.8, " x")
        )
    show(rows, right=(1, 2))
    return goals


def _worked(
    source: Path, folder: Path, executor_of: Callable[[Any, int], AbstractContextManager[Any]]
) -> dict[int, list[float]]:
    """Return the seconds of one worker and of two, per round."""
    from layerwise._util.progress import SILENT
    from layerwise.extraction.prepare import prepare
    from layerwise.options import ExtractOptions

    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(ROUNDS):
        for count in (1, 2) if number % 2 else (2, 1):
            out = folder / f"workers-{count}-{number}.lw"
            job = prepare(source, out, ExtractOptions(shard_texts=200, device="cpu"), together=True)
            with executor_of(job.recipe, count) as executor:
                start = time.perf_counter()
                job.run(executor, SILENT, append=False)
                seconds[count].append(time.perf_counter() - start)
            _remove(out)
    return seconds


@contextlib.contextmanager
def _locally(recipe: Any, count: int) -> Iterator[Any]:
    from layerwise.parallel import local

    with local.ProcessExecutor(recipe, count, threads=count) as executor:  # a thread for each
        yield executor


@contextlib.contextmanager
def _on_ray(recipe: Any, count: int) -> Iterator[Any]:
    import ray

    from layerwise.parallel.ray import RayExecutor

    ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        with RayExecutor(recipe, count) as executor:
            yield executor
    finally:
        ray.shutdown()


def reading(folder: Path) -> list[Goal]:
    """Read a JSONL source and cut it into shards, as every worker of a queue does with what isn't its own."""
    from layerwise.read import open_corpus
    from layerwise.read.shards import CHARACTERS, TEXTS
    from layerwise.read.shards import shards as cut

    source = folder / "read.jsonl"
    texts = documentation(1_000)
    lines = "".join(json.dumps({"text": text, "label": "a"}) + "\n" for text in texts)
    source.write_text(lines * 50, encoding="utf-8")

    def read() -> int:
        return sum(len(shard) for shard in cut(open_corpus(source).records(), TEXTS, CHARACTERS["text"]))

    seconds = _median(read, 5)
    size = source.stat().st_size / 1e6
    show(
        [
            ("reading JSONL, one process", ""),
            ("texts/s", f"{50_000 / seconds:,.0f}"),
            ("MB/s", f"{size / seconds:.0f}"),
        ]
    )
    return []


def tokenising(folder: Path) -> list[Goal]:
    """Tokenise and lay out a shard's texts, in a process whose tokenizer may use one core, and one that may all."""
    source = write_jsonl(folder / "tokenised.jsonl", documentation(2_048))
    rows = [("tokenising, and laying out rows", "texts/s")]
    seconds: dict[str, list[float]] = {"1": [], "all": []}
    for _ in range(ROUNDS):
        for threads, taken in seconds.items():
            own = {"RAYON_NUM_THREADS": "1" if threads == "1" else str(os.cpu_count())}
            taken.append(_child("tokenise", source, **own)["seconds"])
    for threads, taken in seconds.items():
        rows.append((f"tokenizer threads: {threads}", f"{2_048 / statistics.median(taken):,.0f}"))
    show(rows, right=(1,))
    return []


def tokenise(source: str) -> None:
    """Print the seconds that a shard's texts take to be tokenised, at text level."""
    import layerwise as lw
    from layerwise.read import open_corpus

    encoder = lw.load_encoder("minilm", device="cpu")
    examples, request = list(open_corpus(source)), encoder.request()
    print(json.dumps({"seconds": _median(lambda: encoder.plan(examples, request))}))


def merging(folder: Path) -> list[Goal]:
    """Merge two datasets of token level: what it copies and hashes per second."""
    import layerwise as lw

    halves = []
    for number in range(2):
        texts = documentation(4_096)[number * 2_048 : (number + 1) * 2_048]
        source = write_jsonl(folder / f"half-{number}.jsonl", texts)
        halves.append(lw.extract(source, folder / f"half-{number}.lw", level="token"))
    size = sum(half.manifest.totals.bytes for half in halves) / 1e9
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        lw.merge([half.path for half in halves], folder / "merged.lw")
        seconds.append(time.perf_counter() - start)
        _remove(folder / "merged.lw")
    show([("merging", ""), ("size", f"{size:.2f} GB"), ("GB/s", f"{size / statistics.median(seconds):.2f}")])
    return []


PARTS: dict[str, Callable[[Path], list[Goal]]] = {
    "grow": grow,
    "shards": shards,
    "workers": workers,
    "reading": reading,
    "tokenising": tokenising,
    "merging": merging,
}


def main(names: list[str]) -> int:
    """Run the parts that are named, or all."""
    unknown = set(names) - set(PARTS)
    if unknown:
        print(f"no part {sorted(unknown)}; there are {list(PARTS)}", file=sys.stderr)
        return 2
    heading("scale: extraction as the corpus, the number of shards and the workers grow; minilm", "ray")
    goals = []
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as folder:
        for name, part in PARTS.items():
            if not names or name in names:
                goals += part(Path(folder))
                print(flush=True)
    show_goals(goals)
    return 0


def _child(*arguments: str | Path, **environment: str) -> dict[str, float]:
    command = [sys.executable, __file__, *map(str, arguments)]
    own = {**os.environ, **environment}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=own)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _median(action: Callable[[], object], runs: int = 15) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
    elif sys.argv[1:2] == ["tokenise"]:
        tokenise(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
