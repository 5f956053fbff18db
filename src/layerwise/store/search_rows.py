"""The rows of one mix that are to be searched: in blocks, with the transform fitted on them and the queries of the recall."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.array_types import F32, I64
from layerwise.errors import RequestError
from layerwise.recall import NEAREST
from layerwise.states import Layered, matching_rows
from layerwise.store.export_rows import Column, parts, steps
from layerwise.transform_fit import TransformFitter
from layerwise.transforms import FittedRows, Transform

QUERIES, SEED = 1000, 0  # of the measured recall
_BLOCK_BYTES, _BLOCK_ROWS = (
    1 << 24,
    4096,
)  # of the vectors that are in memory at once, and compared with all queries


@dataclass(frozen=True)
class SearchRows:
    """One mix of some rows, to be searched.

    Attributes:
        states: the rows, at least one.
        column: the matrix of the mix.
        train: which rows a transform is fitted on, (rows,).
        queries: the numbers of the rows that recall is measured with, ascending.
    """

    states: Layered
    column: Column
    train: NDArray[np.bool_]
    queries: I64

    @property
    def width(self) -> int:
        """The number of dimensions of a vector."""
        return self.column[1]

    @property
    def nearest(self) -> int:
        """How many nearest rows a query has; 0 where there is no other row."""
        return min(NEAREST, self.states.rows - 1)

    def blocks(self, track: Tracker, name: str) -> Iterator[tuple[int, F32]]:
        """Yield the number of the first row of each block, and the block, (n, width)."""
        _, width, read = self.column
        first, step = 0, max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // (4 * width)))
        for part in parts(self.states, track, name):
            for rows in steps(part.rows, step):
                yield first + rows.start, read(part, rows)
            first += part.rows

    def fit(
        self, fitter: TransformFitter, fitted: FittedRows, track: Tracker
    ) -> tuple[Transform, F32, float | None]:
        """Return the transform, the vectors of the queries, and the share of the variance that components keep."""
        queries = np.empty((len(self.queries), self.width), np.float32)
        for first, block in self.blocks(track, "fitting the transform"):
            fitter.add(block[self.train[first : first + len(block)]])
            places = slice(*np.searchsorted(self.queries, [first, first + len(block)]))
            queries[places] = block[self.queries[places] - first]
        transform, variance = fitter.finish(fitted)
        return transform, queries, variance


def search_rows(states: Layered, column: Column, split: str | None) -> SearchRows:
    """Return rows with their training rows, and up to `QUERIES` queries: other rows where there are any, else of all.

    Raises:
        RequestError: no rows, no column `split`, or no row with `train` in it.
    """
    if not states.rows:
        raise RequestError(
            "the dataset has no rows, and small vectors are fitted on rows; give one with rows"
        )
    train = np.ones(states.rows, bool) if split is None else _training_rows(states, split)
    others = None if train.all() else np.flatnonzero(~train)
    count = states.rows if others is None else len(others)
    places = np.random.default_rng(SEED).choice(count, min(QUERIES, count), replace=False)
    return SearchRows(states, column, train, np.sort(places if others is None else others[places]))


def _training_rows(states: Layered, split: str) -> NDArray[np.bool_]:
    """Return which rows have the value `train` in a column, (rows,); a part may lack it where all its values are missing."""
    masks, is_there = [], False
    for part in states.parts():
        mask = np.zeros(part.rows, bool)
        if split in part.index.column_names or split in part.texts.column_names:
            is_there = True
            mask[matching_rows(part, **{split: "train"})] = True
        masks.append(mask)
    if not is_there:
        names = dict.fromkeys([*states.index.column_names, *states.texts.column_names])
        raise RequestError(
            f"{argument('split', split)}: there is no such column; there are {', '.join(names)}"
        )
    train = np.concatenate(masks)
    if not train.any():
        raise RequestError(
            f"{argument('split', split)}: no row has the value train, and transforms are fitted on such rows; correct the "
            "column, or leave it out"
        )
    return train
