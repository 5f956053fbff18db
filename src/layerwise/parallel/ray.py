"""Workers as Ray actors, on any number of machines: texts are sent to them, records come back.

When an actor is lost, its tasks go to the others, and another actor is started, which gets tasks as soon as the
cluster has room for it and it is ready.
"""

import itertools
import math
import os
import pickle
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from layerwise.arguments import are_flags, argument, as_flags
from layerwise.errors import LayerwiseError, RequestError
from layerwise.parallel.cluster import connect, gpu_share_of, share_of
from layerwise.parallel.executor import (
    TASKS_PER_WORKER,
    Executor,
    Report,
    Steps,
    WorkerFactory,
    freeze_objects,
    import_path,
    script_folders,
)

_TRIES = 3  # retries of one task, before it is assumed to kill its worker
_PATIENCE = 1800.0  # seconds to wait while no worker is ready
_CHECK_SECONDS = 10.0  # seconds without a result, before checking that the cluster still exists
_SOON = 60.0  # seconds that the first ready worker waits for the others before it gets tasks


@dataclass(eq=False)
class _ActorState:
    """An actor, how many before it were lost before they were ready, and its number of unfinished tasks."""

    actor: Any
    lost_before: int
    load: int = 0


@dataclass
class _PendingTask:
    """A task, and the number of actors that were lost while they ran it."""

    content: Any
    losses: int = 0


