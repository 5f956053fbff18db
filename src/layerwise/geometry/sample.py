"""Samples of a dataset: whole texts drawn at random, with the interface of a dataset.

Measures then work on datasets of any size. Vectors are read when a layer is requested; the index and the texts of the
sampled rows are in memory.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layerwise.array_types import I64
from layerwise.choices import whole_number
from layerwise.states import Layered


class Sample(Layered):
    """Some rows of a dataset, in its order.

    Attributes:
        whole: the dataset.
        chosen: the rows' numbers in the dataset, int64 (n,), ascending.
        special: the number of special tokens of the sampled texts that were left out.
    """

    def __init__(
        self, whole: Layered, chosen: I64, index: pa.Table, texts: pa.Table, special: int = 0
    ) -> None:
        """Store the tables; `draw` and `pick` create samples."""
        self.whole, self.chosen, self.special = whole, chosen, special
        self._index, self._texts = index, texts

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
    def width(self) -> int:
        """The number of components of a vector."""
        return self.whole.width

    @property
    def rows(self) -> int:
        """The number of sampled rows."""
        return len(self.chosen)

    @property
    def index(self) -> pa.Table:
        """The index of the sampled rows."""
        return self._with_added(self._index, of_rows=True)

    @property
    def texts(self) -> pa.Table:
        """The texts that the sampled rows belong to."""
        return self._with_added(self._texts, of_rows=False)

    @property
    def docs(self) -> I64:
        """The number of each row's text, int64 (n,)."""
        docs: I64 = self._index["doc"].to_numpy()
        return docs

    @property
    def all(self) -> bool:
        """Whether all rows but special tokens are in the sample."""
        return self.rows + self.special == self.whole.rows

    @property
    def of(self) -> int:
        """The number of rows sampled from; equal to `rows` where all rows but special tokens are in the sample."""
        return self.rows if self.all else self.whole.rows

    def keep(self, mask: NDArray[np.bool_]) -> "Sample":
        """Return the rows of the sample that a mask selects, bool (n,)."""
        index = self._index.filter(pa.array(mask))
        return Sample(self.whole, self.chosen[mask], index, self._texts, self.special)

    def _read(self, name: str, rows: slice | I64, raw: bool) -> NDArray[Any]:
        return self.whole.layer(name, rows=self.chosen[rows], raw=raw)


def draw(dataset: Layered, most: int, seed: int, *, option: str = "max_rows") -> Sample:
    """Return at most `most` rows, drawn by whole texts; all rows where there aren't more. No special tokens.

    If the first text drawn has more rows than that, only its first rows are returned. The tables of one shard at a
    time are in memory.

    Args:
        dataset: the rows to draw from.
        most: the largest number of rows.
        seed: seed of the random draw.
        option: the argument of the verb that sets `most`, for the error.

    Raises:
        RequestError: `most` below 1, or a seed out of range.
    """
    whole_number(option, most, 1)
    seed = whole_number("seed", seed, 0, (1 << 32) - 1)
    count = dataset.text_count
    if dataset.rows <= most:
        return _gathered(dataset, np.arange(count), dataset.rows)
    # A tenth more texts than are needed on average; `_gathered` drops the last drawn ones beyond `most` rows.
    enough = min(count, int(1.1 * most * count / dataset.rows) + 2)
    return _gathered(dataset, np.random.default_rng(seed).choice(count, enough, replace=False), most)


def pick(dataset: Layered, rows: I64, special: int = 0) -> Sample:
    """Return rows of a dataset by their numbers, ascending."""
    tables_of_parts = []
    for begin, part in _numbered(dataset):
        low, high = np.searchsorted(rows, [begin, begin + part.rows])
        if low < high:
            tables_of_parts.append(_tables(part, rows[low:high] - begin))
    if not tables_of_parts:
        tables_of_parts.append((dataset.index.slice(0, 0), dataset.texts.slice(0, 0)))
    # Shards may differ in the type of a column, such as one without any value in a shard.
    index, texts = (
        pa.concat_tables(parts, promote_options="permissive") for parts in zip(*tables_of_parts, strict=True)
    )
    return Sample(dataset, rows, index, texts, special)


def _numbered(dataset: Layered) -> Iterator[tuple[int, Layered]]:
    """Yield each part with the number of its first row."""
    begin = 0
    for part in dataset.parts():
        yield begin, part
        begin += part.rows


def _gathered(dataset: Layered, texts: I64, most: int) -> Sample:
    """Return the rows of texts, int64 (k,) in the order of drawing, up to the last text that `most` rows have room for."""
    order = np.argsort(texts, kind="stable")
    ascending = texts[order]
    rows, turns, special, first = [], [], 0, 0
    for begin, part in _numbered(dataset):
        low, high = np.searchsorted(ascending, [first, first + part.text_count])
        if low < high:
            docs = part.texts["doc"].to_numpy()[ascending[low:high] - first]
            rows_of_part, turn, dropped = _of_texts(part, docs)
            rows.append(rows_of_part + begin)
            turns.append(order[low:high][turn])
            special += dropped
        first += part.text_count
    numbers = np.concatenate([np.zeros(0, np.int64), *rows])
    turn = np.concatenate([np.zeros(0, np.int64), *turns])
    chosen = numbers[np.sort(_first_texts(turn, most))]
    return pick(dataset, chosen, special)


def _of_texts(part: Layered, docs: I64) -> tuple[I64, I64, int]:
    """Return the rows of ascending `docs`, the place in `docs` of each row's text, and the number of special tokens."""
    index = part.index
    row_docs = index["doc"].to_numpy()
    places = np.minimum(np.searchsorted(docs, row_docs), len(docs) - 1)
    in_docs = docs[places] == row_docs
    special = (
        index["special"].to_numpy() if "special" in index.column_names else np.zeros(len(row_docs), bool)
    )
    selected = np.flatnonzero(in_docs & ~special)
    return selected, places[selected], int((in_docs & special).sum())


def _first_texts(turn: I64, most: int) -> I64:
    """Return the rows of the texts drawn first, up to the last text that `most` rows have room for."""
    if len(turn) <= most:
        return np.arange(len(turn))
    order = np.argsort(turn, kind="stable")[: most + 1]
    cut = int(np.searchsorted(turn[order], turn[order[-1]])) if len(order) > most else most
    # The text that has no room for all its rows is left out, unless it is the first one.
    return order[: cut if cut else most]


def _tables(part: Layered, rows: I64) -> tuple[pa.Table, pa.Table]:
    index = part.index.take(rows)
    docs = np.unique(index["doc"].to_numpy())
    places = np.searchsorted(part.texts["doc"].to_numpy(), docs)
    return index, part.texts.take(places)
