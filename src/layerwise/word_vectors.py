"""Static word vectors: one vector per word, whatever its context."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerwise.array_types import F32


@dataclass(frozen=True, slots=True, eq=False)
class WordVectors:
    """The vectors of some words.

    Attributes:
        source: the name of their file.
        rows: the row of `vectors` that each word has; words without a vector are missing.
        vectors: float32 (words, width).
        total: how many words the file has.
        announced: how many words its header announces; `None` without a header.
        repeated: how many lines repeat one of these words; the first line of a word counts.
    """

    source: str
    rows: Mapping[str, int]
    vectors: F32
    total: int
    announced: int | None = None
    repeated: int = 0

    @property
    def width(self) -> int:
        """The number of dimensions of a vector."""
        return int(self.vectors.shape[1])


VectorReader = Callable[[Collection[str]], WordVectors]
"""(words) -> the vectors of those that have one"""