class RayExecutor(Executor):
    """Several workers, each in a Ray actor.

    Uses the cluster that this process belongs to, or that `RAY_ADDRESS` names; else starts one on this machine.
    """

    def __init__(self, factory: WorkerFactory, count: int | None = None, threads: int | None = None) -> None:
        """Start the actors, by default one per GPU, or per machine where there is none.

        Args:
            factory: creates the worker of each actor.
            count: the number of actors.
            threads: the number of threads that they share; by default the cores of the machines.

        Raises:
            RequestError: Ray isn't installed, or has no room for so many actors; or the machines differ.
            LayerwiseError: the error of a worker.
        """
        try:
            import ray
        except ImportError:
            raise RequestError(
                f"{argument('cluster', 'ray')} needs a package; run: pip install 'layerwise[ray]'"
            ) from None
        self._ray: Any = ray
        self._owns_cluster = connect(ray)
        self._ready: list[_ActorState] = []
        # By the reference of the result: the actor, and its task (`None` while the actor gets ready).
        self._under_way: dict[Any, tuple[_ActorState, _PendingTask | None]] = {}
        self._waiting: deque[_PendingTask] = deque()
        self._indices = itertools.count()
        # As bytes: an actor unpickles them only after it has set its import path.
        self._factory, self._excluded = pickle.dumps(factory), script_folders()
        self._share_cluster(count, threads)
        try:
            for _ in range(self._count):
                self._start()
            # Workers that are ready soon are compared with each other before anything is written.
            end = time.monotonic() + _SOON
            while not self._ready or (self._under_way and time.monotonic() < end):
                self._receive(patience=1.0)
        except BaseException:
            self.close()
            raise

    def _share_cluster(self, count: int | None, threads: int | None) -> None:
        """Set the number of actors, and the cores and the GPU that each has."""
        resources = self._ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        cores = [int(node["Resources"].get("CPU", 0)) for node in nodes]
        self._count = count or gpus or max(1, sum(map(bool, cores)))
        if self._count > cpus:
            self.close()
            raise RequestError(
                f"{argument('workers', self._count)} is more than the cluster's {cpus} cores; give fewer"
            )
        self._cores = share_of(cores, self._count)
        if threads is not None:
            self._cores = min(self._cores, max(1, threads // self._count))
        self._actor = self._ray.remote(_Actor).options(
            num_cpus=self._cores,
            num_gpus=gpu_share_of(gpus, self._count),
            max_concurrency=TASKS_PER_WORKER,
        )

    def map(self, tasks: Iterable[Any], report: Report) -> Iterator[Any]:
        """Yield the record of each task, in the order in which tasks end; read only as many tasks as needed.

        Raises:
            LayerwiseError: the error of a worker, a task that kills every worker that runs it, or a cluster
                without room for any worker.
        """
        for task in tasks:
            self._waiting.append(_PendingTask(task))
            while not self._assign():
                yield from self._receive(report)
        while self._waiting or any(task for _, task in self._under_way.values()):
            self._assign()
            yield from self._receive(report)

    def _assign(self) -> bool:
        """Give the waiting tasks to the workers with the fewest; return whether there is room for more."""
        while True:
            worker = min(self._ready, key=lambda state: state.load, default=None)
            if worker is None or worker.load == TASKS_PER_WORKER:
                return False
            if not self._waiting:
                return True
            task = self._waiting.popleft()
            worker.load += 1
            self._under_way[worker.actor.make.remote(task.content)] = (worker, task)

    def _receive(self, report: Report = lambda **_: None, patience: float = math.inf) -> list[Any]:
        """Wait for one result; return the record of its task in a list, empty when there is none."""
        # While no worker is ready, more machines may join; don't wait for ever.
        results = self._wait(patience if self._ready else _PATIENCE)
        if not results:
            if self._ready:
                return []
            raise LayerwiseError(
                f"for {_PATIENCE / 60:g} minutes no worker was ready: the cluster has no room for one, or can't load "
                "the model; run the same command again to continue"
            )
        worker, task = self._under_way.pop(results[0])
        errors = self._ray.exceptions
        try:
            content = self._ray.get(results[0])
        except errors.RayTaskError as error:
            if isinstance(error.cause, LayerwiseError):
                raise error.cause from None
            raise
        except (errors.RayActorError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
            self._handle_loss(worker, task, str(error).strip().partition("\n")[0])
            return []
        if task is None:
            self._agree(content, "use machines of one kind")
            self._ready.append(worker)
            return []
        worker.load -= 1
        record, sums = content
        report(**sums)
        return [record]

    def _wait(self, patience: float) -> list[Any]:
        """Return the next finished reference in a list, empty when it takes longer than `patience` seconds."""
        end = time.monotonic() + patience
        while True:
            remaining = max(0.0, end - time.monotonic())
            finished, _ = self._ray.wait(
                list(self._under_way), num_returns=1, timeout=min(remaining, _CHECK_SECONDS)
            )
            if finished or remaining <= _CHECK_SECONDS:
                return list(finished)
            if not any(node["Alive"] for node in self._ray.nodes()):
                raise LayerwiseError(
                    "the Ray cluster and all its machines are gone; run the same command again to continue"
                )

    def _start(self, lost_before: int = 0) -> None:
        # A new index: a machine that can't be reached may still hold the locks of the old one.
        actor = self._actor.remote(
            self._factory, next(self._indices), self._count, self._cores, self._excluded, are_flags()
        )
        self._under_way[actor.describe.remote()] = (_ActorState(actor, lost_before), None)

    def _handle_loss(self, worker: _ActorState, task: _PendingTask | None, why: str) -> None:
        """Put the task of a lost worker back in the queue, and start another worker."""
        if task is None:
            lost_before = worker.lost_before + 1
            if lost_before <= _TRIES:
                self._start(lost_before)
            elif not (self._ready or self._under_way):  # else the others continue without it
                raise LayerwiseError(
                    f"a worker was lost {lost_before} times before it was ready: {why}; run the same command again"
                )
            return
        if worker in self._ready:  # once only: each of its tasks reports the loss
            self._ready.remove(worker)
            self._ray.kill(worker.actor)
            self._start()
        task.losses += 1
        if task.losses > _TRIES:
            raise LayerwiseError(
                f"a worker was lost {task.losses} times with the same shard: {why}; run the same command again"
            )
        self._waiting.appendleft(task)

    def close(self) -> None:
        """Stop the actors, and the cluster if this object started it."""
        for worker in {*self._ready, *(state for state, _ in self._under_way.values())}:
            self._ray.kill(worker.actor)
        self._ready, self._under_way = [], {}
        if self._owns_cluster:
            self._ray.shutdown()


class _Actor:
    """One worker, in a process of Ray."""

    def __init__(
        self, factory: bytes, index: int, count: int, cores: int, excluded: set[str], flags: bool
    ) -> None:
        sys.path[:] = import_path(excluded)  # Ray puts the current folder of the driver first
        self._start_arguments = (factory, index, count)
        # Ray limits the threads of matrix products only; the tokenizer would use all cores of the machine.
        os.environ["RAYON_NUM_THREADS"] = str(cores)
        # Until the end of this process: a block per task would end while another task runs.
        self._naming = ExitStack()
        self._naming.enter_context(as_flags(flags))

    def describe(self) -> Any:
        factory, index, count = self._start_arguments
        # Not in __init__: Ray would report an error there as the death of the actor.
        worker = pickle.loads(factory).start(index, count)
        self._steps = Steps(worker)
        freeze_objects()
        return worker.describe()

    def make(self, task: Any) -> tuple[Any, dict[str, float]]:
        sums: Counter[str] = Counter()
        record = self._steps.take(task, lambda **counts: sums.update(counts))
        return record, dict(sums)
