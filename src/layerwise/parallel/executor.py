"""The interface of all executors: a factory creates one worker per process, and workers run tasks.

A task has three steps: prepare (tokenise), make (compute), commit (write). A worker runs the three steps of different
tasks at the same time, so that the processor doesn't wait for the disk, but never one step of two tasks at once.
"""

import gc
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from layerwise.errors import RequestError

_PATIENCE = 5.0  # seconds that `close` waits for the task being read
TASKS_PER_WORKER = 2  # in another process: one is made while one is prepared or committed
Report = Callable[..., None]
"""Called with numbers as keywords: how much more of a task is done; they are summed by name."""


class Worker(Protocol):
    """Runs tasks, in one process."""

    def describe(self) -> Any:
        """Return the settings of the worker that its caller needs; they must be equal for all workers of a factory."""

    def prepare(self, task: Any) -> Any:
        """Prepare a task, in a separate thread, while another task is made."""

    def make(self, prepared: Any, report: Report) -> Any:
        """Run a prepared task."""

    def commit(self, result: Any) -> Any:
        """Commit the result of a task and return its record, in a separate thread, while the next task is made."""


def script_folders() -> set[str]:
    """Return the folders that Python puts before its own library in `sys.path`: the current one, and the script's.

    They may hold files of the user or of a stranger, which other processes must not import. The folder that contains
    layerwise itself isn't among them.
    """
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None) if getattr(main, "__spec__", None) is None else None
    folders = {Path.cwd(), *([Path(script).resolve().parent] if script else [])}
    return set(map(str, folders - {Path(__file__).resolve().parents[2]}))


def import_path(excluded: Set[str]) -> list[str]:
    """Return the import path of this process without the excluded folders."""
    return [entry for entry in sys.path if entry and str(Path(entry).resolve()) not in excluded]


def freeze_objects() -> None:
    """Exclude all current objects from garbage collection.

    Otherwise the collector visits the millions of objects of the imported libraries again and again, which costs
    a quarter of a second every few thousand texts.
    """
    gc.freeze()


@contextmanager
def frozen_objects() -> Iterator[None]:
    """Exclude all current objects from garbage collection until the end of the block."""
    freeze_objects()
    try:
        yield
    finally:
        gc.unfreeze()


class Steps:
    """Runs several tasks on one worker, each in its thread; never the same step of two tasks at the same time."""

    def __init__(self, worker: Worker) -> None:
        """Use `worker` for all steps."""
        self._worker = worker
        self._preparing, self._making, self._committing = (threading.Lock() for _ in range(3))

    def take(self, task: Any, report: Report) -> Any:
        """Run all steps of a task and return its record."""
        with self._preparing:
            prepared = self._worker.prepare(task)
        with self._making:
            result = self._worker.make(prepared, report)
        with self._committing:
            return self._worker.commit(result)


class WorkerFactory(Protocol):
    """Creates a worker; sent to other processes as a pickle."""

    def start(self, index: int, count: int) -> Worker:
        """Return the worker of process `index` of `count`."""


class Executor(AbstractContextManager["Executor"], ABC):
    """Workers that run tasks: the base of all executors. Leaving its block closes it.

    Attributes:
        description: what `Worker.describe` returns, equal for all workers.
    """

    description: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def map(self, tasks: Iterable[Any], report: Report) -> Iterator[Any]:
        """Yield the record of each task, in the order in which tasks end."""

    @abstractmethod
    def close(self) -> None:
        """Stop all workers, even in the middle of a task; idempotent."""

    def _agree(self, description: Any, remedy: str) -> None:
        """Store the description of a worker, which must equal that of the workers before.

        Raises:
            RequestError: they differ; `remedy` tells the user what to do.
        """
        if self.description is not None and description != self.description:
            raise RequestError(f"the workers don't all run the model in the same way; {remedy}")
        self.description = description


class SerialExecutor(Executor):
    """One worker, in this process: while it makes a task, the next is read and prepared, and the last committed."""

    def __init__(self, factory: WorkerFactory) -> None:
        """Start the worker."""
        self._worker = factory.start(0, 1)
        self.description = self._worker.describe()
        self._running: Generator[Any] | None = None

    def close(self) -> None:
        """Wait for the steps that run in other threads; start no others."""
        if self._running is not None:
            self._running.close()

    def map(self, tasks: Iterable[Any], report: Report) -> Iterator[Any]:
        """Yield the record of each task, in order; raise an error after the records of the tasks before it."""
        self._running = self._map(tasks, report)
        return self._running

    def _map(self, tasks: Iterable[Any], report: Report) -> Generator[Any]:
        stream = iter(tasks)

        def prepare_next() -> Any:
            task = next(stream, None)
            return None if task is None else self._worker.prepare(task)

        failure: Exception | None = None
        last: Future[Any] | None = None
        committed: Future[Any] | None = None
        ahead = _run_in_thread(prepare_next)
        try:
            with frozen_objects(), ThreadPoolExecutor(1) as behind:
                while failure is None:
                    last, committed = committed, None
                    try:
                        prepared = ahead.result()
                        if prepared is not None:
                            ahead = _run_in_thread(prepare_next)
                            committed = behind.submit(
                                self._worker.commit, self._worker.make(prepared, report)
                            )
                    except Exception as error:
                        failure = error
                    if last is not None:
                        yield last.result()
                    if committed is None:
                        break
            if failure is not None:
                raise failure
        finally:
            wait([ahead], _PATIENCE)
            # A reference to an error keeps this frame and others alive, with the files open there, until the
            # next garbage collection.
            del ahead, last, committed, failure


def _run_in_thread(work: Callable[[], Any]) -> Future[Any]:
    """Run `work` in a daemon thread and return its future.

    Python doesn't wait for that thread at exit: it may read from a pipe that stays open without data.
    """
    future: Future[Any] = Future()

    def run(future: Future[Any]) -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
            del future  # it refers to the error, which refers to this frame

    threading.Thread(target=run, args=(future,), daemon=True).start()
    return future
