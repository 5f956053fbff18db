"""Run by test_extract: forks an extraction for each of many points, at which it is killed by SIGKILL.

usage: kill_extract.py MODEL FOLDER [shares | append | merge | repair]; with `shares` two workers are killed at
random points, with `append` an extraction that adds to a finished dataset, which is whole at every moment. With
`merge`, which needs no model and is quicker forked without torch, FOLDER/whole has to be there.
Prints the number of kills, exits with 1 when bytes differ.
"""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layerwise as lw
from layerwise.api.extract import extract_share
from layerwise.api.merge import merge
from layerwise.api.repair import repair
from layerwise.options import ExtractOptions
from layerwise.store import check_files, disk
from layerwise.store.tensors import TensorWriter

os.fsync = lambda fd: None  # a killed process takes nothing along that the system has; saves the time
TEXTS = [f"text number {n} " + "word " * (n % 7) for n in range(10)]


def in_child(job: Callable[[], object], die_at: int | None) -> int:
    """Do a job in a child that dies at a point; returns the points passed, or -1 when it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        points = 0

        def reached(*_: Any) -> None:
            nonlocal points
            points += 1
            if points == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        put = TensorWriter.put

        def put_and_count(self: TensorWriter, *args: Any) -> None:
            reached()
            put(self, *args)

        disk.reached = reached  # type: ignore[assignment]
        TensorWriter.put = put_and_count  # type: ignore[method-assign,assignment]
        job()
        os.write(writer, str(points).encode())
        os._exit(0)
    os.close(writer)
    status = os.waitpid(child, 0)[1]
    said = os.read(reader, 20)
    os.close(reader)
    if os.WIFSIGNALED(status):
        return -1
    if status:
        sys.exit(f"a child failed with {status} at {die_at}")
    return int(said)


def extract(
    source: Path, out: Path, encoder: Any, die_at: int | None, share: tuple[int, int] | None = None
) -> int:
    """Extract in a child that dies at a point; returns what `in_child` does."""

    def job() -> None:
        if share is None:
            lw.extract(source, out, model=encoder, shard_texts=4)
        else:
            extract_share(source, out, share, ExtractOptions(model=encoder, shard_texts=4))

    return in_child(job, die_at)


def kill_shares(source: Path, folder: Path, encoder: Any, expected: dict[str, bytes], points: int) -> int:
    """Kill two workers in turn until there were fifty kills; each round ends in a finished dataset."""
    rng = random.Random(0)
    kills = 0
    while kills < 50:
        out = folder / "killed"
        left = [(0, 2), (1, 2)]
        while left:
            share = rng.choice(left)
            killed = extract(source, out, encoder, rng.randint(1, points), share) == -1
            kills += killed
            left = left if killed else [one for one in left if one != share]
        lw.finish(out)
        found = {p.name: p.read_bytes() for p in (out / "shards").iterdir()}
        if found != expected or check_files(out):
            sys.exit(f"after {kills} kills: {sorted(set(found) ^ set(expected)) or 'other bytes'}")
        shutil.rmtree(out)
    return kills


def kill_job(job: Callable[[Path], object], folder: Path, old: Path | None, counts: set[int]) -> int:
    """Kill a job at each of its points, and going on with it at others, until it is through.

    Args:
        job: makes, or adds to, the dataset in the folder that it is given.
        folder: where to.
        old: the dataset that it begins with.
        counts: how many texts the dataset may have at any moment, if it is one; none: it needn't be one.
    """
    whole, out = folder / "expected", folder / "killed"
    kills = 0
    for point in [None, *range(1, 1000)]:
        target = whole if point is None else out
        if old is not None:
            shutil.copytree(old, target)
        if point is None:
            points = in_child(lambda: job(whole), None)
            continue
        if point > points:
            return kills
        for die_at in (point, 1 + point // 2):
            kills += in_child(lambda: job(out), die_at) == -1
            if counts and (check_files(out) or lw.open_dataset(out).texts.num_rows not in counts):
                sys.exit(f"killed at point {die_at} of {points}: {check_files(out)}, or other texts")
        in_child(lambda: job(out), None)
        left = sorted(p.name for p in out.iterdir() if p.is_file())
        if shards_of(out) != shards_of(whole) or check_files(out) or len(left) != 5:
            sys.exit(f"killed at point {point} of {points}: {check_files(out)}, {left}, or other bytes")
        shutil.rmtree(out)
    sys.exit("no end")


def shards_of(out: Path) -> dict[str, bytes]:
    """Every file of the shards, by name."""
    return {p.name: p.read_bytes() for p in (out / "shards").iterdir()}


def kill_other(what: str, source: Path, folder: Path, encoder: Any) -> int:
    """Kill an append or a repair; `folder/whole` is there."""
    whole = folder / "whole"
    if what == "append":
        with source.open("a") as file:
            file.writelines(f"one more {text}\n" for text in TEXTS[:6])

        def append(out: Path) -> None:
            lw.extract(source, out, model=encoder, shard_texts=4, append=True)

        return kill_job(append, folder, whole, {len(TEXTS), len(TEXTS) + 6})
    damaged = Path(shutil.copytree(whole, folder / "damaged"))
    for name in ("00000.safetensors", "00002.texts.parquet"):
        (damaged / "shards" / name).write_bytes(b"damaged")

    def repair_damaged(out: Path) -> None:
        repair(out, model=sys.argv[1], device="cpu")

    kills = kill_job(repair_damaged, folder, damaged, set())
    if shards_of(folder / "expected") != shards_of(whole):
        sys.exit("a repaired dataset has other bytes")
    return kills


def main() -> None:
    """Count the points of a whole run, then kill at each of them."""
    model, folder = sys.argv[1], Path(sys.argv[2])
    if "merge" in sys.argv:
        whole = folder / "whole"
        print(kill_job(lambda out: merge([whole, whole], out), folder, None, set()))
        return
    import torch

    torch.set_num_threads(1)  # a fork keeps only the thread that forks
    encoder = lw.load_encoder(model, device="cpu")
    encoder.hashes  # noqa: B018 - cached before the forks
    source = folder / "texts.txt"
    source.write_text("".join(text + "\n" for text in TEXTS))
    points = extract(source, folder / "whole", encoder, None)
    expected = {p.name: p.read_bytes() for p in (folder / "whole" / "shards").iterdir()}
    if "shares" in sys.argv:
        print(kill_shares(source, folder, encoder, expected, points))
        return
    if sys.argv[3:]:
        print(kill_other(sys.argv[3], source, folder, encoder))
        return
    kills = 0
    for point in range(1, points + 1):
        out = folder / "killed"
        kills += extract(source, out, encoder, point) == -1
        kills += extract(source, out, encoder, 1 + point // 2) == -1
        extract(source, out, encoder, None)
        found = {p.name: p.read_bytes() for p in (out / "shards").iterdir()}
        if found != expected:
            sys.exit(
                f"killed at point {point} of {points}: {sorted(set(found) ^ set(expected)) or 'other bytes'}"
            )
        lw.open_dataset(out)
        shutil.rmtree(out)
    print(kills)


if __name__ == "__main__":
    main()
