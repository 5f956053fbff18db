"""Tokenise texts and pre-split words: numbers, offsets and word numbers of tokens."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.silence import is_panic
from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.encode.hf.loading import Loaded
from layerwise.encode.model_errors import first_line
from layerwise.encode.python_tokenizers import PythonBackend
from layerwise.errors import ModelError, RequestError

Bools = NDArray[np.bool_]
NO_WORD = -1
# The characters that byte-level tokenizers, and sentencepiece's, write for a space. They also add one before a text or
# a word. It may become a token by itself, which stands for no character and has the offsets of the next one.
_BYTE_LEVEL, _SENTENCEPIECE = "\u0120", "\u2581"
_LONGEST_BLANK = 16
# Shared by all texts, as most arrays of one value are short.
_CONSTANTS = {value: np.full(1024, value) for value in (0, NO_WORD)}
for _array in _CONSTANTS.values():
    _array.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text, special ones included; all arrays are (tokens,).

    Attributes:
        ids, types: the numbers of the tokens and of their segments.
        starts, ends: code points in the text; 0, 0 for special tokens, and for all tokens if no offsets were requested.
        words: the word numbers of pre-split input; −1 for other tokens.
        unknown: which of them, special ones aside, are the unknown token.
        prefix, suffix: the number of tokens before and after those of the text: special tokens, and a prompt.
        prompt: how many tokens are the prompt's, the last ones of the prefix.
        has_offsets: whether the tokenizer gives offsets; without them no token can be found in the text.
        dropped: the words that the tokenizer drops, each replaced here by the unknown token.
        between: the positions of the special tokens between two texts that are encoded together; None for one text.
    """

    ids: I64
    types: I64
    starts: I64
    ends: I64
    words: I64
    unknown: Bools
    prefix: int
    suffix: int
    dropped: frozenset[int] = frozenset()
    prompt: int = 0
    has_offsets: bool = True
    between: range | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def body(self) -> int:
        """The number of tokens of the text, without special ones and the prompt's; of two texts with those between them."""
        return len(self.ids) - self.prefix - self.suffix

    @property
    def own_body(self) -> int:
        """The number of tokens of the text or the two texts, without special ones and the prompt's."""
        return self.body - len(self.between or ())

    @property
    def special(self) -> Bools:
        """Which tokens are special, or a prompt's: (tokens,)."""
        special = np.ones(len(self), dtype=bool)
        special[self.prefix : len(self) - self.suffix] = False
        if self.between is not None:
            special[self.between.start : self.between.stop] = True
        return special


