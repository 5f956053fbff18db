"""Results of an analysis, as frozen dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.json_values import plain
from layerwise._util.notebook import html
from layerwise.errors import RequestError

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A measure of every layer, or of every pair of layers.

    Attributes:
        values: float64 (layers,), or (layers, layers) with the first of a pair in the row; NaN where undefined.
        unit: the unit of the numbers.
        source: the paper, or the definition.
        low, high: the ends of 95% intervals, in the shape of `values`; `None` without intervals.
        note: what a reader must know to interpret the numbers.
        alike: for measures of pairs, the value of a layer with itself: 1 for a similarity, 0 for a distance.
    """

    values: F64
    unit: str
    source: str
    low: F64 | None = None
    high: F64 | None = None
    note: str | None = None
    alike: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as `analysis.json` holds them; those that are `None` are left out."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Analysis:
    """Geometry and similarity of layers; `to_json()` is the content of analysis.json.

    Attributes:
        layers: their names, in order of depth.
        rows, of: the number of rows analysed, and of rows in the dataset.
        texts: the number of texts that the analysed rows belong to.
        measures: by name.
        dimensions: `rogue` and, with labels, `classes`: for each layer the dimensions with the largest values.
        notes: sentences for people: what isn't defined, and why.
    """

    layers: tuple[str, ...]
    rows: int
    of: int
    texts: int
    seed: int
    level: str
    pool: str | None
    label: str | None
    measures: Mapping[str, Measured]
    dimensions: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]
    notes: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Measured:
        """Return a measure.

        Raises:
            RequestError: unknown name; the message lists the measures of this analysis.
        """
        if name not in self.measures:
            raise RequestError(f"no measure is called {name!r}; there are {', '.join(self.measures)}")
        return self.measures[name]

    def _repr_html_(self) -> str:
        rows = [(name, measure.unit, *_last(measure.values)) for name, measure in self.measures.items()]
        note = f"For matrices, the value of each layer with {self.layers[-1]}. {' '.join(self.notes)}"
        title = f"analysis of {self.rows:,} of {self.of:,} rows, level {self.level}"
        return html(title, ("measure", "unit", *self.layers), rows, note)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it; NaN and infinite numbers become null."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "about"}
        fields["measures"] = {name: measured.to_json() for name, measured in self.measures.items()}
        content: dict[str, Any] = plain(fields | dict(self.about))
        return content


def _last(values: F64) -> list[float]:
    numbers: list[float] = (values if values.ndim == 1 else values[:, -1]).tolist()
    return numbers
