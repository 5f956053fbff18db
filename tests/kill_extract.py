"""Run by test_extract: forks an extraction for each of many points, at which it is killed by SIGKILL.

usage: kill_extract.py MODEL FOLDER [shares | append]; with `shares` two workers are killed at random points,
with `append` an extraction that adds to a finished dataset, which is whole at every moment.
Prints the number of kills, exits with 1 when bytes differ.
"""

import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch

import layerwise as lw
from layerwise.join.extract import extract_share
from layerwise.store import check_files, disk
from layerwise.store.tensors import TensorWriter

torch.set_num_threads(1)  # a fork keeps only the thread that forks
TEXTS = [f"text number {n} " + "word " * (n % 7) for n in range(10)]


def extract(
    source: Path,
    out: Path,
    encoder: Any,
    die_at: int | None,
    share: tuple[int, int] | None = None,
    *,
    append: bool = False,
) -> int:
    """Extract in a child that dies at a point; returns the points passed, or -1 when it was killed."""
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
        if share is None:
            lw.extract(source, out, model=encoder, shard_texts=4, append=append)
        else:
            extract_share(source, out, share, model=encoder, shard_texts=4)
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


def kill_append(source: Path, folder: Path, encoder: Any) -> int:
    """Kill an append at each of its points, and going on with it at another; the dataset is always whole."""
    old, new, out = folder / "whole", folder / "new", folder / "killed"
    shutil.copytree(old, new)
    with source.open("a") as file:
        file.writelines(f"one more {text}\n" for text in TEXTS[:6])
    points = extract(source, new, encoder, None, append=True)
    expected = {p.name: p.read_bytes() for p in (new / "shards").iterdir()}
    kills = 0
    for point in range(1, points + 1):
        shutil.copytree(old, out)
        for die_at in (point, point, 1 + point // 2):
            kills += extract(source, out, encoder, die_at, append=True) == -1
            wrong, texts = check_files(out), lw.open_dataset(out).texts.num_rows
            if wrong or texts not in (len(TEXTS), len(TEXTS) + 6):
                sys.exit(f"killed at point {die_at} of {points}: {texts} texts, {wrong}")
        extract(source, out, encoder, None, append=True)
        found = {p.name: p.read_bytes() for p in (out / "shards").iterdir()}
        left = sorted(p.name for p in out.iterdir() if p.is_file())
        if found != expected or check_files(out) or len(left) != 4:
            sys.exit(f"killed at {point} of {points}: {check_files(out)}, {left}, or other bytes")
        shutil.rmtree(out)
    return kills


def main() -> None:
    """Count the points of a whole run, then kill at each of them."""
    model, folder = sys.argv[1], Path(sys.argv[2])
    encoder = lw.load_encoder(model, device="cpu")
    encoder.hashes  # noqa: B018 - cached before the forks
    source = folder / "texts.txt"
    source.write_text("".join(text + "\n" for text in TEXTS))
    points = extract(source, folder / "whole", encoder, None)
    expected = {p.name: p.read_bytes() for p in (folder / "whole" / "shards").iterdir()}
    if "shares" in sys.argv:
        print(kill_shares(source, folder, encoder, expected, points))
        return
    if "append" in sys.argv:
        print(kill_append(source, folder, encoder))
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
