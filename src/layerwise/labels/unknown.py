"""Labels under the names of the classes of a head, and the labels that it has never seen."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.labels.spelling import spell
from layerwise.wording import Message, some


def match_classes(
    gold: NDArray[Any], classes: Sequence[str], *, multi: bool = False
) -> tuple[NDArray[Any], dict[str, int]]:
    """Return labels under the names of the classes that they equal, and the number of each label that equals none.

    Args:
        gold: labels as strings (n,), or tuples of strings with `multi`; tags in IOB2.
        classes: the classes of a head, or of the training rows.
        multi: whether a row may have several labels.
    """
    spelling = spell(_labels(gold, multi), classes)
    matched = np.empty(len(gold), object)
    for row, label in enumerate(gold):
        matched[row] = tuple(dict.fromkeys(map(spelling.name, label))) if multi else spelling.name(label)
    counts = Counter(_labels(matched, multi))
    return matched, {label: counts[label] for label in sorted(counts.keys() - set(classes))}


def unknown_note(unknown: dict[str, int], rows: int) -> Message:
    """Return the message about labels that a head doesn't know, of `rows` labelled rows."""
    labels = some([f"{label!r} ({count:,})" for label, count in unknown.items()])
    return Message("note.unseen.labels", n=sum(unknown.values()), rows=rows, labels=labels)


def _labels(gold: NDArray[Any], multi: bool) -> Iterator[str]:
    return (label for row in gold for label in row) if multi else iter(gold)
