"""Results of an analysis, as frozen dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from layerwise._util.display import bracketed, count_of, decimals, number, text
from layerwise._util.json_values import plain
from layerwise._util.pandas import pandas_frame
from layerwise.array_types import F64
from layerwise.geometry.caution import Caution
from layerwise.geometry.retrieval.advice import RetrievalAdvice
from layerwise.results import NamedResult, Table
from layerwise.wording import Message, measure_name, messages_json, span

if TYPE_CHECKING:
    from layerwise._util.pandas import PandasFrame


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Measured:
    """A measure of every layer, of every pair of layers, or of every layer in several directions.

    Attributes:
        values: float64 (layers,); (layers, layers) with the first of a pair in the row; or (directions, layers). NaN where
            undefined.
        unit: the unit of the numbers.
        source: the paper, or the definition.
        low, high: the ends of 95% intervals, in the shape of `values`; `None` without intervals.
        note: what a reader must know to interpret the numbers.
        alike: for measures of pairs, the value of a layer with itself: 1 for a similarity, 0 for a distance.
        floor: what rows, classes or layers without any relation give, in the shape of `values`; `None` where there is no
            such value.
        floor_of: what gives the floor, such as "unrelated layers".
        usable: bool, in the shape of `values`: which numbers can be told from the floor; `None` if all can.
        caution: why the others can't be used, and what to do.
        step: the smallest difference between two values, where there is one.
        directions: for retrieval, from which side to which, such as `deu>eng`; `None` for all other measures.
    """

    values: F64
    unit: str
    source: str
    low: F64 | None = None
    high: F64 | None = None
    note: str | None = None
    alike: float | None = None
    floor: F64 | None = None
    floor_of: str | None = None
    usable: NDArray[np.bool_] | None = None
    caution: Caution | None = None
    step: float | None = None
    directions: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as `analysis.json` holds them; those that are `None` are left out.

        Where there are directions, `values`, `low`, `high` and `floor` are objects with a list for each.
        """
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "directions"}
        if self.directions is not None:
            for name in ("values", "low", "high", "floor"):
                if fields[name] is not None:
                    fields[name] = dict(zip(self.directions, fields[name].tolist(), strict=True))
        fields["caution"] = None if self.caution is None else self.caution.to_json()
        content = {name: value for name, value in fields.items() if value is not None}
        sentences = {name: fields[name] for name in ("unit", "source", "note", "floor_of")}
        return content | {"messages": messages_json(**sentences)}

    def by_direction(self, name: str) -> dict[str, "Measured"]:
        """Return a measure of each direction by `NAME:DIRECTION`; where there are none, itself by its name."""
        if self.directions is None:
            return {name: self}
        arrays = {key: getattr(self, key) for key in ("values", "low", "high", "floor")}

        def part(place: int) -> Measured:
            parts: dict[str, Any] = {
                key: None if array is None else array[place] for key, array in arrays.items()
            }
            return replace(self, directions=None, **parts)

        return {f"{name}:{direction}": part(place) for place, direction in enumerate(self.directions)}

    @property
    def is_matrix(self) -> bool:
        """Whether there is a value for every pair of layers."""
        return self.values.ndim == 2 and self.directions is None

    @property
    def decimals(self) -> int:
        """How many decimals of the numbers are precise."""
        if self.low is None or self.high is None:
            return decimals(step=self.step)
        return decimals(((self.high - self.low) / 2).ravel().tolist(), self.step)

    def written(self) -> list[str]:
        """Return the number of each layer as text, of a matrix that of each layer with the last.

        Digits end where precision does; numbers that can't be used are in brackets.
        """
        usable = None if self.usable is None else _last(self.usable)
        return bracketed(_last(self.values), usable, self.decimals)

    def floor_written(self) -> str:
        """Return the least and the largest floor as text, of a matrix those of each layer with the last; else `–`."""
        floors = [] if self.floor is None else [value for value in _last(self.floor) if np.isfinite(value)]
        return span(min(floors), max(floors)) if floors else "–"

    def __repr__(self) -> str:
        finite = self.values[np.isfinite(self.values)]
        ends = (
            f"{number(float(finite.min()))} to {number(float(finite.max()))}" if len(finite) else "undefined"
        )
        caution = self.caution.text if self.caution else ""
        return text(
            [f"Measured: {self.unit}, {self.values.shape}, {ends}", self.source, caution, self.note or ""]
        )


