"""Which tokens make up a row (a word, a span, a text), by offsets and word numbers, never by re-tokenising."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layerwise.array_types import I64


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of one text: row r consists of the next `counts[r]` of `members` (token numbers in the text)."""

    members: I64
    counts: I64

    def __len__(self) -> int:
        return len(self.counts)

    def keep(self, rows: npt.NDArray[np.bool_]) -> "Groups":
        """Return the groups of the rows that a mask (rows,) selects."""
        return Groups(self.members[np.repeat(rows, self.counts)], self.counts[rows])


def each(tokens: int) -> Groups:
    """Return one row per token."""
    return Groups(np.arange(tokens), np.ones(tokens, dtype=np.int64))


def whole(begin: int, end: int) -> Groups:
    """Return one row of the tokens `begin` … `end` − 1."""
    return Groups(np.arange(begin, end), np.array([end - begin]))


def by_number(numbers: I64, rows: int) -> Groups:
    """Return one row per number 0 … `rows` − 1, of the tokens with that number; `numbers` is (tokens,), −1 for none."""
    inside = np.flatnonzero(numbers >= 0)
    order = inside[np.argsort(numbers[inside], kind="stable")]
    return Groups(order, np.bincount(numbers[inside], minlength=rows)[:rows])


def by_overlap(starts: I64, ends: I64, spans: Sequence[tuple[int, int]] | I64) -> Groups:
    """Return one row per span of characters, of the tokens that share at least one character with it.

    Args:
        starts, ends: (tokens,) code points of each token, both in ascending order; special tokens and
            tokens without characters have start = end and belong to no span.
        spans: (start, end) pairs in any order.
    """
    with_characters = np.flatnonzero(ends > starts)
    bounds = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
    low = np.searchsorted(ends[with_characters], bounds[:, 0], side="right")
    high = np.searchsorted(starts[with_characters], bounds[:, 1], side="left")
    counts = np.maximum(high - low, 0)
    # Each span has a run of successive tokens; the numbers of all runs are computed at once, without a loop.
    skip = np.repeat(np.cumsum(counts) - counts, counts)
    return Groups(with_characters[np.repeat(low, counts) + np.arange(counts.sum()) - skip], counts)


def first_row(groups: Groups, tokens: int) -> I64:
    """Return the first row that each of `tokens` tokens belongs to, −1 for none: (tokens,)."""
    out = np.full(tokens, -1, dtype=np.int64)
    rows = np.repeat(np.arange(len(groups)), groups.counts)
    # In reverse, so that of several rows the first is written last.
    out[groups.members[::-1]] = rows[::-1]
    return out


def concatenate(groups: Sequence[Groups], tokens: Sequence[int]) -> Groups:
    """Join the groups of several texts in order; `tokens` is the number of tokens of each text."""
    begins = np.cumsum([0, *tokens])
    members = [part.members + begin for part, begin in zip(groups, begins, strict=False)]
    empty = np.empty(0, dtype=np.int64)
    return Groups(
        np.concatenate([empty, *members]), np.concatenate([empty, *(part.counts for part in groups)])
    )
