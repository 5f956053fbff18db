"""Makers in processes of this machine, each with its share of the cores.

A process is given its tasks, and tells what comes of them, through its standard input and output, as pickles.
One that dies is started again with the task that it had.
"""

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from layerwise.cluster.crew import Recipe, Tell, agreed, settled, whole
from layerwise.errors import LayerwiseError

_TRIES = 3  # of one task, before it is taken to be what kills its maker
_CODE = "from layerwise.cluster.local import serve; serve()"


class Local:
    """Several makers at work in processes of their own."""

    def __init__(self, recipe: Recipe, count: int) -> None:
        """Start the processes; they load what they need at the same time.

        Raises:
            LayerwiseError: what a maker can't do.
        """
        # What a process that is killed leaves in its temporary folder goes with ours.
        self._room = tempfile.TemporaryDirectory(prefix="layerwise-", ignore_cleanup_errors=True)
        self._messages: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._hands = [
            _Hand(recipe, index, count, self._tasks, self._messages, self._room.name)
            for index in range(count)
        ]
        self.about: Any = agreed(
            lambda: [self._next("ready") for _ in self._hands], self.close, "take --workers 1"
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
        under_way = 0
        for task in tasks:
            self._tasks.put(task)
            under_way += 1
            # One task more than makers lies ready, so that none waits for the source.
            if under_way > len(self._hands):
                yield self._next("done", tell)
                under_way -= 1
        for _ in range(under_way):
            yield self._next("done", tell)

    def _next(self, wanted: str, tell: Tell = lambda **_: None) -> Any:
        while True:
            kind, said = self._messages.get()
            if kind == "failed":
                raise said
            if kind == "tell":
                tell(**said)
            elif kind == wanted:
                return said

    def close(self) -> None:
        """End all processes, whatever they do."""
        for hand in self._hands:
            hand.stop()
        for _ in self._hands:
            self._tasks.put(None)
        for hand in self._hands:
            hand.join()
        self._room.cleanup()


class _Hand:
    """One process, and the thread that hands it its tasks."""

    def __init__(
        self,
        recipe: Recipe,
        index: int,
        count: int,
        tasks: "queue.SimpleQueue[Any]",
        messages: "queue.SimpleQueue[tuple[str, Any]]",
        room: str,
    ) -> None:
        self._begin = (recipe, index, count)
        self._tasks, self._messages, self._room = tasks, messages, room
        self._ended = False
        self._lock = threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        count = self._begin[2]
        threads = str(max(1, cores() // count))
        own = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), threads)
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        return subprocess.Popen(
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **own, "PYTHONPATH": path, "TMPDIR": self._room},
            # Ctrl-C is for the parent, which ends its processes.
            start_new_session=True,
        )

    def _run(self) -> None:
        try:
            self._messages.put(("ready", self._ask(self._begin)))
            while not self._ended:
                task = self._tasks.get()
                self._messages.put(("done", self._ask(task)))
        except _Failed as failed:
            self._messages.put(("failed", failed.error))
        except BaseException as error:
            self._messages.put(("failed", error))
        finally:
            self._let_go()

    def _ask(self, message: Any) -> Any:
        for _ in range(_TRIES):
            with suppress(BrokenPipeError, EOFError, ConnectionError):
                return self._talk(message)
            status = self._process.wait()
            self._let_go()
            with self._lock:
                if self._ended:
                    raise _Failed(LayerwiseError("ended"))
                self._process = self._start()
            if message is not self._begin:
                with suppress(BrokenPipeError, EOFError, ConnectionError):
                    self._talk(self._begin)
        raise _Failed(LayerwiseError(self._died(status)))

    def _died(self, status: int) -> str:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        cure = "; it may need more memory: take fewer workers or a smaller --batch-tokens"
        return f"worker {self._begin[1]} {how}, {_TRIES} times{cure if status == -9 else ''}"

    def _talk(self, message: Any) -> Any:
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        pickle.dump(message, to)
        to.flush()
        while True:
            kind, said = pickle.load(back)
            if kind == "failed":
                raise _Failed(said)
            if kind == "done":
                return said
            self._messages.put((kind, said))

    def _let_go(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def stop(self) -> None:
        """Kill the process; the thread ends by itself."""
        with self._lock:
            self._ended = True
            self._process.kill()
        self._process.wait()

    def join(self) -> None:
        """Wait for the thread."""
        self._thread.join()


class _Failed(Exception):
    """What a maker said that it can't do."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve() -> None:
    """Be a maker: do what comes in by standard input until it ends."""
    to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print isn't ours to send
    source = sys.stdin.buffer

    def say(kind: str, said: Any) -> None:
        pickle.dump((kind, said), to)
        to.flush()

    with suppress(BrokenPipeError, EOFError):  # nobody is there any more
        _serve(source, say)
    os._exit(0)  # at once: nothing of what was under way counts


def _serve(source: IO[bytes], say: Any) -> None:
    recipe, index, count = pickle.load(source)
    try:
        maker = recipe.start(index, count)
        say("done", maker.about())
        with settled():
            while True:
                task = pickle.load(source)
                say("done", whole(maker, task, lambda **said: say("tell", said)))
    except LayerwiseError as error:
        say("failed", error)
    except (BrokenPipeError, EOFError):
        raise
    except Exception as error:
        import traceback

        say("failed", RuntimeError(f"a worker failed: {error!r}\n{traceback.format_exc()}"))
