"""Which windows go through the model together: sorted by length, up to a budget of pieces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Packing = Literal["packed", "padded", "even"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows (by number) of one forward, shortest first, with their lengths in pieces."""

    windows: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    def runs(self) -> list[tuple[int, int]]:
        """Return (how many, length) of each run of windows of one length."""
        lengths, counts = np.unique(self.lengths, return_counts=True)
        return [(int(count), int(length)) for count, length in zip(counts, lengths, strict=True)]


def batches(lengths: Sequence[int] | npt.NDArray[np.int64], budget: int, packing: Packing) -> list[Batch]:
    """Sort windows by length and group them into batches of at most `budget` pieces, padding included.

    `even` puts only windows of one length together, for families in which padding leaks into the vectors.
    A window that is longer than the budget is a batch of its own.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(sizes, kind="stable")
    out: list[Batch] = []
    begin = pieces = 0
    for at, size in enumerate(sizes[order].tolist()):
        pieces = pieces + size if packing == "packed" else (at - begin + 1) * size
        split = packing == "even" and at > begin and size != sizes[order[begin]]
        if at > begin and (pieces > budget or split):
            out.append(Batch(order[begin:at], sizes[order[begin:at]]))
            begin, pieces = at, size
    if len(order):
        out.append(Batch(order[begin:], sizes[order[begin:]]))
    return out
