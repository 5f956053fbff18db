"""Tokens that a model doesn't know: their share in words, and the note where they are many."""

from layerwise._util.display import count_of


def share_unknown(unknown: int, tokens: int) -> str:
    """Return how many tokens are unknown, in words, such as `3 of 12 tokens (25.0%)`."""
    return f"{unknown:,} of {count_of(tokens, 'token')} ({unknown / max(tokens, 1):.1%})"


def unknown_note(unknown: int, tokens: int, model: str, remedy: str) -> str | None:
    """Return a note for the user where more than one token in ten is unknown to a model, else `None`.

    `tokens` is the number of all tokens, special ones included; `remedy` says what to do.
    """
    if 10 * unknown <= tokens:
        return None
    return (
        f"{share_unknown(unknown, tokens)} are unknown to the model {model!r}, which reads all of them as the same "
        f"token; {remedy}"
    )
