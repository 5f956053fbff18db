"""The texts on which ways of running a model are compared with plain forwards, when it is loaded.

A text must get the same vectors in a batch as alone. What a model does with the other texts of a batch differs between
families, and nothing in a configuration states it. So it is measured, on texts that cover all known differences:
- tokens that the model leaves out when it numbers positions (RoBERTa's padding token), and other special tokens;
- neighbours of the same length, which share one call of attention, and of other lengths;
- a text of a single token, and one longer than the windows of local attention;
- a text of the maximum length, up to the first block only, see `first_block`.
Two plain texts go through all blocks, the others through the first blocks, which include every kind of block
(`block_kinds`). Tokenizers of proteins and DNA know few letters of a sentence; texts of one token, the unknown one, would
hide mistakes. A difference that no probe covers would go unnoticed at load; `verify` would find it in the stored vectors
of a sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from layerwise.array_types import I64
from layerwise.encode.batches import Packing, Sequences
from layerwise.encode.hf.loading import Loaded
from layerwise.encode.tokenizer import Tokenizer, Tokens
from layerwise.errors import ModelError

_TEXTS = (
    "Every layer of every encoder, as data.",
    "The first layers know where a word stands; the last know more than it says.",
)
# The numbers of the two plain texts; of one of the length of the first, with the same first token and another second
# one, by which a decoder is known; and of one of a single token.
PLAIN, CHANGED, SINGLE = (0, 1), 2, 4
# Maximum number of tokens of the longest text that goes through blocks: usually, and with local attention.
_LONG, _LONG_WINDOWED = 128, 512
# The names that configurations have for the reach of local attention. Longer texts are computed in another way.
_WINDOWS = (
    "sliding_window",
    "local_attention",
    "attention_window",
    "block_size",
    "chunk_length",
    "attention_chunk_size",
    "window_size",
)
# Maximum number of tokens of the text that goes up to the first block. With padding the model builds masks there,
# whose size is the square of the length.
_LONGEST, _LONGEST_PADDED = 32_768, 1024
_SPECIAL = 24  # maximum number of special tokens within a text: T5 has a hundred


@dataclass(frozen=True, slots=True)
class Probes:
    """The texts for comparisons.

    Attributes:
        texts: texts that go through blocks; the first two are plain and of different lengths, the last is long.
        special: the special tokens, and texts: one without them, and one for each of them that contains it.
    """

    texts: Sequences
    special: tuple[I64, Sequences]
    _longest: tuple[Sequences, Sequences]

    @property
    def plain(self) -> Sequences:
        """The two plain texts."""
        return self.texts.select(PLAIN)

    def longest(self, packing: Packing) -> Sequences:
        """Return two texts that go up to the first block: one of the maximum length, and a short one."""
        return self._longest[packing != "packed"]

    def groups(self, packing: Packing) -> tuple[tuple[int, ...], ...]:
        """Return which of the texts go through the model together; with padding the long text has one neighbour only."""
        last = len(self.texts.ids) - 1
        return (tuple(range(last + 1)),) if packing == "packed" else (tuple(range(last)), (0, last))


def make_probes(tokenizer: Tokenizer, loaded: Loaded, name: str) -> Probes:
    """Return the texts on which ways of running a model are compared; `name` is the model's, for errors.

    Raises:
        ModelError: the tokenizer gives less than four tokens for a sentence, or all tokens that fit are special.
    """
    plain = [_with_known_tokens(tokens, loaded) for tokens in tokenizer.texts(_TEXTS)]
    if any(len(tokens) < 4 for tokens in plain):
        raise ModelError(
            f"model {name!r}: its tokenizer gives {min(map(len, plain))} tokens for a sentence; it doesn't fit"
        )
    body, capacity = _body(plain[0]), loaded.max_length - tokenizer.special
    if capacity < 1:
        raise ModelError(
            f"model {name!r} takes {loaded.max_length} tokens at once, and {tokenizer.special} of a text are special; "
            "correct its maximum length"
        )
    long = _filled(plain, min(_long(loaded) - tokenizer.special, capacity))
    special = _special(loaded)
    # Two plain texts, one as long as the first, one with special tokens, one of a single token, and a long one.
    bodies = [body, _body(plain[1]), body[::-1], _between(body, special), body[:1], long]
    types = tokenizer.takes_types
    longest = (min(limit - tokenizer.special, capacity) for limit in _longest(loaded))
    longest_bodies = [[_filled(plain, length), body[:capacity]] for length in longest]
    with_special = [body[:3], *(_between(body[:3], special[n : n + 1]) for n in range(len(special)))]
    texts = _framed(plain[0], [probe[:capacity] for probe in bodies], types=types)
    _change_second_token(texts.ids[0], texts.ids[CHANGED])
    return Probes(
        texts,
        (special, _framed(plain[0], with_special, types=types)),
        (
            _framed(plain[0], longest_bodies[0], types=types),
            _framed(plain[0], longest_bodies[1], types=types),
        ),
    )


def _change_second_token(ids: I64, changed: I64) -> None:
    """Give the text `changed` the first token of `ids` and another second one, in place."""
    changed[0] = ids[0]
    if len(ids) > 2 and changed[1] == ids[1]:
        changed[1] = ids[2] if ids[2] != ids[1] else ids[0]


def _with_known_tokens(tokens: Tokens, loaded: Loaded) -> Tokens:
    """Return a text with tokens of the vocabulary, one after the other, for its own if half of these are unknown."""
    if 2 * int(tokens.unknown.sum()) < tokens.body:
        return tokens
    others = np.setdiff1d(np.arange(loaded.vocabulary_size), loaded.tokenizer.all_special_ids)
    ids = tokens.ids.copy()
    ids[tokens.prefix : len(ids) - tokens.suffix] = np.resize(others, tokens.body)
    return replace(tokens, ids=ids, unknown=np.zeros_like(tokens.unknown)) if len(others) else tokens


def _long(loaded: Loaded) -> int:
    """Return how many tokens a text needs so that local attention, if there is any, doesn't reach all of it."""
    stated = (getattr(loaded.config, name, None) for name in _WINDOWS)
    return _LONG_WINDOWED if any(stated) else _LONG


