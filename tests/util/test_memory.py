"""Memory that is free goes back to the system."""

import ctypes
import os
import sys
from pathlib import Path

import pytest

from layerwise._util.memory import give_back


def resident() -> int:
    """Bytes of this process that stand in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc"
)
def test_what_is_free_below_what_is_kept_goes_back_to_the_system() -> None:
    # Each too small for a mapping of its own, and the last stays, so that the allocator can't let go by itself.
    blocks = [bytes(100_000) for _ in range(1_000)]
    full = resident()
    del blocks[:-1]
    give_back()
    assert full - resident() > 50_000_000
