"""Group windows into the batches that go through the model together: sorted by length, up to a budget of tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from layerwise.array_types import I64

Packing = Literal["packed", "padded", "even", "single"]
LayerKey = int | str
"""A position on the layer axis, or the name of a site, such as `attention.6`."""
LayerSets = frozenset[LayerKey] | Sequence[frozenset[LayerKey]]
"""Layers and sites: one set for all windows of a batch, or one per window, in the order of the batch."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Windows ready for the model: token numbers and, where the model takes them, segment numbers."""

    ids: Sequence[I64]
    types: Sequence[I64] | None

    def lengths(self) -> list[int]:
        """Return the number of tokens of each window."""
        return [len(ids) for ids in self.ids]

    def select(self, numbers: Iterable[int]) -> "Sequences":
        """Return the windows with these numbers, in this order."""
        selected = list(numbers)
        types = None if self.types is None else [self.types[n] for n in selected]
        return Sequences([self.ids[n] for n in selected], types)


@dataclass(frozen=True, slots=True)
class Batch:
    """The windows of one forward, by number, with their lengths in tokens; the shortest first.

    Where windows leave the forward at different layers, those that stay longest come first; see `by_depth`.
    """

    windows: I64
    lengths: I64

    def runs(self) -> list[tuple[int, int]]:
        """Return (number of windows, length) of each run of windows of one length."""
        starts = np.flatnonzero(np.diff(self.lengths, prepend=-1))
        counts = np.diff(starts, append=len(self.lengths))
        return [(int(n), int(length)) for n, length in zip(counts, self.lengths[starts], strict=True)]

    def by_depth(self, depths: I64) -> "Batch":
        """Return the batch with the windows that need deeper layers first.

        Args:
            depths: for each window of the batch, the position of its deepest layer.
        """
        order = np.argsort(-depths, kind="stable")
        return Batch(self.windows[order], self.lengths[order])


def batches(
    lengths: Sequence[int] | I64, budget: int, packing: Packing, depths: I64 | None = None
) -> list[Batch]:
    """Sort windows by length and group them into batches of at most `budget` tokens, padding included.

    `even` puts only windows of one length together, for families in which padding changes the vectors; `single` puts
    no windows together. With `depths`, the position of the deepest layer that each window needs, they are sorted by depth
    first, so that windows of one depth share batches.
    A window that is longer than the budget is a batch by itself.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(sizes, kind="stable") if depths is None else np.lexsort((sizes, depths))
    grouped: list[Batch] = []
    begin = tokens = 0
    for end, size in enumerate(sizes[order].tolist()):
        tokens = tokens + size if packing == "packed" else (end - begin + 1) * size
        apart = packing == "single" or (packing == "even" and size != sizes[order[begin]])
        if end > begin and (tokens > budget or apart):
            grouped.append(Batch(order[begin:end], sizes[order[begin:end]]))
            begin, tokens = end, size
    if len(order):
        grouped.append(Batch(order[begin:], sizes[order[begin:]]))
    return grouped
