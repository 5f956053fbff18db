"""The OpenMP threads of torch: how many the calling thread uses, and how they wait.

At barriers OpenMP threads spin for about a millisecond. That is the fastest as long as each thread has a processor (a
probe, which is many small steps, takes a third longer when they sleep), but it costs several times the work when other
processes use the processors. So during calls a thread measures how long this process waits for processors, and makes
the OpenMP threads sleep while it waits. GNU's runtime reads `OMP_WAIT_POLICY` only when it is loaded, but it stops
spinning whenever it has more threads than there are processors: a parked team of threads, which sleep in the kernel,
causes this (libgomp, `config/linux/wait.h`). The runtime of LLVM and Intel has a function for it.
"""

import ctypes
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from layerwise._util.locks import Shared, new_lock

_WAITING = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
)  # a choice of the user, which is respected
_REPLACEMENTS = ("libiomp", "libomp")
_LINGER = 5.0  # seconds that the watching thread waits for another call before it ends
_FIRST, _INTERVAL = 0.05, 0.2  # seconds before the first measurement of waiting times, and between later ones
# Total seconds per second that threads wait for processors: above the first limit the machine is busy; below the
# second one, for several measurements in a row, it is free again.
_BUSY, _CALM, _CALM_INTERVALS = 0.1, 0.02, 5


class _Mkl(NamedTuple):
    """MKL's functions for the number of threads of the calling thread: set it (returns the old one), and get it."""

    set: Any
    most: Any


class Runtime:
    """An OpenMP runtime that torch computes with; its number of threads is set per calling thread."""

    def __init__(self, library: ctypes.CDLL, mkl: _Mkl | None) -> None:
        self._library, self._mkl = library, mkl
        self._park = Shared(self._parked)
        self._spins = not any(name in os.environ for name in _WAITING)

    @contextmanager
    def computing(self, number: int) -> Iterator[None]:
        """Compute with `number` threads in this thread, and let them sleep at barriers on a busy machine."""
        with ExitStack() as stack:
            before = self._library.omp_get_max_threads()
            if number != before:
                self._library.omp_set_num_threads(number)
                stack.callback(self._library.omp_set_num_threads, before)
            # Setting MKL's number, even to the same value, makes its products within a parallel region (attention) take
            # 1.5 times as long.
            if self._mkl is not None and number != self._mkl.most():
                stack.callback(self._mkl.set, self._mkl.set(number))
            if number > 1 and self._spins:
                stack.enter_context(self._sleeping())
            yield

    def processors(self) -> int:
        """Return the number of processors available to the runtime."""
        return int(self._library.omp_get_num_procs())

    def _sleeping(self) -> AbstractContextManager[None]:
        if hasattr(self._library, "kmp_set_blocktime"):
            return self._blocking()
        return self._park.enabled()

    @contextmanager
    def _blocking(self) -> Iterator[None]:
        before = self._library.kmp_get_blocktime()
        self._library.kmp_set_blocktime(0)
        try:
            yield
        finally:
            self._library.kmp_set_blocktime(before)

    def _parked(self) -> Callable[[], None]:
        if not hasattr(self._library, "GOMP_parallel"):
            return lambda: None
        watch, process = _watch(self), os.getpid()
        # A forked child has no such thread.
        return lambda: watch.release() if os.getpid() == process else None

    def park(self) -> None:
        """Create a team of more threads than there are processors; they sleep until this thread ends."""
        # `free(NULL)` does nothing, and needs no interpreter.
        no_operation = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        size = self.processors() + 1
        self._library.GOMP_parallel(no_operation, ctypes.c_void_p(0), ctypes.c_uint(size), ctypes.c_uint(0))


