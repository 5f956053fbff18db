"""Workers in processes of this machine, each with its share of the threads.

A process reads its tasks from its standard input, and writes their records to its standard output, as pickles.
A process that dies is started again with the tasks that it had.
"""

import itertools
import os
import pickle
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, TypeVar

from layerwise._util.temporary import TemporaryFolder
from layerwise._util.threads import choose
from layerwise.arguments import are_flags, argument, as_flags
from layerwise.errors import LayerwiseError
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

_TRIES = 3  # deaths in a row without a finished task, before the task is assumed to kill its worker
_T = TypeVar("_T")
_CODE = "from layerwise.parallel.local import serve; serve()"


class ProcessExecutor(Executor):
    """Several workers, each in its own process."""

    def __init__(self, factory: WorkerFactory, count: int, threads: int | None = None) -> None:
        """Start the processes; all load their model at the same time.

        Args:
            factory: creates the worker of each process.
            count: the number of processes.
            threads: the number of threads that they share; see `threads.choose`.

        Raises:
            LayerwiseError: the error of a worker.
        """
        # A killed process can't remove its temporary folder, so it is inside ours.
        self._temporary = TemporaryFolder()
        self._messages: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._processes: list[_WorkerProcess] = []
        share = max(1, choose(threads).number // count)
        try:
            for index in range(count):
                first_message = (factory, index, count, are_flags())
                self._processes.append(
                    _WorkerProcess(first_message, self._messages, str(self._temporary.path), share)
                )
            for _ in self._processes:
                self._agree(self._next("ready"), f"give {argument('workers', 1)}")
        except BaseException:
            self.close()
            raise

    def map(self, tasks: Iterable[Any], report: Report) -> Iterator[Any]:
        """Yield the record of each task, in the order in which tasks end; read only as many tasks as needed.

        Raises:
            LayerwiseError: the error of a worker, or a task that kills every worker that runs it.
        """
        load = dict.fromkeys(self._processes, 0)

        def next_record() -> Any:
            process, record = self._next("done", report)
            load[process] -= 1
            return record

        for task in tasks:
            process = min(load, key=load.__getitem__)
            process.send_task(task)
            load[process] += 1
            if min(load.values()) == TASKS_PER_WORKER:
                yield next_record()
        while any(load.values()):
            yield next_record()

    def _next(self, expected: str, report: Report = lambda **_: None) -> Any:
        """Return the content of the next message of a kind; pass on reports, raise errors."""
        while True:
            kind, content = self._messages.get()
            if kind == "failed":
                raise content
            if kind == "report":
                report(**content)
            elif kind == expected:
                return content

    def close(self) -> None:
        """Kill all processes, even in the middle of a task."""
        for process in self._processes:
            process.stop()
        for process in self._processes:
            process.join()
        self._temporary.close()


class _WorkerProcess:
    """One process, its unfinished tasks, and the thread that receives its messages."""

    def __init__(
        self,
        first_message: tuple[WorkerFactory, int, int, bool],
        messages: "queue.SimpleQueue[tuple[str, Any]]",
        folder: str,
        threads: int,
    ) -> None:
        self._first_message, self._messages = first_message, messages
        self._folder, self._threads = folder, threads
        self._numbers = itertools.count()
        self._unfinished: dict[int, Any] = {}
        self._stopped = threading.Event()
        self._sending = threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send_task(self, task: Any) -> None:
        """Send the process one more task."""
        with self._sending:
            number = next(self._numbers)
            self._unfinished[number] = task
            self._send(self._process, (number, task))

    def _start(self) -> subprocess.Popen[bytes]:
        thread_variables = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), str(self._threads))
        path = os.pathsep.join(import_path(script_folders()))
        process = subprocess.Popen(
            # -P: else the current folder comes first in sys.path, and a `pickle.py` in it would be run.
            [sys.executable, "-P", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **thread_variables, "PYTHONPATH": path, "TMPDIR": self._folder},
            # Ctrl-C must reach the parent only, which stops its processes.
            start_new_session=True,
        )
        self._send(process, self._first_message)
        return process

    def _send(self, process: subprocess.Popen[bytes], message: Any) -> None:
        assert process.stdin is not None
        with suppress(OSError, ValueError):  # it is dead or its pipes are closed, which the thread notices
            pickle.dump(message, process.stdin)
            process.stdin.flush()

    def _run(self) -> None:
        try:
            deaths = 0
            while True:
                # Deaths without a finished task in between: then a task is assumed to kill its worker.
                deaths = 1 if self._listen() else deaths + 1
                status = self._process.wait()
                if self._stopped.is_set():
                    return
                if deaths == _TRIES:
                    raise LayerwiseError(self._death_message(status))
                with self._sending:
                    _close_pipes(self._process)
                    self._process = self._start()
                    if self._stopped.is_set():  # `stop` was called while the process was being started
                        self._process.kill()
                    for numbered_task in list(self._unfinished.items()):
                        self._send(self._process, numbered_task)
        except BaseException as error:
            self._messages.put(("failed", error))
        finally:
            _close_pipes(self._process)

    def _listen(self) -> bool:
        """Pass on the messages of the process until it dies; return whether it finished a task."""
        stdout, done = self._process.stdout, False
        assert stdout is not None
        with suppress(EOFError, ConnectionError, pickle.UnpicklingError):
            while True:
                kind, content = pickle.load(stdout)
                if kind == "failed":
                    raise content
                if kind == "done":
                    number, record = content
                    del self._unfinished[number]
                    content, done = (self, record), True
                self._messages.put((kind, content))
        return done

    def _death_message(self, status: int) -> str:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        memory = f"it may need more memory: give fewer workers or a smaller {argument('batch_tokens')}"
        advice = memory if status == -9 else "run the same command again"
        return f"worker {self._first_message[1]} {how}, {_TRIES} times; {advice}"

    def stop(self) -> None:
        """Kill the process; its thread then ends by itself."""
        self._stopped.set()
        self._process.kill()

    def join(self) -> None:
        """Wait for the thread and the process."""
        self._thread.join()
        self._process.wait()


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def serve() -> None:
    """Worker loop: run the tasks read from stdin until EOF."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # stdout is for our messages only: what libraries print goes to stderr
    sending = threading.Lock()

    def send(kind: str, content: Any) -> None:
        with sending:
            pickle.dump((kind, content), output)
            output.flush()

    with suppress(EOFError):  # the parent has closed the pipe
        _serve(sys.stdin.buffer, send)
    os._exit(0)  # at once: nobody needs the unfinished tasks


def _serve(source: IO[bytes], send: Callable[[str, Any], None]) -> None:
    def reporting_errors(function: Callable[..., _T], *arguments: Any) -> _T:
        try:
            return function(*arguments)
        except BaseException as error:
            is_ours = isinstance(error, LayerwiseError)
            fault = f"a worker failed: {error!r}\n{traceback.format_exc()}"
            send("failed", error if is_ours else RuntimeError(fault))
            raise

    def start(factory: WorkerFactory, index: int, count: int) -> Steps:
        worker = factory.start(index, count)
        send("ready", worker.describe())
        freeze_objects()
        return Steps(worker)

    def run(number: int, task: Any) -> None:
        steps = started.result()
        send("done", (number, steps.take(task, lambda **counts: send("report", counts))))

    *start_arguments, flags = pickle.load(source)
    # Tasks run in other threads, so that the parent never waits for this process to read.
    threads = ThreadPoolExecutor(TASKS_PER_WORKER)
    with as_flags(flags):  # errors name arguments as those of the parent do
        started = threads.submit(reporting_errors, start, *start_arguments)
        while True:
            threads.submit(reporting_errors, run, *pickle.load(source))