@dataclass(frozen=True, slots=True, repr=False)
class Analysis(NamedResult[Measured]):
    """Geometry and similarity of layers; returned by `lw.analyze`.

    `analysis["norm"]` is a measure, `analysis.measures` are all by name.

    Attributes:
        layers: their names, in order of depth.
        rows, of: the number of rows analysed, and of rows in the dataset.
        texts: the number of texts that the analysed rows belong to.
        seed: the seed of the sample.
        level, pool: what a row stands for, and how tokens are pooled into it.
        label: the column of classes, or `None`.
        measures: by name.
        dimensions: `rogue` and, with labels, `classes`: for each layer the dimensions with the largest values.
        notes: sentences for the reader: what isn't defined, and why.
        retrieval: which layer and variant finds translations; `None` without pairs.
        provenance: versions, date, and the dataset.
    """

    _noun: ClassVar[str] = "measure"

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
    retrieval: RetrievalAdvice | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_pandas(self, measure: str | None = None) -> "PandasFrame":
        """Return the measures as a `pandas.DataFrame` with a row per layer.

        Args:
            measure: the name of one measure. Without it there is a column for each measure that is a number per
                layer, and where it has intervals one for each end, such as `norm_low` and `norm_high`. Of a number
                per layer the columns are `layer`, `value`, `low`, `high` and `floor`, of a matrix `layer` and the names of
                all layers, and of retrieval `layer` and the directions.

        Raises:
            RequestError: no measure has this name; pandas isn't installed.
        """
        return pandas_frame(self._table() if measure is None else self._table_of(self[measure]))

    def to_json(self) -> dict[str, Any]:
        """Return the content of analysis.json; NaN and infinite numbers become null."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "provenance"}
        fields["measures"] = {name: measured.to_json() for name, measured in self.measures.items()}
        fields["retrieval"] = None if self.retrieval is None else self.retrieval.to_json()
        fields["messages"] = messages_json(notes=self.notes)
        content: dict[str, Any] = plain(fields | dict(self.provenance))
        return content

    def _entries(self) -> Mapping[str, Measured]:
        return self.measures

    def _lines(self) -> Sequence[str]:
        pool = f", pool {self.pool}" if self.pool else ""
        per_layer = [name for name, measure in self.measures.items() if not measure.is_matrix]
        of_pairs = [name for name in self.measures if name not in per_layer]
        return [
            f"Analysis: {self.rows:,} of {count_of(self.of, 'row')}, level {self.level}{pool}, "
            f"{count_of(len(self.layers), 'layer')}",
            f"per layer: {', '.join(per_layer)}" if per_layer else "",
            f"per pair of layers: {', '.join(of_pairs)}" if of_pairs else "",
            " ".join((*self._advice(), *self.notes, *self.cautions())),
        ]

    def _advice(self) -> tuple[str, ...]:
        return () if self.retrieval is None else (self.retrieval.text,)

    def cautions(self) -> list[Message]:
        """Return a sentence for every measure that can't be used with these rows; equal ones are said once."""
        names: dict[Message, list[str]] = {}
        for name, measure in self.measures.items():
            if measure.caution is not None and measure.caution.reason != "undefined":
                names.setdefault(measure.caution.text, []).append(measure_name(name))
        return [Message("note.caution.measures", measures=of, caution=text) for text, of in names.items()]

    def _table(self) -> Table:
        columns: dict[str, Sequence[Any]] = {"layer": self.layers}
        for name, measure in self.each_direction().items():
            if not measure.is_matrix:
                ends = {f"{name}_low": measure.low, f"{name}_high": measure.high}
                columns[name] = measure.values.tolist()
                columns |= {end: values.tolist() for end, values in ends.items() if values is not None}
        return columns

    def each_direction(self) -> dict[str, Measured]:
        """Return all measures by name, those with directions as one for each, by `NAME:DIRECTION`."""
        return {
            key: of_direction
            for name, measure in self.measures.items()
            for key, of_direction in measure.by_direction(name).items()
        }

    def _table_of(self, measure: Measured) -> Table:
        if measure.directions is not None:
            return {
                "layer": self.layers,
                **dict(zip(measure.directions, measure.values.tolist(), strict=True)),
            }
        if measure.is_matrix:
            return {"layer": self.layers, **dict(zip(self.layers, measure.values.T.tolist(), strict=True))}
        ends = {"low": measure.low, "high": measure.high, "floor": measure.floor}
        undefined = np.full(len(self.layers), np.nan)
        columns = {name: (undefined if values is None else values).tolist() for name, values in ends.items()}
        return {"layer": self.layers, "value": measure.values.tolist(), **columns}

    def _note(self) -> str:
        sentences = " ".join((*self.notes, *self.cautions()))
        return f"For matrices, the value of each layer with {self.layers[-1]}. {sentences}"

    def _shown_table(self) -> Table:
        rows = [(name, measure.unit, *measure.written()) for name, measure in self.each_direction().items()]
        columns = zip(*rows, strict=True) if rows else [()] * (2 + len(self.layers))
        return dict(zip(("measure", "unit", *self.layers), columns, strict=True))


def _last(values: NDArray[Any]) -> list[Any]:
    """Return the entry of each layer; of a matrix the entry of each layer with the last."""
    entries: list[Any] = (values if values.ndim == 1 else values[:, -1]).tolist()
    return entries
