"""The windows of one text, or of two that are encoded together, from its tokens, for every policy for long texts."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.encode.request import Request
from layerwise.encode.tokenizer import Tokens
from layerwise.encode.windows import Window, windows
from layerwise.errors import RequestError

Where = Callable[[], str]  # returns the name of a text, for an error


@dataclass(frozen=True, slots=True)
class Cut:
    """A text as it goes through the model: its tokens after truncation, and its windows.

    `truncated` is the number of tokens that were cut off.
    """

    tokens: Tokens
    windows: tuple[Window, ...]
    truncated: int


def cut(tokens: Tokens, request: Request, where: Where, *, keep_end: bool = False) -> Cut:
    """Cut a text into windows, truncate it, or refuse it, as `request.long` says; each window begins with the prompt.

    Args:
        tokens: the tokens of the whole text.
        request: the policy for long texts, and the length and the overlap of windows.
        where: returns the name of the text, for an error.
        keep_end: truncate at the beginning instead of the end.

    Raises:
        RequestError: a text is too long under the policy `error`; special tokens and prompt leave no room.
    """
    capacity = request.max_length - tokens.prefix - tokens.suffix
    if capacity < 1 and tokens.prompt:
        raise no_room(
            request.prompt, tokens.prompt, request.max_length, len(tokens) - tokens.body - tokens.prompt
        )
    if tokens.body <= capacity:
        return Cut(tokens, (Window(0, tokens.body, 0, tokens.body),), 0)
    if tokens.between is not None:
        return _cut_pair(tokens, request, where, keep_end=keep_end)
    if request.long == "error":
        raise RequestError(
            f"{where()} has {len(tokens)} tokens and the limit is {request.max_length}; "
            f"use {argument('long', 'window')} or {argument('long', 'truncate')}, or leave the text out"
        )
    if request.long == "window":
        # A token that begins in the prompt and ends in the text may make the room smaller than in the request.
        overlap = min(request.overlap, capacity - 1)
        return Cut(tokens, tuple(windows(tokens.body, capacity, overlap)), 0)
    start = tokens.prefix + (tokens.body - capacity if keep_end else 0)
    remaining = np.r_[0 : tokens.prefix, start : start + capacity, len(tokens) - tokens.suffix : len(tokens)]
    short = _selected(tokens, remaining)
    return Cut(short, (Window(0, capacity, 0, capacity),), len(tokens) - len(short))


def _selected(tokens: Tokens, remaining: I64) -> Tokens:
    """Return the tokens at some positions; all special ones must be among them."""
    return replace(
        tokens,
        ids=tokens.ids[remaining],
        types=tokens.types[remaining],
        starts=tokens.starts[remaining],
        ends=tokens.ends[remaining],
        words=tokens.words[remaining],
        unknown=tokens.unknown[remaining],
        dropped=tokens.dropped & set(tokens.words[remaining].tolist()),
    )


def _cut_pair(tokens: Tokens, request: Request, where: Where, *, keep_end: bool) -> Cut:
    """Truncate two texts that are encoded together, the longer one first, or refuse them."""
    between = tokens.between or range(0)
    room = request.max_length - tokens.prefix - tokens.suffix - len(between)
    if request.long != "truncate" or room < 1:
        remedy = argument("long", "truncate") if room >= 1 else f"a larger {argument('max_length')}"
        raise RequestError(
            f"{where()} has {len(tokens)} tokens in both texts and the limit is {request.max_length}, and a window of a pair "
            f"would hold parts of one text only; shorten it, or extract with {remedy} or {argument('pair_encoding', 'separate')}"
        )
    lengths = (between.start - tokens.prefix, len(tokens) - tokens.suffix - between.stop)
    kept = truncated_lengths(*lengths, room)
    begins = (tokens.prefix, between.stop)
    first, second = (
        np.arange(count) + begin + (length - count if keep_end else 0)
        for begin, length, count in zip(begins, lengths, kept, strict=True)
    )
    head, tail = np.arange(tokens.prefix), np.arange(len(tokens) - tokens.suffix, len(tokens))
    short = _selected(tokens, np.concatenate([head, first, np.array(between, dtype=np.int64), second, tail]))
    middle = tokens.prefix + kept[0]
    short = replace(short, between=range(middle, middle + len(between)))
    return Cut(short, (Window(0, short.body, 0, short.body),), len(tokens) - len(short))


def truncated_lengths(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts fit into `room`, after the longer one was cut first, as transformers does it.

    >>> truncated_lengths(10, 3, 8), truncated_lengths(10, 9, 7)
    ((5, 3), (4, 3))
    """
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    if short > room // 2:
        short, long = room // 2, room - room // 2
    else:
        long = room - short
    return (short, long) if first <= second else (long, short)


def no_room(prompt: str | None, tokens: int, length: int, special: int) -> RequestError:
    """Return the error that a prompt of so many tokens leaves no room for a text in windows of `length` tokens."""
    return RequestError(
        f"{argument('prompt')} {prompt!r:.60} has {tokens} tokens, and {length} go through the model at once, {special} of them "
        f"special, so no room is left for the text; shorten it to {max(length - special - 1, 0)} tokens"
    )
