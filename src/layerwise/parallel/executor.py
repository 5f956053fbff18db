"""What all ways to work in parallel have in common: a recipe makes a maker in every process, makers do tasks."""

import gc
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from layerwise.errors import RequestError

_PATIENCE = 5.0  # seconds that whoever closes waits for what is being read
IN_HAND = 2  # tasks of a maker in another process: one is made, and one is prepared or committed
Report = Callable[..., None]
"""Called with keywords, numbers that say how much more of a task is done; they are summed by name."""


class Maker(Protocol):
    """Does tasks, in one process."""

    def about(self) -> Any:
        """Return what is the same for all makers of a recipe, and what the caller wants to know of it."""

    def prepare(self, task: Any) -> Any:
        """Return a task made ready; in a thread of its own, while another is made."""

    def make(self, ready: Any, report: Report) -> Any:
        """Do what a task that is ready asks for."""

    def commit(self, made: Any) -> Any:
        """Return what comes of a task that is made; in a thread of its own, while the next is made."""


def put_in_front() -> set[str]:
    """Return the folders that Python puts in front of its own library: the current one, and that of a script.

    What lies there is data of the user's, or of a stranger, and other processes don't import it. The one that layerwise
    itself stands in isn't among them.
    """
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None) if getattr(main, "__spec__", None) is None else None
    folders = {Path.cwd(), *([Path(script).resolve().parent] if script else [])}
    return set(map(str, folders - {Path(__file__).resolve().parents[2]}))


def import_path(unwanted: Set[str]) -> list[str]:
    """Return where this process imports from, without some folders."""
    return [entry for entry in sys.path if entry and str(Path(entry).resolve()) not in unwanted]


def settle() -> None:
    """Take what is there now as there to stay: the collector of garbage doesn't walk over it.

    Among the millions of objects of the imported libraries, each few thousand texts would else cost a quarter
    of a second.
    """
    gc.freeze()


@contextmanager
def settled() -> Iterator[None]:
    """Take what is there now as there to stay, meanwhile."""
    settle()
    try:
        yield
    finally:
        gc.unfreeze()


class Steps:
    """Takes several tasks through a maker, in a thread each; of two tasks no step is done at the same time."""

    def __init__(self, maker: Maker) -> None:
        """Begin with a maker."""
        self._maker = maker
        self._preparing, self._making, self._committing = (threading.Lock() for _ in range(3))

    def take(self, task: Any, report: Report) -> Any:
        """Return what comes of a task."""
        with self._preparing:
            ready = self._maker.prepare(task)
        with self._making:
            made = self._maker.make(ready, report)
        with self._committing:
            return self._maker.commit(made)


class Recipe(Protocol):
    """Makes a maker; travels to other processes as a pickle."""

    def start(self, index: int, count: int) -> Maker:
        """Return the maker of process `index` of `count`."""


class Crew(AbstractContextManager["Crew"], Protocol):
    """Makers at work."""

    def __enter__(self) -> Self:
        """Begin."""

    @property
    def about(self) -> Any:
        """What the makers say of themselves."""

    def map(self, tasks: Iterable[Any], report: Report) -> Iterator[Any]:
        """Yield what comes of the tasks, in whatever order they get done."""

    def close(self) -> None:
        """End all makers, whatever they do; twice is once."""


def agreed(known: Any, about: Any, cure: str) -> Any:
    """Return what makers of a recipe say of themselves; `known` is what those before said, if any.

    Raises:
        RequestError: they don't say the same.
    """
    if known is not None and about != known:
        raise RequestError(f"the workers don't agree on how the model runs; {cure}")
    return about


class Alone:
    """One maker, in this process; while it makes one task the next is read and prepared and the last committed."""

    def __init__(self, recipe: Recipe) -> None:
        """Start the maker."""
        self._maker = recipe.start(0, 1)
        self._running: Generator[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is under way beside whoever calls; nothing else is begun."""
        if self._running is not None:
            self._running.close()

    @property
    def about(self) -> Any:
        """What the maker says of itself."""
        return self._maker.about()

    def map(self, tasks: Iterable[Any], report: Report) -> Iterator[Any]:
        """Yield what comes of each task, in order; a fault comes after what was made before it."""
        self._running = self._map(tasks, report)
        return self._running

    def _map(self, tasks: Iterable[Any], report: Report) -> Generator[Any]:
        stream = iter(tasks)

        def following() -> Any:
            task = next(stream, None)
            return None if task is None else self._maker.prepare(task)

        fault: Exception | None = None
        last: Future[Any] | None = None
        committed: Future[Any] | None = None
        ahead = _begun(following)
        try:
            with settled(), ThreadPoolExecutor(1) as behind:
                while fault is None:
                    last, committed = committed, None
                    try:
                        ready = ahead.result()
                        if ready is not None:
                            ahead = _begun(following)
                            committed = behind.submit(self._maker.commit, self._maker.make(ready, report))
                    except Exception as error:
                        fault = error
                    if last is not None:
                        yield last.result()
                    if committed is None:
                        break
            if fault is not None:
                raise fault
        finally:
            wait([ahead], _PATIENCE)
            # What holds a fault holds this frame, and others with the files that are open there, until the
            # collector of garbage comes.
            del ahead, last, committed, fault


def _begun(work: Callable[[], Any]) -> Future[Any]:
    """Return what will come of work that is done in a thread of its own.

    Nothing waits for that thread in the end: where it reads from a pipe, there may never be more to read.
    """
    future: Future[Any] = Future()

    def run(future: Future[Any]) -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
            del future  # which holds the error, which holds this frame

    threading.Thread(target=run, args=(future,), daemon=True).start()
    return future
