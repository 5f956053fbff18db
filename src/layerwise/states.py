"""Rows in memory, and the interface that they share with a dataset on disk.

A row is one vector of `width` numbers per stored layer. `index` describes each row, `texts` each text; the
column `doc` joins the two.
"""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layerwise._util.display import count_of, html
from layerwise._util.pandas import pandas_rows
from layerwise._util.polars import polars_rows
from layerwise.array_types import F32, I64
from layerwise.errors import LayerwiseError, RequestError
from layerwise.fitted_mix import HasFittedMix, fitted_rows, refuse_head_options
from layerwise.layers import LayerSpec, is_layer_of, resolve_layers, site
from layerwise.mixes import (
    LayerStats,
    Mix,
    apply_mix,
    layer_stats,
    parse_mix,
    refuse_learned,
)
from layerwise.row_selection import Rows, matches, odd_row, other_case, row_blocks, select_rows
from layerwise.widths import common_width, shown_width

if TYPE_CHECKING:
    import torch

    from layerwise._util.pandas import PandasFrame
    from layerwise._util.polars import PolarsFrame


_LOGGER = logging.getLogger("layerwise")


class ModelName(Protocol):
    """Which model rows come from, which is an `encode.identity.ModelIdentity`."""

    name: str

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the model's files."""