class Tokenizer:
    """Turns texts and pre-split words into tokens, exactly those of the model's own tokenizer."""

    def __init__(self, loaded: Loaded, name: str) -> None:
        self._backend, self._name = loaded.backend, name
        self._split_backend: Any = None
        # Whether its tokens can be found in the text.
        self.has_offsets = not isinstance(self._backend, PythonBackend)
        self._unknown: int | None = loaded.tokenizer.unk_token_id
        self._substitute = _first_id(loaded.tokenizer, ("unk", "bos", "eos", "pad"))
        # Whether the end of a text that is too long is kept, instead of the beginning.
        self.keeps_end = loaded.tokenizer.truncation_side == "left"
        self._cls: int | None = loaded.tokenizer.cls_token_id
        self.takes_types = "token_type_ids" in loaded.tokenizer.model_input_names
        # All texts have the same special tokens around them, and the same segment numbers.
        self.special = len(self._backend.encode("").ids)
        example = self._backend.encode("a")
        mask = example.special_tokens_mask
        self._prefix = mask.index(0) if 0 in mask else 0
        self._one_type = not any(example.type_ids)
        self.has_cls = self._cls is not None and self._cls in example.ids
        # Their steps can be nested; the text of a tokenizer's parts names all of them.
        steps = repr(self._backend.pre_tokenizer) + repr(self._backend.decoder)
        self._space = _BYTE_LEVEL if "ByteLevel" in steps else _SENTENCEPIECE
        # Byte-level tokenizers know every text; many call the token between texts their unknown token.
        between = (loaded.tokenizer.bos_token_id, loaded.tokenizer.eos_token_id)
        self._marks_unknown = "ByteLevel" not in steps or self._unknown not in between
        self._blanks = self._blank_tokens() if self.has_offsets else np.empty(0, dtype=np.int64)

    def _blank_tokens(self) -> I64:
        """Return the numbers of the tokens for one space and for several."""
        numbers = [self._backend.token_to_id(self._space * count) for count in range(1, _LONGEST_BLANK + 1)]
        return np.array([number for number in numbers if number is not None], dtype=np.int64)

    def texts(self, texts: Sequence[str], *, located: bool = True, prompt: str = "") -> list[Tokens]:
        """Return the tokens of raw texts, exactly those of the model's tokenizer, without truncation.

        Args:
            texts: the texts.
            located: whether offsets are computed, which takes time; otherwise they are all 0.
            prompt: what is put before each text; needs `located`. Offsets count from the beginning of the text, and the
                tokens that end in the prompt are the prompt's.

        Raises:
            ModelError: the tokenizer fails, for example because it needs an unknown token and has none.
        """
        if not located:
            encodings = self._encoded(self._backend.encode_batch_fast, list(texts))
            return [self._not_empty(self._tokens(encoding, located=False)) for encoding in encodings]
        texts = [prompt + text for text in texts] if prompt else texts
        encodings = self._encoded(self._backend.encode_batch, list(texts))
        located_tokens = map(self._tokens, encodings)
        tokens_of_texts = (self._empty_blanks(*pair) for pair in zip(located_tokens, texts, strict=True))
        if prompt:
            tokens_of_texts = (_after_prompt(tokens, len(prompt)) for tokens in tokens_of_texts)
        return [self._not_empty(tokens) for tokens in tokens_of_texts]

    def pairs(
        self, pairs: Sequence[tuple[str, ...]], *, located: bool = True, prompt: str = ""
    ) -> list[Tokens]:
        """Return the tokens of two texts each, joined as the tokenizer joins pairs; other arguments as of `texts`.

        Offsets are those in both texts with one character between them. A prompt stands before the first text.

        Raises:
            RequestError: a tokenizer that is written in Python.
            ModelError: the tokenizer fails, or doesn't put the same special tokens around every pair.
        """
        if not self.has_offsets:
            raise RequestError(
                f"{argument('pair_encoding', 'joint')}: the tokenizer of {self._name!r} is written in Python, and how it joins "
                f"pairs isn't known; use {argument('pair_encoding', 'separate')}"
            )
        encode = self._backend.encode_batch if located else self._backend.encode_batch_fast
        with_prompt = [(prompt + first, second) for first, second in pairs]
        (example,) = self._encoded(encode, [("a", "a")])
        special = _special_of_pair(example.sequence_ids)
        tokens_of_pairs = []
        for encoding, texts in zip(self._encoded(encode, with_prompt), with_prompt, strict=True):
            tokens = self._pair(encoding, special, len(texts[0]) + 1 if located else 0)
            tokens = self._empty_blanks(tokens, "\n".join(texts)) if located else tokens
            tokens_of_pairs.append(_after_prompt(tokens, len(prompt)) if prompt else tokens)
        return [self._not_empty(tokens) for tokens in tokens_of_pairs]

    def _pair(self, encoding: Any, special: tuple[int, int, int], begin: int) -> Tokens:
        """Return the tokens of two texts, of which the second begins at the offset `begin`; `special`: see `_special_of_pair`."""
        owners = np.array([-1 if text is None else text for text in encoding.sequence_ids], dtype=np.int64)
        before, between, after = special
        first, second = (int(np.count_nonzero(owners == text)) for text in (0, 1))
        if before + first + between + second + after != len(owners):
            raise ModelError(
                f"the tokenizer of {self._name!r} doesn't put the same special tokens around every pair of texts; use "
                f"{argument('pair_encoding', 'separate')}"
            )
        ids = np.array(encoding.ids, dtype=np.int64)
        offsets = np.zeros((len(ids), 2), dtype=np.int64)
        if begin:
            offsets = (
                np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) + begin * (owners == 1)[:, None]
            )
            offsets[owners < 0] = 0
        unknown = (
            (ids == self._unknown) & (owners >= 0) if self._marks_unknown else np.zeros(len(ids), dtype=bool)
        )
        return Tokens(
            ids,
            np.array(encoding.type_ids, dtype=np.int64),
            offsets[:, 0],
            offsets[:, 1],
            _constant(NO_WORD, len(ids)),
            unknown,
            before,
            after,
            between=range(before + first, before + first + between),
        )

    def words(self, texts: Sequence[Sequence[str]], *, prompt: str = "") -> list[Tokens]:
        """Return the tokens of pre-split texts, with offsets in the words joined by one space.

        A prompt is one more word before the others, without the spaces at its end.

        Raises:
            ModelError: a word is dropped and the tokenizer has no unknown token to replace it; or as `texts`.
        """
        backend = self._backend_for_words()
        before = [prompt.rstrip(" ")] if prompt.rstrip(" ") else []
        split = [[*before, *words] for words in texts]
        encodings = self._encoded(partial(backend.encode_batch, is_pretokenized=True), split)
        return [
            self._not_empty(self._joined(encoding, words, len(before)))
            for encoding, words in zip(encodings, texts, strict=True)
        ]

    def _encoded(self, encode: Callable[[list[Any]], list[Any]], texts: list[Any]) -> list[Any]:
        """Call a method of the tokenizer, and raise its errors as ModelError."""
        try:
            return encode(texts)
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            raise ModelError(
                f"the tokenizer of {self._name!r} can't tokenise a text ({first_line(error)}); its files are damaged or lack its "
                "unknown token, use those that belong to the model"
            ) from None

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return the strings of tokens, as in the vocabulary: `[CLS]`, `##ing`."""
        return [self._backend.id_to_token(int(number)) or "" for number in ids]

    def cls_place(self, tokens: Tokens) -> int:
        """Return the position of the classification token in a text; only if the tokenizer `has_cls`.

        Raises:
            RequestError: two texts, before which the tokenizer puts none.
        """
        before = tokens.prefix - tokens.prompt
        special = [*range(before), *range(len(tokens) - tokens.suffix, len(tokens))]
        place = next((int(place) for place in special if int(tokens.ids[place]) == self._cls), None)
        if place is None:
            raise RequestError(
                f"{argument('pool')} 'cls' needs a classification token, and the tokenizer of {self._name!r} puts none before a "
                "pair of texts; use mean or eos"
            )
        return place

    def _tokens(self, encoding: Any, *, located: bool = True) -> Tokens:
        ids = np.array(encoding.ids, dtype=np.int64)
        count, suffix = len(ids), self.special - self._prefix
        starts = ends = _constant(0, count)
        if located:
            offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            offsets[: self._prefix] = offsets[count - suffix :] = 0
            starts, ends = offsets[:, 0], offsets[:, 1]
        types = _constant(0, count) if self._one_type else np.array(encoding.type_ids, dtype=np.int64)
        words = _constant(NO_WORD, count)
        unknown, has_offsets = self._are_unknown(ids), self.has_offsets
        return Tokens(ids, types, starts, ends, words, unknown, self._prefix, suffix, has_offsets=has_offsets)

    def _are_unknown(self, ids: I64) -> Bools:
        """Return which tokens of a text, special ones aside, are the unknown token, (tokens,)."""
        if self._unknown is None or not self._marks_unknown:
            return np.zeros(len(ids), dtype=bool)
        unknown: Bools = ids == self._unknown
        unknown[: self._prefix] = unknown[len(ids) - self.special + self._prefix :] = False
        return unknown

    def _empty_blanks(self, tokens: Tokens, text: str) -> Tokens:
        """Remove the offsets and the word of each token for a space that the text doesn't have, in place.

        Such a token keeps them if no other token has the same characters or word: no character may lose all its tokens.
        """
        if not len(self._blanks):
            return tokens
        is_blank = np.isin(tokens.ids, self._blanks)
        is_blank[: tokens.prefix] = is_blank[len(tokens) - tokens.suffix :] = False
        others = np.flatnonzero(~is_blank)
        for blank in np.flatnonzero(is_blank).tolist():
            start, end, word = tokens.starts[blank], tokens.ends[blank], tokens.words[blank]
            if any(char.isspace() or char == self._space for char in text[start:end]):
                continue
            following = int(np.searchsorted(others, blank))
            neighbours = others[max(following - 1, 0) : following + 1]
            overlaps = (tokens.starts[neighbours] < end) & (tokens.ends[neighbours] > start)
            if (overlaps if word == NO_WORD else tokens.words[neighbours] == word).any():
                tokens.ends[blank] = start
                if word != NO_WORD:
                    tokens.words[blank] = NO_WORD
        return tokens

    def _joined(self, encoding: Any, words: Sequence[str], before: int) -> Tokens:
        """Return the tokens of a pre-split text, with offsets in its words joined by one space.

        The first `before` words of the encoding, 0 or 1, are the prompt.
        """
        tokens = self._tokens(encoding)
        begins = np.cumsum([0, *(len(word) + 1 for word in words)])[:-1]
        numbers = np.array([NO_WORD if w is None else w for w in encoding.word_ids], dtype=np.int64)
        numbers[: tokens.prefix] = NO_WORD
        numbers[len(tokens) - tokens.suffix :] = NO_WORD
        if before:
            tokens = _with_prompt(tokens, int(np.count_nonzero(numbers == 0)))
            numbers = np.maximum(numbers - 1, NO_WORD)
        # Offsets of pre-split input count from the beginning of each word.
        shift = np.where(numbers == NO_WORD, 0, begins[numbers] if len(words) else 0)
        tokens = replace(tokens, words=numbers)
        if self.has_offsets:
            tokens = replace(tokens, starts=tokens.starts + shift, ends=tokens.ends + shift)
        dropped = sorted(set(range(len(words))) - set(numbers.tolist()))
        tokens = self._restore(tokens, dropped, begins, words) if dropped else tokens
        return self._empty_blanks(tokens, " ".join(words))

    def _restore(self, tokens: Tokens, dropped: list[int], begins: I64, words: Sequence[str]) -> Tokens:
        """Insert the unknown token for each dropped word."""
        body = tokens.words[tokens.prefix : len(tokens) - tokens.suffix]
        positions = tokens.prefix + np.searchsorted(body, dropped)
        starts = begins[dropped]
        ends = starts + np.array([len(words[word]) for word in dropped])
        type_id = tokens.types[tokens.prefix] if len(tokens) > tokens.prefix else 0
        return Tokens(
            np.insert(tokens.ids, positions, self._unknown_token()),
            np.insert(tokens.types, positions, type_id),
            np.insert(tokens.starts, positions, starts),
            np.insert(tokens.ends, positions, ends),
            np.insert(tokens.words, positions, dropped),
            np.insert(tokens.unknown, positions, True),
            tokens.prefix,
            tokens.suffix,
            frozenset(dropped),
            tokens.prompt,
            tokens.has_offsets,
        )

    def _not_empty(self, tokens: Tokens) -> Tokens:
        """Return the tokens of a text, or the unknown token if it has none: each text has at least one row.

        A tokenizer without an unknown token gives the token that begins or ends texts.
        """
        if len(tokens):
            return tokens
        zero = np.zeros(1, dtype=np.int64)
        words, unknown = zero + NO_WORD, np.zeros(1, dtype=bool)
        return Tokens(
            zero + self._unknown_token(),
            zero,
            zero,
            zero,
            words,
            unknown,
            1,
            0,
            has_offsets=self.has_offsets,
        )

    def _unknown_token(self) -> int:
        if self._substitute is None:
            raise ModelError(
                f"the tokenizer of {self._name!r} drops a word and has no unknown token to replace it; leave the word out"
            )
        return self._substitute

    def _backend_for_words(self) -> Any:
        """Return the tokenizer for pre-split words.

        A byte-level tokenizer must add a space before each word; otherwise it would read the words as one.
        """
        if not self.has_offsets:
            return self._backend
        if self._split_backend is None:
            spec = json.loads(self._backend.to_str())
            spaced = _space_words(spec.get("pre_tokenizer"))
            # Assigned only when it is complete, because another thread may read it at the same time.
            self._split_backend = type(self._backend).from_str(json.dumps(spec)) if spaced else self._backend
        return self._split_backend


def _after_prompt(tokens: Tokens, length: int) -> Tokens:
    """Return the tokens of a text that follows a prompt of `length` code points, with offsets in the text alone.

    Tokens that begin in the prompt and end in the text are the text's.
    """
    end = len(tokens) - tokens.suffix if tokens.between is None else tokens.between.start
    body = slice(tokens.prefix, end)
    is_text = (tokens.ends[body] > length) | (tokens.starts[body] >= length)
    count = int(np.argmax(is_text)) if is_text.any() else len(is_text)
    starts, ends = (np.maximum(offsets - length, 0) for offsets in (tokens.starts, tokens.ends))
    return _with_prompt(replace(tokens, starts=starts, ends=ends), count)


def _with_prompt(tokens: Tokens, count: int) -> Tokens:
    """Return tokens of which the first `count` after the prefix are the prompt's: they have no offsets."""
    end = tokens.prefix + count
    starts, ends, unknown = tokens.starts.copy(), tokens.ends.copy(), tokens.unknown.copy()
    starts[:end] = ends[:end] = 0
    unknown[:end] = False
    return replace(tokens, starts=starts, ends=ends, unknown=unknown, prefix=end, prompt=count)


