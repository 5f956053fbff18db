"""Turn the layers of each batch into finished rows on the model's device, and pass these to a sink.

Copying whole layers to the CPU and pooling there would take longer than the forward on a GPU. So each layer is reduced
as soon as its block is done, and only its rows leave the device. A row whose tokens come from several windows (a long
text) is complete only after the last of them: its partial sums or maxima stay on the device until then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from layerwise import pooling
from layerwise.encode.batches import Batch, LayerKey
from layerwise.encode.engine import Engine, PlainEngine
from layerwise.encode.plan import Plan, RowTokens
from layerwise.encode.request import Request
from layerwise.encode.taps import OnLayer
from layerwise.encode.transfer import Floats, Outgoing, Sink, asynchronous, to_device
from layerwise.errors import ModelError
from layerwise.layers import depth, site
from layerwise.widths import Widths, width_of

OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class PlannedRows:
    """The rows of one level and pool that a forward gives: their plan, the request, and the sink that takes them."""

    plan: Plan
    request: Request
    sink: Sink


def run_plan(
    engine: Engine | PlainEngine,
    planned: Sequence[PlannedRows],
    widths: Widths,
    on_batch: OnBatch | None = None,
) -> None:
    """Run the model once over some windows, and pass every row of every requested layer to its sink once.

    Args:
        engine: runs the model, up to the last layer or site that is planned.
        planned: the rows of each request; all plans have the same windows, and all requests the same batches.
        widths: those of all requested layers.
        on_batch: called after each batch with its numbers of tokens and of windows.
    """
    device = gathering_device(engine)
    gatherers = [Gatherer(rows, widths, device) for rows in planned]
    keys: frozenset[LayerKey] = frozenset().union(*(gatherer.names for gatherer in gatherers))
    sequences = planned[0].plan.sequences
    for batch in engine.batches(sequences, planned[0].request.batch_tokens):
        begins = engine.begins(batch)
        receivers = [gatherer.receiver(batch, begins) for gatherer in gatherers]

        def on_layer(key: LayerKey, hidden: torch.Tensor, receivers: Sequence[OnLayer] = receivers) -> None:
            hidden = hidden.to(device)
            for receive in receivers:
                receive(key, hidden)

        engine.run(sequences, batch, keys, on_layer)
        if on_batch is not None:
            on_batch(int(batch.lengths.sum()), len(batch.windows))
    for gatherer in gatherers:
        gatherer.finish()


def gathering_device(engine: Engine | PlainEngine) -> torch.device:
    """Return the device on which tokens are reduced to rows: that of the model, where torch can do it there."""
    # Not every version of torch has embedding_bag on MPS.
    return torch.device("cpu") if engine.device.type == "mps" else engine.device


def key_of(name: str) -> LayerKey:
    """Return by what an engine knows a layer or a site."""
    return depth(name) if site(name) is None else name


class Gatherer:
    """Turns the layers of each batch into the rows of one request.

    `names` are the requested layers by their position in the model, and the requested sites.
    """

    def __init__(self, rows: PlannedRows, widths: Widths, device: torch.device) -> None:
        self._plan, request = rows.plan, rows.request
        self.names = {key_of(name): name for name in request.layers}
        how = pooling.reduction(request.pool)
        self._how = how if request.level != "token" else None
        self._split = _SplitRows(self._plan, request.layers, widths, device, how)
        self._outgoing = Outgoing(rows.sink, len(self.names) if asynchronous(device) else 0)

    def receiver(self, batch: Batch, begins: npt.NDArray[np.int64]) -> OnLayer:
        """Return the function that takes the layers of a batch, whose windows begin at `begins`."""
        split, how = self._split, self._how
        whole = _OnDevice(self._plan.whole.in_batch(batch.windows, begins), split.device)
        parts = _OnDevice(self._plan.parts.in_batch(batch.windows, begins), split.device)

        def receive(key: LayerKey, hidden: torch.Tensor) -> None:
            """Take the hidden states of a layer, (tokens, width)."""
            if key not in self.names:
                return
            name = self.names[key]
            if len(whole.rows):
                values = whole.gather(hidden) if how is None else whole.reduce(hidden, how)
                self._outgoing.put(name, whole.rows, values)
            if len(parts.rows):
                split.add(name, parts.rows, parts.reduce(hidden, split.partial))

        return receive

    def finish(self) -> None:
        """Send the rows of several windows, and wait until all rows have arrived."""
        self._split.finish(self._outgoing)
        self._outgoing.finish()


class Memory:
    """A sink that keeps rows in memory: an array (rows, width) per layer."""

    def __init__(self, layers: Sequence[str], rows: int, widths: Widths) -> None:
        self._layers = {name: np.empty((rows, width_of(widths, name)), dtype=np.float32) for name in layers}
        self._filled = {name: np.zeros(rows, dtype=bool) for name in layers}

    @property
    def layers(self) -> dict[str, Floats]:
        """All layers, after each row was put.

        Raises:
            ModelError: a row wasn't put; its memory is uninitialised.
        """
        for name, filled in self._filled.items():
            if not filled.all():
                raise ModelError(
                    f"{int((~filled).sum())} of {len(filled)} rows of layer {name} didn't arrive; report this"
                )
        return self._layers

    def put(self, layer: str, rows: npt.NDArray[np.int64], values: Floats) -> None:
        """Keep some rows."""
        self._filled[layer][rows] = True
        # torch copies with several threads. The first write also makes the system provide the memory, which is slow.
        array = torch.from_numpy(self._layers[layer])
        array.index_copy_(0, torch.from_numpy(rows), torch.from_numpy(values))


class _OnDevice:
    """Row tokens with their indices on the device of the model."""

    def __init__(self, row_tokens: RowTokens, device: torch.device) -> None:
        self.rows, tokens = row_tokens.rows, row_tokens.tokens
        self._tokens = to_device(torch.from_numpy(tokens), device)
        self._offsets = to_device(torch.from_numpy(row_tokens.offsets), device)
        self._is_prefix = np.array_equal(tokens, np.arange(len(tokens)))

    def gather(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the vectors of the tokens of `hidden` (tokens, width), in float32."""
        prefix = hidden[: len(self._tokens)]
        return (prefix if self._is_prefix else hidden.index_select(0, self._tokens)).float()

    def reduce(self, hidden: torch.Tensor, how: pooling.Reduce) -> torch.Tensor:
        """Return one vector per row, in float32."""
        return pooling.reduce(hidden.float(), self._tokens, self._offsets, how)


