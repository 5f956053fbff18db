"""From the layers of a batch to finished rows: gathered and reduced on the model's device, then handed over."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from layerwise import pooling
from layerwise.encode.batches import Batch
from layerwise.encode.engine import Engine, PlainEngine
from layerwise.encode.plan import Plan, Take
from layerwise.encode.request import Request
from layerwise.encode.transfer import Floats, Outgoing, Sink, asynchronous, to_device
from layerwise.errors import ModelError

OnBatch = Callable[[int, int], None]


def run_plan(
    engine: Engine | PlainEngine,
    plan: Plan,
    request: Request,
    layers: Sequence[str],
    sink: Sink,
    on_batch: OnBatch | None = None,
) -> None:
    """Run the model over a plan and hand every row of every wanted layer to `sink`, each once.

    `layers` names the whole layer axis. `on_batch` is called after each batch with its tokens and windows.
    """
    wanted = {layers.index(name): name for name in request.layers}
    how = pooling.reduction(request.pool)
    # Not every torch has embedding_bag on MPS.
    place = torch.device("cpu") if engine.device.type == "mps" else engine.device
    split = _Split(plan, request.layers, engine.width, place, how)
    outgoing = Outgoing(sink, len(wanted) if asynchronous(place) else 0)
    for batch in engine.batches(plan.sequences, request.batch_tokens):
        _run_batch(engine, plan, batch, wanted, how if request.level != "token" else None, outgoing, split)
        if on_batch is not None:
            on_batch(int(batch.lengths.sum()), len(batch.windows))
    split.finish(outgoing)
    outgoing.finish()


def _run_batch(
    engine: Engine | PlainEngine,
    plan: Plan,
    batch: Batch,
    wanted: dict[int, str],
    how: pooling.Reduce | None,
    outgoing: Outgoing,
    split: "_Split",
) -> None:
    begins = engine.begins(batch)
    whole = _OnDevice(plan.whole.side_by_side(batch.windows, begins), split.device)
    parts = _OnDevice(plan.parts.side_by_side(batch.windows, begins), split.device)

    def on_layer(position: int, hidden: torch.Tensor) -> None:
        hidden = hidden.to(split.device)
        if len(whole.take.rows):
            values = whole.gather(hidden) if how is None else whole.reduce(hidden, how)
            outgoing.put(wanted[position], whole.take.rows, values)
        if len(parts.take.rows):
            split.add(wanted[position], parts.take.rows, parts.reduce(hidden, split.partial))

    engine.run(plan.sequences, batch, frozenset(wanted), on_layer)


class Memory:
    """Rows in memory: an array (rows, width) per layer."""

    def __init__(self, layers: Sequence[str], rows: int, width: int) -> None:
        self._layers = {name: np.empty((rows, width), dtype=np.float32) for name in layers}
        self._seen = {name: np.zeros(rows, dtype=bool) for name in layers}

    @property
    def layers(self) -> dict[str, Floats]:
        """All rows, once each of them was put.

        Raises:
            ModelError: a row that wasn't, and so holds what stood in that memory before.
        """
        for name, seen in self._seen.items():
            if not seen.all():
                raise ModelError(f"{int((~seen).sum())} of {len(seen)} rows of layer {name} didn't arrive")
        return self._layers

    def put(self, layer: str, rows: npt.NDArray[np.int64], values: Floats) -> None:
        """Keep some rows."""
        self._seen[layer][rows] = True
        # As numpy would, by several threads, which also take the memory for the first time.
        kept = torch.from_numpy(self._layers[layer])
        kept.index_copy_(0, torch.from_numpy(rows), torch.from_numpy(values))


class _OnDevice:
    """A take with its indices on the device of the model."""

    def __init__(self, take: Take, device: torch.device) -> None:
        self.take = take
        self._places = to_device(torch.from_numpy(take.places), device)
        self._offsets = to_device(torch.from_numpy(take.offsets), device)
        self._all = np.array_equal(take.places, np.arange(len(take.places)))

    def gather(self, hidden: torch.Tensor) -> torch.Tensor:
        first = hidden[: len(self._places)]
        return (first if self._all else hidden.index_select(0, self._places)).float()

    def reduce(self, hidden: torch.Tensor, how: pooling.Reduce) -> torch.Tensor:
        return pooling.reduce(hidden.float(), self._places, self._offsets, how)


class _Split:
    """Rows whose tokens come from several windows: partial sums (or maxima), put together at the end."""

    def __init__(
        self, plan: Plan, layers: Sequence[str], width: int, device: torch.device, how: pooling.Reduce
    ) -> None:
        self.device, self._rows, self._how = device, plan.split, how
        self.partial: pooling.Reduce = "max" if how == "max" else "sum"
        self._counts = torch.from_numpy(plan.split_counts).to(device)[:, None]
        start = float("-inf") if how == "max" else 0.0
        shape = (len(self._rows), width)
        self._sums = {
            name: torch.full(shape, start, dtype=torch.float32, device=device)
            for name in layers
            if len(self._rows)
        }

    def add(self, layer: str, rows: npt.NDArray[np.int64], values: torch.Tensor) -> None:
        # A row may stand several times in one batch, once per window.
        at = to_device(torch.from_numpy(np.searchsorted(self._rows, rows)), values.device)
        if self.partial == "max":
            self._sums[layer].scatter_reduce_(0, at[:, None].expand_as(values), values, "amax")
        else:
            self._sums[layer].index_add_(0, at, values)

    def finish(self, outgoing: Outgoing) -> None:
        for layer, sums in self._sums.items():
            values = sums / self._counts if self._how == "mean" else sums
            outgoing.put(layer, self._rows, values)
