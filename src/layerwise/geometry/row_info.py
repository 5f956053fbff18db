"""What is known of rows besides their vectors: their texts, what they say, and their classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerwise.columns import column_values, there
from layerwise.errors import RequestError
from layerwise.geometry.sample import Sample
from layerwise.states import I64


@dataclass(frozen=True, slots=True, eq=False)
class About:
    """What is known of the rows, besides their vectors.

    Attributes:
        docs: the text of each, int64 (n,).
        words: what each says, numbered, int64 (n,); `None` where texts aren't stored, or rows are texts.
        labels: numbers of classes, int64 (n,), -1 where there is none; `None` where none were asked for.
    """

    docs: I64
    words: I64 | None
    labels: I64 | None

    def take(self, rows: NDArray[np.bool_]) -> "About":
        """Return what is known of some of the rows."""
        words, labels = (None if known is None else known[rows] for known in (self.words, self.labels))
        return About(self.docs[rows], words, labels)


def about_rows(drawn: Sample, label: str | None) -> tuple[About, list[str]]:
    """Return what is known of drawn rows, and notes for people on what isn't.

    Raises:
        RequestError: there is no column `label`.
    """
    notes, labels, words = [], None, None
    if drawn.special:
        notes.append(f"{drawn.special:,} special tokens of the texts looked at were left out.")
    if drawn.level != "text" and "text" in drawn.index.column_names:
        words = _numbers(drawn.index["text"].to_pylist())
    elif drawn.level != "text":
        notes.append("self_similarity goes by what words say, and the dataset has no texts.")
    if label is not None:
        labels = _labels(drawn, label, notes)
    return About(drawn.docs, words, labels), notes


def _labels(drawn: Sample, label: str, notes: list[str]) -> I64:
    """Numbers of classes; all -1 where they tell nothing apart."""
    values, known = column_values(drawn, label)
    if not known:
        names = dict.fromkeys([*drawn.index.column_names, *drawn.texts.column_names])
        raise RequestError(f"there is no column {label!r} in the dataset; there are {', '.join(names)}")
    missing = [not there(value) for value in values]
    if any(missing):
        notes.append(f"{sum(missing):,} of {len(values):,} rows looked at have no label {label!r}.")
    codes = _numbers([str(value) for value in values])
    codes[missing] = -1
    classes = len(np.unique(codes[codes >= 0]))
    if classes < 2 or classes == (codes >= 0).sum():
        notes.append(
            f"Column {label!r} has {classes:,} classes in {(codes >= 0).sum():,} rows: nothing can be separated."
        )
        codes[:] = -1
    return codes


def _numbers(values: Sequence[str]) -> I64:
    numbers = {value: number for number, value in enumerate(sorted(set(values)))}
    return np.array([numbers[value] for value in values], np.int64)
