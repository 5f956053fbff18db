"""Makers in processes of this machine, each with its share of the threads.

A process is given its tasks, and tells what comes of them, through its standard input and output, as pickles.
One that dies is started again with the tasks that it had.
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
from typing import IO, Any, Self, TypeVar

from layerwise._util.temporary import TemporaryFolder
from layerwise._util.threads import choose
from layerwise.errors import LayerwiseError
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

_TRIES = 3  # deaths without a task done between them, before a task is taken to be what kills its maker
_T = TypeVar("_T")
_CODE = "from layerwise.parallel.local import serve; serve()"


class Local:
    """Several makers at work in processes of their own."""

    def __init__(self, recipe: Recipe, count: int, threads: int | None = None) -> None:
        """Start the processes; they load what they need at the same time.

        Args:
            recipe: how each makes its maker.
            count: how many processes.
            threads: how many threads they share; see `threads.choose`.

        Raises:
            LayerwiseError: what a maker can't do.
        """
        # What a process that is killed leaves in its temporary folder goes with ours.
        self._room = TemporaryFolder()
        self._messages: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._hands: list[_Hand] = []
        self.about: Any = None
        each = max(1, choose(threads).number // count)
        try:
            for index in range(count):
                self._hands.append(_Hand((recipe, index, count), self._messages, str(self._room.path), each))
            for _ in self._hands:
                self.about = agreed(self.about, self._next("ready"), "take --workers 1")
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
            LayerwiseError: what a maker can't do, or a task that kills every maker that has it.
        """
        load = dict.fromkeys(self._hands, 0)

        def landed() -> Any:
            hand, made = self._next("done", report)
            load[hand] -= 1
            return made

        for task in tasks:
            hand = min(load, key=load.__getitem__)
            hand.give(task)
            load[hand] += 1
            if min(load.values()) == IN_HAND:
                yield landed()
        while any(load.values()):
            yield landed()

    def _next(self, wanted: str, report: Report = lambda **_: None) -> Any:
        while True:
            kind, said = self._messages.get()
            if kind == "failed":
                raise said
            if kind == "report":
                report(**said)
            elif kind == wanted:
                return said

    def close(self) -> None:
        """End all processes, whatever they do."""
        for hand in self._hands:
            hand.stop()
        for hand in self._hands:
            hand.join()
        self._room.close()


class _Hand:
    """One process, the tasks that it has in hand, and the thread that hears what comes of them."""

    def __init__(
        self,
        begin: tuple[Recipe, int, int],
        messages: "queue.SimpleQueue[tuple[str, Any]]",
        room: str,
        threads: int,
    ) -> None:
        self._begin, self._messages, self._room, self._threads = begin, messages, room, threads
        self._given = itertools.count()
        self._in_hand: dict[int, Any] = {}
        self._ended = threading.Event()
        self._sending = threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def give(self, task: Any) -> None:
        """Let the process do a task as well."""
        with self._sending:
            number = next(self._given)
            self._in_hand[number] = task
            self._send(self._process, (number, task))

    def _start(self) -> subprocess.Popen[bytes]:
        own = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), str(self._threads))
        path = os.pathsep.join(import_path(put_in_front()))
        process = subprocess.Popen(
            # -P: else the current folder comes first, and what is called `pickle.py` there would be run.
            [sys.executable, "-P", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **own, "PYTHONPATH": path, "TMPDIR": self._room},
            # Ctrl-C is for the parent, which ends its processes.
            start_new_session=True,
        )
        self._send(process, self._begin)
        return process

    def _send(self, process: subprocess.Popen[bytes], message: Any) -> None:
        assert process.stdin is not None
        with suppress(OSError, ValueError):  # it is dead or let go of, which the thread hears
            pickle.dump(message, process.stdin)
            process.stdin.flush()

    def _run(self) -> None:
        try:
            deaths = 0
            while True:
                deaths = 1 if self._listen() else deaths + 1
                status = self._process.wait()
                if self._ended.is_set():
                    return
                if deaths == _TRIES:
                    raise LayerwiseError(self._died(status))
                with self._sending:
                    _let_go(self._process)
                    self._process = self._start()
                    if self._ended.is_set():
                        self._process.kill()
                    for given in list(self._in_hand.items()):
                        self._send(self._process, given)
        except BaseException as error:
            self._messages.put(("failed", error))
        finally:
            _let_go(self._process)

    def _listen(self) -> bool:
        """Pass on what the process says until it dies; tell whether it got a task done."""
        back, done = self._process.stdout, False
        assert back is not None
        with suppress(EOFError, ConnectionError, pickle.UnpicklingError):
            while True:
                kind, said = pickle.load(back)
                if kind == "failed":
                    raise said
                if kind == "done":
                    number, made = said
                    del self._in_hand[number]
                    said, done = (self, made), True
                self._messages.put((kind, said))
        return done

    def _died(self, status: int) -> str:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        cure = "; it may need more memory: take fewer workers or a smaller --batch-tokens"
        return f"worker {self._begin[1]} {how}, {_TRIES} times{cure if status == -9 else ''}"

    def stop(self) -> None:
        """Kill the process; the thread ends by itself."""
        self._ended.set()
        self._process.kill()

    def join(self) -> None:
        """Wait for the thread and the process."""
        self._thread.join()
        self._process.wait()


def _let_go(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def serve() -> None:
    """Be a maker: do what comes in by standard input until it ends."""
    to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print isn't ours to send
    saying = threading.Lock()

    def say(kind: str, said: Any) -> None:
        with saying:
            pickle.dump((kind, said), to)
            to.flush()

    with suppress(EOFError):  # nobody is there any more
        _serve(sys.stdin.buffer, say)
    os._exit(0)  # at once: nothing of what was under way counts


def _serve(source: IO[bytes], say: Callable[[str, Any], None]) -> None:
    def telling(what: Callable[..., _T], *arguments: Any) -> _T:
        try:
            return what(*arguments)
        except BaseException as error:
            known = isinstance(error, LayerwiseError)
            fault = f"a worker failed: {error!r}\n{traceback.format_exc()}"
            say("failed", error if known else RuntimeError(fault))
            raise

    def start(recipe: Recipe, index: int, count: int) -> Steps:
        maker = recipe.start(index, count)
        say("ready", maker.about())
        settle()
        return Steps(maker)

    def do(number: int, task: Any) -> None:
        steps = started.result()
        say("done", (number, steps.take(task, lambda **said: say("report", said))))

    # Beside reading, so that whoever sends never waits.
    threads = ThreadPoolExecutor(IN_HAND)
    started = threads.submit(telling, start, *pickle.load(source))
    while True:
        threads.submit(telling, do, *pickle.load(source))
