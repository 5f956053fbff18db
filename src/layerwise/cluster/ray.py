"""Makers as actors of Ray, on any number of machines; what crosses the wire is texts one way and records the other."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from layerwise.cluster.crew import Recipe, Tell, agreed, whole
from layerwise.errors import LayerwiseError, RequestError

_TRIES = 3  # of one task, before it is taken to be what kills its maker


class Ray:
    """Several makers at work in actors; one that is lost is started again, elsewhere, with the task that it had.

    The cluster is the one that `RAY_ADDRESS` names, or this process is in; else one is started on this machine.
    """

    def __init__(self, recipe: Recipe, count: int | None = None) -> None:
        """Start the actors, by default one per GPU, or per machine where there is none.

        Raises:
            RequestError: Ray isn't installed, or has no room for so many.
            LayerwiseError: what a maker can't do.
        """
        try:
            import ray
        except ImportError:
            raise RequestError("--cluster ray needs a package; run: pip install 'layerwise[ray]'") from None
        self._ray: Any = ray
        self._own = not self._ray.is_initialized()
        if self._own:
            self._ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        room = self._ray.cluster_resources()
        gpus, cpus = int(room.get("GPU", 0)), int(room.get("CPU", 1))
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._count = count or gpus or len(nodes)
        if self._count > cpus:
            self.close()
            raise RequestError(
                f"--workers {self._count} are more than the cluster's {cpus} cores; take fewer"
            )
        actor = self._ray.remote(_Actor).options(
            num_cpus=share_of([int(node["Resources"].get("CPU", 0)) for node in nodes], self._count),
            num_gpus=gpu_share_of(gpus, self._count),
            max_restarts=-1,
            max_task_retries=_TRIES,
        )
        self._actors: list[Any] = [actor.remote(recipe, index, self._count) for index in range(self._count)]
        self.about: Any = agreed(
            lambda: [self._get(one.about.remote()) for one in self._actors],
            self.close,
            "take machines of one kind",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def map(self, tasks: Iterable[Any], tell: Tell) -> Iterator[Any]:
        """Yield what comes of the tasks, in whatever order they get done; no more are taken than are needed.

        Raises:
            LayerwiseError: what a maker can't do, or a task that kills every maker that has it.
        """
        load = dict.fromkeys(self._actors, 0)
        running: dict[Any, Any] = {}
        for task in tasks:
            # Each has a task in hand and one that lies ready.
            if len(running) == 2 * len(load):
                yield self._next(running, load, tell)
            actor = min(load, key=lambda one: load[one])
            load[actor] += 1
            running[actor.make.remote(task)] = actor
        while running:
            yield self._next(running, load, tell)

    def _next(self, running: dict[Any, Any], load: dict[Any, int], tell: Tell) -> Any:
        (done,), _ = self._ray.wait(list(running), num_returns=1)
        load[running.pop(done)] -= 1
        made, told = self._get(done)
        for said in told:
            tell(**said)
        return made

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, LayerwiseError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayActorError as error:
            why = str(error).strip().partition("\n")[0]
            raise LayerwiseError(f"a worker was lost {_TRIES + 1} times with the same shard: {why}") from None

    def close(self) -> None:
        """End the actors, and the cluster if it is ours."""
        for actor in getattr(self, "_actors", []):
            self._ray.kill(actor)
        self._actors = []
        if self._own:
            self._ray.shutdown()


def share_of(cores: Sequence[int], count: int) -> int:
    """Return how many cores each of `count` workers can have on machines of so many; at least one.

    >>> share_of([3, 3], 3)
    1
    >>> share_of([4, 16], 2)
    8
    """
    return next((n for n in range(max(cores), 1, -1) if sum(one // n for one in cores) >= count), 1)


def gpu_share_of(gpus: int, count: int) -> float:
    """Return what share of a GPU each of `count` workers can have, a whole one at most.

    >>> [gpu_share_of(gpus, 3) for gpus in (0, 1, 2, 8)]
    [0.0, 0.3333333333333333, 0.5, 1.0]
    """
    return 1 / -(-count // gpus) if gpus else 0.0


class _Actor:
    """One maker in a process of Ray's."""

    def __init__(self, recipe: Recipe, index: int, count: int) -> None:
        self._begin = (recipe, index, count)
        self._maker: Any = None

    def about(self) -> Any:
        recipe, index, count = self._begin
        # Not when the actor is made: what it can't do would be told as the death of the actor.
        self._maker = self._maker or recipe.start(index, count)
        return self._maker.about()

    def make(self, task: Any) -> tuple[Any, list[dict[str, Any]]]:
        self.about()
        told: list[dict[str, Any]] = []
        made = whole(self._maker, task, lambda **said: told.append(said))
        return made, told
