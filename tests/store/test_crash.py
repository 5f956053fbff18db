"""A writer is killed at every sync, rename and removal, and gone on with: the bytes must be the same.

The kills are real: a process of its own, without threads, forks a child for each, which dies at its point.
"""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from layerwise.errors import DatasetError
from layerwise.store import disk
from layerwise.store.reader import open_dataset
from layerwise.store.tensors import TensorWriter
from layerwise.store.verify import check_files
from stored import contents, make

DEAD = 77
SIZES = (3, 0, 2)


def in_child(action: Callable[[], None]) -> int:
    """Run `action` in a child; return its exit status."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_and_die(out: Path, point: int, log: Path | None = None) -> None:
    """Write the dataset, and die at the point of this number, or note how many there are."""
    passed = 0

    def reached(event: str, path: Path) -> None:
        nonlocal passed
        passed += 1
        if passed > point >= 0:
            os._exit(DEAD)

    disk.reached = reached
    put = TensorWriter.put

    def put_and_count(self: TensorWriter, *args: object) -> None:
        reached("put", out)
        put(self, *args)  # type: ignore[arg-type]

    TensorWriter.put = put_and_count  # type: ignore[method-assign,assignment]
    make(out, SIZES)
    if log is not None:
        log.write_text(str(passed))


def go_on(out: Path, whole: Path) -> None:
    """Check what the dead left, finish it, and compare it with one that was never killed."""
    try:
        found = open_dataset(out)
    except DatasetError:
        pass
    else:
        assert found.rows == sum(SIZES), "a dataset that opens before it is whole"
        assert check_files(out) == []
    make(out, SIZES)
    for name, data in contents(whole).items():
        assert contents(out).get(name) == data, f"{name} differs"
    left = contents(out).keys() - contents(whole).keys()
    assert not left, f"left over: {left}"


def main(root: Path) -> None:
    os.fsync = lambda fd: None  # a killed process takes nothing along that the system has; saves the time
    make(root / "first", SIZES)  # so that no child has to import anything
    whole = root / "whole"
    assert in_child(lambda: write_and_die(whole, -1, root / "points")) == 0
    points = int((root / "points").read_text())
    for point in range(points):
        out = root / f"at-{point}"
        assert in_child(lambda out=out, point=point: write_and_die(out, point)) == DEAD  # type: ignore[misc]
        if point % 3 == 0:  # and die again on the way
            in_child(lambda out=out, point=point: write_and_die(out, points - point))  # type: ignore[misc]
        status = in_child(lambda out=out: go_on(out, whole))  # type: ignore[misc]
        assert status == 0, f"killed at point {point} of {points}: see above"
    print(points)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_writer_that_is_killed_anywhere_is_gone_on_with_to_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path)]
    path = [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 50, "the crash points weren't passed"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
