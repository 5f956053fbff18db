"""Control task: random labels per word type, which a probe can learn only by memorising words (Hewitt and Liang 2019)."""

from collections.abc import Sequence

import numpy as np

from layerwise.array_types import I64


def control_labels(words: Sequence[str], classes: I64, count: int, seed: int) -> I64:
    """Return a random label for each row, int64 (n,), the same for all rows of one word type.

    Labels are drawn with the class frequencies of the task, so that guessing is equally easy.

    Args:
        words: the word (or token) of each row, as written.
        classes: the task's classes (n,).
        count: how many classes there are.
        seed: seed of the random labels.
    """
    types = {word: number for number, word in enumerate(sorted(set(words)))}
    shares = np.bincount(classes, minlength=count) / len(classes)
    type_labels = np.random.default_rng(seed).choice(count, size=len(types), p=shares)
    return np.array([type_labels[types[word]] for word in words], np.int64)
