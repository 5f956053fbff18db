"""Rows from whose vectors the mean of their group is subtracted, layer by layer; groups are the values of a column.

With the language as the column, this takes off what all texts of a language have in common (Libovický et al. 2020). The
means are those of all rows, so they use the vectors of the test rows, but no label.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layerwise._util.locks import new_lock
from layerwise.arguments import argument
from layerwise.array_types import F64, I64
from layerwise.columns import column_values, is_present, trimmed
from layerwise.errors import RequestError
from layerwise.row_selection import row_blocks
from layerwise.states import Layered


class CentredRows(Layered):
    """A dataset, or states, whose vectors are centred when they are read.

    Attributes:
        whole: the rows as they are.
        groups: the values of the column, in order.
        alone: the number of rows whose value no other row has, and whose vectors are 0.
    """

    def __init__(self, whole: Layered, column: str) -> None:
        """Read the column.

        Raises:
            RequestError: there is no such column, a row without a value, or no value that two rows share.
        """
        self.whole, self._column = whole, column
        values = _values(whole, column)
        self.groups, self._group_of = np.unique(np.array(values, str), return_inverse=True)
        self.alone = int((np.bincount(self._group_of) == 1).sum())
        if self.alone == len(values):
            raise RequestError(
                f"column {column!r} of {argument('centre', column)} has another value in each row, so that nothing would be left "
                "of any; name a column whose values many rows share, such as the language"
            )
        self._means: dict[str, F64] = {}
        self._lock = new_lock()

    @property
    def layers(self) -> tuple[str, ...]:
        """The stored layers, by name."""
        return self.whole.layers

    @property
    def blocks(self) -> int:
        """The number of blocks of the model."""
        return self.whole.blocks

    @property
    def level(self) -> str:
        """What a row stands for."""
        return self.whole.level

    @property
    def pool(self) -> str | None:
        """How tokens became a row; `None` at token level."""
        return self.whole.pool

    @property
    def word_split(self) -> str | None:
        """What a word of raw text is."""
        return self.whole.word_split

    @property
    def width(self) -> int:
        """The number of components of a vector."""
        return self.whole.width

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.whole.rows

    @property
    def dtype(self) -> str:
        """The type in which the vectors are stored."""
        return str(getattr(self.whole, "dtype", "float32"))

    @cached_property
    def index(self) -> pa.Table:
        """The index of the rows."""
        return self.whole.index

    @cached_property
    def texts(self) -> pa.Table:
        """The texts of the rows."""
        return self.whole.texts

    def parts(self) -> Iterator[Layered]:
        """Yield the parts of the rows as they are; only their tables may be used."""
        return self.whole.parts()

    def _read(self, name: str, rows: slice | I64, raw: bool) -> NDArray[Any]:
        values = self.whole.layer(name, rows=rows)
        values -= self._mean(name)[self._group_of[rows]]
        return values

    def _mean(self, name: str) -> F64:
        """Return the mean of each group at a layer, float64 (groups, width); computed once, in blocks."""
        with self._lock:
            if name not in self._means:
                sums = np.zeros((len(self.groups), self.width))
                for block in row_blocks(slice(0, self.rows), self.width):
                    values, group_of = self.whole.layer(name, rows=block), self._group_of[block]
                    for group in np.unique(group_of).tolist():
                        sums[group] += values[group_of == group].sum(axis=0, dtype=np.float64)
                self._means[name] = sums / np.bincount(self._group_of)[:, None]
            return self._means[name]


def _values(dataset: Layered, column: str) -> list[str]:
    """Return the value of each row, trimmed.

    Raises:
        RequestError: there is no such column, or a row without a value.
    """
    values: list[Any] = []
    exists = False
    for part in dataset.parts():
        of_part, in_part = column_values(part, column)
        values += of_part
        exists |= in_part
    if not exists:
        names = dict.fromkeys([*dataset.index.column_names, *dataset.texts.column_names])
        raise RequestError(f"there is no column {column!r} in the dataset; there are {', '.join(names)}")
    missing = sum(not is_present(value) for value in values)
    if missing:
        raise RequestError(
            f"{missing:,} of {len(values):,} rows have no value in column {column!r} of {argument('centre', column)}; give each "
            "row one, or leave these rows out"
        )
    return list(map(trimmed, values))
