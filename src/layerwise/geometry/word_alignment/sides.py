"""One side of a few sentence pairs: the unit vectors of its tokens at every layer, and the words that they belong to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from layerwise import alignment
from layerwise.array_types import F32, F64, I64
from layerwise.errors import ModelError
from layerwise.states import Layered
from layerwise.word_split import split_words

_CELLS = 1 << 22  # cosines in memory at once
Incidence = F32
"""1 where a token belongs to a word: float32 (words, tokens) of one sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSide:
    """The tokens of one side of some sentences, without special tokens.

    Attributes:
        vectors: float32 (layers, tokens, width), those of all sentences one after the other.
        bounds: where the tokens of each sentence begin, and where the last ends: int64 (sentences + 1,).
        incidences: which tokens belong to which words, for each sentence.
        unknown, tokens: how many tokens are unknown to the model, and how many there are.
    """

    vectors: F32
    bounds: I64
    incidences: Sequence[Incidence]
    unknown: int
    tokens: int

    def sentence(self, number: int) -> F32:
        """Return the vectors of a sentence: (layers, tokens, width)."""
        return self.vectors[:, self.bounds[number] : self.bounds[number + 1]]

    def token_count(self, number: int) -> int:
        """Return the number of tokens of a sentence."""
        return int(self.bounds[number + 1] - self.bounds[number])

    def sums(self) -> F64:
        """Return the sum of the vectors of each layer: (layers, width)."""
        sums: F64 = self.vectors.sum(axis=1, dtype=np.float64)
        return sums

    def scale(self, mean: F64 | None) -> None:
        """Subtract a mean (layers, width) from the vectors, in place, and divide them by their lengths."""
        if mean is not None:
            np.subtract(self.vectors, mean[:, None, :], out=self.vectors, casting="same_kind")
        lengths = np.sqrt(np.einsum("ltw,ltw->lt", self.vectors, self.vectors, dtype=np.float64))
        np.divide(
            self.vectors,
            np.where(lengths > 0, lengths, 1)[:, :, None],
            out=self.vectors,
            casting="same_kind",
        )


def side_of(states: Layered, sentences: Sequence[str | Sequence[str]]) -> AlignedSide:
    """Return the side of encoded sentences.

    Args:
        states: rows of level `token`, whose `doc` is the number of the sentence, from 0.
        sentences: a list of words each, or a string, whose words are those of `split_words`.

    Raises:
        ModelError: a vector that isn't finite.
    """
    index = states.index
    kept = np.flatnonzero(~index["special"].to_numpy())
    docs = index["doc"].to_numpy()[kept]
    bounds = np.searchsorted(docs, np.arange(len(sentences) + 1))
    vectors = states.stack(states.layers)[:, kept]
    for name, layer in zip(states.layers, vectors, strict=True):
        if not np.isfinite(layer).all():
            raise ModelError(f"layer {name} has vectors that aren't finite; use another precision or model")
    starts, ends = index["start"].to_numpy()[kept], index["end"].to_numpy()[kept]
    numbers = index["word"].fill_null(-1).to_numpy()[kept]
    incidences = [
        incidence(sentence, starts[begin:end], ends[begin:end], numbers[begin:end])
        for sentence, (begin, end) in zip(sentences, pairwise(bounds.tolist()), strict=True)
    ]
    return AlignedSide(vectors, bounds, incidences, int(index["unknown"].to_numpy().sum()), len(index))


def incidence(sentence: str | Sequence[str], starts: I64, ends: I64, numbers: I64) -> Incidence:
    """Return which tokens belong to which words: float32 (words, tokens).

    A token belongs to all words of a string with which it shares a character, and to the one of pre-split words that it
    is a part of. A token of blanks alone, as sentencepiece puts before some words, belongs to the word after it.

    Args:
        sentence: a string, or a list of words.
        starts, ends: code points of the tokens, (tokens,).
        numbers: the word of each token of a list of words, (tokens,); -1 for none.
    """
    if isinstance(sentence, str):
        borders = split_words(sentence)
        groups = alignment.by_overlap(starts, ends, borders)
    else:
        groups = alignment.by_number(numbers, len(sentence))
    belongs = np.zeros((len(groups), len(starts)), np.float32)
    belongs[np.repeat(np.arange(len(groups)), groups.counts), groups.members] = 1
    for token in np.flatnonzero(~belongs.any(axis=0))[::-1]:
        if token + 1 < len(starts):
            belongs[:, token] = _first(belongs[:, token + 1])
    return belongs


def _first(words: NDArray[np.float32]) -> NDArray[np.float32]:
    first = np.zeros_like(words)
    first[words.argmax()] = words.max()
    return first


def similarities(a: AlignedSide, b: AlignedSide, sentence: int) -> Iterator[F32]:
    """Yield the cosines of the tokens of a sentence pair, some layers at a time: float32 (layers, tokens of a, tokens of b).

    A pair of long sentences has so many cosines that those of all layers don't fit into memory.
    """
    first, second = a.sentence(sentence), b.sentence(sentence).transpose(0, 2, 1)
    step = max(1, _CELLS // max(1, first.shape[1] * second.shape[2]))
    for begin in range(0, len(first), step):
        yield np.matmul(first[begin : begin + step], second[begin : begin + step])


def word_links(links: NDArray[np.bool_], a: Incidence, b: Incidence) -> NDArray[np.bool_]:
    """Return the links between words of which any tokens are linked: bool (layers, words of a, words of b).

    `links` is bool (layers, tokens of a, tokens of b).
    """
    of_words = np.zeros((len(links), len(a), len(b)), bool)
    layers, tokens_a, tokens_b = np.nonzero(links)
    for words_a, words_b in product(_words_of(a), _words_of(b)):
        first, second = words_a[tokens_a], words_b[tokens_b]
        exist = (first >= 0) & (second >= 0)
        of_words[layers[exist], first[exist], second[exist]] = True
    return of_words


def _words_of(incidence: Incidence) -> Iterator[I64]:
    """Yield the first word of each token, then the second of tokens with more, and so on: int64 (tokens,), -1 for none."""
    left = incidence > 0
    while left.any():
        words = np.where(left.any(axis=0), left.argmax(axis=0), -1)
        yield words
        (tokens,) = np.nonzero(words >= 0)
        left[words[tokens], tokens] = False
