"""How many threads a call computes with.

The number is set for a call and taken back after it: the environment and torch's settings stay the caller's. It is
what the call says, else the usual environment variables, else what the machine grants: the affinity mask, and the
quota of the container. Products are those of torch (how its threads wait: `openmp`); numpy's and scipy's
BLAS, a second pool of threads, has one meanwhile.
"""

import functools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from layerwise._util.locks import Shared, is_forked
from layerwise._util.openmp import runtimes
from layerwise._util.quota import cpu_quota
from layerwise.errors import RequestError

X = TypeVar("X")
Y = TypeVar("Y")
_MOST = 64  # threads that may be asked for on any machine: each takes memory, and more than processors gain nothing
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


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
        RequestError: a number out of range, or several threads in a forked process.
    """
    most = max(_MOST, 4 * (os.cpu_count() or 1))
    if threads is not None and (type(threads) is not int or not 1 <= threads <= most):
        raise RequestError(f"--threads {threads!r} is out of range; take a whole number from 1 to {most}")
    if is_forked():
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
    torch = sys.modules.get("torch")
    own = torch.get_num_threads() if torch is not None and hasattr(torch, "get_num_threads") else most
    found = _by_variable(most) or granted()
    return Threads(own, "torch") if own < found.number else found


def _by_variable(most: int) -> Threads | None:
    for name in VARIABLES:
        number = os.environ.get(name, "").split(",")[0].strip()
        if number.isascii() and number.isdecimal() and int(number) > 0:
            return Threads(min(int(number), most), name)
    return None


def granted(root: Path = Path("/")) -> Threads:
    """Return how many threads the machine grants this process: by its affinity mask, and its container's quota.

    Args:
        root: where /proc and /sys are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # With OMP_PROC_BIND and its kin the runtime ties this thread to one processor, and knows how many it has.
    cores = max(cores, *(runtime.processors() for runtime in runtimes()), 1)
    quota = _own_quota() if root == Path("/") else cpu_quota(root)
    if quota is not None and math.ceil(quota) < cores:
        return Threads(max(1, math.ceil(quota)), f"the quota of the container ({quota:g} processors)")
    source = "the affinity mask" if cores < (os.cpu_count() or 1) else "the processors of the machine"
    return Threads(cores, source)


@functools.cache
def _own_quota() -> float | None:
    """Return `cpu_quota` of this process, read once: every call asks for it."""
    return cpu_quota()


@contextmanager
def limited(threads: int | None = None) -> Iterator[int]:
    """Compute with so many threads until the end of the block; on a busy machine they sleep when they wait.

    For a verb: BLAS has one thread meanwhile. Calls within take the same number; other threads of this process
    keep theirs, but BLAS, whose number is the whole process's. The libraries that compute must be imported before.

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
    loaded = runtimes()
    if _here.number is not None and threads is None and not is_forked() and _here.runtimes == len(loaded):
        yield _here.number
        return
    before = _here.number, _here.runtimes
    number = choose(threads).number
    with ExitStack() as stack:
        for runtime in loaded:
            stack.enter_context(runtime.computing(number))
        _here.number, _here.runtimes = number, len(loaded)
        try:
            yield number
        finally:
            _here.number, _here.runtimes = before


def spread(function: Callable[[X], Y], items: Iterable[X]) -> list[Y]:
    """Return what a function gives of each item, in order, computed side by side.

    For work in numpy and scipy within `limited`: each item is computed by one thread, so the numbers are the same
    to the bit however many threads there are, which they are not when BLAS parts a product.

    Args:
        function: may be called by several threads at once.
        items: one call each.
    """
    items = list(items)
    workers = min(_here.number or 1, len(items))
    if workers < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(workers, thread_name_prefix="layerwise-spread") as pool:
        return list(pool.map(function, items))


def _limit_blas() -> Callable[[], None]:
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    before = [(library, library.num_threads) for library in found if library.num_threads != 1]

    def set_all(numbers: list[tuple[Any, int]]) -> None:
        for library, number in numbers:
            # Only one thread may set OpenBLAS's number, and others are passed over without a word.
            clear = getattr(library, "clear_controlling_thread", lambda force: None)
            clear(force=True)
            library.set_num_threads(number)
            clear(force=True)

    set_all([(library, 1) for library, _ in before])
    return lambda: set_all(before)


_blas = Shared(_limit_blas)


def _one_blas_thread() -> AbstractContextManager[None]:
    """Let numpy's and scipy's BLAS, whose numbers are the whole process's, have one thread."""
    return _blas.held()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_own_quota.cache_clear)
