"""The rows of one text, from its tokens, for every level."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from layerwise import alignment
from layerwise.alignment import Groups
from layerwise.arguments import argument, is_offered
from layerwise.array_types import I64
from layerwise.encode.cuts import Where
from layerwise.encode.tokenizer import Tokens
from layerwise.errors import RequestError
from layerwise.example import Example
from layerwise.schema import NO_TEXT, Coverage, RowColumns
from layerwise.word_split import split_words


class RowRequest(Protocol):
    """The options that decide the rows of a text: a `Request`, or those of `pool`."""

    @property
    def level(self) -> str:
        """`token`, `word`, `span` or `text`."""

    @property
    def pool(self) -> str | None:
        """How tokens become a row."""

    @property
    def special_tokens(self) -> bool:
        """Whether special tokens are included in the mean, max and sum of a text."""

    @property
    def word_split(self) -> str | None:
        """What a word of raw text is; see `word_split.split_words`."""

    @property
    def skip(self) -> int | None:
        """How many tokens after the special ones at the beginning the mean, max and sum of a text leave out, with these.

        These are the tokens of a prompt that isn't included, as sentence-transformers counts them: in the prompt alone.
        None where nothing is left out.
        """


class TokenReader(Protocol):
    """An object that finds the classification token of a text, and knows the strings of tokens."""

    def cls_place(self, tokens: Tokens) -> int:
        """Return the position of the classification token."""

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return the strings of tokens, as in the vocabulary."""


COUNTS = (
    "tokens",
    "unknown",
    "windows",
    "windowed_texts",
    "truncated_tokens",
    "truncated_texts",
    "dropped_words",
    "lost_words",
    "special_only_texts",
)


@dataclass(frozen=True, slots=True)
class TextRows:
    """The rows of a text.

    Attributes:
        rows: their columns in the index.
        groups: the tokens of each row.
        special_only: whether special tokens were taken because the text has no other tokens.
        dropped_words: the number of words that the tokenizer dropped.
        lost_words: the number of words without a token, which get no row.
    """

    rows: RowColumns
    groups: Groups
    special_only: bool = False
    dropped_words: int = 0
    lost_words: int = 0


def rows_of(
    example: Example,
    tokens: Tokens,
    request: RowRequest,
    tokenizer: TokenReader,
    spans: Sequence[tuple[int, int]] | None,
    where: Where,
) -> TextRows:
    """Return the rows of one text at the level of `request`.

    Raises:
        RequestError: a span outside the text, or without a token; words of raw text, or spans, without offsets.
    """
    if request.level == "token":
        return _tokens(example, tokens, request.word_split, tokenizer)
    if not tokens.has_offsets and (
        request.level == "span" or (request.level == "word" and example.words is None)
    ):
        raise _without_offsets(request.level, where)
    if request.level == "word":
        return _words(example, tokens, request.word_split)
    if request.level == "span":
        return _spans(example, tokens, spans or (), where)
    return _text(example, tokens, request, tokenizer)


def count(counts: dict[str, int], coverage: Coverage, rows: TextRows) -> None:
    """Add one text to the counts of its shard, in place."""
    counts["tokens"] += coverage.tokens
    counts["unknown"] += coverage.unknown
    counts["windows"] += coverage.windows
    counts["windowed_texts"] += coverage.windows > 1
    counts["truncated_tokens"] += coverage.truncated
    counts["truncated_texts"] += coverage.truncated > 0
    counts["dropped_words"] += rows.dropped_words
    counts["lost_words"] += rows.lost_words
    counts["special_only_texts"] += coverage.empty


def _without_offsets(level: str, where: Where) -> RequestError:
    what = "spans" if level == "span" else "words of raw text"
    instead = f"pre-split words ({argument('words')}), or " if level == "word" and is_offered("words") else ""
    return RequestError(
        f"{where()}: {what} are found by the offsets of tokens, and the tokenizer of this model, which is written in Python, "
        f"gives none; use {instead}{argument('level')} token or text"
    )


def _tokens(example: Example, tokens: Tokens, word_split: str | None, tokenizer: TokenReader) -> TextRows:
    special, words = tokens.special, tokens.words
    # Raw text has no words from the tokenizer: use the first word of `split_words` that a token overlaps.
    if example.words is None:
        borders = _words_of(example, word_split)
        words = alignment.first_row(alignment.by_overlap(tokens.starts, tokens.ends, borders), len(tokens))
    dropped = np.isin(words, list(tokens.dropped)) & ~special
    extra = {"token_id": tokens.ids, "word": words, "special": special, "dropped": dropped}
    extra["unknown"] = tokens.unknown.astype(np.int64)
    if tokens.between is not None:
        is_second = np.arange(len(tokens)) >= tokens.between.stop
        extra["text_of_pair"] = np.where(special, NO_TEXT, is_second)
    groups = alignment.each(len(tokens))
    if tokens.prompt:
        is_row = np.ones(len(tokens), dtype=bool)
        is_row[tokens.prefix - tokens.prompt : tokens.prefix] = False
        groups, extra = groups.keep(is_row), {name: values[is_row] for name, values in extra.items()}
        tokens = replace(
            tokens, ids=tokens.ids[is_row], starts=tokens.starts[is_row], ends=tokens.ends[is_row]
        )
    texts = (
        None if tokens.has_offsets else _names(tokens, np.asarray(extra["special"], dtype=bool), tokenizer)
    )
    rows = RowColumns(tokens.starts, tokens.ends, extra, texts)
    return TextRows(rows, groups, dropped_words=len(tokens.dropped))


