"""The device that a model runs on."""

from typing import Any

import torch

from layerwise.arguments import argument
from layerwise.errors import ModelError, RequestError


def choose_device(device: str | torch.device | None, process: int | None = None) -> str:
    """Return the name of the device to use.

    Args:
        device: a name, a device of torch, or None for the fastest device of this machine.
        process: the number of this process among several; of several GPUs each process gets one.

    Raises:
        RequestError: a device that this machine doesn't have.
    """
    name = _checked(str(device) if isinstance(device, torch.device) else device)
    if name == "cuda" and process is not None:
        return f"cuda:{process % torch.cuda.device_count()}"
    return name


def check_process(device: str, model_name: str) -> None:
    """Raise ModelError for a GPU that the parent of this forked process uses, because CUDA doesn't survive a fork."""
    if torch.device(device).type == "cuda" and torch.cuda._is_in_bad_fork():
        raise ModelError(
            f"model {model_name!r} can't run on {device} in a process that was forked; start that process with "
            f"the method spawn and load the model there, or use {argument('device', 'cpu')}"
        )


def _checked(device: Any) -> str:
    present = ["cpu"]
    if torch.cuda.is_available():
        present.insert(0, "cuda")
    elif torch.backends.mps.is_available():
        present.insert(0, "mps")
    if device is None:
        return present[0]
    numbered = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if not isinstance(device, str) or device not in [*present, *numbered]:
        devices = ", ".join([*present, *numbered])
        raise RequestError(f"{argument('device')} {device!r} isn't on this machine; there is {devices}")
    return device
