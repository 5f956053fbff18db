"""Cut long texts into overlapping windows, and decide from which window the vector of each token comes."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that goes through the model at once, in body tokens (without the special ones).

    The window holds the tokens `start` … `end` − 1. Of these, it gives the vectors of `first` … `last` − 1.
    """

    start: int
    end: int
    first: int
    last: int


def windows(body: int, capacity: int, overlap: int) -> Iterator[Window]:
    """Cut `body` tokens into windows of at most `capacity` tokens, neighbours sharing at least `overlap`.

    The vector of each token comes from exactly one window: the one in which it is farthest from an edge, the earlier
    one in a tie. The last window begins earlier if need be, so that it is as long as the others.

    >>> [(w.start, w.end, w.first, w.last) for w in windows(10, capacity=6, overlap=2)]
    [(0, 6, 0, 5), (4, 10, 5, 10)]
    """
    starts = [0]
    while starts[-1] + capacity < body:
        starts.append(min(starts[-1] + capacity - overlap, body - capacity))
    first = 0
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        end = min(start + capacity, body)
        # Token p is end-1-p tokens from the end of this window, and p-following tokens from the start of the next one.
        last = body if following is None else (end - 1 + following) // 2 + 1
        yield Window(start, end, first, last)
        first = last
