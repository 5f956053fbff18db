"""Makers as actors of Ray, on any number of machines; what crosses the wire is texts one way and records the other.

An actor that is lost gives its tasks back, which go to the others, and another is started in its place, which joins
when there is room for it and it is ready.
"""

import itertools
import logging
import math
import os
import pickle
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from layerwise.errors import LayerwiseError, RequestError
from layerwise.parallel.executor import (
    IN_HAND,
    Recipe,
    Report,
    Steps,
    agreed,
    import_path,
    put_in_front,
    settle,
)

_TRIES = 3  # of one task again, before it is taken to be what kills its maker
_PATIENCE = 1800.0  # seconds without any worker, before none is waited for any more
_LOOK = 10.0  # seconds without news, before it is looked whether the cluster is still there
_SOON = 60.0  # seconds that the first worker waits for the others before it begins


@dataclass(eq=False)
class _Worker:
    """An actor, how many in its place were lost before they were ready, and how many tasks it has in hand."""

    actor: Any
    stillborn: int
    load: int = 0


@dataclass
class _Task:
    """A task, and how often an actor was lost with it."""

    what: Any
    losses: int = 0


class Ray:
    """Several makers at work in actors.

    The cluster is the one that `RAY_ADDRESS` names, or this process is in; else one is started on this machine.
    """

    def __init__(self, recipe: Recipe, count: int | None = None, threads: int | None = None) -> None:
        """Start the actors, by default one per GPU, or per machine where there is none.

        Args:
            recipe: how each makes its maker.
            count: how many actors.
            threads: how many threads they share; the cores of the machines when left out.

        Raises:
            RequestError: Ray isn't installed, or has no room for so many; or the machines aren't alike.
            LayerwiseError: what a maker can't do.
        """
        try:
            import ray
        except ImportError:
            raise RequestError("--cluster ray needs a package; run: pip install 'layerwise[ray]'") from None
        self._ray: Any = ray
        self._own = not self._ray.is_initialized()
        if self._own:
            _check_there(os.environ.get("RAY_ADDRESS", ""))
            try:
                self._ray.init(
                    log_to_driver=False,
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    job_config=_job(ray),
                )
            except (ConnectionError, ValueError) as error:
                why = str(error).strip().partition("\n")[0]
                raise RequestError(
                    f"there is no Ray cluster to be had: {why}; is RAY_ADDRESS right?"
                ) from None
        room = self._ray.cluster_resources()
        self._ready: list[_Worker] = []
        # By what is to come of it: who does it, and a task, or nothing where the worker is to be made ready.
        self._under_way: dict[Any, tuple[_Worker, _Task | None]] = {}
        self._waiting: deque[_Task] = deque()
        self._indices = itertools.count()
        gpus, cpus = int(room.get("GPU", 0)), int(room.get("CPU", 1))
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        cores = [int(node["Resources"].get("CPU", 0)) for node in nodes]
        # As bytes: an actor reads them when it is ready to import what they need.
        self._recipe, self._unwanted = pickle.dumps(recipe), put_in_front()
        self._count = count or gpus or max(1, sum(map(bool, cores)))
        if self._count > cpus:
            self.close()
            raise RequestError(
                f"--workers {self._count} are more than the cluster's {cpus} cores; take fewer"
            )
        self._cores = share_of(cores, self._count)
        if threads is not None:
            self._cores = min(self._cores, max(1, threads // self._count))
        self._actor = self._ray.remote(_Actor).options(
            num_cpus=self._cores,
            num_gpus=gpu_share_of(gpus, self._count),
            max_concurrency=IN_HAND,
        )
        self.about: Any = None
        try:
            for _ in range(self._count):
                self._start()
            # Those that come soon are known to agree before anything is written.
            end = time.monotonic() + _SOON
            while not self._ready or (self._under_way and time.monotonic() < end):
                self._hear(patience=1.0)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def map(self, tasks: Iterable[Any], report: Report) -> Iterator[Any]:
        """Yield what comes of the tasks, in whatever order they get done; no more are taken than are needed.

        Raises:
            LayerwiseError: what a maker can't do, a task that kills every maker that has it, or a cluster that
                has no room for any maker any more.
        """
        for task in tasks:
            self._waiting.append(_Task(task))
            while not self._hand_out():
                yield from self._hear(report)
        while self._waiting or any(task for _, task in self._under_way.values()):
            self._hand_out()
            yield from self._hear(report)

    def _hand_out(self) -> bool:
        """Give the tasks that wait to those that have few; tell whether there is room for more."""
        while True:
            worker = min(self._ready, key=lambda one: one.load, default=None)
            if worker is None or worker.load == IN_HAND:
                return False
            if not self._waiting:
                return True
            task = self._waiting.popleft()
            worker.load += 1
            self._under_way[worker.actor.make.remote(task.what)] = (worker, task)

    def _hear(self, report: Report = lambda **_: None, patience: float = math.inf) -> list[Any]:
        """Return what came of a task, if anything did."""
        # Where none is left, machines may come; but not for ever.
        heard = self._wait(patience if self._ready else _PATIENCE)
        if not heard:
            if self._ready:
                return []
            raise LayerwiseError(
                f"for {_PATIENCE / 60:g} minutes no worker was ready: the cluster has no room for one, or can't load "
                "the model; start the same command again, and it goes on"
            )
        worker, task = self._under_way.pop(heard[0])
        errors = self._ray.exceptions
        try:
            said = self._ray.get(heard[0])
        except errors.RayTaskError as error:
            if isinstance(error.cause, LayerwiseError):
                raise error.cause from None
            raise
        except (errors.RayActorError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
            self._lost(worker, task, str(error).strip().partition("\n")[0])
            return []
        if task is None:
            self.about = agreed(self.about, said, "take machines of one kind")
            self._ready.append(worker)
            return []
        worker.load -= 1
        made, sums = said
        report(**sums)
        return [made]

    def _wait(self, patience: float) -> list[Any]:
        """Return one of what is under way as soon as there is news of it; nothing when that takes too long."""
        end = time.monotonic() + patience
        while True:
            left = max(0.0, end - time.monotonic())
            heard, _ = self._ray.wait(list(self._under_way), num_returns=1, timeout=min(left, _LOOK))
            if heard or left <= _LOOK:
                return list(heard)
            if not any(node["Alive"] for node in self._ray.nodes()):
                raise LayerwiseError(
                    "the Ray cluster is gone, with all its machines; start the same command again, and it goes on"
                )

    def _start(self, stillborn: int = 0) -> None:
        # A number of its own: a machine that can't be reached may still hold what goes with the old one's.
        actor = self._actor.remote(
            self._recipe, next(self._indices), self._count, self._cores, self._unwanted
        )
        self._under_way[actor.about.remote()] = (_Worker(actor, stillborn), None)

    def _lost(self, worker: _Worker, task: _Task | None, why: str) -> None:
        """Let another do the task of a worker that is lost, and start another worker."""
        if task is None:
            stillborn = worker.stillborn + 1
            if stillborn <= _TRIES:
                self._start(stillborn)
            elif not (self._ready or self._under_way):  # else the others go on without it
                raise LayerwiseError(f"a worker was lost {stillborn} times before it was ready: {why}")
            return
        if worker in self._ready:  # each of its tasks tells that it is lost
            self._ready.remove(worker)
            self._ray.kill(worker.actor)
            self._start()
        task.losses += 1
        if task.losses > _TRIES:
            raise LayerwiseError(f"a worker was lost {task.losses} times with the same shard: {why}")
        self._waiting.appendleft(task)

    def close(self) -> None:
        """End the actors, and the cluster if it is ours."""
        for worker in {*self._ready, *(one for one, _ in self._under_way.values())}:
            self._ray.kill(worker.actor)
        self._ready, self._under_way = [], {}
        if self._own:
            self._ray.shutdown()


def _job(ray: Any) -> Any:
    """Return how Ray starts workers of ours: without the current folder in front, whose `pyarrow.py` they would run.

    In a cluster that this process is in already, they are started as the user has it.
    """
    job = ray.job_config.JobConfig()
    if str(Path.cwd()) in put_in_front():
        job._client_job = True  # this is all that it changes for a job without a runtime environment
    return job


def _check_there(address: str) -> None:
    """Make sure that somebody listens at `HOST:PORT`; for one that nobody does Ray waits without a word.

    Raises:
        RequestError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise RequestError(
            f"there is no Ray cluster at RAY_ADDRESS={address} ({error.strerror or error}); start it, or unset RAY_ADDRESS"
        ) from None


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

    def __init__(self, recipe: bytes, index: int, count: int, cores: int, unwanted: set[str]) -> None:
        sys.path[:] = import_path(unwanted)  # Ray puts the folder that the other process was started in first
        self._begin = (recipe, index, count)
        # Ray sets this for products; the tokenizer would take all cores of the machine.
        os.environ["RAYON_NUM_THREADS"] = str(cores)

    def about(self) -> Any:
        recipe, index, count = self._begin
        # Not when the actor is made: what it can't do would be told as the death of the actor.
        maker = pickle.loads(recipe).start(index, count)
        self._steps = Steps(maker)
        settle()
        return maker.about()

    def make(self, task: Any) -> tuple[Any, dict[str, float]]:
        sums: Counter[str] = Counter()
        made = self._steps.take(task, lambda **more: sums.update(more))
        return made, dict(sums)
