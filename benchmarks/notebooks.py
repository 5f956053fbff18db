"""`make notebooks`: execute the notebooks of `examples/`, and store their outputs in them.

With names as arguments (`which_layer`), only those. Each runs in a copy of its folder, so it leaves no files there.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SECONDS = 600  # per cell, on a busy machine


def main(names: Sequence[str]) -> int:
    """Execute and store."""
    notebooks = {path.stem: path for path in sorted(EXAMPLES.glob("*.ipynb"))}
    unknown = set(names) - set(notebooks)
    if unknown:
        print(f"no notebook {sorted(unknown)}; there are {list(notebooks)}", file=sys.stderr)
        return 2
    for name in names or notebooks:
        start = time.perf_counter()
        stored = nbformat.read(notebooks[name], as_version=4)
        nbformat.write(executed(stored), notebooks[name])
        size = notebooks[name].stat().st_size / 1000
        print(f"{notebooks[name]}: {time.perf_counter() - start:.0f} s, {size:.0f} kB", flush=True)
    return 0


def executed(notebook: NotebookNode, before: str = "") -> NotebookNode:
    """Return a copy of a notebook with new outputs; `before` is code that runs first and isn't part of the copy.

    Raises:
        CellExecutionError: a cell failed.
    """
    copy = nbformat.from_dict(notebook)  # type: ignore[no-untyped-call]
    cells = copy.cells
    copy.cells = [*([nbformat.v4.new_code_cell(before)] if before else []), *cells]  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as place:
        folder = shutil.copytree(EXAMPLES, Path(place, "examples"))
        client = NotebookClient(
            copy, timeout=SECONDS, record_timing=False, coalesce_streams=True, resources={"metadata": {"path": folder}}
        )
        client.execute()
    copy.cells = cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    # The version of Python is no part of what the notebook says.
    copy.metadata.language_info = NotebookNode(name="python")
    return copy


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
