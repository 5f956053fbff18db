"""The texts on which the ways of running a model are compared with plain forwards when it is loaded.

They hold whatever may differ between a text alone and the same text beside others: tokens that a model skips
when it counts positions, special tokens, neighbours of the same length, the greatest length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwise.encode.batches import Ints, Packing, Sequences
from layerwise.encode.hf import Loaded
from layerwise.encode.tokenizer import Tokenizer, Tokens
from layerwise.errors import ModelError

_TEXTS = (
    "Every layer of every encoder, as data.",
    "The first layers know where a word stands; the last know more than it says.",
)
_LONG, _LONG_WINDOWED = 128, 512  # tokens of the longest text that goes through all blocks, at most
# What configurations call the reach of attention that isn't of the whole text: beyond it a text is taken otherwise.
_WINDOWS = (
    "sliding_window",
    "local_attention",
    "attention_window",
    "block_size",
    "chunk_length",
    "window_size",
)
# Tokens of the longest text that goes up to the first block; with padding what reaches it grows as the square.
_LONGEST, _LONGEST_PADDED = 32_768, 1024
_SPECIAL = 24  # special tokens within a text: T5 has a hundred


@dataclass(frozen=True, slots=True)
class Probes:
    """Texts for comparisons.

    Attributes:
        texts: texts that go through all blocks; the first two are plain and of different lengths, the last is long.
        special: the special tokens; a text without one, and a text with each of them within.
    """

    texts: Sequences
    special: tuple[Ints, Sequences]
    _longest: tuple[Sequences, Sequences]

    @property
    def plain(self) -> Sequences:
        """The two plain texts."""
        return self.texts.of((0, 1))

    def longest(self, packing: Packing) -> Sequences:
        """Return a text as long as the model takes and a short one, which go up to the first block."""
        return self._longest[packing != "packed"]

    def groups(self, packing: Packing) -> tuple[tuple[int, ...], ...]:
        """Return which of the texts go through the model together: no more padding than need be."""
        last = len(self.texts.ids) - 1
        return (tuple(range(last + 1)),) if packing == "packed" else (tuple(range(last)), (0, last))


def make_probes(tokenizer: Tokenizer, loaded: Loaded, name: str) -> Probes:
    """Return the texts on which a model is compared.

    Raises:
        ModelError: a tokenizer that hardly makes anything of a sentence.
    """
    plain = tokenizer.texts(_TEXTS)
    if any(len(tokens) < 4 for tokens in plain):
        raise ModelError(
            f"model {name!r}: its tokenizer gives {min(map(len, plain))} tokens for a sentence; it doesn't fit"
        )
    body, most = _body(plain[0]), loaded.max_length - tokenizer.special
    if most < 1:
        raise ModelError(
            f"model {name!r} takes {loaded.max_length} tokens at once, and {tokenizer.special} of a text are special; "
            "correct its maximum length"
        )
    long = _filled(plain, min(_long(loaded) - tokenizer.special, most))
    special = _special(loaded)
    bodies = [body, _body(plain[1]), body[::-1], _between(body, special), body[:1], long]
    types = tokenizer.takes_types
    longest = (min(limit - tokenizer.special, most) for limit in (_LONGEST, _LONGEST_PADDED))
    ends = [[_filled(plain, length), body[:most]] for length in longest]
    with_one = [body[:3], *(_between(body[:3], special[n : n + 1]) for n in range(len(special)))]
    return Probes(
        _framed(plain[0], [probe[:most] for probe in bodies], types=types),
        (special, _framed(plain[0], with_one, types=types)),
        (_framed(plain[0], ends[0], types=types), _framed(plain[0], ends[1], types=types)),
    )


def _long(loaded: Loaded) -> int:
    """Return how long a text must be to show all that attention does, as far as is bearable."""
    stated = (getattr(loaded.config, name, None) for name in _WINDOWS)
    return _LONG_WINDOWED if any(stated) else _LONG


def _body(tokens: Tokens) -> Ints:
    return tokens.ids[tokens.prefix : len(tokens) - tokens.suffix]


def _framed(like: Tokens, bodies: Sequence[Ints], *, types: bool) -> Sequences:
    """Return bodies between the special tokens of a text, with segment numbers like its own."""
    end = len(like) - like.suffix

    def frame(parts: Ints, body: Ints) -> Ints:
        return np.concatenate([parts[: like.prefix], body, parts[end:]])

    segments = [frame(like.types, np.full(len(body), like.types[like.prefix])) for body in bodies]
    return Sequences([frame(like.ids, body) for body in bodies], segments if types else None)


def _filled(texts: Sequence[Tokens], length: int) -> Ints:
    return np.resize(np.concatenate([_body(text) for text in texts]), length)


def _special(loaded: Loaded) -> Ints:
    """Return the special tokens of the tokenizer and of the model."""
    tokenizer = loaded.tokenizer
    of_model = [value for name, value in vars(loaded.config).items() if name.endswith("_token_id")]
    numbers = [loaded.skipped, *of_model, tokenizer.pad_token_id, tokenizer.unk_token_id]
    numbers += tokenizer.all_special_ids[:_SPECIAL]
    known = (number for number in numbers if type(number) is int and 0 <= number < loaded.vocabulary)
    return np.array(list(dict.fromkeys(known)), dtype=np.int64)


def _between(body: Ints, special: Ints) -> Ints:
    """Return a body with special tokens between its tokens."""
    return np.concatenate([np.stack([np.resize(body, len(special)), special], axis=1).ravel(), body])
