"""The plan of a shard: its windows, and which row each token of each window goes to.

Made from tokens alone, before the model runs; the model's layers then only have to be gathered and reduced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwise.alignment import Groups
from layerwise.encode.batches import Ints, Sequences
from layerwise.encode.tokenizer import Tokens
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


@dataclass(frozen=True, slots=True)
class Takes:
    """The takes of all windows behind each other; window w has `rows_of[w]` rows, of `places_of[w]` places."""

    all: Take
    rows_of: Ints
    places_of: Ints

    @classmethod
    def of(cls, takes: Sequence[Take]) -> "Takes":
        """Put the takes of windows 0, 1, … behind each other."""
        return cls(
            Take(
                _cat([t.rows for t in takes]),
                _cat([t.places for t in takes]),
                _cat([t.counts for t in takes]),
            ),
            np.array([len(take.rows) for take in takes], dtype=np.int64),
            np.array([len(take.places) for take in takes], dtype=np.int64),
        )

    def side_by_side(self, windows: Ints, begins: Ints) -> Take:
        """Return what `windows` give together, the places of each moved by where it begins."""
        rows = _stretches(self.rows_of, windows)
        places = self.all.places[_stretches(self.places_of, windows)]
        moved = places + np.repeat(begins, self.places_of[windows])
        return Take(self.all.rows[rows], moved, self.all.counts[rows])


def _stretches(lengths: Ints, chosen: Ints) -> Ints:
    """Return the numbers in the stretches `chosen`, stretch w holding the next `lengths[w]` numbers."""
    begins, mine = np.cumsum(lengths) - lengths, lengths[chosen]
    moved = begins[chosen] - (np.cumsum(mine) - mine)
    numbers: Ints = np.arange(mine.sum()) + np.repeat(moved, mine)
    return numbers


@dataclass(frozen=True)
class Plan:
    """All windows of a shard.

    `whole` are the rows that a window gives completely, `parts` its share of the rows that several windows
    make up; those rows are `split`, with the tokens of each in `split_counts`.
    """

    sequences: Sequences
    whole: Takes
    parts: Takes
    split: Ints
    split_counts: Ints
    rows: int

    @property
    def windows(self) -> int:
        """The number of windows."""
        return len(self.sequences.ids)


def make_plan(texts: Sequence[tuple[Tokens, Sequence[Window], Groups]], *, types: bool) -> Plan:
    """Plan a shard from each text's tokens, windows and rows (the tokens that its pool looks at)."""
    ids: list[Ints] = []
    segments: list[Ints] = []
    whole: list[Take] = []
    parts: list[Take] = []
    split: list[Ints] = []
    split_counts: list[Ints] = []
    base = 0
    for tokens, cuts, groups in texts:
        rows = np.arange(base, base + len(groups))
        if len(cuts) == 1:
            ids.append(tokens.ids)
            segments.append(tokens.types)
            whole.append(Take(rows, groups.members, groups.counts))
            parts.append(NOTHING)
        else:
            for window in cuts:
                places = _tokens_of(window, tokens)
                ids.append(tokens.ids[places])
                segments.append(tokens.types[places])
            several, counts = _deal(tokens, cuts, groups, rows, whole, parts)
            split.append(several)
            split_counts.append(counts)
        base += len(groups)
    sequences = Sequences(ids, segments if types else None)
    return Plan(sequences, Takes.of(whole), Takes.of(parts), _cat(split), _cat(split_counts), base)


def _tokens_of(window: Window, tokens: Tokens) -> Ints:
    """Return the tokens that go through the model in a window: special ones around its run of the body."""
    return np.concatenate(
        [
            np.arange(tokens.prefix),
            np.arange(tokens.prefix + window.start, tokens.prefix + window.end),
            np.arange(len(tokens) - tokens.suffix, len(tokens)),
        ]
    )


def _deal(
    tokens: Tokens, cuts: Sequence[Window], groups: Groups, rows: Ints, whole: list[Take], parts: list[Take]
) -> tuple[Ints, Ints]:
    """Deal the rows of a windowed text to its windows; returns the rows that several windows share."""
    # The tokens before the body come from the first window, those behind it from the last.
    borders = np.array([window.first + tokens.prefix for window in cuts[1:]])
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
