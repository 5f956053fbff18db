"""Memory that is free goes back to the system."""

import ctypes
import os
import sys
from pathlib import Path

import pytest

from layerwise._util.memory import available, give_back


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


MEMINFO = "MemTotal:       9000 kB\nMemFree:        1000 kB\nMemAvailable:   5000 kB\n"
V2 = {
    "memory.max": "3000000\n",
    "memory.current": "2500000\n",
    "memory.stat": "anon 1\ninactive_file 400000\n",
}
V1 = {"memory.limit_in_bytes": "2000000\n", "memory.usage_in_bytes": "1500000\n", "memory.stat": ""}


@pytest.mark.parametrize(
    ("listing", "files", "expected"),
    [
        ("", {}, 5_120_000),
        ("0::/job\n", {"job/memory.max": "max\n", "job/memory.current": "7\n"}, 5_120_000),
        ("0::/job/step\n", {f"job/{name}": text for name, text in V2.items()}, 900_000),
        ("3:memory:/job\n", {f"memory/job/{name}": text for name, text in V1.items()}, 500_000),
        # In a container the path is that of the host.
        ("0::/host/id\n", V2, 900_000),
        ("0::/job\n", {"job/memory.max": "100\n", "job/memory.current": "300\n"}, 0),
        ("0::/job\n", {"job/memory.max": "900000000\n", "job/memory.current": "0\n"}, 5_120_000),
    ],
)
def test_available_memory(listing: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    contents = {"proc/meminfo": MEMINFO, "proc/self/cgroup": listing}
    contents |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in contents.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert available(tmp_path) == expected


def test_available_memory_elsewhere(tmp_path: Path) -> None:
    assert available(tmp_path) is None
