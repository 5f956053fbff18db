"""Requests that were admitted, and the chunks of texts that they are cut into."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from layerwise.layers import depth
from layerwise.states import LayerStates

if TYPE_CHECKING:
    from layerwise.encode.shard_plan import PlannedShard


@dataclass(frozen=True, eq=False)
class WorkChunk:
    """Some texts of a request: `shards` are their plans, `views` the numbers of the request's views that these are.

    `tokens` is what goes through the model, with the overlap of windows; `depth` the deepest layer.
    """

    views: Sequence[int]
    shards: Sequence[PlannedShard]

    tokens: int = field(init=False)
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        lengths = self.shards[0].plan.sequences.lengths()
        names = [name for shard in self.shards for name in shard.request.layers]
        object.__setattr__(self, "tokens", sum(lengths))
        object.__setattr__(self, "depth", max(map(depth, names)))

    @property
    def texts(self) -> int:
        """The number of texts."""
        return int(self.shards[0].texts.num_rows)

    @property
    def vectors(self) -> int:
        """The number of vectors, of all layers and views."""
        return sum(shard.rows * len(shard.request.layers) for shard in self.shards)


@dataclass(eq=False)
class Work:
    """A request in the queue, or in the model.

    Attributes:
        chunks: its texts, in order.
        views: the number of its views.
        deadline: the time after which it is refused if no chunk of it has begun.
        future: gets the states of each view.
        arrived, started, finished: times of the monotonic clock; 0 until then.
        is_abandoned: whether the client went away.
    """

    chunks: Sequence[WorkChunk]
    views: int = 1
    deadline: float = float("inf")
    future: Future[list[LayerStates]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    finished: float = 0.0
    is_abandoned: bool = False

    def __post_init__(self) -> None:
        self.tokens = sum(chunk.tokens for chunk in self.chunks)
        self.next = 0
        self.future.set_running_or_notify_cancel()  # who waits for it can't cancel it; see `Scheduler.abandon`
        self._states: dict[int, list[LayerStates]] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.is_abandoned or self.future.done()

    @property
    def waiting(self) -> Sequence[WorkChunk]:
        """The chunks that haven't begun."""
        return self.chunks[self.next :]

    def take(self) -> WorkChunk:
        """Return the next chunk, which begins now."""
        self.started = self.started or time.monotonic()
        self.next += 1
        return self.chunks[self.next - 1]

    def give(self, chunk: WorkChunk, states: list[LayerStates]) -> None:
        """Take the states of a chunk; after the last one, answer."""
        self._states[id(chunk)] = states
        if len(self._states) == len(self.chunks) and not self.is_over:
            self.finished = time.monotonic()
            self.future.set_result([self._joined(view) for view in range(self.views)])

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless it was answered."""
        if not self.future.done():
            self.future.set_exception(error)

    def _joined(self, view: int) -> LayerStates:
        return joined(
            [
                self._states[id(chunk)][list(chunk.views).index(view)]
                for chunk in self.chunks
                if view in chunk.views
            ]
        )


def joined(parts: Sequence[LayerStates]) -> LayerStates:
    """Return the rows of consecutive texts as one object."""
    first = parts[0]
    if len(parts) == 1:
        return first
    vectors: Mapping[str, np.ndarray] = {
        name: np.concatenate([part.layer(name, raw=True) for part in parts]) for name in first.layers
    }
    return LayerStates(
        vectors,
        index=_concatenated([part.index for part in parts]),
        texts=_concatenated([part.texts for part in parts]),
        blocks=first.blocks,
        level=first.level,
        pool=first.pool,
        model=first.model,
        word_split=first.word_split,
    )


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables as one; a column of flags that some lack, because all of theirs are false, is false there."""
    table = pa.concat_tables(tables, promote_options="default")
    for name in ("dropped", "special_only"):
        if name in table.column_names and table[name].null_count:
            position = table.column_names.index(name)
            table = table.set_column(position, name, pc.fill_null(table[name], False))
    return table.combine_chunks()
