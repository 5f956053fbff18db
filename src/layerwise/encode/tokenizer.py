"""Tokenising: from a text or its words to tokens with numbers, offsets and word numbers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from layerwise._util.silence import is_panic
from layerwise.encode.hf import Loaded, first_line
from layerwise.errors import ModelError

Ints = npt.NDArray[np.int64]
NO_WORD = -1
# What byte-level tokenizers, and sentencepiece's, write for a space. Before a text, or a word, that has none, it may be a
# token of its own, which stands for no character and carries the place of the next one.
_BYTE_LEVEL, _SENTENCEPIECE = "\u0120", "\u2581"
_LONGEST_BLANK = 16
_MANY = {value: np.full(1024, value) for value in (0, NO_WORD)}
for _array in _MANY.values():
    _array.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text, special ones included; all arrays are (tokens,).

    `starts`, `ends` are code points in the text (0, 0 for special tokens, and for all where nobody asked).
    `words` are the word numbers of pre-split input, −1 elsewhere. The first `prefix` and the last `suffix`
    tokens are special. `dropped` are the words that the tokenizer drops and that stand here as the unknown
    token.
    """

    ids: Ints
    types: Ints
    starts: Ints
    ends: Ints
    words: Ints
    prefix: int
    suffix: int
    dropped: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def body(self) -> int:
        """The number of tokens that aren't special."""
        return len(self.ids) - self.prefix - self.suffix


