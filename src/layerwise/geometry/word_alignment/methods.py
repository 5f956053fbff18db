"""The methods of word alignment by name."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32
from layerwise.choices import ALIGNMENT_METHODS, one_of
from layerwise.geometry.word_alignment.argmax import argmax
from layerwise.geometry.word_alignment.itermax import itermax
from layerwise.geometry.word_alignment.match import match
from layerwise.geometry.word_alignment.softmax import softmax

Method = Callable[[F32], NDArray[np.bool_]]
"""From cosines, float32 (layers, m, n), to links between tokens, bool (layers, m, n)."""
METHODS: Mapping[str, Method] = {"argmax": argmax, "itermax": itermax, "match": match, "softmax": softmax}


def chosen_methods(names: str | Sequence[str]) -> dict[str, Method]:
    """Return methods by name, in the order given; argmax without names.

    Raises:
        RequestError: a method that doesn't exist.
    """
    listed = [names] if isinstance(names, str) else list(names)
    return {name: METHODS[one_of("method", name, ALIGNMENT_METHODS)] for name in listed or ["argmax"]}
