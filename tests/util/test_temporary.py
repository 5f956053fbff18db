"""Temporary folders: gone with their process, or with the next one where it was killed."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from layerwise._util.temporary import TemporaryFolder, sweep
from layerwise.parallel.local import ProcessExecutor
from layerwise.store import disk
from recipes import Fatal
from waiting import SECONDS

WORKERS = "from layerwise.parallel.local import ProcessExecutor; from recipes import Fatal; made = ProcessExecutor(Fatal(), 1)"
WAITING = "from layerwise.store import disk; made = disk._upload_folder('memory://somewhere')"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary ones."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def process(place: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Starts a process that does something, says so, and waits."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> "subprocess.Popen[str]":
        here = f"import sys, tempfile; sys.path.append({str(Path(__file__).parents[1])!r}); "
        whole = (
            f"{here}tempfile.tempdir = {str(place)!r}; {code}; print('made', flush=True); sys.stdin.read()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", whole], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        return process

    yield start
    for one in started:
        one.kill()
        one.communicate(timeout=SECONDS)


def test_a_folder_goes_with_its_process(place: Path) -> None:
    with TemporaryFolder() as folder:
        (folder.path / "inner").mkdir()
        assert list(place.iterdir()) == [folder.path]
    assert list(place.iterdir()) == []
    folder.close()


@pytest.mark.parametrize("code", [WORKERS, WAITING])
def test_the_next_process_removes_what_a_killed_one_left(
    code: str, place: Path, process: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    killed, alive = process(code), process(code)
    assert len(list(place.iterdir())) == 2
    killed.kill()
    killed.wait(SECONDS)
    left = set(place.iterdir())
    assert len(left) == 2, "nobody could remove it"
    with TemporaryFolder() as folder:
        there = set(place.iterdir())
        assert len(there) == 2, "that of the process that is at work, and ours"
        assert folder.path in there
    alive.kill()
    alive.wait(SECONDS)
    with ProcessExecutor(Fatal(), 1):
        assert not there - {folder.path} & set(place.iterdir())
    assert list(place.iterdir()) == []


def test_what_others_made_is_left_alone(place: Path, tmp_path: Path) -> None:
    mine = place / "layerwise-results"
    mine.mkdir()
    (mine / "probe.json").write_text("{}")
    (place / "layerwise-file").write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".layerwise").touch()
    (place / "layerwise-link").symlink_to(elsewhere)
    sweep()
    assert sorted(path.name for path in place.iterdir()) == [
        "layerwise-file",
        "layerwise-link",
        "layerwise-results",
    ]
    assert (mine / "probe.json").is_file()
    assert (elsewhere / ".layerwise").is_file()


def test_a_folder_that_is_being_made_is_left_alone(place: Path) -> None:
    made = place / "layerwise-new"
    made.mkdir()
    (made / ".lock").touch()
    sweep()
    assert (made / ".lock").exists()


def test_what_goes_to_a_store_waits_in_such_a_folder(place: Path) -> None:
    room = disk._upload_folder("memory://nowhere")
    assert room.parent == place
    assert (room / ".lock").exists()
