"""The training sets that a solver fits, and the scores that it returns."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32, I64

BeginCallback = Callable[[I64, int, float], None]
"""(numbers of fits, position of C, share of all the work done before) -> None; called when these fits begin"""


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """Training sets over the same rows, and the labels that each fit learns.

    Attributes:
        train: which rows each fit trains on, bool (fits, n), or how often each row counts, int64.
        targets: (label sets, n): class numbers, int64, or standardised values, float32; for several labels per row
            (label sets, n, K), 1 for each label of a row, else 0, float32.
        labels: the label set that each fit learns, int64 (fits,).
        count: the number of classes or labels, K; 1 for regression.
        family: int64 (fits,), ascending: fits of one family end their paths together, so one batch solves them.
        balanced: whether the loss weighs rows so that every class has the same total weight in a training set.
    """

    train: NDArray[np.bool_] | I64
    targets: NDArray[Any]
    labels: I64
    count: int
    family: I64
    balanced: bool = False

    @property
    def several(self) -> bool:
        """Whether a row may have several labels; each label then has a regression of its own."""
        return self.targets.ndim == 3

    @property
    def columns(self) -> int:
        """How many columns of weights a fit has."""
        return 1 if self.count == 2 and not self.several else self.count


def select(fits: Fits, numbers: I64) -> Fits:
    """Return the fits with these numbers."""
    return replace(fits, train=fits.train[numbers], labels=fits.labels[numbers], family=fits.family[numbers])


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of all rows by some fits, at one C.

    Attributes:
        c_index: position of C in the grid `CS`.
        fits: int64 (f,), the numbers of these fits.
        values: float32 (f, K, n), logarithms (natural) of probabilities, or predicted numbers (f, 1, n); for several
            labels per row the logit of each.
        mix: softmax weights (f, layers) of a learned mix, else `None`.
        weights: (f, columns, layers * width) of a learned mix, which map `Solver.features` to logits, else `None`.
        parameters: (f, size), the solutions, from which other fits can start (`Solver.at`).
        unfinished: the number of fits that ended by the limit of evaluations, before their tolerance.
    """

    c_index: int
    fits: I64
    values: F32
    mix: F32 | None = None
    weights: F32 | None = None
    parameters: F32 | None = None
    unfinished: int = 0
