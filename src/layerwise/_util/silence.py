"""Warnings of other libraries that are no use to whoever uses this one, kept quiet in a block.

Filters are the whole process's, and `warnings.catch_warnings` in two threads at a time leaves those of the other
behind. Here the first block keeps what was there and the last one puts it back.
"""

import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from layerwise._util.locks import Shared


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


def is_panic(error: BaseException) -> bool:
    """Tell whether this is a panic of a library in Rust, whose class can't be imported and is no Exception."""
    return type(error).__name__ == "PanicException"


@contextmanager
def no_panic_shown() -> Iterator[None]:
    """Keep off stderr what Rust writes there before a panic is raised; what else comes is written at the end.

    Only for the main thread: the file is the whole process's.
    """
    main = threading.current_thread() is threading.main_thread()
    try:
        kept = os.dup(2) if main else None
    except OSError:  # closed
        kept = None
    if kept is None:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        shown = True
        try:
            yield
        except BaseException as error:
            shown = not is_panic(error)
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            with suppress(OSError):
                os.write(2, held.read() if shown else b"")
