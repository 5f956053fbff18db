"""What is handed out: the source distribution holds what its documents link to, and the package comes out of it."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import layerwise

ROOT = Path(__file__).parents[2]
BUILD = "import sys, hatchling.build as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"
LINK = re.compile(r"""\]\(([^)\s]+)[^)]*\)|(?:src|href)=["']([^"']+)["']""")


def built(what: str, source: Path, target: Path) -> Path:
    """Build from a folder as pip does, with the project's own backend."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", BUILD, what, str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the source distribution unpacks to."""
    folder = tmp_path_factory.mktemp("distribution")
    with tarfile.open(built("build_sdist", ROOT, folder)) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"layerwise-{layerwise.__version__}"


def links(document: Path) -> list[str]:
    """The files that a document links to."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = [one or other for one, other in LINK.findall(text)]
    return [link.partition("#")[0] for link in found if not re.match(r"[a-z]+:|#", link)]


def test_documents_link_to_what_is_there(unpacked: Path) -> None:
    documents = [*unpacked.glob("*.md"), *unpacked.glob("docs/**/*.md")]
    assert unpacked / "README.md" in documents
    assert len(documents) > 8
    wrong = [
        f"{document.relative_to(unpacked)} links to {link}"
        for document in documents
        for link in links(document)
        if not (document.parent / link).exists()
    ]
    assert not wrong
    assert len(links(unpacked / "README.md")) > 10, "the links are found"


@pytest.mark.parametrize(
    "name", ["LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md", "Makefile"]
)
def test_what_belongs_to_it(name: str, unpacked: Path) -> None:
    assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    return built("build_wheel", unpacked, tmp_path_factory.mktemp("wheel"))


def test_the_package_is_made_of_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    source = Path(layerwise.__file__).parent
    own = {
        path.relative_to(source.parent).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert own <= inside
    assert {name.split("/")[0] for name in inside} == {
        "layerwise",
        f"layerwise-{layerwise.__version__}.dist-info",
    }


@pytest.mark.slow
def test_the_wheel_runs_the_demos_commands(wheel: Path, tmp_path: Path) -> None:
    """In an environment that holds the wheel; what it needs comes from this one, whose editable install isn't seen."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"

    def run(*arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    install = (
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    )
    run(sys.executable, *install)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "needs.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    assert (
        Path(run(str(python), "-c", "import layerwise; print(layerwise.__file__)").strip()).parent.parent
        == site
    )
    command = str(python.with_name("layerwise"))
    (tmp_path / "texts.jsonl").write_text('{"text": "Every layer."}\n{"text": "As data."}\n')
    run(command, "extract", "texts.jsonl", "--model", "minilm", "--out", "texts.lw")
    assert "2 of" in run(command, "info", "texts.lw")
    run(command, "verify", "texts.lw", "--sample", "2")
    shape = "import layerwise as lw; print(lw.open_dataset('texts.lw').layer('6').shape)"
    assert run(str(python), "-c", shape).strip() == "(2, 384)"


def test_the_workflow_runs_what_the_classifiers_claim() -> None:
    claimed = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    workflow = (ROOT / ".github" / "workflows" / "check.yml").read_text()
    matrix = re.search(r"python: (\[.*\])", workflow)
    assert matrix is not None
    assert json.loads(matrix[1]) == claimed
    assert {"make check PYTHON=python", "make test PYTHON=python"} <= set(re.findall(r"run: (.*)", workflow))
