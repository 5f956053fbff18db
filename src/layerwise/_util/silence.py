"""Suppress warnings of other libraries that are useless to users of this one, and repetitions of the others.

Filters belong to the whole process: when two threads use `warnings.catch_warnings` at the same time, one may restore
the filters of the other. Here the first block saves the filters and the last one restores them.
"""

import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from layerwise._util.locks import Shared


def _save_filters() -> Callable[[], None]:
    before = warnings.catch_warnings()
    before.__enter__()
    return lambda: before.__exit__(None, None, None)


_filters = Shared(_save_filters)
_PACKAGE = Path(__file__).parents[1]


@contextmanager
def silenced(category: type[Warning] = Warning) -> Iterator[None]:
    """Show no warnings of a category until the end of the block (and of simultaneous blocks of other threads)."""
    with _filters.enabled():
        warnings.simplefilter("ignore", category)
        yield


class _FirstOfEachKind:
    """A `warnings.showwarning` that passes on the first warning of each kind.

    Of a library those are of one kind that come from the same line and differ only in numbers; all others if their
    texts are equal. Python's own filter doesn't do this: it starts anew whenever filters change, as in `silenced`.
    """

    def __init__(self) -> None:
        self.show: Callable[..., None] = warnings.showwarning
        self.shown, self.active = set[tuple[Any, ...]](), True

    def __call__(
        self, message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any
    ) -> None:
        text: tuple[Any, ...] = (str(message),)
        if "site-packages" in filename and _PACKAGE not in Path(filename).parents:
            text = (re.sub(r"\d+", "0", str(message)), filename, lineno)
        kind = (category, *text)
        if self.active and kind in self.shown:
            return
        self.shown.add(kind)
        self.show(message, category, filename, lineno, *rest)

    def end(self) -> None:
        """Show all warnings again."""
        self.active = False
        current: object = warnings.showwarning
        if current is self:
            warnings.showwarning = self.show


def _show_first_of_each_kind() -> Callable[[], None]:
    first = _FirstOfEachKind()
    warnings.showwarning = first  # type: ignore[assignment]
    return first.end


_first_shown = Shared(_show_first_of_each_kind)


@contextmanager
def warned_once() -> Iterator[None]:
    """Show each kind of warning once until the end of the outermost of such blocks."""
    with _first_shown.enabled():
        yield


def is_panic(error: BaseException) -> bool:
    """Return whether this is a panic of a Rust library; its class can't be imported and isn't an Exception."""
    return type(error).__name__ == "PanicException"


@contextmanager
def no_panic_shown() -> Iterator[None]:
    """Hide the text that Rust writes to stderr before it raises a panic; write all other text at the end.

    Only in the main thread, because stderr belongs to the whole process.
    """
    main = threading.current_thread() is threading.main_thread()
    try:
        stderr = os.dup(2) if main else None
    except OSError:  # stderr is closed
        stderr = None
    if stderr is None:
        yield
        return
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        write = True
        try:
            yield
        except BaseException as error:
            write = not is_panic(error)
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            with suppress(OSError):
                os.write(2, captured.read() if write else b"")
