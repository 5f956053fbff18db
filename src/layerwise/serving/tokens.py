"""The tokens of a text, for clients that ask how a text is tokenised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerwise.serving.refusals import TooLarge

if TYPE_CHECKING:
    from layerwise.encode.tokenizer import Tokenizer, Tokens

_PIECE = 65_536  # characters


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


def check_text_tokens(tokenizer: Tokenizer, texts: Sequence[str], most: int) -> None:
    """Check piece by piece that texts have at most about `most` tokens: those of a whole body would take gigabytes.

    The pieces of a text have the tokens of the text but for some at their ends. Texts of at most `most` characters pass.

    Raises:
        TooLarge: they have more.
    """
    if sum(map(len, texts)) <= most:
        return
    count = 0
    for text in texts:
        for begin in range(0, len(text), _PIECE):
            [tokens] = tokenizer.texts([text[begin : begin + _PIECE]], located=False)
            count += len(tokens) - tokens.prefix - tokens.suffix
            if count > most:
                raise TooLarge(
                    f"the texts of the request have more than {most} tokens; send several requests, or shorter texts"
                )
