"""A disk that is really full in the middle of a shard: a small tmpfs, where one can be mounted."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise.errors import OutputError
from layerwise.store import check_files, disk
from layerwise.store.layout import Folder


def mount(*options: str) -> bool:
    done = subprocess.run(["mount", *options], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds four shards of the test below and not six: four may be under way at the same time."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        there = mount("-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder))
    except FileNotFoundError:
        there = False
    if not there:
        pytest.skip("a tmpfs can't be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


@pytest.mark.usefixtures("quick_workers")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_committed_is_kept_and_gone_on_with(
    workers: int, small: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("".join(f"text number {n}\n" for n in range(600)), encoding="utf-8")
    options: dict[str, Any] = {
        "model": model_folder("bert"),
        "device": "cpu",
        "dtype": "float32",
        "shard_texts": 100,
    }
    whole = contents(lw.extract(source, tmp_path / "whole", **options).path)
    out = small / "out"
    with pytest.raises(
        OutputError, match="No space left on device; what was committed is kept; free some space"
    ):
        lw.extract(source, out, workers=workers, **options)
    kept = sorted((out / "work").glob("0*.json"))
    assert 0 < len(kept) < 6, "some shards fitted, and not all"
    for record in kept:
        shard = Folder(out).shard(int(record.stem), "tensors")
        assert shard.read_bytes() == whole[shard.name], "a committed shard is whole"
    assert mount("-o", "remount,size=4m", str(small))
    assert contents(lw.extract(source, out, workers=workers, **options).path) == whole
    assert check_files(out) == []


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "what",
    [
        *("report", "parquet", "npy", "probe", "head", "int8", "faiss", "usearch", "cut", "static"),
        pytest.param("onnx", marks=pytest.mark.slow),
    ],
)
def test_what_finds_no_room_leaves_nothing(
    what: str, small: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    lines = [json.dumps({"text": f"text number {n}", "label": "ab"[n % 2]}) for n in range(40)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    dataset = lw.extract(tmp_path / "texts.jsonl", tmp_path / "out", model=model_folder("bert"), device="cpu")
    room = os.statvfs(small)
    (small / "others").write_bytes(bytes(room.f_bavail * room.f_frsize - 4096))
    assert listing(small) == ["others"]
    out = small / "new" / "folders" / "made"
    verbs: dict[str, Callable[[], Any]] = {
        "report": lambda: lw.report(dataset, out, texts=[]),
        "parquet": lambda: lw.export(dataset, out),
        "npy": lambda: lw.export(dataset, out, to="npy"),
        "probe": lambda: lw.probe(dataset, task="classify", label="label", mix=[], quick=True, out=out),
        "int8": lambda: lw.export(dataset, out, to="int8", mix="2"),
        "faiss": lambda: lw.export(dataset, out, to="faiss", mix="2"),
        "usearch": lambda: lw.export(dataset, out, to="usearch", mix="2"),
        "cut": lambda: lw.cut(model_folder("bert"), out, at=2, device="cpu"),
        "static": lambda: lw.cut(model_folder("bert"), out, at=1, static=True, device="cpu"),
        "onnx": lambda: lw.cut(model_folder("bert"), out, at=1, to="onnx", device="cpu"),
        "head": lambda: lw.train(dataset, task="classify", label="label", mix="concat(all)", out=out),
    }
    with pytest.raises(OutputError, match="No space left on device; "):
        verbs[what]()
    assert listing(small) == ["others"]


def test_half_a_file_is_no_use_to_anybody(small: Path) -> None:
    path = small / "file"
    with pytest.raises(OSError, match="No space"):
        disk.write_file(path, bytes(1 << 20))
    assert listing(small) == []
