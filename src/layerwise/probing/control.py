"""The control task: labels that only a memory of word types can learn (Hewitt and Liang 2019)."""

from collections.abc import Sequence

import numpy as np

from layerwise.states import I64


def control_labels(words: Sequence[str], classes: I64, count: int, seed: int) -> I64:
    """Return a random label for each row, int64 (n,), the same for all rows of one word type.

    Labels are drawn from the distribution of the task's own, so that guessing is as easy.

    Args:
        words: the word (or token) that each row is, as written.
        classes: the task's classes (n,).
        count: how many classes there are.
        seed: of the draw.
    """
    types = {word: number for number, word in enumerate(sorted(set(words)))}
    shares = np.bincount(classes, minlength=count) / len(classes)
    drawn = np.random.default_rng(seed).choice(count, size=len(types), p=shares)
    return np.array([drawn[types[word]] for word in words], np.int64)
