"""What lies in the folder that a command is started in is data, and never run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import layerwise
from layerwise.parallel.executor import import_path, script_folders
from layerwise.parallel.local import ProcessExecutor
from recipes import Paths
from warm import Python

SOURCE = Path(layerwise.__file__).parents[1]


def plant(folder: Path, *names: str) -> Path:
    """Put modules of these names into a folder that leave a mark there when they are imported."""
    folder.mkdir(exist_ok=True)
    for name in names:
        mark = folder / f"{name} was run"
        (folder / f"{name}.py").write_text(
            f"open({str(mark)!r}, 'w').close()\nraise ImportError('planted')\n"
        )
    return folder


def marks(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("* was run")]


def not_of_python() -> set[str]:
    """The standard library but for what Python imports itself before `-m` runs anything of ours."""
    code = "import runpy, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(sys.stdlib_module_names) - set(done.stdout.split())


def test_workers_import_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = plant(tmp_path / "strangers", "pickle", "queue", "tempfile", "gc", "recipes")
    monkeypatch.chdir(planted)
    monkeypatch.setattr(sys, "path", ["", str(planted), *sys.path])
    with ProcessExecutor(Paths(), 1) as executor:
        assert not {"", str(planted)} & set(executor.description)
        assert list(executor.map(["a"], lambda **_: None)) == ["a"]
    assert not marks(planted)


def test_workers_import_nothing_from_beside_a_script(tmp_path: Path) -> None:
    script = tmp_path / "project" / "mine.py"
    script.parent.mkdir()
    script.write_text(
        "from layerwise.parallel.local import ProcessExecutor\nfrom recipes import Paths\n"
        "with ProcessExecutor(Paths(), 1) as executor:\n    print(*executor.description, sep='\\n')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SOURCE), str(Path(__file__).parents[1])])}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = done.stdout.splitlines()
    assert str(SOURCE) in found
    assert not {"", str(tmp_path), str(script.parent)} & set(found)


def test_workers_import_the_same_layerwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SOURCE)
    monkeypatch.setattr(sys, "path", [str(SOURCE), *(entry for entry in sys.path if entry != str(SOURCE))])
    assert import_path(script_folders())[0] == str(SOURCE), "a checkout is worked in from its own folder"


def run_among(planted: Path, command: list[str]) -> None:
    """Run a command in a folder with planted modules, and check that it succeeds and runs none of them."""
    done = subprocess.run(
        command,
        cwd=planted,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not marks(planted)


def extract_among(planted: Path, python: Python, model: str, *options: str) -> None:
    """Extract four texts in a folder with planted modules."""
    (planted / "texts.txt").write_text("one\ntwo\nthree\nfour\n")
    fixed = ["--out", "out", "--model", model, "--shard-texts", "1", "--device", "cpu"]
    run_among(planted, python("-m", "layerwise", "extract", "texts.txt", *fixed, *options))
    assert layerwise.open_dataset(planted / "out").rows == 4


@pytest.mark.parametrize("isolated", [False, True])
def test_the_command_imports_nothing_from_the_current_folder(isolated: bool, tmp_path: Path) -> None:
    planted = plant(tmp_path / "strangers", *not_of_python(), "numpy", "pyarrow", "sitecustomize", "torch")
    safe = ["-P"] if isolated else []
    run_among(planted, [sys.executable, *safe, "-m", "layerwise", "env", "--json"])


def test_extract_with_workers_in_a_strangers_folder(python: Python, model: str, tmp_path: Path) -> None:
    planted = plant(tmp_path / "strangers", "pickle", "json", "torch", "numpy")
    extract_among(planted, python, model, "--workers", "2")


@pytest.mark.slow  # a cluster of its own
def test_actors_import_nothing_from_the_current_folder(model: str, tmp_path: Path) -> None:
    """Ray reads pyarrow, colorsys and zoneinfo before anything of ours runs there."""
    pytest.importorskip("ray", reason="needs layerwise[ray]")
    planted = plant(tmp_path / "strangers", *not_of_python(), "pyarrow", "ray", "numpy")
    python = Python(None)  # a real interpreter
    extract_among(planted, python, model, "--cluster", "ray", "--workers", "1")


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use can't be removed there")
@pytest.mark.parametrize(
    "how", [["-m", "layerwise"], ["-c", "import layerwise.cli.main as m; m.sys.exit(m.main())"]]
)
def test_a_current_folder_that_is_gone_is_refused(how: list[str], tmp_path: Path) -> None:
    """torch ended the process with "Intel oneMKL FATAL ERROR" there."""
    code = (
        "import os, sys; os.mkdir(sys.argv[1]); os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "gone"), *how, "show", "Hello, world!"],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "layerwise: the current folder was removed; change to another folder and run the command again\n"
    )
