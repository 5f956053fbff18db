"""From the pieces of one text to its windows and its rows, for every level and policy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from layerwise import align
from layerwise.align import Groups
from layerwise.encode.pieces import Pieces
from layerwise.encode.request import Request
from layerwise.encode.windows import Window, windows
from layerwise.errors import RequestError
from layerwise.read.example import Example
from layerwise.tables import Coverage, Rows
from layerwise.words import split_words


class Wish(Protocol):
    """What decides the rows of a text: a request, or what `pool` is asked for."""

    @property
    def level(self) -> str:
        """`token`, `word`, `span` or `text`."""

    @property
    def pool(self) -> str | None:
        """How pieces become a row."""

    @property
    def special_tokens(self) -> bool:
        """Whether special pieces count in the mean, max and sum of a text."""


class ClsFinder(Protocol):
    """Knows which piece is the classification piece."""

    def cls_place(self, pieces: Pieces) -> int:
        """Return its number in the text."""


Where = Callable[[], str]  # the name of a text, for an error

COUNTS = (
    "pieces",
    "windows",
    "windowed_texts",
    "truncated_pieces",
    "truncated_texts",
    "dropped_words",
    "lost_words",
    "special_only_texts",
)


@dataclass(frozen=True, slots=True)
class Cut:
    """A text as it goes through the model."""

    pieces: Pieces
    windows: tuple[Window, ...]
    truncated: int


@dataclass(frozen=True, slots=True)
class Made:
    """The rows of a text, the pieces of each, and the words that got no row."""

    rows: Rows
    groups: Groups
    special_only: bool = False
    dropped_words: int = 0
    lost_words: int = 0


def cut(pieces: Pieces, request: Request, capacity: int, where: Where, *, keep_end: bool = False) -> Cut:
    """Cut a text's pieces into windows of `capacity` body pieces, or as the policy for long texts says.

    With `keep_end`, what is truncated loses its beginning.

    Raises:
        RequestError: a long text under the policy `error`, naming it.
    """
    if pieces.body <= capacity:
        return Cut(pieces, (Window(0, pieces.body, 0, pieces.body),), 0)
    if request.long == "error":
        raise RequestError(
            f"{where()} has {len(pieces)} pieces and the limit is {request.max_length}; "
            "take --long window or --long truncate, or leave it out"
        )
    if request.long == "window":
        return Cut(pieces, tuple(windows(pieces.body, capacity, request.overlap)), 0)
    start = pieces.prefix + (pieces.body - capacity if keep_end else 0)
    kept = np.r_[0 : pieces.prefix, start : start + capacity, len(pieces) - pieces.suffix : len(pieces)]
    short = replace(
        pieces,
        ids=pieces.ids[kept],
        types=pieces.types[kept],
        starts=pieces.starts[kept],
        ends=pieces.ends[kept],
        words=pieces.words[kept],
        dropped=pieces.dropped & set(pieces.words[kept].tolist()),
    )
    return Cut(short, (Window(0, capacity, 0, capacity),), len(pieces) - len(short))


def rows_of(
    example: Example,
    pieces: Pieces,
    request: Wish,
    tokenizer: ClsFinder,
    spans: Sequence[tuple[int, int]] | None,
    where: Where,
) -> Made:
    """Return the rows of one text at the level of the request."""
    if request.level == "token":
        return _tokens(example, pieces)
    if request.level == "word":
        return _words(example, pieces)
    if request.level == "span":
        return _spans(example, pieces, spans or (), where)
    return _text(example, pieces, request, tokenizer)


def count(counts: dict[str, int], coverage: Coverage, made: Made) -> None:
    """Add one text to the counts of its shard."""
    counts["pieces"] += coverage.pieces
    counts["windows"] += coverage.windows
    counts["windowed_texts"] += coverage.windows > 1
    counts["truncated_pieces"] += coverage.truncated
    counts["truncated_texts"] += coverage.truncated > 0
    counts["dropped_words"] += made.dropped_words
    counts["lost_words"] += made.lost_words
    counts["special_only_texts"] += made.special_only


def _tokens(example: Example, pieces: Pieces) -> Made:
    special = np.ones(len(pieces), dtype=bool)
    special[pieces.prefix : len(pieces) - pieces.suffix] = False
    words = pieces.words
    if example.words is None:
        words = align.first_row(
            align.by_overlap(pieces.starts, pieces.ends, split_words(example.text)), len(pieces)
        )
    dropped = np.isin(words, list(pieces.dropped)) & ~special
    extra = {"token_id": pieces.ids, "word": words, "special": special, "dropped": dropped}
    rows = Rows(pieces.starts, pieces.ends, extra)
    return Made(rows, align.each(len(pieces)), dropped_words=len(pieces.dropped))


def _words(example: Example, pieces: Pieces) -> Made:
    if example.words is None:
        borders = np.asarray(split_words(example.text), dtype=np.int64).reshape(-1, 2)
        groups = align.by_overlap(pieces.starts, pieces.ends, borders)
    else:
        ends = np.cumsum([len(word) + 1 for word in example.words], dtype=np.int64) - 1
        borders = (
            np.stack([ends - [len(word) for word in example.words], ends], axis=1)
            .astype(np.int64)
            .reshape(-1, 2)
        )
        groups = align.by_number(pieces.words, len(example.words))
    there = groups.counts > 0
    numbers = np.flatnonzero(there)
    dropped = np.isin(numbers, list(pieces.dropped))
    rows = Rows(borders[there, 0], borders[there, 1], {"word": numbers, "dropped": dropped})
    return Made(rows, groups.keep(there), dropped_words=len(pieces.dropped), lost_words=int((~there).sum()))


def _spans(example: Example, pieces: Pieces, spans: Sequence[tuple[int, int]], where: Where) -> Made:
    for start, end in spans:
        if not 0 <= start < end <= len(example.text):
            raise RequestError(
                f"{where()}: span ({start}, {end}) doesn't fit its {len(example.text)} characters"
            )
    groups = align.by_overlap(pieces.starts, pieces.ends, spans)
    for (start, end), pieces_there in zip(spans, groups.counts.tolist(), strict=True):
        if not pieces_there:
            raise RequestError(f"{where()}: span ({start}, {end}) {example.text[start:end]!r} holds no piece")
    borders = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
    return Made(Rows(borders[:, 0], borders[:, 1], {"span": np.arange(len(borders))}), groups)


def _text(example: Example, pieces: Pieces, request: Wish, tokenizer: ClsFinder) -> Made:
    rows = Rows(np.zeros(1, dtype=np.int64), np.array([len(example.text)]))
    dropped = len(pieces.dropped)
    if request.pool == "cls":
        place = tokenizer.cls_place(pieces)
        return Made(rows, align.whole(place, place + 1), dropped_words=dropped)
    if request.pool == "eos":
        return Made(rows, align.whole(len(pieces) - 1, len(pieces)), dropped_words=dropped)
    special = request.special_tokens and request.pool in ("mean", "max", "sum")
    if special or not pieces.body:
        return Made(rows, align.whole(0, len(pieces)), special_only=not special, dropped_words=dropped)
    body = align.whole(pieces.prefix, len(pieces) - pieces.suffix)
    return Made(rows, body, dropped_words=dropped)
