"""The limits of a container on processors and memory: Linux control groups, versions 1 and 2."""

from collections.abc import Iterator
from pathlib import Path


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the processor time that the control groups of this process allow, in processors; `None` without a limit.

    The smallest quota of all groups from the process's group up to the root, versions 1 and 2.
    """
    quotas = [
        quota for folder in _groups(root, "cpu") for quota in (_quota_v2(folder), _quota_v1(folder)) if quota
    ]
    return min(quotas, default=None)


def memory_left(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that the control groups of this process leave it; `None` without a limit."""
    left = [number for folder in _groups(root, "memory") if (number := _memory_left(folder)) is not None]
    return min(left, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups of this process that can limit `controller`, from the innermost."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = ([*line.split(":", 2), "", ""])[:3]
        if number == "0" and not controllers:
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup" / controller]
        else:
            continue
        # In a container this may be the path on the host, which doesn't exist here; the mount itself is then the group.
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


def _memory_left(group: Path) -> int | None:
    """Return the limit of a group, less what is in use and isn't a cache of files."""
    for limit_file, usage_file, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, usage = ("".join(_words(group / name)[:1]) for name in (limit_file, usage_file))
        if limit.isdecimal() and usage.isdecimal():
            words = _words(group / "memory.stat")
            cached = dict(zip(words[::2], words[1::2], strict=False)).get(cache, "")
            return max(0, int(limit) - int(usage) + (int(cached) if cached.isdecimal() else 0))
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
