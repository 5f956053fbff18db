"""What an analysis found, frozen."""

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
        unit: what the numbers are.
        source: the paper, or the definition.
        low, high: the ends of 95% intervals, as `values`; `None` where there are none.
        note: what to know before reading it.
        alike: of pairs, what a layer has with itself: 1 for a likeness, 0 for a distance.
    """

    values: F64
    unit: str
    source: str
    low: F64 | None = None
    high: F64 | None = None
    note: str | None = None
    alike: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as `analysis.json` holds it, without what it lacks."""
        made = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in made.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Analysis:
    """Geometry and similarity of layers; `to_json()` is the content of analysis.json.

    Attributes:
        layers: their names, in order of depth.
        rows, of: how many rows were looked at, and how many there are.
        texts: how many texts they are of.
        measures: by name.
        dimensions: `rogue` and, with labels, `classes`: for each layer its foremost dimensions.
        notes: what isn't defined, and why, for people.
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
            RequestError: naming those that there are.
        """
        if name not in self.measures:
            raise RequestError(f"no measure is called {name!r}; there are {', '.join(self.measures)}")
        return self.measures[name]

    def _repr_html_(self) -> str:
        rows = [(name, one.unit, *_last(one.values)) for name, one in self.measures.items()]
        note = f"Of matrices, what each layer has with {self.layers[-1]}. {' '.join(self.notes)}"
        title = f"analysis of {self.rows:,} of {self.of:,} rows, level {self.level}"
        return html(title, ("measure", "unit", *self.layers), rows, note)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it; numbers that aren't finite are null."""
        made = {name: getattr(self, name) for name in self.__slots__ if name != "about"}
        made["measures"] = {name: measured.to_json() for name, measured in self.measures.items()}
        found: dict[str, Any] = plain(made | dict(self.about))
        return found


def _last(values: F64) -> list[float]:
    along: list[float] = (values if values.ndim == 1 else values[:, -1]).tolist()
    return along
