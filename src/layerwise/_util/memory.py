"""The memory of this process, and how much of it is available."""

import ctypes
import sys
from pathlib import Path

from layerwise._util.quota import memory_left


def available(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that this process can still use; None where the system doesn't say (only Linux does).

    The smaller number of what the machine has, caches of files included, and of what the limits of the container leave.
    """
    left = [number for number in (_of_machine(root), memory_left(root)) if number is not None]
    return min(left, default=None)


def _of_machine(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if words[:1] == ["MemAvailable:"] and words[1].isdecimal():
            return int(words[1]) * 1024
    return None


def give_back() -> None:
    """Return free memory to the system, where the C library can (glibc); takes about 10 ms.

    A shard allocates and frees batches of many sizes, and the allocator keeps the gaps between them: a tenth of the
    memory of the process after a few shards.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
