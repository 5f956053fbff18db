"""The tokens of a text, for clients that ask how a text is tokenised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerwise.encode.tokenizer import Tokens


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its number, its text, and where it is (code points); special ones are nowhere."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def tokens_in(
    names: Callable[[Sequence[int]], list[str]], text: str, tokens: Tokens, *, special: bool
) -> list[Token]:
    """Return the tokens of a text; without `special`, those of the text only.

    Args:
        names: returns the strings of tokens in the vocabulary.
        text: the text.
        tokens: its tokens, with offsets where the tokenizer gives them.
        special: whether special tokens are among them.
    """
    last = len(tokens) - tokens.suffix
    rows = zip(
        tokens.ids.tolist(),
        names(tokens.ids.tolist()),
        tokens.starts.tolist(),
        tokens.ends.tolist(),
        strict=True,
    )
    listed = []
    for position, (number, name, start, end) in enumerate(rows):
        if not tokens.prefix <= position < last:
            if special:
                listed.append(Token(number, name, True, None, None))
        elif tokens.has_offsets:
            listed.append(Token(number, text[start:end], False, start, end))
        else:
            listed.append(Token(number, name, False, None, None))
    return listed
