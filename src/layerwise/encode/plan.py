"""Plan a shard before the model runs: its windows, and the row that each token of each window belongs to.

A batch mixes windows of many texts, and a text of many windows is spread over several batches. Which rows a batch
contributes to, from which of its tokens, is the same for all layers. So it is computed once per shard, from the tokens
alone, as arrays of indices. While the model runs, each layer only has to be indexed and reduced (`gather`).

Windows overlap. The vector of each token comes from exactly one of them (`windows`), so that no token counts twice in
a mean. A row whose tokens all come from one window is `whole`. Of any other row each window gives a part, and its
number of tokens is known in advance, for the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from layerwise.alignment import Groups
from layerwise.array_types import I64
from layerwise.encode.batches import Sequences
from layerwise.encode.windows import Window

_EMPTY = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class RowTokens:
    """The rows that a window (or a batch) contributes to, and from which of its tokens.

    Attributes:
        rows: the numbers of the rows.
        tokens: the positions of the tokens in the window, row after row.
        counts: the number of tokens of each row.
    """

    rows: I64
    tokens: I64
    counts: I64

    @property
    def offsets(self) -> I64:
        """The index in `tokens` at which each row begins."""
        return np.cumsum(self.counts) - self.counts


NO_ROWS = RowTokens(_EMPTY, _EMPTY, _EMPTY)


@dataclass(frozen=True, slots=True)
class WindowRows:
    """The row tokens of all windows of a shard, concatenated.

    Attributes:
        all: the concatenation, in the order of the windows.
        row_counts: the number of rows of each window.
        token_counts: the number of tokens of each window.
    """

    all: RowTokens
    row_counts: I64
    token_counts: I64

    @classmethod
    def concatenate(cls, windows: Sequence[RowTokens]) -> "WindowRows":
        """Concatenate the row tokens of windows 0, 1, …"""
        return cls(
            RowTokens(
                _cat([window.rows for window in windows]),
                _cat([window.tokens for window in windows]),
                _cat([window.counts for window in windows]),
            ),
            np.array([len(window.rows) for window in windows], dtype=np.int64),
            np.array([len(window.tokens) for window in windows], dtype=np.int64),
        )

    def in_batch(self, windows: I64, begins: I64) -> RowTokens:
        """Return the row tokens of a batch of `windows`; the tokens of window i begin at `begins[i]` in the batch."""
        rows = _segments(self.row_counts, windows)
        tokens = self.all.tokens[_segments(self.token_counts, windows)]
        shifted = tokens + np.repeat(begins, self.token_counts[windows])
        return RowTokens(self.all.rows[rows], shifted, self.all.counts[rows])


def _segments(lengths: I64, selected: I64) -> I64:
    """Return the indices of the `selected` segments; segment w has `lengths[w]` indices, and follows segment w - 1.

    >>> _segments(np.array([2, 1, 3]), np.array([2, 0]))
    array([3, 4, 5, 0, 1])
    """
    begins, sizes = np.cumsum(lengths) - lengths, lengths[selected]
    shifts = begins[selected] - (np.cumsum(sizes) - sizes)
    indices: I64 = np.arange(sizes.sum()) + np.repeat(shifts, sizes)
    return indices


class ReadTokens(Protocol):
    """What is needed of the tokens of a text: their numbers and segments, and how many stand before and after its body."""

    @property
    def ids(self) -> I64:
        """The numbers of the tokens, (tokens,)."""

    @property
    def types(self) -> I64:
        """The numbers of their segments, (tokens,)."""

    @property
    def prefix(self) -> int:
        """The number of special tokens, and of those of a prompt, before the text."""

    @property
    def suffix(self) -> int:
        """The number of special tokens after the text."""


@dataclass(frozen=True, slots=True)
class _WindowTokens:
    """The tokens of one window, which isn't cut."""

    ids: I64
    types: I64
    prefix: int = 0
    suffix: int = 0


@dataclass(frozen=True, slots=True)
class PlannedText:
    """A text as the model reads it, or several texts in one window.

    Attributes:
        tokens: its tokens.
        windows: the parts that go through the model at once.
        groups: the tokens of each row.
    """

    tokens: ReadTokens
    windows: Sequence[Window]
    groups: Groups

    @classmethod
    def of_one_window(cls, ids: I64, types: I64, groups: Groups) -> "PlannedText":
        """Return what goes through the model at once, special tokens included."""
        return cls(_WindowTokens(ids, types), (Window(0, len(ids), 0, len(ids)),), groups)


@dataclass(frozen=True)
class Plan:
    """The windows and rows of a shard.

    Attributes:
        sequences: the tokens of all windows.
        whole: for each window the rows that it gives completely.
        parts: for each window the rows that it gives a part of.
        split: the numbers of the rows that several windows give.
        split_counts: the number of tokens of each of these.
        rows: the number of all rows.
    """

    sequences: Sequences
    whole: WindowRows
    parts: WindowRows
    split: I64
    split_counts: I64
    rows: int

    @property
    def windows(self) -> int:
        """The number of windows."""
        return len(self.sequences.ids)


