"""Copy between the host and a GPU without waiting: copies run beside the computation."""

import functools
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]
Wait = Callable[[], object]


class Sink(Protocol):
    """Receives finished rows, in any order, each row once per layer."""

    def put(self, layer: str, rows: npt.NDArray[np.int64], values: Floats) -> None:
        """Receive `values` (k, width) of `layer` for the row numbers `rows` (k,)."""


class Outgoing:
    """A queue of rows between device and sink: those of one batch are copied while the next is computed."""

    def __init__(self, sink: Sink, limit: int) -> None:
        """Start with an empty queue; at most `limit` copies are in it when `put` returns."""
        self._sink, self._limit = sink, limit
        self._queue: deque[tuple[str, npt.NDArray[np.int64], torch.Tensor, Wait]] = deque()

    def put(self, layer: str, rows: npt.NDArray[np.int64], values: torch.Tensor) -> None:
        """Send `values` (k, width), float32 on any device, to the sink."""
        self._queue.append((layer, rows, *to_host(values)))
        self._deliver(self._limit)

    def finish(self) -> None:
        """Wait for all copies, and pass them to the sink."""
        self._deliver(0)

    def _deliver(self, limit: int) -> None:
        while len(self._queue) > limit:
            layer, rows, values, wait = self._queue.popleft()
            wait()
            self._sink.put(layer, rows, values.numpy())


def to_host(values: torch.Tensor) -> tuple[torch.Tensor, Wait]:
    """Return values in the host's memory, and a function that waits until they have arrived."""
    if not asynchronous(values.device):
        return values.cpu(), lambda: None
    stream = _copy_stream(values.device)
    stream.wait_stream(torch.cuda.current_stream(values.device))
    with torch.cuda.stream(stream):
        # Only copies to and from pinned memory run beside the computation.
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        event = stream.record_event()
    # torch must not reuse the memory of `values` before the copy is done.
    values.record_stream(stream)
    return host, event.synchronize


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream for copies from a GPU, which runs beside the one that computes."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy values of the host to a device; only computations there that use them wait for the copy."""
    if not asynchronous(device):
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def asynchronous(device: torch.device) -> bool:
    """Return whether copies from and to a device run beside its computations."""
    return device.type == "cuda"
