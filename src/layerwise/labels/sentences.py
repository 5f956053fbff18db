"""Group rows that are words by text: the number of words of each text, and its tags as one sequence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.labels.tags import convert, scheme_of
from layerwise.labels.values import Labelled
from layerwise.states import I64


def lengths(docs: I64) -> list[int]:
    """Return the number of rows of each text; `docs` (n,) is the text of each row, sorted by text."""
    borders = np.flatnonzero(np.diff(docs)) + 1
    return np.diff([0, *borders.tolist(), len(docs)]).tolist() if len(docs) else []


def cut(values: NDArray[Any], docs: I64) -> list[list[Any]]:
    """Return the values as a list per text."""
    ends = np.cumsum(lengths(docs))[:-1]
    return [part.tolist() for part in np.split(values, ends)] if len(docs) else []


def whole_texts(docs: I64, tags: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the rows of texts without a missing tag; a tag after a missing one would follow the wrong word."""
    return ~np.isin(docs, docs[tags == ""])


def in_iob2(docs: I64, tags: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Return tags in IOB2, strings (n,) as objects, and their original scheme.

    Raises:
        RequestError: an invalid tag.
    """
    sentences: Sequence[Sequence[str]] = cut(tags, docs)
    scheme = scheme_of(sentences)
    out = np.empty(len(tags), object)
    out[:] = [tag for sentence in convert(sentences, scheme) for tag in sentence]
    return out, scheme


def tagged(labelled: Labelled) -> tuple[Labelled, str]:
    """Return the rows of fully tagged texts, in IOB2, and the scheme; other rows are counted as dropped.

    Raises:
        RequestError: an invalid tag.
    """
    keep = whole_texts(labelled.docs, labelled.values)
    labelled = labelled.take(np.flatnonzero(keep), int((~keep).sum()))
    values, scheme = in_iob2(labelled.docs, labelled.values)
    return Labelled(labelled.rows, labelled.docs, values, labelled.dropped), scheme
