"""Between host and device, without either waiting for the other where the device is a GPU."""

import functools
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]
Arrived = Callable[[], object]


class Sink(Protocol):
    """Takes finished rows, in any order, each once per layer."""

    def put(self, layer: str, rows: npt.NDArray[np.int64], values: Floats) -> None:
        """Take `values` (k, width) of `layer` for the row numbers `rows` (k,)."""


class Outgoing:
    """Rows on their way to a sink: those of one batch are copied while the next is computed."""

    def __init__(self, sink: Sink, under_way: int) -> None:
        """Begin; at most `under_way` copies haven't arrived yet when `put` returns."""
        self._sink, self._most = sink, under_way
        self._waiting: deque[tuple[str, npt.NDArray[np.int64], torch.Tensor, Arrived]] = deque()

    def put(self, layer: str, rows: npt.NDArray[np.int64], values: torch.Tensor) -> None:
        """Send `values` (k, width), float32 on any device, to the sink."""
        self._waiting.append((layer, rows, *to_host(values)))
        self._deliver(self._most)

    def finish(self) -> None:
        """Wait for what is under way."""
        self._deliver(0)

    def _deliver(self, left: int) -> None:
        while len(self._waiting) > left:
            layer, rows, values, arrived = self._waiting.popleft()
            arrived()
            self._sink.put(layer, rows, values.numpy())


def to_host(values: torch.Tensor) -> tuple[torch.Tensor, Arrived]:
    """Return values in the host's memory, and what waits until they are there."""
    if not asynchronous(values.device):
        return values.cpu(), lambda: None
    beside = _beside(values.device)
    beside.wait_stream(torch.cuda.current_stream(values.device))
    with torch.cuda.stream(beside):
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        event = beside.record_event()
    # Their memory isn't given to others before they have left.
    values.record_stream(beside)
    return host, event.synchronize


@functools.cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    """Return the queue in which copies leave a GPU while the next layer is computed."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return values of the host on a device; what is computed there with them waits, and nothing else."""
    if not asynchronous(device):
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def asynchronous(device: torch.device) -> bool:
    """Tell whether copies from and to a device run beside it."""
    return device.type == "cuda"