class Layered(ABC):
    """Rows of vectors, one vector per stored layer: the common interface of memory and disk."""

    _checked = False
    _added: Mapping[str, tuple[pa.Array, bool]] = {}  # never changed, only replaced in a copy

    @property
    @abstractmethod
    def layers(self) -> tuple[str, ...]:
        """The stored layers, by name: `('emb', '1', …)`."""

    @property
    @abstractmethod
    def blocks(self) -> int:
        """The number of blocks of the model, L, which is also the deepest layer."""

    @property
    @abstractmethod
    def level(self) -> str:
        """What a row represents: `token`, `word`, `span` or `text`."""

    @property
    @abstractmethod
    def pool(self) -> str | None:
        """How tokens are pooled into a row; `None` at token level."""

    @property
    def word_split(self) -> str | None:
        """What a word of raw text is; see `word_split.split_words`."""
        return None

    @property
    @abstractmethod
    def width(self) -> int:
        """The number of dimensions of a vector of the model's layers; a site may have others, see `widths`."""

    @property
    def widths(self) -> dict[str, int]:
        """The number of dimensions of each stored layer, by its name."""
        return dict.fromkeys(self.layers, self.width)

    @property
    @abstractmethod
    def rows(self) -> int:
        """The number of rows."""

    @property
    @abstractmethod
    def index(self) -> pa.Table:
        """One row per vector: at least `doc`, the number of its text."""

    @property
    @abstractmethod
    def texts(self) -> pa.Table:
        """One row per text: at least `doc`, its number."""

    @property
    def text_count(self) -> int:
        """The number of texts."""
        return int(self.texts.num_rows)

    @abstractmethod
    def _read(self, name: str, rows: slice | I64, raw: bool) -> NDArray[Any]:
        """Return some rows of one layer; `rows` are valid, and a slice has step 1. The result may share memory."""

    def parts(self) -> Iterator["Layered"]:
        """Yield parts of bounded size that together are all rows, in order; rows in memory are one part."""
        yield self

    def checked(self) -> Self:
        """Return the same rows, raising an error when a vector that isn't finite is read."""
        checked = copy.copy(self)
        checked._checked = True
        return checked

    def with_column(self, name: str, values: pa.Array, *, of_rows: bool) -> Self:
        """Return the same rows with a column in `index` (`of_rows`) or in `texts`, in place of columns of its name.

        Args:
            name: the name of the column.
            values: a value per row, or per text; on disk nothing changes.
            of_rows: whether there is a value per row.
        """
        relabelled = copy.copy(self)
        relabelled._added = {**self._added, name: (values, of_rows)}
        for table in ("index", "texts"):
            relabelled.__dict__.pop(table, None)  # tables that were read before
        return relabelled

    def _with_added(self, table: pa.Table, *, of_rows: bool, first: int = 0) -> pa.Table:
        """Return the index or the texts with the columns that were added; `first` is the number of its first row."""
        for name, (values, belongs_to_rows) in self._added.items():
            table = table.drop_columns([name]) if name in table.column_names else table
            if belongs_to_rows == of_rows:
                table = table.append_column(name, values.slice(first, table.num_rows))
        return table

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.rows

    def layer(self, layer: str | int, rows: Rows = None, raw: bool = False) -> NDArray[Any]:
        """Return one layer: float32 of shape (rows, width), a copy that the caller may change.

        Args:
            layer: one layer by name or number; a negative number counts from the last layer of the model.
            rows: a slice, a mask, or row numbers (negative ones count from the end); all by default.
            raw: return the stored type instead, possibly as a read-only view: bfloat16 as uint16 bits, int8
                as codes, to be multiplied by their scales.

        Raises:
            RequestError: a layer that isn't stored, a row out of range, a mask of the wrong length.
        """
        name, chosen = self._resolve(layer), select_rows(rows, self.rows)
        values = self._read(name, chosen, raw) if raw else self._values(name, chosen)
        return values if raw or (values.base is None and values.flags.writeable) else values.copy()

    def stack(self, layers: LayerSpec = "all") -> F32:
        """Return several layers at once: float32 of shape (layers, rows, width).

        Raises:
            RequestError: a layer that isn't stored, or layers of unequal width.
        """
        names = resolve_layers(layers, self.blocks, self.layers)
        out = np.empty((len(names), self.rows, common_width(self.widths, names)), np.float32)
        for values, name in zip(out, names, strict=True):
            values[...] = self._values(name, slice(0, self.rows))
        return out

    def to_pandas(self, layer: str | int, rows: Rows = None) -> "PandasFrame":
        """Return the index and one layer as a `pandas.DataFrame`: the columns of `index`, and a column per dimension.

        The columns of the dimensions are float32, named by number: `dim0` … `dim9` of 10, `dim000` … `dim383` of
        384, so that names sort in the order of the dimensions. A column of the index with such a name becomes
        `source.NAME`.

        All chosen rows, and the whole index, are in memory; of a larger dataset, convert each of its `parts`.

        Args:
            layer: one layer by name or number, as for `layer`.
            rows: a slice, a mask, or row numbers, as for `layer`; all by default.

        Raises:
            RequestError: a layer or row that doesn't exist; pandas isn't installed.
        """
        return pandas_rows(*self._frame(layer, rows))

    def to_polars(self, layer: str | int, rows: Rows = None) -> "PolarsFrame":
        """Return the index and one layer as a `polars.DataFrame`; columns, memory and arguments as for `to_pandas`.

        Raises:
            RequestError: a layer or row that doesn't exist; polars isn't installed.
        """
        return polars_rows(*self._frame(layer, rows))

    def to_torch(self, layer: str | int, rows: Rows = None) -> "torch.Tensor":
        """Return one layer as a torch tensor on the CPU: float32 of shape (rows, width), which the caller may change.

        All chosen rows are in memory, once; of a larger dataset, convert each of its `parts`.

        Args:
            layer: one layer by name or number, as for `layer`.
            rows: a slice, a mask, or row numbers, as for `layer`; all by default.

        Raises:
            RequestError: a layer or row that doesn't exist.
        """
        import torch

        return torch.from_numpy(self.layer(layer, rows))

    def _frame(self, layer: str | int, rows: Rows) -> tuple[pa.Table, F32, list[str]]:
        """Return the index of some rows, one layer of them, and the names of its dimensions."""
        width = self.widths[self._resolve(layer)]
        chosen, names = select_rows(rows, self.rows), dimension_names(width)
        if isinstance(chosen, slice):
            index = self.index.slice(chosen.start, chosen.stop - chosen.start)
        else:
            index = self.index.take(chosen)
        columns = [f"source.{name}" if name in names else name for name in index.column_names]
        return index.rename_columns(columns), self.layer(layer, rows), names

    def mix(
        self,
        text: str | int | Mix | HasFittedMix,
        *,
        stats: Mapping[str, LayerStats] | None = None,
        task: str | None = None,
        hidden: bool = False,
    ) -> F32:
        """Return the rows of a mix string: float32 of shape (rows, width), or (rows, all widths) for `concat`.

        A head gives the vectors of its trained mix, standardised as in its training: what its classifier sees. They are
        as wide as the mix, or as the hidden layer with `hidden`; a head of pairs of texts gives one vector per pair.

        Each layer is read once. Memory holds the result and one block of rows; with `norm=layer` and no `stats`
        one whole layer, because its statistics are those of all rows.

        Args:
            text: a mix string, a layer number, a mix, or a head.
            stats: for `norm=layer`, the statistics of other rows, such as `mix_stats` returns. By default
                those of these rows, with a UserWarning.
            task: the name of the task whose mix is used, for a head of several tasks.
            hidden: for a head with a hidden layer, the output of this layer.

        Raises:
            RequestError: a broken mix string, a layer that isn't stored, layers of unequal width that aren't
                concatenated, `learned`, which needs a head, or statistics that lack a layer; vectors in memory that
                aren't finite; a head of several tasks without `task`; `hidden` for a linear head.
            HeadError: a head that was trained on rows of another model, level or pool.
            DatasetError: vectors on disk that aren't finite.
        """
        if isinstance(text, HasFittedMix):
            if stats is not None:
                raise RequestError(
                    "stats are for mix strings; a head has statistics of its own, so leave them out"
                )
            fitted = text.fitted_mix(task, hidden)
            fitted.check(self)
            return fitted_rows(fitted, slice(0, self.rows), max(self.widths.values()), self._finite)
        refuse_head_options(task, hidden)
        mix, widths = self._parse(text), self.widths
        if mix.norm and stats is None:
            return apply_mix(mix, lambda name: self._finite(name, slice(0, self.rows)), widths=widths)
        refuse_learned(mix)
        if mix.norm and (missing := [name for name in mix.layers if name not in (stats or ())]):
            raise RequestError(
                f"mix {str(mix)!r}: stats lack layer {missing[0]}; use those of mix_stats({str(mix)!r})"
            )
        out = np.empty((self.rows, mix.out_width(widths)), np.float32)
        for rows in row_blocks(slice(0, self.rows), max(widths.values())):
            apply_mix(mix, partial(self._finite, rows=rows), stats, widths, out[rows])
        return out

    def _parse(self, text: str | int | Mix) -> Mix:
        return parse_mix(text, self.blocks, self.layers, self.widths)

    def mix_stats(self, text: str | int | Mix, rows: Rows = None) -> dict[str, LayerStats]:
        """Return mean and standard deviation of each layer of a mix over some rows, for `mix(text, stats=…)`.

        To mix a dataset larger than memory, mix its `parts` with the statistics of all rows, or of the training
        rows only. Each layer is read once, by blocks of rows.

        Raises:
            RequestError: a broken mix string, a layer that isn't stored, a row that doesn't exist, or no row.
        """
        mix = self._parse(text)
        blocks = list(row_blocks(select_rows(rows, self.rows), max(self.widths.values())))
        if not blocks:
            raise RequestError(f"mix {str(mix)!r}: no row is chosen; statistics need at least one")
        return {name: layer_stats(self._finite(name, block) for block in blocks) for name in mix.layers}

    def where(self, **conditions: Any) -> I64:
        """Return the numbers of the rows for which every condition holds, ascending.

        A condition is a column of `index`, or else of `texts`, and a value or a list of values, one of which
        must match (`None` matches a missing value); a column of lists matches when it contains one of them.
        Values are converted to the type of the column: `label="1"` matches the number 1. Where no row matches, a warning is
        logged that says which condition none fulfils.

        Raises:
            RequestError: a column that doesn't exist, or a value that can't be compared with its type.
        """
        rows = matching_rows(self, **conditions)
        if not len(rows) and self.rows:
            _LOGGER.warning("%s", self._why_none(conditions))
        return rows

    def _why_none(self, conditions: Mapping[str, Any]) -> str:
        """Return which condition no row fulfils, and the same value in other case where there is one."""
        unmet = [name for name, condition in conditions.items() if not self._holds(name, condition).any()]
        if not unmet:
            return f"no row fulfils all of these at once: {', '.join(conditions)}"
        name = unmet[0]
        table = self.index if name in self.index.column_names else self.texts
        near = other_case(table[name], conditions[name])
        hint = f"; there is {near!r:.60}" if near is not None else ""
        if not hint and (self.level, name) == ("text", "text"):
            hint = "; a row is a whole text here, words are rows of level 'word'"
        return f"no row has {conditions[name]!r:.60} in column {name!r}{hint}"

    def _holds(self, name: str, condition: Any) -> NDArray[np.bool_]:
        if name in self.index.column_names:
            return matches(name, self.index[name], condition)
        if name in self.texts.column_names:
            docs = self.texts["doc"].to_numpy()[matches(name, self.texts[name], condition)]
            return np.isin(self.index["doc"].to_numpy(), docs)
        names = dict.fromkeys([*self.index.column_names, *self.texts.column_names])
        raise RequestError(f"there is no column {name!r}; there are {', '.join(names)}")

    def _values(self, name: str, rows: slice | I64) -> F32:
        """Return some rows of one layer; check that they are finite where this object is `checked`."""
        values: F32 = self._finite(name, rows) if self._checked else self._read(name, rows, False)
        return values

    def _finite(self, name: str, rows: slice | I64) -> F32:
        """Return some rows of one layer, after checking that all numbers are finite."""
        values: F32 = self._read(name, rows, False)
        position = odd_row(values)
        if position is not None:
            number = rows.start + position if isinstance(rows, slice) else int(rows[position])
            value = values[position][~np.isfinite(values[position])][0]
            raise self._refusal(name, number, str(value))
        return values

    def _refusal(self, layer: str, row: int, value: str) -> LayerwiseError:
        """Return the error for a vector that isn't finite."""
        return RequestError(f"layer {layer}, row {row} holds {value}; give rows of finite numbers")

    def _resolve(self, spec: str | int) -> str:
        number: Any = spec
        if isinstance(number, np.integer):
            number = int(number)
        return resolve_layers(number, self.blocks, self.layers, single=True, name="layer")[0]

    def __repr__(self) -> str:
        shape = (
            f"{count_of(self.rows, 'row')} × {count_of(len(self.layers), 'layer')} ({', '.join(self.layers)}) × "
            f"{shown_width(self.widths)}"
        )
        pool = f", pool {self.pool}" if self.pool else ""
        return f"<{type(self).__name__} {shape}, level {self.level}{pool}>"

    def _repr_html_(self) -> str:
        part = next(iter(self.parts()), self)
        index = part.index.slice(0, 5)
        names = index.column_names
        rows = zip(*(index[name].to_pylist() for name in names), strict=True)
        more = f"… {count_of(self.rows - index.num_rows, 'row')} more." if self.rows > index.num_rows else ""
        return html(repr(self)[1:-1], names, rows, more)


