"""What all ways to work in parallel have in common: a recipe makes a maker in every process, makers do tasks."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

from layerwise.errors import RequestError

Tell = Callable[..., None]
"""Called with keywords, numbers that tell how far a task has come."""


class Maker(Protocol):
    """Does tasks, in one process."""

    def about(self) -> Any:
        """Return what is the same for all makers of a recipe, and what the caller wants to know of it."""

    def prepare(self, task: Any) -> Any:
        """Return a task made ready; in a thread of its own, while another is made."""

    def make(self, ready: Any, tell: Tell) -> Any:
        """Do what a task that is ready asks for."""

    def commit(self, made: Any) -> Any:
        """Return what comes of a task that is made; in a thread of its own, while the next is made."""


def whole(maker: Maker, task: Any, tell: Tell) -> Any:
    """Return what comes of a task, one step after the other."""
    return maker.commit(maker.make(maker.prepare(task), tell))


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

    def map(self, tasks: Iterable[Any], tell: Tell) -> Iterator[Any]:
        """Yield what comes of the tasks, in whatever order they get done."""

    def close(self) -> None:
        """End all makers, whatever they do; twice is once."""


def agreed(ask: Callable[[], list[Any]], close: Callable[[], None], cure: str) -> Any:
    """Return what all makers of a recipe say of themselves; where that can't be had, end them.

    Raises:
        RequestError: they don't say the same.
        LayerwiseError: what a maker can't do.
    """
    try:
        found = ask()
        if any(about != found[0] for about in found):
            raise RequestError(f"the workers don't agree on how the model runs; {cure}")
    except BaseException:
        close()
        raise
    return found[0]


class Alone:
    """One maker, in this process; while it makes one task the next is prepared and the last one committed."""

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

    def map(self, tasks: Iterable[Any], tell: Tell) -> Iterator[Any]:
        """Yield what comes of each task, in order; a fault comes after what was made before it."""
        self._running = self._map(tasks, tell)
        return self._running

    def _map(self, tasks: Iterable[Any], tell: Tell) -> Generator[Any]:
        stream = iter(tasks)
        ready: Future[Any] | None = None
        committed: Future[Any] | None = None
        fault: Exception | None = None
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(1) as behind:
            while fault is None:
                following = None
                try:
                    following = ahead.submit(self._maker.prepare, next(stream))
                except StopIteration:
                    pass
                except Exception as error:
                    fault = error
                last, committed = committed, None
                if ready is not None:
                    try:
                        committed = behind.submit(self._maker.commit, self._maker.make(ready.result(), tell))
                    except Exception as error:
                        fault = error
                if last is not None:
                    yield last.result()
                if following is None:
                    break
                ready = following
            if committed is not None:
                yield committed.result()
        if fault is not None:
            raise fault
