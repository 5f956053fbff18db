"""What all ways to work in parallel have in common: a recipe makes a maker in every process, makers do tasks."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

Tell = Callable[..., None]
"""Called with keywords, numbers that tell how far a task has come."""


class Maker(Protocol):
    """Does tasks, in one process."""

    def about(self) -> Any:
        """Return what is the same for all makers of a recipe, and what the caller wants to know of it."""

    def make(self, task: Any, tell: Tell) -> Any:
        """Return what comes of a task."""


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


class Alone:
    """One maker, in this process."""

    def __init__(self, recipe: Recipe) -> None:
        """Start the maker."""
        self._maker = recipe.start(0, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def about(self) -> Any:
        """What the maker says of itself."""
        return self._maker.about()

    def map(self, tasks: Iterable[Any], tell: Tell) -> Iterator[Any]:
        """Yield what comes of each task."""
        for task in tasks:
            yield self._maker.make(task, tell)