def _longest(loaded: Loaded) -> tuple[int, int]:
    """Return the maximum length of texts that go up to the first block, in packed and in padded batches.

    Rotary positions may have other frequencies in a batch with a text that is longer than those of pretraining.
    """
    rotary = getattr(loaded.config, "rope_parameters", None) or {}
    parts = [vars(loaded.config), rotary, *(part for part in rotary.values() if isinstance(part, dict))]
    borders = [part.get("original_max_position_embeddings") for part in parts]
    beyond = [border + 1 for border in borders if isinstance(border, int)]
    return (
        max(_LONGEST, *(length for length in beyond if length <= 2 * _LONGEST), 0),
        max(_LONGEST_PADDED, *(length for length in beyond if length <= _LONGEST // 2), 0),
    )


def _body(tokens: Tokens) -> I64:
    return tokens.ids[tokens.prefix : len(tokens) - tokens.suffix]


def _framed(template: Tokens, bodies: Sequence[I64], *, types: bool) -> Sequences:
    """Return each of `bodies` between the special tokens of the text `template`, with its segment numbers."""
    end = len(template) - template.suffix

    def frame(parts: I64, body: I64) -> I64:
        return np.concatenate([parts[: template.prefix], body, parts[end:]])

    segments = [frame(template.types, np.full(len(body), template.types[template.prefix])) for body in bodies]
    return Sequences([frame(template.ids, body) for body in bodies], segments if types else None)


def _filled(texts: Sequence[Tokens], length: int) -> I64:
    """Return `length` tokens, from the bodies of `texts` again and again."""
    return np.resize(np.concatenate([_body(text) for text in texts]), length)


def _special(loaded: Loaded) -> I64:
    """Return the special tokens of the tokenizer and of the model."""
    tokenizer = loaded.tokenizer
    of_model = [value for name, value in vars(loaded.config).items() if name.endswith("_token_id")]
    numbers = [loaded.padding_idx, *of_model, tokenizer.pad_token_id, tokenizer.unk_token_id]
    numbers += tokenizer.all_special_ids[:_SPECIAL]
    valid = (number for number in numbers if type(number) is int and 0 <= number < loaded.vocabulary_size)
    return np.array(list(dict.fromkeys(valid)), dtype=np.int64)


def _between(body: I64, special: I64) -> I64:
    """Return a body, and before it special tokens in turn with its tokens."""
    return np.concatenate([np.stack([np.resize(body, len(special)), special], axis=1).ravel(), body])
