"""Which windows go through the model together: sorted by length, up to a budget of tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Packing = Literal["packed", "padded", "even"]
Ints = npt.NDArray[np.int64]
Wanted = frozenset[int] | Sequence[frozenset[int]]
"""Positions on the layer axis: the same for all windows of a batch, or of each, in the order of the batch."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Windows ready for the model: token numbers and, where the model takes them, segment numbers."""

    ids: Sequence[Ints]
    types: Sequence[Ints] | None

    def lengths(self) -> list[int]:
        """Return the tokens of each window."""
        return [len(ids) for ids in self.ids]

    def of(self, numbers: Iterable[int]) -> "Sequences":
        """Return some of the windows."""
        chosen = list(numbers)
        types = None if self.types is None else [self.types[n] for n in chosen]
        return Sequences([self.ids[n] for n in chosen], types)


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows (by number) of one forward, with their lengths in tokens: shortest first.

    Where they leave the forward at different layers, those that stay longest come first.
    """

    windows: Ints
    lengths: Ints

    def runs(self) -> list[tuple[int, int]]:
        """Return (how many, length) of each run of windows of one length."""
        starts = np.flatnonzero(np.diff(self.lengths, prepend=-1))
        counts = np.diff(starts, append=len(self.lengths))
        return [(int(n), int(length)) for n, length in zip(counts, self.lengths[starts], strict=True)]

    def by_depth(self, depths: Ints) -> "Batch":
        """Return the windows with those that are wanted up to a deeper layer first.

        Args:
            depths: of each window of the batch, the position of its deepest layer.
        """
        order = np.argsort(-depths, kind="stable")
        return Batch(self.windows[order], self.lengths[order])


def batches(lengths: Sequence[int] | Ints, budget: int, packing: Packing) -> list[Batch]:
    """Sort windows by length and group them into batches of at most `budget` tokens, padding included.

    `even` puts only windows of one length together, for families in which padding leaks into the vectors.
    A window that is longer than the budget is a batch of its own.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(sizes, kind="stable")
    out: list[Batch] = []
    begin = tokens = 0
    for at, size in enumerate(sizes[order].tolist()):
        tokens = tokens + size if packing == "packed" else (at - begin + 1) * size
        split = packing == "even" and at > begin and size != sizes[order[begin]]
        if at > begin and (tokens > budget or split):
            out.append(Batch(order[begin:at], sizes[order[begin:at]]))
            begin, tokens = at, size
    if len(order):
        out.append(Batch(order[begin:], sizes[order[begin:]]))
    return out
