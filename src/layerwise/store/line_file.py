"""A new file of lines: complete at its path, or absent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from layerwise.store import disk


@contextmanager
def line_file(target: Path) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes a line; the file is moved to `target` at the end, and removed after an error.

    Raises:
        OutputError: `target` exists, or can't be written to.
    """
    with disk.new(target) as part, disk.create(part) as file:
        yield lambda line: file.write(line.encode("utf-8", "replace") + b"\n")
        file.flush()
        disk.sync(file.fileno(), target)