def _special_of_pair(owners: Sequence[int | None]) -> tuple[int, int, int]:
    """Return how many special tokens a tokenizer puts before, between and after two texts.

    Args:
        owners: for each token of a pair without empty texts the number of its text, or None for a special token.

    >>> _special_of_pair([None, 0, 0, None, None, 1, None])
    (1, 2, 1)
    """
    texts = [number for number, owner in enumerate(owners) if owner is not None]
    second = next(number for number in texts if owners[number] == 1)
    last_of_first = max(number for number in texts if owners[number] == 0)
    return texts[0], second - last_of_first - 1, len(owners) - 1 - texts[-1]


def _first_id(tokenizer: Any, names: Sequence[str]) -> int | None:
    """Return the number of the first of these special tokens that a tokenizer has."""
    ids = (getattr(tokenizer, f"{name}_token_id", None) for name in names)
    return next((int(number) for number in ids if number is not None), None)


def _space_words(step: dict[str, Any] | None) -> bool:
    """Switch `add_prefix_space` on in a tokenizer's description, in place; return whether anything changed."""
    if step is None:
        return False
    if step.get("type") == "ByteLevel" and not step.get("add_prefix_space"):
        step["add_prefix_space"] = True
        return True
    changed = [_space_words(part) for part in step.get("pretokenizers", ())]
    return any(changed)


def _constant(value: int, count: int) -> I64:
    """Return an array (count,) of one value, which must not be written to."""
    return _CONSTANTS[value][:count] if count <= len(_CONSTANTS[value]) else np.full(count, value)
