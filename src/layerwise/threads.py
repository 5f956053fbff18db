"""How many threads a call computes with, and how they wait for each other.

Both are set for a call and taken back after it: the environment and torch's settings stay the caller's.

- *Number*: what the call says, else the usual environment variables, else what the machine grants: the affinity
  mask and the container's quota (cgroup v1 and v2).
- *Waiting*: OpenMP's threads spin at barriers for about a millisecond, which costs nothing on an idle machine and
  several times the work on a busy one. GNU's runtime reads `OMP_WAIT_POLICY` only when it is loaded, but it
  stops spinning whenever it has more threads than there are processors: a parked team of threads, which sleeps
  in the kernel, makes it so (libgomp, `config/linux/wait.h`). LLVM's and Intel's runtime has a function for it.
- *One pool*: products are OpenMP's (torch); numpy's and scipy's BLAS has one thread meanwhile.
"""

import ctypes
import functools
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise.errors import RequestError

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WAITING = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
)  # a choice of the user's, which is left alone
_STANDING_IN = ("libiomp", "libomp")
_LINGER = 5.0  # seconds that the parked team stays after the last call, for the next one


@dataclass(frozen=True, slots=True)
class Threads:
    """How many threads a call computes with, and what says so."""

    number: int
    source: str


class _Here(threading.local):
    """What holds in this thread: the number of the call under way, and how many runtimes have it."""

    number: int | None = None
    runtimes: int = 0


_here = _Here()


def choose(threads: int | None = None) -> Threads:
    """Return the number of threads that a call computes with.

    Args:
        threads: what the caller asks for. Left out, the call around this one decides, then `VARIABLES`, then
            the machine; never more than the caller has given torch.

    Raises:
        RequestError: less than one thread, or several in a forked process.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise RequestError(f"--threads {threads!r} is out of range; take a whole number of 1 or more")
    if _forked:
        if threads is not None and threads > 1:
            raise RequestError(
                f"--threads {threads}: a process that was forked after torch was loaded computes with one thread; "
                "start it with the method spawn, or leave it out"
            )
        return Threads(1, "this process was forked after torch was loaded")
    if threads is not None:
        return Threads(threads, "--threads")
    if _here.number is not None:
        return Threads(_here.number, "the call around it")
    for name in VARIABLES:
        number = os.environ.get(name, "").split(",")[0].strip()
        if number.isascii() and number.isdecimal() and int(number) > 0:
            return Threads(int(number), name)
    found = granted()
    torch = sys.modules.get("torch")
    own = torch.get_num_threads() if torch is not None and hasattr(torch, "get_num_threads") else found.number
    return Threads(own, "torch") if own < found.number else found


def granted(root: Path = Path("/")) -> Threads:
    """Return how many threads the machine grants this process: by its affinity mask, and its container's quota.

    Args:
        root: where /proc and /sys are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _own_quota() if root == Path("/") else cpu_quota(root)
    if quota is not None and math.ceil(quota) < cores:
        return Threads(max(1, math.ceil(quota)), f"the quota of the container ({quota:g} processors)")
    source = "the affinity mask" if cores < (os.cpu_count() or 1) else "the processors of the machine"
    return Threads(cores, source)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many processors' time the control groups of this process grant it; `None` without a limit.

    The least of all groups from its own up to the root, of version 1 and 2.
    """
    quotas = [quota for folder in _groups(root) for quota in (_quota_v2(folder), _quota_v1(folder)) if quota]
    return min(quotas, default=None)


@functools.cache
def _own_quota() -> float | None:
    """Return `cpu_quota` of this process, read once: every call asks for it."""
    return cpu_quota()


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that a process is in and that limit processors, upwards."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = ([*line.split(":", 2), "", ""])[:3]
        if number == "0" and not controllers:
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif "cpu" in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu"]
        else:
            continue
        # In a container the path may be that of the host, which isn't there; the mount itself is then the group.
        inner = Path(path.strip("/"))
        for mount in mounts:
            if ".." not in inner.parts:
                yield from (mount / part for part in (inner, *inner.parents))


def _quota_v2(group: Path) -> float | None:
    quota, period = ([*_words(group / "cpu.max"), "", ""])[:2]
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _quota_v1(group: Path) -> float | None:
    quota, period = ("".join(_words(group / name)[:1]) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


@contextmanager
def limited(threads: int | None = None) -> Iterator[int]:
    """Compute with so many threads, which sleep when they wait, until the end of the block.

    For a verb: BLAS has one thread meanwhile. Calls within take the same number; other threads of this process
    keep theirs. The libraries that compute must be imported before.

    Args:
        threads: as in `choose`.

    Yields:
        the number of threads.
    """
    with computing(threads) as number, _one_blas_thread():
        yield number


@contextmanager
def computing(threads: int | None = None) -> Iterator[int]:
    """As `limited`, for the forward of a model, which uses no BLAS: takes some microseconds."""
    runtimes = _runtimes()
    if _here.number is not None and threads is None and not _forked and _here.runtimes == len(runtimes):
        yield _here.number
        return
    before = _here.number, _here.runtimes
    number = choose(threads).number
    with ExitStack() as stack:
        for runtime in runtimes:
            stack.enter_context(runtime.computing(number))
        _here.number, _here.runtimes = number, len(runtimes)
        try:
            yield number
        finally:
            _here.number, _here.runtimes = before


class Lock:
    """A lock for one thread at a time, which a forked child finds open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["Lock"], tuple[()]]:
        """Travel to another process, or into a copy, as a new lock."""
        return Lock, ()

    def forget(self) -> None:
        """Open it, in a forked child: who held it isn't there."""
        self._lock = threading.Lock()


