"""A measure of similarity of all pairs of layers, and what it gives for unrelated ones.

Each layer is prepared once, and pairs of prepared layers are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from layerwise._util.threads import spread
from layerwise.array_types import F64, I64
from layerwise.errors import RequestError
from layerwise.geometry.rows import RowArray

P = TypeVar("P")


@dataclass(frozen=True)
class Measure(Generic[P]):
    """A measure of similarity of two layers.

    Attributes:
        name: the name of its function in `similarity`.
        unit: the unit of its numbers.
        source: the papers.
        alike: the value of a layer with itself: 1 for a similarity, 0 for a distance.
        prepare: function of a layer to the input of `compare`; `None` where the measure isn't defined.
        compare: function of two prepared layers to the number; NaN where one is `None`.
        chance: function of prepared layers and a random order of rows to what unrelated layers give, float64 (L, L).
        symmetric: whether exchanging the layers gives the same number.
    """

    name: str
    unit: str
    source: str
    alike: float
    prepare: Callable[[RowArray], P | None]
    compare: Callable[[P | None, P | None], float]
    chance: Callable[[Sequence[P], I64], F64]
    symmetric: bool = True


def matrix(measure: Measure[Any], layers: Sequence[RowArray]) -> F64:
    """Return a measure of all pairs of layers, float64 (L, L); the row is the first of a pair.

    All prepared layers are in memory at once: float64 (n, d) of each, but float32 (n (n - 1) / 2,) for RSA and
    int64 (10 n,) for neighbours.

    Raises:
        RequestError: layers with different numbers of rows.
    """
    return compared(measure, prepared(measure, layers))


def prepared(measure: Measure[P], layers: Sequence[RowArray]) -> list[P | None]:
    """Return the layers as `compared` and `by_chance` take them.

    Raises:
        RequestError: layers with different numbers of rows.
    """
    check_rows(layers)
    return spread(measure.prepare, layers)


def compared(measure: Measure[P], layers: Sequence[P | None]) -> F64:
    """Return a measure of all pairs of prepared layers, float64 (L, L)."""
    count = len(layers)
    pairs = [(i, j) for i in range(count) for j in range(i if measure.symmetric else 0, count)]
    values = np.full((count, count), np.nan)
    for (i, j), value in zip(
        pairs, spread(lambda pair: measure.compare(layers[pair[0]], layers[pair[1]]), pairs), strict=True
    ):
        values[i, j] = value
        if measure.symmetric:
            values[j, i] = value
    return values


def by_chance(measure: Measure[P], layers: Sequence[P | None], order: I64) -> F64:
    """Return what a measure gives for all pairs of prepared layers if they were unrelated, float64 (L, L).

    Args:
        order: int64 (n,), a random order of the rows.
    """
    values = np.full((len(layers), len(layers)), np.nan)
    defined = [(i, layer) for i, layer in enumerate(layers) if layer is not None]
    if defined:
        places = [i for i, _ in defined]
        values[np.ix_(places, places)] = measure.chance([layer for _, layer in defined], order)
    return values


def check_rows(layers: Sequence[RowArray]) -> None:
    """Raise RequestError unless all layers have the same number of rows."""
    rows = sorted({len(layer) for layer in layers})
    if len(rows) > 1:
        raise RequestError(f"layers have {', '.join(map(str, rows))} rows; give the same rows of each")