class _Team:
    """A thread of this process whose OpenMP team is parked until it ends."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._end = runtime, threading.Event()
        threading.Thread(target=self._run, name="layerwise-parked", daemon=True).start()

    def end(self) -> None:
        """End the team."""
        self._end.set()

    def _run(self) -> None:
        self._runtime.park()
        self._end.wait()


class _Watch:
    """A thread that parks a team while this process waits for processors; it ends some seconds after the last call."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._in_use, self._changed = True, threading.Condition()
        self._ended = False
        threading.Thread(target=self._run, name="layerwise-watch", daemon=True).start()

    def take(self) -> bool:
        """Mark the thread as in use; return whether it still runs."""
        with self._changed:
            self._in_use = not self._ended
            self._changed.notify()
            return self._in_use

    def release(self) -> None:
        """Let the thread end if nobody takes it for a while."""
        with self._changed:
            self._in_use = False

    def _run(self) -> None:
        team: _Team | None = None
        waits, calm, pause = Waits(self._runtime.processors()), 0, _FIRST
        while self._goes_on(pause):
            share, pause = waits.share(), _INTERVAL
            calm = calm + 1 if share < _CALM else 0
            if team is None and share > _BUSY:
                team = _Team(self._runtime)
            elif team is not None and calm >= _CALM_INTERVALS:
                team.end()
                team = None
        if team is not None:
            team.end()

    def _goes_on(self, pause: float) -> bool:
        """Wait until the next measurement; return whether there is one."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_use, pause)
            self._ended = not self._changed.wait_for(lambda: self._in_use, _LINGER)
            return not self._ended


class Waits:
    """How long the threads of this process wait for processors used by others, from the kernel's counters (Linux).

    When more threads run than there are processors, they also wait for one another; that part is subtracted.
    """

    def __init__(self, processors: int) -> None:
        self._processors = processors
        self._time, self._before = time.monotonic(), self._read()

    def share(self) -> float:
        """Return the seconds per second that all threads waited since the last call; 1 where this is unknown."""
        now, threads = time.monotonic(), self._read()
        seconds, before = now - self._time, self._before
        self._time, self._before = now, threads
        if not threads or seconds <= 0:
            return 1.0
        pairs = [(new, before[name]) for name, new in threads.items() if name in before]
        ran, waited = (sum(new[of] - old[of] for new, old in pairs) / 1e9 / seconds for of in (0, 1))
        return max(0.0, min(waited, self._processors - ran))

    @staticmethod
    def _read() -> dict[str, tuple[int, int]]:
        """Return the nanoseconds that each thread has run and waited, by thread id."""
        threads = {}
        with suppress(OSError):
            for thread in Path("/proc/self/task").iterdir():
                with suppress(OSError, IndexError, ValueError):  # it has ended
                    ran, waited = (thread / "schedstat").read_text().split()[:2]
                    threads[thread.name] = int(ran), int(waited)
        return threads


_watches: dict[Runtime, _Watch] = {}


def _watch(runtime: Runtime) -> _Watch:
    """Return the watching thread of a runtime, marked as in use; the caller holds a lock."""
    watch = _watches.get(runtime)
    if watch is None or not watch.take():
        watch = _watches[runtime] = _Watch(runtime)
    return watch


_searching = new_lock()


def runtimes() -> tuple[Runtime, ...]:
    """Return torch's OpenMP runtime; none before torch is imported."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return ()
    torch.get_num_threads()  # the first call in a thread sets its number of threads
    with _searching:
        return _loaded_runtimes()


@functools.cache
def _loaded_runtimes() -> tuple[Runtime, ...]:
    from threadpoolctl import ThreadpoolController

    folder = Path(sys.modules["torch"].__file__ or "").parent
    loaded = ThreadpoolController().select(user_api="openmp").lib_controllers
    # LLVM's or Intel's runtime, where it is loaded, replaces GNU's.
    used = [
        library
        for library in loaded
        if folder in Path(library.filepath).parents or library.prefix in _REPLACEMENTS
    ] or loaded
    return tuple(Runtime(library.dynlib, _mkl(folder)) for library in used)


def _mkl(folder: Path) -> _Mkl | None:
    path = folder / "lib" / "libtorch_cpu.so"
    if not path.is_file():
        return None
    library = ctypes.CDLL(str(path))
    try:
        return _Mkl(library.MKL_Set_Num_Threads_Local, library.MKL_Get_Max_Threads)
    except AttributeError:  # this torch uses another BLAS
        return None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watches.clear)
