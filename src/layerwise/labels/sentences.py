"""Rows that are words, seen text by text: where each text ends, and its tags as one sequence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.labels.tags import convert, scheme_of
from layerwise.labels.values import Labelled
from layerwise.states import I64


def lengths(docs: I64) -> list[int]:
    """Return how many rows each text has; `docs` (n,) says of which text each is, texts one after another."""
    borders = np.flatnonzero(np.diff(docs)) + 1
    return np.diff([0, *borders.tolist(), len(docs)]).tolist() if len(docs) else []


def cut(values: NDArray[Any], docs: I64) -> list[list[Any]]:
    """Return the values text by text."""
    ends = np.cumsum(lengths(docs))[:-1]
    return [part.tolist() for part in np.split(values, ends)] if len(docs) else []


def whole_texts(docs: I64, tags: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows are of texts without a missing tag: what follows one would follow the wrong word."""
    return ~np.isin(docs, docs[tags == ""])


def in_iob2(docs: I64, tags: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Return tags in IOB2, strings (n,) as objects, and the scheme that they were written in.

    Raises:
        RequestError: something that is no tag.
    """
    sentences: Sequence[Sequence[str]] = cut(tags, docs)
    scheme = scheme_of(sentences)
    out = np.empty(len(tags), object)
    out[:] = [tag for sentence in convert(sentences, scheme) for tag in sentence]
    return out, scheme


def tagged(found: Labelled) -> tuple[Labelled, str]:
    """Return the rows of texts that are tagged as a whole, in IOB2, those left out counted; and the scheme.

    Raises:
        RequestError: something that is no tag.
    """
    keep = whole_texts(found.docs, found.values)
    found = found.take(np.flatnonzero(keep), int((~keep).sum()))
    values, scheme = in_iob2(found.docs, found.values)
    return Labelled(found.rows, found.docs, values, found.dropped), scheme
