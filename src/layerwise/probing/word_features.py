"""Features of static word vectors, a baseline: the mean of the vectors of a text's words, or the vector of a word."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerwise.array_types import F32, I64
from layerwise.heads.mixing import halves
from layerwise.word_split import split_words
from layerwise.word_vectors import VectorReader, WordVectors
from layerwise.wording import Message, percent


@dataclass(frozen=True, slots=True)
class WordCoverage:
    """How many words of the rows have a vector.

    Attributes:
        source: the name of the file.
        width: the number of dimensions.
        words: the number of different words; `covered` of them have a vector.
        occurrences: how often they occur; `covered_occurrences` of these have a vector.
        lower_case: how many of the covered words have only the vector of their lower case.
        rows_without: the number of rows without any covered word, whose features are zeros.
        repeated: how many lines of the file repeat one of these words.
        total: how many words the file has; its header announces `announced`, or there is no header.
    """

    source: str
    width: int
    words: int
    covered: int
    occurrences: int
    covered_occurrences: int
    lower_case: int
    rows_without: int
    repeated: int
    total: int
    announced: int | None

    def notes(self) -> list[Message]:
        """Return sentences about what has no vector, and about oddities of the file."""
        share = percent(self.covered_occurrences / self.occurrences if self.occurrences else 0.0, 1)
        counts = {"covered": self.covered, "words": self.words, "lower": self.lower_case}
        notes = [Message("note.vectors", source=self.source, width=self.width, share=share, **counts)]
        if self.rows_without:
            notes.append(Message("note.vectors.none", n=self.rows_without))
        if self.repeated:
            notes.append(Message("note.vectors.repeated", n=self.repeated, source=self.source))
        if self.announced is not None and self.announced != self.total:
            notes.append(
                Message(
                    "note.vectors.announced", source=self.source, announced=self.announced, total=self.total
                )
            )
        return notes


@dataclass(frozen=True, slots=True, eq=False)
class WordFeatures:
    """The features of each row of a probe, float32 (n, width), of pairs (n, 2 * width + 1), and their coverage."""

    x: F32
    coverage: WordCoverage


def word_features(texts: Sequence[str], level: str, paired: bool, read: VectorReader) -> WordFeatures:
    """Return the features of rows.

    A word has the vector of its spelling, or else that of its lower case in composed form (NFC). Words without a vector
    are left out of the mean; a row without any covered word has zeros.

    Args:
        texts: the text of each row (n,), or of the two rows of each pair one after the other (2n,).
        level: at `token` and `word` level a row is one word, else its words are those of `word_split`.
        paired: whether rows are pairs; their features are then those of layers, see `mixing.pair_features`.
        read: returns the vectors of words.
    """
    words_of_rows = [[text] if level in ("token", "word") else _words(text) for text in texts]
    counts = Counter(word for words in words_of_rows for word in words if word)
    vectors = read({*counts, *map(_lower, counts)})
    row_of_word = {word: _row(word, vectors) for word in counts}
    means, counts_of_rows = _means(words_of_rows, row_of_word, vectors.vectors)
    covered_words = [word for word, row in row_of_word.items() if row >= 0]
    coverage = WordCoverage(
        vectors.source,
        vectors.width,
        len(counts),
        len(covered_words),
        counts.total(),
        sum(counts[word] for word in covered_words),
        sum(word not in vectors.rows for word in covered_words),
        int((counts_of_rows == 0).sum()),
        vectors.repeated,
        vectors.total,
        vectors.announced,
    )
    return WordFeatures(halves(means) if paired else means, coverage)


def _words(text: str) -> list[str]:
    return [text[start:end] for start, end in split_words(text)]


def _lower(word: str) -> str:
    return unicodedata.normalize("NFC", word.lower())


def _row(word: str, vectors: WordVectors) -> int:
    """Return the row of the vector of a word; -1 without one."""
    row = vectors.rows.get(word)
    return vectors.rows.get(_lower(word), -1) if row is None else row


def _means(
    words_of_rows: Sequence[Sequence[str]], row_of_word: dict[str, int], vectors: F32
) -> tuple[F32, I64]:
    """Return the mean vector of the covered words of each row, float32 (n, width), and their number (n,)."""
    means = np.zeros((len(words_of_rows), vectors.shape[1]), np.float32)
    counts = np.zeros(len(words_of_rows), np.int64)
    for row, words in enumerate(words_of_rows):
        places: Any = [place for word in words if (place := row_of_word.get(word, -1)) >= 0]
        counts[row] = len(places)
        if places:
            means[row] = vectors[places].mean(axis=0, dtype=np.float64)
    return means, counts
