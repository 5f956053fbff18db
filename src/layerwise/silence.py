"""Warnings of other libraries that are no use to whoever uses this one, kept quiet in a block.

Filters are the whole process's, and `warnings.catch_warnings` in two threads at a time leaves those of the other
behind. Here the first block keeps what was there and the last one puts it back.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from layerwise.locks import Shared


def _kept() -> Callable[[], None]:
    before = warnings.catch_warnings()
    before.__enter__()
    return lambda: before.__exit__(None, None, None)


_filters = Shared(_kept)


@contextmanager
def silenced(category: type[Warning] = Warning) -> Iterator[None]:
    """Show no warnings of a category until the end of the block (and of blocks of other threads beside it)."""
    with _filters.held():
        warnings.simplefilter("ignore", category)
        yield
