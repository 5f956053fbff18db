"""The number of threads that a call computes with.

The number is set for a call and restored after it: the environment and torch's settings of the caller don't change. It
is the argument of the call, else the usual environment variables, else what the machine allows: the affinity mask, and
the quota of the container. torch computes matrix products (how its threads wait: see `openmp`); the BLAS of numpy and
scipy, a second pool of threads, has one thread meanwhile.
"""

import functools
import math
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from layerwise._util.locks import Shared, is_forked
from layerwise._util.openmp import runtimes
from layerwise._util.quota import cpu_quota
from layerwise.arguments import argument
from layerwise.errors import RequestError

X = TypeVar("X")
Y = TypeVar("Y")
_MOST = 64  # threads that any machine accepts: each takes memory, and more than the processors bring no speed
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Threads:
    """The number of threads of a call, and where it comes from."""

    number: int
    source: str


class _ThreadState(threading.local):
    """The state of this thread: the number of threads of the current call, and of runtimes set to it."""

    number: int | None = None
    runtimes: int = 0


_state = _ThreadState()


def choose(threads: int | None = None) -> Threads:
    """Return the number of threads that a call computes with.

    Args:
        threads: the number requested. By default that of the enclosing call, then of `VARIABLES`, then of the
            machine; never more than torch is set to.

    Raises:
        RequestError: a number out of range, or several threads in a forked process.
    """
    most = max(_MOST, 4 * (os.cpu_count() or 1))
    if threads is not None and (type(threads) is not int or not 1 <= threads <= most):
        raise RequestError(
            f"{argument('threads', threads)} is out of range; give a whole number from 1 to {most}"
        )
    if is_forked():
        if threads is not None and threads > 1:
            raise RequestError(
                f"{argument('threads', threads)}: a process that was forked after torch was loaded computes with one thread; "
                "start it with the method spawn, or leave it out"
            )
        return Threads(1, "this process was forked after torch was loaded")
    if threads is not None:
        return Threads(threads, argument("threads"))
    if _state.number is not None:
        return Threads(_state.number, "the call around it")
    torch = sys.modules.get("torch")
    of_torch = torch.get_num_threads() if torch is not None and hasattr(torch, "get_num_threads") else most
    default = _by_variable(most) or granted()
    return Threads(of_torch, "torch") if of_torch < default.number else default


def _by_variable(most: int) -> Threads | None:
    for name in VARIABLES:
        number = os.environ.get(name, "").split(",")[0].strip()
        if number.isascii() and number.isdecimal() and int(number) > 0:
            return Threads(min(int(number), most), name)
    return None


def granted(root: Path = Path("/")) -> Threads:
    """Return the number of threads that the affinity mask and the quota of the container allow.

    Args:
        root: the folder with /proc and /sys.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # With OMP_PROC_BIND and similar variables the runtime binds this thread to one processor; ask the runtime instead.
    cores = max(cores, *(runtime.processors() for runtime in runtimes()), 1)
    quota = _process_quota() if root == Path("/") else cpu_quota(root)
    if quota is not None and math.ceil(quota) < cores:
        return Threads(max(1, math.ceil(quota)), f"the quota of the container ({quota:g} processors)")
    source = "the affinity mask" if cores < (os.cpu_count() or 1) else "the processors of the machine"
    return Threads(cores, source)


@functools.cache
def _process_quota() -> float | None:
    """Return `cpu_quota` of this process, read once because every call needs it."""
    return cpu_quota()


@contextmanager
def limited(threads: int | None = None) -> Iterator[int]:
    """Compute with `threads` threads until the end of the block; on a busy machine they sleep at barriers.

    For verbs: BLAS has one thread meanwhile. Nested calls use the same number; other threads of this process keep
    theirs, except for BLAS, whose number applies to the whole process. Import the libraries that compute before.

    Args:
        threads: as in `choose`.

    Yields:
        the number of threads.
    """
    with computing(threads) as number, _one_blas_thread():
        yield number


@contextmanager
def computing(threads: int | None = None) -> Iterator[int]:
    """Like `limited`, for the forward pass of a model, which uses no BLAS: takes a few microseconds."""
    loaded = runtimes()
    if _state.number is not None and threads is None and not is_forked() and _state.runtimes == len(loaded):
        yield _state.number
        return
    before = _state.number, _state.runtimes
    number = choose(threads).number
    with ExitStack() as stack:
        for runtime in loaded:
            stack.enter_context(runtime.computing(number))
        _state.number, _state.runtimes = number, len(loaded)
        try:
            yield number
        finally:
            _state.number, _state.runtimes = before


def spread(function: Callable[[X], Y], items: Iterable[X]) -> list[Y]:
    """Return the result of a function for each item, in order, computed in parallel; see `spread_in_turn`."""
    return list(spread_in_turn(function, items))


def spread_in_turn(function: Callable[[X], Y], items: Iterable[X]) -> Generator[Y]:
    """Yield the result of a function for each item, in order, computed in parallel; stop the rest when closed.

    For work within `limited`. Each item is computed by one thread where there are enough items, so the results are the
    same to the bit for any number of threads, which isn't so when BLAS splits a product; small steps also take less
    processor time than with threads that wait for one another. With fewer items than threads, torch uses the threads
    that are left over.

    Args:
        function: called by several threads at once.
        items: the argument of one call each.
    """
    items, number = list(items), current()
    workers = min(number, len(items))
    if workers < 2:
        yield from map(function, items)
        return

    def compute(item: X) -> Y:
        with computing(number // workers):
            return function(item)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="layerwise-spread")
    try:
        yield from pool.map(compute, items)
    finally:
        pool.shutdown(cancel_futures=True)


def current() -> int:
    """Return the number of threads of the call around; 1 outside of `limited` and `computing`."""
    return _state.number or 1


def _limit_blas() -> Callable[[], None]:
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    before = [(library, library.num_threads) for library in libraries if library.num_threads != 1]

    def set_all(numbers: list[tuple[Any, int]]) -> None:
        for library, number in numbers:
            # OpenBLAS lets only one thread set its number, and silently ignores all others.
            clear = getattr(library, "clear_controlling_thread", lambda force: None)
            clear(force=True)
            library.set_num_threads(number)
            clear(force=True)

    set_all([(library, 1) for library, _ in before])
    return lambda: set_all(before)


_blas = Shared(_limit_blas)


def _one_blas_thread() -> AbstractContextManager[None]:
    """Limit the BLAS of numpy and scipy, whose number applies to the whole process, to one thread."""
    return _blas.enabled()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process_quota.cache_clear)
