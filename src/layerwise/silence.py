"""Warnings of other libraries that are no use to whoever uses this one, kept quiet in a block.

Filters are the whole process's, and `warnings.catch_warnings` in two threads at a time leaves those of the other
behind. Here the first block keeps what was there and the last one puts it back.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from layerwise.locks import Lock

_lock = Lock()
_blocks = 0
_before = warnings.catch_warnings()


@contextmanager
def silenced(category: type[Warning] = Warning) -> Iterator[None]:
    """Show no warnings of a category until the end of the block (and of blocks of other threads beside it)."""
    global _blocks, _before
    with _lock:
        if not _blocks:
            _before = warnings.catch_warnings()
            _before.__enter__()
        _blocks += 1
        warnings.simplefilter("ignore", category)
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                _before.__exit__(None, None, None)
