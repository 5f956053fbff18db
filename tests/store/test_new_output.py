"""A new file or folder: written by one process at a time, on the disk before it has its name, and never over another."""

import os
import stat
import threading
from pathlib import Path

import pytest

from layerwise.errors import OutputError
from layerwise.store import disk
from waiting import SECONDS


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_second_writer_is_told_and_the_first_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    inside, ends = threading.Event(), threading.Event()

    def write() -> None:
        with disk.new(out) as part:
            part.mkdir()
            disk.write_file(part / "a", b"first")
            inside.set()
            ends.wait(SECONDS)
            disk.write_file(part / "b", b"too")

    first = threading.Thread(target=write)
    first.start()
    try:
        assert inside.wait(SECONDS)
        with (
            pytest.raises(OutputError, match="out is in use: another process is writing it; wait"),
            disk.new(out),
        ):
            pytest.fail("two writers")
        assert (out.parent / ".out.part" / "a").is_file(), "the first has lost nothing"
    finally:
        ends.set()
        first.join(SECONDS)
    assert listing(tmp_path) == ["new", "new/out", "new/out/a", "new/out/b"]


def test_what_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    def write() -> None:
        with disk.new(tmp_path / "out") as part:
            disk.write_synced(part, b"ours")
            (tmp_path / "out").write_bytes(b"mine")

    with pytest.raises(OutputError, match="out already exists; give a new name"):
        write()
    assert listing(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with disk.new(tmp_path / "out") as part:
            part.mkdir()
            (part / "half").write_bytes(b"x")
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "out").exists()
    assert ".out.part/half" in listing(tmp_path)
    with disk.new(tmp_path / "out") as part:
        part.mkdir()
        (part / "whole").write_bytes(b"x")
    assert listing(tmp_path) == ["out", "out/whole"]


def test_files_of_other_libraries_are_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        if (tmp_path / "out").exists():
            assert stat.S_ISDIR(os.fstat(descriptor).st_mode), "only the folder above is left to sync"
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with disk.new(tmp_path / "out") as part:
        (part / "inner").mkdir(parents=True)
        for path in (part / "a", part / "inner" / "b"):
            path.write_bytes(b"by others")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_ino for path in files} <= synced
