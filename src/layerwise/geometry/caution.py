"""Which numbers of a measure can't be told from those of unrelated layers, and what to do about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F64
from layerwise.geometry.layer_pairs import Measure
from layerwise.geometry.rows import RowArray
from layerwise.wording import Message, Value, messages_json, name_of, span

FEW_ROWS = 100  # with fewer rows, unrelated layers are drawn to see how far their numbers scatter
_DRAWS = 40
# Of the way from unrelated to identical layers: what must be left of the range, and how far draws may scatter.
_LEAST_ROOM, _MOST_SCATTER = 0.1, 1 / 3
# Rows per dimension from which unrelated layers are far from identical ones: mean canonical correlations are about 0.5
# there (Wachter 1980). Other measures than these depend on the number of rows alone.
_ROWS_PER_DIMENSION = {"svcca": 4, "pwcca": 4, "linear_cka": 1, "procrustes": 1}
_INSTEAD, _INSTEAD_ROWS = (
    "debiased_cka",
    20,
)  # unrelated layers scatter less than _MOST_SCATTER from so many rows
_LEAST_ROWS = {
    "neighbour_overlap": 11,
    # The relative standard error of TwoNN is 1 / √n, so that 1.96 / √n is below a third.
    "intrinsic_dimension": 35,
}


@dataclass(frozen=True, slots=True)
class Caution:
    """Why a measure can't be used with these rows.

    Attributes:
        reason: `floor` (unrelated layers give nearly the value of identical ones), `scatter` (unrelated layers give
            anything), `rows` (too few for the measure to be defined or of use), or `undefined`.
        rows, width: the number of rows measured, and of dimensions.
        need: the number of rows that is enough, or `None`.
        low, high: what unrelated layers give; `None` for other reasons.
        instead: the name of a measure that can be used, or `None`.
    """

    reason: str
    rows: int
    width: int
    need: int | None = None
    low: float | None = None
    high: float | None = None
    instead: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that aren't `None`, and `text`, a sentence for the reader."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in fields.items() if value is not None} | {
            "text": self.text,
            "messages": messages_json(text=self.text),
        }

    @property
    def text(self) -> Message:
        """Why, and what to do, as one sentence."""
        if self.need is None:
            return Message("note.caution.undefined")
        if self.low is None or self.high is None:
            return Message("note.caution.rows", rows=self.rows, need=self.need)
        values: dict[str, Value] = {
            "rows": self.rows,
            "width": self.width,
            "span": span(self.low, self.high, 2),
            "need": self.need,
        }
        if self.instead is None:
            return Message("note.caution.floor", **values)
        return Message("note.caution.floor.instead", **values, instead=name_of("measure", self.instead))


def usable(measure: Measure[Any], floor: F64) -> NDArray[np.bool_]:
    """Return which numbers can be told from those of unrelated layers, whose expected values are `floor`.

    Where most can't, none is usable: the few others are layers compared with themselves, or near the limit.
    """
    full = 2.0 if measure.alike == 0 else 1.0
    room: NDArray[np.bool_] = np.abs(measure.alike - floor) >= _LEAST_ROOM * full
    fit = room | np.isnan(floor)
    return fit if fit.mean() > 0.5 else np.zeros_like(fit)


def of_similarity(
    measure: Measure[Any], x: RowArray, y: RowArray, values: F64, floor: F64, seed: int
) -> tuple[NDArray[np.bool_], Caution | None]:
    """Return which numbers of a measure can be used, and why the others can't.

    Args:
        x, y: two of the layers, (n, d) each.
        values: the measure of pairs of layers.
        floor: the same of unrelated layers.
    """
    rows, width = len(x), x.shape[1]
    usable_values = usable(measure, floor)
    if np.isnan(values).all():
        return np.zeros_like(usable_values), without_values(measure.name, rows, width, least=4)
    if not usable_values.all():
        without = floor[~usable_values & ~np.isnan(floor)]
        need = max(FEW_ROWS, _ROWS_PER_DIMENSION.get(measure.name, 0) * width)
        instead = _INSTEAD if rows >= _INSTEAD_ROWS and measure.name != _INSTEAD else None
        ends = float(without.min()), float(without.max())
        return usable_values, Caution("floor", rows, width, need, *ends, instead)
    if rows < FEW_ROWS:
        low, high = scatter(measure, x, y, seed)
        if high - low > 2 * _MOST_SCATTER * abs(measure.alike - (low + high) / 2):
            return np.zeros_like(usable_values), Caution("scatter", rows, width, FEW_ROWS, low, high)
    return usable_values, None


def of_layers(name: str, values: F64, rows: int, width: int) -> Caution | None:
    """Return why a measure of each layer by itself can't be used, or `None`."""
    if np.isnan(values).all() or rows < _LEAST_ROWS.get(name, 0):
        return without_values(name, rows, width, least=2)
    return None


def without_values(name: str, rows: int, width: int, least: int) -> Caution:
    """Return the caution of a measure without any value: too few rows, or another reason that is in the notes."""
    need = _LEAST_ROWS.get(name, least)
    return Caution("rows", rows, width, need) if rows < need else Caution("undefined", rows, width)


def scatter(measure: Measure[Any], x: RowArray, y: RowArray, seed: int) -> tuple[float, float]:
    """Return the ends of the middle 95% of what a measure gives for x and y with the rows of y in random order."""
    rng = np.random.default_rng(seed)
    first = measure.prepare(x)
    draws: Sequence[float] = [
        measure.compare(first, measure.prepare(y[rng.permutation(len(y))])) for _ in range(_DRAWS)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return (math.nan, math.nan) if np.isnan(low) else (float(low), float(high))
