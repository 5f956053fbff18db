"""How much of the processors a container grants: control groups of Linux, of version 1 and 2."""

from collections.abc import Iterator
from pathlib import Path


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many processors' time the control groups of this process grant it; `None` without a limit.

    The least of all groups from its own up to the root, of version 1 and 2.
    """
    quotas = [quota for folder in _groups(root) for quota in (_quota_v2(folder), _quota_v1(folder)) if quota]
    return min(quotas, default=None)


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
