"""Identical texts with different labels, which no head can all get right."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import I64
from layerwise.labels.groups import text_numbers, texts_of
from layerwise.labels.tags import cut
from layerwise.states import Layered
from layerwise.wording import Message


def conflict_note(dataset: Layered, docs: I64, values: NDArray[Any]) -> Message | None:
    """Return a note on the texts that occur with different labels; `None` without any, or without stored texts.

    A pair conflicts with a pair of the same two texts; where rows are words, all labels of a text are compared.

    Args:
        dataset: holds the texts.
        docs: the text of each row, int64 (n,), sorted; the first text of a pair.
        values: the labels (n,).
    """
    if not len(docs):
        return None
    numbers = np.unique(np.stack(text_numbers(dataset, docs)), axis=1, return_inverse=True)[1].reshape(-1)
    return note_of_texts(numbers, docs, values)


def text_hashes(dataset: Layered, docs: I64) -> I64:
    """Return a number per row, int64 (n,), that is equal for rows of identical texts, also of different datasets."""
    return np.array([hash(pair) for pair in zip(*texts_of(dataset, docs), strict=True)], np.int64)


def note_of_texts(texts: I64, docs: I64, values: NDArray[Any]) -> Message | None:
    """Return the note of `conflict_note`, for rows of which `texts`, int64 (n,), tells which texts are identical."""
    first_rows = np.flatnonzero(np.diff(docs, prepend=docs[0] - 1))
    numbers, unique_docs = texts[first_rows], docs[first_rows]
    labels = values.tolist() if len(unique_docs) == len(docs) else [tuple(part) for part in cut(values, docs)]
    first_doc: dict[int, tuple[int, Any]] = {}
    conflicts: dict[int, tuple[int, Any]] = {}
    for number, doc, label in zip(numbers.tolist(), unique_docs.tolist(), labels, strict=True):
        if first_doc.setdefault(number, (doc, label))[1] != label:
            conflicts.setdefault(number, (doc, label))
    if not conflicts:
        return None
    rows = int(np.isin(numbers, list(conflicts)).sum())
    number, (doc, label) = next(iter(conflicts.items()))
    other_doc, other_label = first_doc[number]
    example = Message("note.conflicts.texts", first=str(other_doc), second=str(doc))
    if len(unique_docs) == len(docs):
        labels_of_both = {"one": f"{other_label!r:.40}", "other": f"{label!r:.40}"}
        example = Message("note.conflicts.labels", **example.values, **labels_of_both)
    return Message("note.conflicts", n=len(conflicts), rows=rows, example=example)