class Tokenizer:
    """Turns texts and pre-split words into tokens, exactly those of the model's own tokenizer."""

    def __init__(self, loaded: Loaded, name: str) -> None:
        self._backend, self._name = loaded.backend, name
        self._split_backend: Any = None
        self._unknown: int | None = loaded.tokenizer.unk_token_id
        # Of texts that are too long the model wants the end instead of the beginning.
        self.keeps_end = loaded.tokenizer.truncation_side == "left"
        self._cls: int | None = loaded.tokenizer.cls_token_id
        self.takes_types = "token_type_ids" in loaded.tokenizer.model_input_names
        # What stands around a text is the same for all: special tokens, and the segment numbers of everything.
        self.special = len(self._backend.encode("").ids)
        probe = self._backend.encode("a")
        mask = probe.special_tokens_mask
        self._prefix = mask.index(0) if 0 in mask else 0
        self._one_type = not any(probe.type_ids)
        self.has_cls = self._cls is not None and self._cls in probe.ids
        steps = repr(self._backend.pre_tokenizer) + repr(self._backend.decoder)
        self._space = _BYTE_LEVEL if "ByteLevel" in steps else _SENTENCEPIECE
        numbers = [self._backend.token_to_id(self._space * count) for count in range(1, _LONGEST_BLANK + 1)]
        self._blanks = np.array([number for number in numbers if number is not None], dtype=np.int64)

    def texts(self, texts: Sequence[str], *, located: bool = True) -> list[Tokens]:
        """Return the tokens of raw texts: exactly what the model's tokenizer gives, and nothing cut.

        Where they stand in the text costs time, and is left out unless `located`.

        Raises:
            ModelError: the tokenizer fails, as one without an unknown token does where it needs that.
        """
        if not located:
            encodings = self._encoded(self._backend.encode_batch_fast, list(texts))
            return [self._whole(self._tokens(encoding, located=False)) for encoding in encodings]
        encodings = self._encoded(self._backend.encode_batch, list(texts))
        located_tokens = map(self._tokens, encodings)
        return [self._whole(self._empty_blanks(*pair)) for pair in zip(located_tokens, texts, strict=True)]

    def words(self, texts: Sequence[Sequence[str]]) -> list[Tokens]:
        """Return the tokens of pre-split texts, with offsets in the words joined by one space.

        Raises:
            ModelError: a word is dropped and the tokenizer has no unknown token to stand for it; or as `texts`.
        """
        backend = self._backend_for_words()
        split = [list(words) for words in texts]
        encodings = self._encoded(partial(backend.encode_batch, is_pretokenized=True), split)
        return [self._whole(self._joined(e, words)) for e, words in zip(encodings, texts, strict=True)]

    def _encoded(self, encode: Callable[[list[Any]], list[Any]], texts: list[Any]) -> list[Any]:
        try:
            return encode(texts)
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            raise ModelError(
                f"the tokenizer of {self._name!r} fails at a text ({first_line(error)}); its files are damaged or lack its "
                "unknown token, take those that belong to the model"
            ) from None

    def names(self, ids: Sequence[int]) -> list[str]:
        """Return what the tokenizer calls tokens, by their numbers: `[CLS]`, `##ing`."""
        return [self._backend.id_to_token(int(number)) or "" for number in ids]

    def cls_place(self, tokens: Tokens) -> int:
        """Return where the classification token stands among the special tokens of a text; it `has_cls`."""
        special = [*range(tokens.prefix), *range(len(tokens) - tokens.suffix, len(tokens))]
        return next(int(place) for place in special if int(tokens.ids[place]) == self._cls)

    def _tokens(self, encoding: Any, *, located: bool = True) -> Tokens:
        ids = np.array(encoding.ids, dtype=np.int64)
        count, suffix = len(ids), self.special - self._prefix
        starts = ends = _same(0, count)
        if located:
            offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            offsets[: self._prefix] = offsets[count - suffix :] = 0
            starts, ends = offsets[:, 0], offsets[:, 1]
        types = _same(0, count) if self._one_type else np.array(encoding.type_ids, dtype=np.int64)
        return Tokens(ids, types, starts, ends, _same(NO_WORD, count), self._prefix, suffix)

    def _empty_blanks(self, tokens: Tokens, text: str) -> Tokens:
        """Take place and word from the tokens that stand for a space which the text hasn't, in place.

        Where no other token stands for the same characters, or the same word, they keep them.
        """
        if not len(self._blanks):
            return tokens
        blank = np.isin(tokens.ids, self._blanks)
        blank[: tokens.prefix] = blank[len(tokens) - tokens.suffix :] = False
        full = np.flatnonzero(~blank)
        for place in np.flatnonzero(blank).tolist():
            start, end, word = tokens.starts[place], tokens.ends[place], tokens.words[place]
            if any(char.isspace() or char == self._space for char in text[start:end]):
                continue
            at = int(np.searchsorted(full, place))
            near = full[max(at - 1, 0) : at + 1]
            shared = (tokens.starts[near] < end) & (tokens.ends[near] > start)
            if (shared if word == NO_WORD else tokens.words[near] == word).any():
                tokens.ends[place] = start
                if word != NO_WORD:
                    tokens.words[place] = NO_WORD
        return tokens

    def _joined(self, encoding: Any, words: Sequence[str]) -> Tokens:
        tokens = self._tokens(encoding)
        begins = np.cumsum([0, *(len(word) + 1 for word in words)])[:-1]
        numbers = np.array([NO_WORD if w is None else w for w in encoding.word_ids], dtype=np.int64)
        numbers[: tokens.prefix] = NO_WORD
        numbers[len(tokens) - tokens.suffix :] = NO_WORD
        shift = np.where(numbers == NO_WORD, 0, begins[numbers] if len(words) else 0)
        tokens = Tokens(
            tokens.ids,
            tokens.types,
            tokens.starts + shift,
            tokens.ends + shift,
            numbers,
            tokens.prefix,
            tokens.suffix,
        )
        lost = sorted(set(range(len(words))) - set(numbers.tolist()))
        tokens = self._restore(tokens, lost, begins, words) if lost else tokens
        return self._empty_blanks(tokens, " ".join(words))

    def _restore(self, tokens: Tokens, lost: list[int], begins: Ints, words: Sequence[str]) -> Tokens:
        """Put the unknown token where words were dropped."""
        body = tokens.words[tokens.prefix : len(tokens) - tokens.suffix]
        at = tokens.prefix + np.searchsorted(body, lost)
        lost_begins = begins[lost]
        lost_ends = lost_begins + np.array([len(words[w]) for w in lost])
        return Tokens(
            np.insert(tokens.ids, at, self._unknown_token()),
            np.insert(tokens.types, at, tokens.types[tokens.prefix] if len(tokens) > tokens.prefix else 0),
            np.insert(tokens.starts, at, lost_begins),
            np.insert(tokens.ends, at, lost_ends),
            np.insert(tokens.words, at, lost),
            tokens.prefix,
            tokens.suffix,
            frozenset(lost),
        )

    def _whole(self, tokens: Tokens) -> Tokens:
        """Give a text without any token the unknown one: it still is a text."""
        if len(tokens):
            return tokens
        zero = np.zeros(1, dtype=np.int64)
        return Tokens(zero + self._unknown_token(), zero, zero, zero, zero + NO_WORD, 1, 0)

    def _unknown_token(self) -> int:
        if self._unknown is None:
            raise ModelError(
                f"the tokenizer of {self._name!r} drops a word and has no unknown token to stand for it"
            )
        return int(self._unknown)

    def _backend_for_words(self) -> Any:
        """Byte-level tokenizers need a space before each word, or words would be read as glued together."""
        if self._split_backend is None:
            spec = json.loads(self._backend.to_str())
            spaced = _space_words(spec.get("pre_tokenizer"))
            # Set once it is whole: another thread may look meanwhile.
            self._split_backend = type(self._backend).from_str(json.dumps(spec)) if spaced else self._backend
        return self._split_backend


def _space_words(step: dict[str, Any] | None) -> bool:
    """Switch `add_prefix_space` on in a tokenizer's description, in place; tells whether anything changed."""
    if step is None:
        return False
    if step.get("type") == "ByteLevel" and not step.get("add_prefix_space"):
        step["add_prefix_space"] = True
        return True
    changed = [_space_words(part) for part in step.get("pretokenizers", ())]
    return any(changed)


def _same(value: int, count: int) -> Ints:
    """Return an array (count,) of one value, not to be written to."""
    return _MANY[value][:count] if count <= len(_MANY[value]) else np.full(count, value)
