"""The memory of this process."""

import ctypes
import sys


def give_back() -> None:
    """Return free memory to the system, where the C library can (glibc); takes about 10 ms.

    A shard allocates and frees batches of many sizes, and the allocator keeps the gaps between them: a tenth of the
    memory of the process after a few shards.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
