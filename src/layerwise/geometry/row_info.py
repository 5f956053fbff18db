"""Metadata of rows: their texts, their words, and their classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import I64
from layerwise.columns import column_values, is_present
from layerwise.errors import RequestError
from layerwise.geometry.sample import Sample
from layerwise.labels.spelling import spell
from layerwise.wording import Message, name_of


@dataclass(frozen=True, slots=True, eq=False)
class RowInfo:
    """Metadata of rows, besides their vectors.

    Attributes:
        docs: number of the text of each row, int64 (n,).
        words: number of the word type of each row, int64 (n,); `None` where no texts are stored, or rows are texts.
        labels: number of the class of each row, int64 (n,), -1 without a class; `None` where none were requested.
    """

    docs: I64
    words: I64 | None
    labels: I64 | None

    def take(self, rows: NDArray[np.bool_]) -> "RowInfo":
        """Return the metadata of the rows that a mask selects."""
        words, labels = (None if values is None else values[rows] for values in (self.words, self.labels))
        return RowInfo(self.docs[rows], words, labels)


def rows_info(sample: Sample, label: str | None) -> tuple[RowInfo, list[Message]]:
    """Return the metadata of sampled rows, and notes on what is missing.

    Raises:
        RequestError: there is no column `label`.
    """
    notes: list[Message] = []
    labels, words = None, None
    if sample.special:
        notes.append(Message("note.special", n=sample.special))
    if sample.level != "text" and "text" in sample.index.column_names:
        words = _numbers(sample.index["text"].to_pylist())
    elif sample.level != "text":
        notes.append(Message("note.no.words", measure=name_of("measure", "self_similarity")))
    if label is not None:
        labels = _labels(sample, label, notes)
    return RowInfo(sample.docs, words, labels), notes


def _labels(sample: Sample, label: str, notes: list[Message]) -> I64:
    """Return the number of each row's class; all -1 where there are fewer than two classes, or one row per class."""
    values, exists = column_values(sample, label)
    if not exists:
        names = dict.fromkeys([*sample.index.column_names, *sample.texts.column_names])
        raise RequestError(f"there is no column {label!r} in the dataset; there are {', '.join(names)}")
    if any(isinstance(value, list) for value in values):
        notes.append(Message("note.separation.several", column=repr(label)))
        return np.full(len(values), -1)
    spelling = spell(values)
    notes += spelling.notes
    missing = [not is_present(value) for value in values]
    if any(missing):
        notes.append(Message("note.sampled.unlabelled", n=sum(missing), of=len(values), column=repr(label)))
    codes = _numbers([spelling.name(value) for value in values])
    codes[missing] = -1
    classes = len(np.unique(codes[codes >= 0]))
    if classes < 2 or classes == (codes >= 0).sum():
        notes.append(
            Message(
                "note.separation.classes", column=repr(label), classes=classes, rows=int((codes >= 0).sum())
            )
        )
        codes[:] = -1
    return codes


def _numbers(values: Sequence[str]) -> I64:
    numbers = {value: number for number, value in enumerate(sorted(set(values)))}
    return np.array([numbers[value] for value in values], np.int64)
