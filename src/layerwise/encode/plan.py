"""The plan of a shard: its windows, and which row each piece of each window goes to.

Made from pieces alone, before the model runs; the model's layers then only have to be gathered and reduced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwise.align import Groups
from layerwise.encode.engine import Ints, Sequences
from layerwise.encode.pieces import Pieces
from layerwise.encode.windows import Window

_EMPTY = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Take:
    """What one window (or batch) gives: `rows`, each reduced from the next `counts` of `places` in it."""

    rows: Ints
    places: Ints
    counts: Ints

    @property
    def offsets(self) -> Ints:
        """Where each row begins in `places`."""
        return np.cumsum(self.counts) - self.counts


NOTHING = Take(_EMPTY, _EMPTY, _EMPTY)


@dataclass(frozen=True)
class Plan:
    """All windows of a shard.

    `whole[w]` are the rows that window w gives completely, `parts[w]` its share of the rows that several
    windows make up; those rows are `split`, with the pieces of each in `split_counts`.
    """

    sequences: Sequences
    whole: list[Take]
    parts: list[Take]
    split: Ints
    split_counts: Ints
    rows: int

    def take(self, windows: Sequence[int], begins: Sequence[int], *, parts: bool = False) -> Take:
        """Return what a batch gives, `begins` being where each of its windows begins in the batch."""
        takes = self.parts if parts else self.whole
        return join([takes[w] for w in windows], begins)


def join(takes: Sequence[Take], begins: Sequence[int]) -> Take:
    """Put the takes of windows side by side, each moved by where its window begins."""
    if not takes:
        return NOTHING
    return Take(
        np.concatenate([take.rows for take in takes]),
        np.concatenate([take.places + begin for take, begin in zip(takes, begins, strict=True)]),
        np.concatenate([take.counts for take in takes]),
    )


def make_plan(texts: Sequence[tuple[Pieces, Sequence[Window], Groups]], *, types: bool) -> Plan:
    """Plan a shard from each text's pieces, windows and rows (the pieces that its pool looks at)."""
    ids: list[Ints] = []
    segments: list[Ints] = []
    whole: list[Take] = []
    parts: list[Take] = []
    split: list[Ints] = []
    split_counts: list[Ints] = []
    base = 0
    for pieces, cuts, groups in texts:
        for window in cuts:
            places = _pieces_of(window, pieces)
            ids.append(pieces.ids[places])
            segments.append(pieces.types[places])
        rows = np.arange(base, base + len(groups))
        if len(cuts) == 1:
            whole.append(Take(rows, groups.members, groups.counts))
            parts.append(NOTHING)
        else:
            several, counts = _deal(pieces, cuts, groups, rows, whole, parts)
            split.append(several)
            split_counts.append(counts)
        base += len(groups)
    sequences = Sequences(ids, segments if types else None)
    return Plan(sequences, whole, parts, _cat(split), _cat(split_counts), base)


def _pieces_of(window: Window, pieces: Pieces) -> Ints:
    """Return the pieces that go through the model in a window: special ones around its run of the body."""
    return np.concatenate(
        [
            np.arange(pieces.prefix),
            np.arange(pieces.prefix + window.start, pieces.prefix + window.end),
            np.arange(len(pieces) - pieces.suffix, len(pieces)),
        ]
    )


def _deal(
    pieces: Pieces, cuts: Sequence[Window], groups: Groups, rows: Ints, whole: list[Take], parts: list[Take]
) -> tuple[Ints, Ints]:
    """Deal the rows of a windowed text to its windows; returns the rows that several windows share."""
    # The pieces before the body come from the first window, those behind it from the last.
    borders = np.array([window.first + pieces.prefix for window in cuts[1:]])
    owner = np.searchsorted(borders, groups.members, side="right")
    row_of = np.repeat(np.arange(len(groups)), groups.counts)
    lowest, highest = np.full(len(groups), len(cuts)), np.full(len(groups), -1)
    np.minimum.at(lowest, row_of, owner)
    np.maximum.at(highest, row_of, owner)
    several = lowest < highest
    for number, window in enumerate(cuts):
        mine = owner == number
        for takes, wanted in ((whole, ~several), (parts, several)):
            chosen = mine & wanted[row_of]
            counts = np.bincount(row_of[chosen], minlength=len(groups))
            present = counts > 0
            places = groups.members[chosen] - window.start
            takes.append(Take(rows[present], places, counts[present]))
    return rows[several], groups.counts[several]


def _cat(arrays: list[Ints]) -> Ints:
    return np.concatenate(arrays) if arrays else _EMPTY