def _names(tokens: Tokens, special: NDArray[np.bool_], tokenizer: TokenReader) -> tuple[str, ...]:
    """Return the strings of tokens; of special ones none, as where there are offsets."""
    names = zip(tokenizer.names(tokens.ids.tolist()), special.tolist(), strict=True)
    return tuple("" if is_special else name for name, is_special in names)


def _words(example: Example, tokens: Tokens, word_split: str | None) -> TextRows:
    if example.words is None:
        borders = np.asarray(_words_of(example, word_split), dtype=np.int64).reshape(-1, 2)
        groups = alignment.by_overlap(tokens.starts, tokens.ends, borders)
    else:
        ends = np.cumsum([len(word) + 1 for word in example.words], dtype=np.int64) - 1
        borders = (
            np.stack([ends - [len(word) for word in example.words], ends], axis=1)
            .astype(np.int64)
            .reshape(-1, 2)
        )
        groups = alignment.by_number(tokens.words, len(example.words))
    has_tokens = groups.counts > 0
    numbers = np.flatnonzero(has_tokens)
    dropped = np.isin(numbers, list(tokens.dropped))
    groups = groups.keep(has_tokens)
    extra = {"word": numbers, "dropped": dropped, "unknown": _unknown(tokens, groups)}
    if example.pair is not None:
        extra["text_of_pair"] = (borders[has_tokens, 0] > example.pair.border).astype(np.int64)
    return TextRows(
        RowColumns(borders[has_tokens, 0], borders[has_tokens, 1], extra),
        groups,
        dropped_words=len(tokens.dropped),
        lost_words=int((~has_tokens).sum()),
    )


def _words_of(example: Example, word_split: str | None) -> list[tuple[int, int]]:
    """Return the spans of the words of raw text; those of a pair in both texts, which no word joins."""
    begin, words = 0, []
    for text in example.texts:
        words += [(begin + start, begin + end) for start, end in split_words(text, word_split)]
        begin += len(text) + 1
    return words


def _spans(example: Example, tokens: Tokens, spans: Sequence[tuple[int, int]], where: Where) -> TextRows:
    for start, end in spans:
        if not 0 <= start < end <= len(example.text):
            raise RequestError(
                f"{where()}: span ({start}, {end}) doesn't fit its {len(example.text)} characters; give 0 <= start < end"
            )
    groups = alignment.by_overlap(tokens.starts, tokens.ends, spans)
    for (start, end), token_count in zip(spans, groups.counts.tolist(), strict=True):
        if not token_count:
            raise RequestError(
                f"{where()}: span ({start}, {end}) {example.text[start:end]!r} holds no token; leave it out"
            )
    borders = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
    extra = {"span": np.arange(len(borders)), "unknown": _unknown(tokens, groups)}
    return TextRows(RowColumns(borders[:, 0], borders[:, 1], extra), groups)


def _unknown(tokens: Tokens, groups: Groups) -> I64:
    """Return the number of unknown tokens in each row, (rows,)."""
    owners = np.repeat(np.arange(len(groups)), groups.counts)
    return np.bincount(owners[tokens.unknown[groups.members]], minlength=len(groups))


def _text(example: Example, tokens: Tokens, request: RowRequest, tokenizer: TokenReader) -> TextRows:
    rows = RowColumns(np.zeros(1, dtype=np.int64), np.array([len(example.text)]))
    dropped = len(tokens.dropped)
    if request.pool == "cls":
        place = tokenizer.cls_place(tokens)
        return TextRows(rows, alignment.whole(place, place + 1), dropped_words=dropped)
    if request.pool == "eos":
        return TextRows(rows, alignment.whole(len(tokens) - 1, len(tokens)), dropped_words=dropped)
    reduces = request.pool in ("mean", "max", "sum")
    special = request.special_tokens and reduces
    begin, end = 0, len(tokens)
    if not special and tokens.own_body:
        begin, end = tokens.prefix - (tokens.prompt if reduces else 0), len(tokens) - tokens.suffix
    if reduces and request.skip is not None:
        # Before pre-split words the prompt is a word by itself.
        skip = request.skip if example.words is None else tokens.prompt
        begin = min(tokens.prefix - tokens.prompt + skip, end - 1)
    members = np.arange(begin, end)
    if not special and tokens.own_body and tokens.between is not None:
        members = members[(members < tokens.between.start) | (members >= tokens.between.stop)]
    return TextRows(
        rows,
        Groups(members, np.array([len(members)])),
        special_only=not special and not tokens.own_body,
        dropped_words=dropped,
    )
