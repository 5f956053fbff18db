"""What is handed out: the source distribution holds what its documents link to, and the package comes out of it."""

import re
import subprocess
import sys
import tarfile
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


@pytest.mark.parametrize("name", ["LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "Makefile"])
def test_what_belongs_to_it(name: str, unpacked: Path) -> None:
    assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_package_is_made_of_it(unpacked: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(built("build_wheel", unpacked, tmp_path)) as wheel:
        inside = set(wheel.namelist())
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
