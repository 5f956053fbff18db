"""Tokenizers that are written in Python, such as those of PhoBERT, BertJapanese and ByT5: they give no offsets.

`PythonBackend` has the methods and attributes of a tokenizer of the `tokenizers` library that this package uses. The
tokens are those of transformers; offsets are all 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerwise._util.locks import new_lock

_EXAMPLES = ("a", "Ab 12, cd.", "")


@dataclass(frozen=True, slots=True)
class PythonEncoding:
    """The tokens of one text, special ones included, as `tokenizers.Encoding` has them.

    Attributes:
        ids, type_ids: the numbers of the tokens and of their segments.
        special_tokens_mask: 1 for those that the tokenizer adds.
        offsets: 0, 0 for every token.
        word_ids: the word numbers of pre-split input; None for other tokens.
    """

    ids: list[int]
    type_ids: list[int]
    special_tokens_mask: list[int]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]


class PythonBackend:
    """A tokenizer of transformers that is written in Python, as one of the `tokenizers` library.

    One thread at a time uses it: some of these tokenizers keep state.
    """

    # What a tokenizer of the library has, and one in Python hasn't.
    normalizer = pre_tokenizer = decoder = model = None

    def __init__(self, tokenizer: Any) -> None:
        """Find the special tokens around a text.

        Raises:
            ValueError: they aren't the same around every text, or transformers makes other tokens of a text.
        """
        self._tokenizer, self._lock = tokenizer, new_lock()
        self.lowercases = False
        first = self._body(_EXAMPLES[0])
        framed = self._framed(first)
        self._prefix = next((n for n in range(len(framed)) if framed[n : n + len(first)] == first), 0)
        self._before, self._after = framed[: self._prefix], framed[self._prefix + len(first) :]
        types = tokenizer.create_token_type_ids_from_sequences(first)
        self._type = types[self._prefix] if len(types) > self._prefix else 0
        # ByT5 adds no end to a text that ends with it.
        self._ends_once = bool(self._after) and self._framed([*first, *self._after]) == [*first, *self._after]
        if any(list(tokenizer(text)["input_ids"]) != self.encode(text).ids for text in _EXAMPLES):
            raise ValueError("it doesn't put the same special tokens around every text")

    def encode(self, text: str) -> PythonEncoding:
        """Return the tokens of a text, special ones included."""
        return self._encoding(self._body(text.lower() if self.lowercases else text))

    def encode_batch(self, texts: Sequence[Any], is_pretokenized: bool = False) -> list[PythonEncoding]:
        """Return the tokens of texts, or of pre-split texts: each word is tokenised by itself."""
        if not is_pretokenized:
            return [self.encode(text) for text in texts]
        return [self._words(words) for words in texts]

    encode_batch_fast = encode_batch

    def id_to_token(self, number: int) -> str | None:
        """Return the string of a token."""
        token = self._tokenizer.convert_ids_to_tokens(number)
        return None if token is None else str(token)

    def token_to_id(self, token: str) -> int | None:
        """Return the number of a token; None if it isn't in the vocabulary."""
        number: int | None = self.get_vocab().get(token)
        return number

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Return the numbers of all tokens."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        if with_added_tokens:
            return vocabulary
        added = self._tokenizer.get_added_vocab()
        return {token: number for token, number in vocabulary.items() if token not in added}

    def no_truncation(self) -> None:
        """Nothing to do: texts are never truncated."""

    def no_padding(self) -> None:
        """Nothing to do: texts are never padded."""

    def _words(self, words: Sequence[str]) -> PythonEncoding:
        parts = [self._body(word.lower() if self.lowercases else word) for word in words]
        numbers = [number for number, part in enumerate(parts) for _ in part]
        return self._encoding([token for part in parts for token in part], numbers)

    def _body(self, text: str) -> list[int]:
        with self._lock:
            return list(self._tokenizer.convert_tokens_to_ids(self._tokenizer.tokenize(text)))

    def _framed(self, body: list[int]) -> list[int]:
        return list(self._tokenizer.build_inputs_with_special_tokens(list(body)))

    def _encoding(self, body: list[int], words: Sequence[int] | None = None) -> PythonEncoding:
        before, after = self._before, self._after
        if self._ends_once and body[-len(after) :] == after:
            body, words = body[: -len(after)], words and words[: -len(after)]
        ids = [*before, *body, *after]
        special = [1] * len(before) + [0] * len(body) + [1] * len(after)
        of_body = [None] * len(body) if words is None else words
        return PythonEncoding(
            ids,
            [self._type] * len(ids),
            special,
            [(0, 0)] * len(ids),
            [*([None] * len(before)), *of_body, *([None] * len(after))],
        )
