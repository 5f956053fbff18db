"""OpenMP's threads, which torch computes with: how many the calling thread has, and how they wait.

They spin at barriers for about a millisecond, which costs nothing on an idle machine and several times the work on a
busy one. GNU's runtime reads `OMP_WAIT_POLICY` only when it is loaded, but it stops spinning whenever it has more
threads than there are processors: a parked team of threads, which sleeps in the kernel, makes it so (libgomp,
`config/linux/wait.h`). LLVM's and Intel's runtime has a function for it.
"""

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from layerwise.locks import Shared, new_lock

_WAITING = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
)  # a choice of the user's, which is left alone
_STANDING_IN = ("libiomp", "libomp")
_LINGER = 5.0  # seconds that the parked team stays after the last call, for the next one


class Runtime:
    """An OpenMP runtime that torch computes with; the number of threads is the calling thread's own."""

    def __init__(self, library: ctypes.CDLL, mkl: Any) -> None:
        self._library, self._mkl = library, mkl
        self._park = Shared(self._parked)
        self._spins = not any(name in os.environ for name in _WAITING)

    @contextmanager
    def computing(self, number: int) -> Iterator[None]:
        """Compute with so many threads in this thread, and let them sleep when they wait."""
        with ExitStack() as stack:
            before = self._library.omp_get_max_threads()
            if number != before:
                self._library.omp_set_num_threads(number)
                stack.callback(self._library.omp_set_num_threads, before)
            if self._mkl is not None:
                stack.callback(self._mkl, self._mkl(number))
            if number > 1 and self._spins:
                stack.enter_context(self._sleeping())
            yield

    def processors(self) -> int:
        """Return how many processors the runtime has for its threads."""
        return int(self._library.omp_get_num_procs())

    def _sleeping(self) -> AbstractContextManager[None]:
        if hasattr(self._library, "kmp_set_blocktime"):
            return self._blocking()
        return self._park.held()

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
        team, process = _team(self), os.getpid()
        # In a forked child there is no such thread.
        return lambda: team.release() if os.getpid() == process else None

    def park(self) -> None:
        """Make a team of more threads than there are processors; they sleep as long as this thread lives."""
        # A C function that does nothing with a null pointer, and needs no interpreter.
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        size = self.processors() + 1
        self._library.GOMP_parallel(nothing, ctypes.c_void_p(0), ctypes.c_uint(size), ctypes.c_uint(0))


class _Team:
    """A thread of this process whose OpenMP team is parked; it ends some seconds after the last call."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._ready = runtime, threading.Event()
        self._wanted, self._changed = True, threading.Condition()
        self.ended = False
        threading.Thread(target=self._run, name="layerwise-parked", daemon=True).start()
        self._ready.wait()

    def take(self) -> bool:
        """Keep it; tell whether it is still there."""
        with self._changed:
            self._wanted = not self.ended
            return self._wanted

    def release(self) -> None:
        """Let it end when nobody takes it for a while."""
        with self._changed:
            self._wanted = False
            self._changed.notify()

    def _run(self) -> None:
        self._runtime.park()
        self._ready.set()
        with self._changed:
            while not self.ended:
                self._changed.wait_for(lambda: not self._wanted)
                self.ended = not self._changed.wait_for(lambda: self._wanted, _LINGER)


_teams: dict[Runtime, _Team] = {}


def _team(runtime: Runtime) -> _Team:
    """Return the parked team of a runtime, taken; its lock is held by the caller."""
    team = _teams.get(runtime)
    if team is None or not team.take():
        team = _teams[runtime] = _Team(runtime)
    return team


_finding = new_lock()


def runtimes() -> tuple[Runtime, ...]:
    """Return torch's OpenMP runtime; none before torch is imported."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return ()
    torch.get_num_threads()  # sets this thread's number, if it is its first call
    with _finding:
        return _found()


@functools.cache
def _found() -> tuple[Runtime, ...]:
    from threadpoolctl import ThreadpoolController

    folder = Path(sys.modules["torch"].__file__ or "").parent
    loaded = ThreadpoolController().select(user_api="openmp").lib_controllers
    # LLVM's or Intel's, where it is loaded, stands in for GNU's.
    own = [
        one for one in loaded if folder in Path(one.filepath).parents or one.prefix in _STANDING_IN
    ] or loaded
    return tuple(Runtime(one.dynlib, _mkl_setter(folder)) for one in own)


def _mkl_setter(folder: Path) -> Any:
    """Return MKL's function that sets the calling thread's number and tells the last; `None` without MKL."""
    path = folder / "lib" / "libtorch_cpu.so"
    if not path.is_file():
        return None
    return getattr(ctypes.CDLL(str(path)), "MKL_Set_Num_Threads_Local", None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_teams.clear)