def merged_plan(plans: Sequence[Plan], firsts: Sequence[int], sequences: Sequences) -> Plan:
    """Return one plan of the rows of several, which are numbered in the order of the plans.

    Args:
        plans: those to merge.
        firsts: for each, the number of its first window in `sequences`, ascending.
        sequences: all windows of a forward; a window of no plan gives no row.
    """
    bases = np.cumsum([0, *(plan.rows for plan in plans)])[:-1].tolist()
    windows = len(sequences.ids)
    return Plan(
        sequences,
        _merged([plan.whole for plan in plans], firsts, bases, windows),
        _merged([plan.parts for plan in plans], firsts, bases, windows),
        _cat([plan.split + base for plan, base in zip(plans, bases, strict=True)]),
        _cat([plan.split_counts for plan in plans]),
        sum(plan.rows for plan in plans),
    )


def _merged(
    groups: Sequence[WindowRows], firsts: Sequence[int], bases: Sequence[int], windows: int
) -> WindowRows:
    """Return the row tokens of `windows` windows, of which each group gives those from its first one on."""
    row_counts, token_counts = np.zeros(windows, np.int64), np.zeros(windows, np.int64)
    for group, first in zip(groups, firsts, strict=True):
        row_counts[first : first + len(group.row_counts)] = group.row_counts
        token_counts[first : first + len(group.token_counts)] = group.token_counts
    rows = _cat([group.all.rows + base for group, base in zip(groups, bases, strict=True)])
    tokens, counts = (
        _cat([group.all.tokens for group in groups]),
        _cat([group.all.counts for group in groups]),
    )
    return WindowRows(RowTokens(rows, tokens, counts), row_counts, token_counts)


def make_plan(texts: Sequence[PlannedText], *, types: bool) -> Plan:
    """Plan a shard.

    Args:
        texts: the texts, in order.
        types: whether the model takes segment numbers.
    """
    ids: list[I64] = []
    segments: list[I64] = []
    whole: list[RowTokens] = []
    parts: list[RowTokens] = []
    split: list[I64] = []
    split_counts: list[I64] = []
    base = 0
    for text in texts:
        tokens, cuts, groups = text.tokens, text.windows, text.groups
        rows = np.arange(base, base + len(groups))
        # Almost all texts fit into one window, and need no assignment of tokens to windows.
        if len(cuts) == 1:
            ids.append(tokens.ids)
            segments.append(tokens.types)
            whole.append(RowTokens(rows, groups.members, groups.counts))
            parts.append(NO_ROWS)
        else:
            for window in cuts:
                positions = _tokens_of(window, tokens)
                ids.append(tokens.ids[positions])
                segments.append(tokens.types[positions])
            split_rows, counts = _assign_rows(tokens, cuts, groups, rows, whole, parts)
            split.append(split_rows)
            split_counts.append(counts)
        base += len(groups)
    sequences = Sequences(ids, segments if types else None)
    return Plan(
        sequences,
        WindowRows.concatenate(whole),
        WindowRows.concatenate(parts),
        _cat(split),
        _cat(split_counts),
        base,
    )


def _tokens_of(window: Window, tokens: ReadTokens) -> I64:
    """Return the positions of a window's tokens in the text: special tokens, its part of the body, special tokens."""
    return np.concatenate(
        [
            np.arange(tokens.prefix),
            np.arange(tokens.prefix + window.start, tokens.prefix + window.end),
            np.arange(len(tokens.ids) - tokens.suffix, len(tokens.ids)),
        ]
    )


def _assign_rows(
    tokens: ReadTokens,
    cuts: Sequence[Window],
    groups: Groups,
    rows: I64,
    whole: list[RowTokens],
    parts: list[RowTokens],
) -> tuple[I64, I64]:
    """Append the rows of a text, for each of its windows, to `whole` and `parts`.

    Returns:
        the rows that several windows give, and the number of tokens of each.
    """
    # Special tokens before the body are taken from the first window, those after it from the last.
    borders = np.array([window.first + tokens.prefix for window in cuts[1:]])
    window_of = np.searchsorted(borders, groups.members, side="right")
    row_of = np.repeat(np.arange(len(groups)), groups.counts)
    lowest, highest = np.full(len(groups), len(cuts)), np.full(len(groups), -1)
    np.minimum.at(lowest, row_of, window_of)
    np.maximum.at(highest, row_of, window_of)
    is_split = lowest < highest
    for number, window in enumerate(cuts):
        in_window = window_of == number
        for row_tokens, of_kind in ((whole, ~is_split), (parts, is_split)):
            selected = in_window & of_kind[row_of]
            counts = np.bincount(row_of[selected], minlength=len(groups))
            present = counts > 0
            positions = groups.members[selected] - window.start
            row_tokens.append(RowTokens(rows[present], positions, counts[present]))
    return rows[is_split], groups.counts[is_split]


def _cat(arrays: list[I64]) -> I64:
    return np.concatenate(arrays) if arrays else _EMPTY
