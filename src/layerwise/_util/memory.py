"""The memory of this process."""

import ctypes
import sys


def give_back() -> None:
    """Give what is free back to the system, where the C library can (glibc); takes some 10 ms.

    Batches of many sizes come and go in a shard, and the allocator keeps what lies between them: a tenth of the
    process after a few shards.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