class _SplitRows:
    """Rows whose tokens come from several windows: partial sums (or maxima), completed at the end."""

    def __init__(
        self, plan: Plan, layers: Sequence[str], widths: Widths, device: torch.device, how: pooling.Reduce
    ) -> None:
        self.device, self._rows, self._how = device, plan.split, how
        self.partial: pooling.Reduce = "max" if how == "max" else "sum"
        self._counts = torch.from_numpy(plan.split_counts).to(device)[:, None]
        # The neutral element of the maximum, or of the sum.
        start = float("-inf") if how == "max" else 0.0
        rows = len(self._rows)
        self._sums = {
            name: torch.full((rows, width_of(widths, name)), start, dtype=torch.float32, device=device)
            for name in layers
            if len(self._rows)
        }

    def add(self, layer: str, rows: npt.NDArray[np.int64], values: torch.Tensor) -> None:
        """Add the parts (k, width) of some rows; a row may occur several times in one batch, once per window."""
        positions = to_device(torch.from_numpy(np.searchsorted(self._rows, rows)), values.device)
        if self.partial == "max":
            self._sums[layer].scatter_reduce_(0, positions[:, None].expand_as(values), values, "amax")
        else:
            self._sums[layer].index_add_(0, positions, values)

    def finish(self, outgoing: Outgoing) -> None:
        """Send all rows to the sink."""
        for layer, sums in self._sums.items():
            values = sums / self._counts if self._how == "mean" else sums
            outgoing.put(layer, self._rows, values)
