"""The folder of a result: complete at its path, or absent."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerwise.store import disk


@contextmanager
def result_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder that is moved to `target` at the end of the block, and removed after an error.

    Raises:
        OutputError: `target` exists, or can't be written to.
    """
    with disk.new(target) as folder:
        folder.mkdir()
        yield folder