def matching_rows(states: Layered, **conditions: Any) -> I64:
    """Return what `Layered.where` does, without a warning where there is no row."""
    keep = np.ones(states.rows, bool)
    for name, condition in conditions.items():
        keep &= states._holds(name, condition)
    return np.flatnonzero(keep)


class LayerStates(Layered):
    """Rows in memory: every layer of some texts, float32, never padded."""

    def __init__(
        self,
        vectors: Mapping[str, F32],
        *,
        index: pa.Table,
        texts: pa.Table,
        blocks: int,
        level: str,
        pool: str | None = None,
        model: ModelName | None = None,
        word_split: str | None = None,
        width: int | None = None,
    ) -> None:
        """Keep `vectors`, a float32 array (rows, width) per layer name; `index` has one row for each of their rows.

        `model` says which model they come from, where that is known, and `word_split` what a word of raw text is.
        `width` is that of the model's layers, by default that of the first of them; sites may have others.

        Raises:
            RequestError: no layer, an unknown layer, or shapes that don't agree.
        """
        self._vectors = {name: np.asarray(values, np.float32) for name, values in vectors.items()}
        self._index, self._texts = index, texts
        self._blocks, self._level, self._pool = blocks, level, pool
        self.model, self._word_split = model, word_split
        unknown = [name for name in self._vectors if not is_layer_of(name, blocks)]
        if unknown or not self._vectors:
            raise RequestError(f"layers {sorted(unknown)} aren't among emb, 1 … {blocks}; give one that is")
        width_of_layers = self._checked_width()
        self._width = width_of_layers if width is None else width
        if index.num_rows != self.rows:
            raise RequestError(
                f"the index has {count_of(index.num_rows, 'row')} for {self.rows} vectors; give a row for each"
            )

    def _checked_width(self) -> int:
        """Return the width of the layers, after checking that all have it; sites may have others, and as many rows."""
        layers = [values for name, values in self._vectors.items() if site(name) is None]
        every = list(self._vectors.values())
        shapes = {values.shape for values in layers or every[:1]}
        rows = {values.shape[:1] for values in every}
        if len(shapes) > 1 or len(rows) > 1 or any(values.ndim != 2 for values in every):
            shapes = {values.shape for values in every}
            raise RequestError(f"layers have shapes {sorted(shapes)}; all must have the same (rows, width)")
        return int(next(iter(shapes))[1])

    @property
    def word_split(self) -> str | None:
        """What a word of raw text is: `chars`, or `None` for a run of letters and digits."""
        return self._word_split

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, by name."""
        return tuple(self._vectors)

    @property
    def blocks(self) -> int:
        """The number of blocks of the model."""
        return self._blocks

    @property
    def level(self) -> str:
        """What a row represents."""
        return self._level

    @property
    def pool(self) -> str | None:
        """How tokens are pooled into a row; `None` at token level."""
        return self._pool

    @property
    def width(self) -> int:
        """The number of dimensions of a vector of the model's layers."""
        return self._width

    @property
    def widths(self) -> dict[str, int]:
        """The number of dimensions of each layer, by its name."""
        return {name: int(values.shape[1]) for name, values in self._vectors.items()}

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self._vectors.values())))

    @property
    def index(self) -> pa.Table:
        """One row per vector."""
        return self._with_added(self._index, of_rows=True)

    @property
    def texts(self) -> pa.Table:
        """One row per text."""
        return self._with_added(self._texts, of_rows=False)

    def _read(self, name: str, rows: slice | I64, raw: bool) -> NDArray[Any]:
        return self._vectors[name][rows]


def dimension_names(width: int) -> list[str]:
    """Return a name per dimension, padded with zeros so that they sort in order.

    >>> dimension_names(11)[:2], dimension_names(11)[-1]
    (['dim00', 'dim01'], 'dim10')
    """
    digits = len(str(max(width - 1, 0)))
    return [f"dim{number:0{digits}}" for number in range(width)]