_locks: "weakref.WeakSet[Lock]" = weakref.WeakSet()


class _Count:
    """Something of the whole process that is on while there is at least one call."""

    def __init__(self, on: Callable[[], Callable[[], None]]) -> None:
        self._on, self._lock, self._calls = on, Lock(), 0
        self._off: Callable[[], None] = lambda: None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it on until the end of the block."""
        with self._lock:
            if not self._calls:
                self._off = self._on()
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if not self._calls:
                    self._off()

    def forget(self) -> None:
        """Begin anew, in a forked child: what was on ended with the parent's threads."""
        self._calls = 0


def _limit_blas() -> Callable[[], None]:
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    before = [(library, library.num_threads) for library in found if library.num_threads != 1]
    for library, _ in before:
        library.set_num_threads(1)

    def off() -> None:
        for library, number in before:
            library.set_num_threads(number)

    return off


_blas = _Count(_limit_blas)


def _one_blas_thread() -> AbstractContextManager[None]:
    """Let numpy's and scipy's BLAS, whose numbers are the whole process's, have one thread."""
    return _blas.held()


class _Runtime:
    """An OpenMP runtime that torch computes with; the number of threads is the calling thread's own."""

    def __init__(self, library: ctypes.CDLL, mkl: Any) -> None:
        self._library, self._mkl = library, mkl
        self._park = _Count(self._parked)
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
        team = _team(self)
        return team.release

    def park(self) -> None:
        """Make a team of more threads than there are processors; they sleep as long as this thread lives."""
        # A C function that does nothing with a null pointer, and needs no interpreter.
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        size = self._library.omp_get_num_procs() + 1
        self._library.GOMP_parallel(nothing, ctypes.c_void_p(0), ctypes.c_uint(size), ctypes.c_uint(0))

    def forget(self) -> None:
        """Begin anew, in a forked child."""
        self._park.forget()


class _Team:
    """A thread of this process whose OpenMP team is parked; it ends some seconds after the last call."""

    def __init__(self, runtime: _Runtime) -> None:
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


_teams: dict[_Runtime, _Team] = {}


def _team(runtime: _Runtime) -> _Team:
    """Return the parked team of a runtime, taken; its lock is held by the caller."""
    team = _teams.get(runtime)
    if team is None or not team.take():
        team = _teams[runtime] = _Team(runtime)
    return team


_finding = Lock()


def _runtimes() -> tuple[_Runtime, ...]:
    """Return torch's OpenMP runtime; none before torch is imported."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return ()
    torch.get_num_threads()  # sets this thread's number, if it is its first call
    with _finding:
        return _found()


@functools.cache
def _found() -> tuple[_Runtime, ...]:
    from threadpoolctl import ThreadpoolController

    folder = Path(sys.modules["torch"].__file__ or "").parent
    loaded = ThreadpoolController().select(user_api="openmp").lib_controllers
    # LLVM's or Intel's, where it is loaded, stands in for GNU's.
    own = [
        one for one in loaded if folder in Path(one.filepath).parents or one.prefix in _STANDING_IN
    ] or loaded
    return tuple(_Runtime(one.dynlib, _mkl_setter(folder)) for one in own)


def _mkl_setter(folder: Path) -> Any:
    """Return MKL's function that sets the calling thread's number and tells the last; `None` without MKL."""
    path = folder / "lib" / "libtorch_cpu.so"
    if not path.is_file():
        return None
    return getattr(ctypes.CDLL(str(path)), "MKL_Set_Num_Threads_Local", None)


_forked = False


def is_forked() -> bool:
    """Tell whether this process was forked after torch was loaded."""
    return _forked


def _after_fork() -> None:
    """In a forked child: the threads of the parent's pools are gone, and whoever waits for them waits forever."""
    global _forked
    for lock in list(_locks):
        lock.forget()
    _blas.forget()
    _forked = "torch" in sys.modules
    _own_quota.cache_clear()
    if _found.cache_info().currsize:
        for runtime in _found():
            runtime.forget()
    _teams.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
