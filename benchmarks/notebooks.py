"""`make notebooks`: execute the notebooks of `examples/`, and store their outputs in them.

With names as arguments (`which_layer`), only those. Each runs in a copy of its folder, so it leaves no files there.
"""

import io
import shutil
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SECONDS = 600  # per cell, on a busy machine
COLOURS = 64


def main(names: Sequence[str]) -> int:
    """Execute and store."""
    notebooks = {path.stem: path for path in sorted(EXAMPLES.glob("*.ipynb"))}
    unknown = set(names) - set(notebooks)
    if unknown:
        print(f"no notebook {sorted(unknown)}; there are {list(notebooks)}", file=sys.stderr)
        return 2
    for name in names or notebooks:
        start = time.perf_counter()
        stored = nbformat.read(notebooks[name], as_version=4)  # type: ignore[no-untyped-call]
        nbformat.write(executed(stored), notebooks[name])  # type: ignore[no-untyped-call]
        size = notebooks[name].stat().st_size / 1000
        print(f"{notebooks[name]}: {time.perf_counter() - start:.0f} s, {size:.0f} kB", flush=True)
    return 0


def executed(notebook: NotebookNode, before: str = "") -> NotebookNode:
    """Return a copy of a notebook with new outputs; `before` is code that runs first and isn't part of the copy.

    Raises:
        CellExecutionError: a cell failed.
    """
    copy: NotebookNode = nbformat.from_dict(notebook)  # type: ignore[no-untyped-call]
    cells = copy.cells
    copy.cells = [*([nbformat.v4.new_code_cell(before)] if before else []), *cells]  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as place:
        folder = shutil.copytree(EXAMPLES, Path(place, "examples"))
        client = NotebookClient(
            copy,
            # Sockets in a folder of ours: TCP ports of this machine would be open to its other users.
            km=AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(Path(place, "kernel"))),
            startup_timeout=SECONDS,
            timeout=SECONDS,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    copy.cells = cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = small(output.data["image/png"])
    # The version of Python is no part of what the notebook says.
    copy.metadata.language_info = NotebookNode(name="python")  # type: ignore[no-untyped-call]
    return copy


def small(picture: str) -> str:
    """Return a picture with few colours; both are PNG in base64."""
    file = io.BytesIO()
    whole = Image.open(io.BytesIO(b64decode(picture))).convert("RGB")
    whole.quantize(COLOURS).save(file, "PNG", optimize=True)
    return b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
