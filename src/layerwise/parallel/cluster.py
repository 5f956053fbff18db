"""The Ray cluster of a call: connect to it or start one, and share its cores and GPUs among workers."""

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerwise.errors import RequestError
from layerwise.parallel.executor import script_folders


def connect(ray: Any) -> bool:
    """Connect this process to the cluster that `RAY_ADDRESS` names, or start one on this machine.

    Args:
        ray: the module.

    Returns:
        whether the caller must end the connection; False where this process was connected before.

    Raises:
        RequestError: there is no cluster at the address.
    """
    if ray.is_initialized():
        return False
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(
            log_to_driver=False,
            include_dashboard=False,
            logging_level=logging.ERROR,
            job_config=_job(ray),
        )
    except (ConnectionError, ValueError) as error:
        why = str(error).strip().partition("\n")[0]
        raise RequestError(f"no Ray cluster is available: {why}; check RAY_ADDRESS") from None
    return True


def _job(ray: Any) -> Any:
    """Return how Ray starts our workers: without the current folder in front, whose `pyarrow.py` they would run.

    In a cluster that this process has joined before, they are started as the user has it.
    """
    job = ray.job_config.JobConfig()
    if str(Path.cwd()) in script_folders():
        job._client_job = True  # this is all that it changes for a job without a runtime environment
    return job


def _check_address(address: str) -> None:
    """Check that something listens at `HOST:PORT`; otherwise Ray would wait without a message.

    Raises:
        RequestError: nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise RequestError(
            f"there is no Ray cluster at RAY_ADDRESS={address} ({error.strerror or error}); start it, or unset RAY_ADDRESS"
        ) from None


def share_of(cores: Sequence[int], count: int) -> int:
    """Return how many cores each of `count` workers can have on machines with `cores` cores; at least one.

    >>> share_of([3, 3], 3)
    1
    >>> share_of([4, 16], 2)
    8
    """
    # A worker can't have cores of two machines, so the remainder of each machine stays unused.
    return next((n for n in range(max(cores), 1, -1) if sum(machine // n for machine in cores) >= count), 1)


def gpu_share_of(gpus: int, count: int) -> float:
    """Return the share of a GPU that each of `count` workers can have, at most a whole one.

    >>> [gpu_share_of(gpus, 3) for gpus in (0, 1, 2, 8)]
    [0.0, 0.3333333333333333, 0.5, 1.0]
    """
    return 1 / -(-count // gpus) if gpus else 0.0
