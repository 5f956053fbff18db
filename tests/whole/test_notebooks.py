"""The notebooks of `examples/`: each runs offline, and its stored outputs are those that a reader would see."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "examples").glob("*.ipynb"))
# What `pip install 'layerwise[demo]'` brings and a notebook may import; IPython is part of every Jupyter.
INSTALLED = {"layerwise", "matplotlib", "numpy", "IPython"}
NOTE = "model 'minilm' has steps that are not applied: Normalize"
# Warnings are errors, and no connection is made but within this machine.
BEFORE = """
import socket, warnings

warnings.simplefilter("error")

def refused(self, address):
    raise OSError(f"the notebook connects to {address}")

socket.socket.connect = refused
"""


def read(path: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def stored(name: str) -> NotebookNode:
    return read(ROOT / "examples" / f"{name}.ipynb")


def code_cells(notebook: NotebookNode) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# In a process of its own: sockets that Jupyter's client leaves open end with it.
EXECUTE = """
import sys
import nbformat
from notebooks import executed

path, before = sys.argv[1:]
nbformat.write(executed(nbformat.read(path, as_version=4), before), path)
"""


def executed(notebook: NotebookNode, folder: Path, before: str = BEFORE) -> NotebookNode:
    """A notebook with new outputs.

    Raises:
        RuntimeError: a cell failed; the message has its traceback.
    """
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
    paths = os.pathsep.join([str(ROOT / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path), before],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return read(path)


def kinds(outputs: Sequence[Any]) -> list[tuple[str, ...]]:
    """What a reader sees of each output: its kinds, and the columns of its table."""
    seen = []
    for output in outputs:
        data = output.get("data", {})
        columns = re.findall("<th[^>]*>(.*?)</th>", data.get("text/html", ""))
        seen.append((output.output_type, output.get("name", ""), *sorted(data), *columns))
    return seen


def test_there_are_three() -> None:
    assert NAMES == ["a_look_at_layers", "names", "which_layer"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_its_stored_outputs_are_complete(name: str, tmp_path: Path) -> None:
    notebook = stored(name)
    again = executed(notebook, tmp_path)
    for cell, new in zip(code_cells(notebook), code_cells(again), strict=True):
        assert kinds(cell.outputs) == kinds(new.outputs), f"make notebooks: {cell.source[:80]!r}"


@pytest.mark.parametrize("name", NAMES)
def test_stored_outputs_are_small_and_clean(name: str) -> None:
    path = ROOT / "examples" / f"{name}.ipynb"
    assert path.stat().st_size < 400_000
    notebook = stored(name)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            if output.get("name") == "stderr":
                assert set(output.text.splitlines()) == {NOTE}, (
                    "a text beside the output explains this note, and no other"
                )
            shown = output.get("text", "") + "".join(
                str(output.get("data", {}).get(f"text/{kind}", "")) for kind in ("plain", "html")
            )
            assert not re.search(r"/tmp|/root|/home|0x[0-9a-f]{6}", shown), shown
    kinds_of_outputs = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= kinds_of_outputs, "tables and figures"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_imports_only_what_the_demo_installs(name: str) -> None:
    code = "\n".join(
        re.sub("^%.*$", "", cell.source, flags=re.MULTILINE) for cell in code_cells(stored(name))
    )
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            modules.add(str(node.module).split(".")[0])
    assert modules <= INSTALLED | sys.stdlib_module_names
    assert "to_pandas" not in code, "pandas is an extra"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)", "the notebook connects to"),
        ("import warnings\nwarnings.warn('beware')", "UserWarning"),
    ],
    ids=["error", "connection", "warning"],
)
def test_a_cell_that_fails_is_an_error(code: str, error: str, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match=error):
        executed(notebook, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_links_of_notebooks_lead_to_files(name: str) -> None:
    text = "\n".join(cell.source for cell in stored(name).cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert (ROOT / "examples" / link).exists(), link
