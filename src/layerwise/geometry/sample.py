"""Some rows of a dataset, with the same face: whole texts drawn at random, so that any set can be looked at.

Vectors stay where they are until a layer is asked for; the index and the texts of the drawn rows are in memory.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layerwise.errors import RequestError
from layerwise.states import I64, Layered


class Sample(Layered):
    """Rows of a dataset, in its order.

    Attributes:
        whole: the dataset.
        chosen: the numbers of the rows there, int64 (n,), ascending.
        special: how many special tokens of the drawn texts were left out.
    """

    def __init__(
        self, whole: Layered, chosen: I64, index: pa.Table, texts: pa.Table, special: int = 0
    ) -> None:
        """Made by `draw` and `pick`."""
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
        """How many numbers a vector has."""
        return self.whole.width

    @property
    def rows(self) -> int:
        """How many rows were drawn."""
        return len(self.chosen)

    @property
    def index(self) -> pa.Table:
        """The index of the drawn rows."""
        return self._index

    @property
    def texts(self) -> pa.Table:
        """The texts that drawn rows are of."""
        return self._texts

    @property
    def docs(self) -> I64:
        """The text of each row, int64 (n,)."""
        docs: I64 = self._index["doc"].to_numpy()
        return docs

    @property
    def all(self) -> bool:
        """Whether nothing but special tokens was left out."""
        return self.rows + self.special == self.whole.rows

    @property
    def of(self) -> int:
        """How many rows there are to draw from; of all but special tokens, as many as were drawn."""
        return self.rows if self.all else self.whole.rows

    def keep(self, mask: NDArray[np.bool_]) -> "Sample":
        """Return those of these rows that a mask names."""
        index = self._index.filter(pa.array(mask))
        return Sample(self.whole, self.chosen[mask], index, self._texts, self.special)

    def _read(self, name: str, rows: slice | I64, raw: bool) -> NDArray[Any]:
        return self.whole.layer(name, rows=self.chosen[rows], raw=raw)


def draw(dataset: Layered, most: int, seed: int) -> Sample:
    """Return at most `most` rows, drawn by whole texts; all where there aren't more. No special tokens.

    Of a single text with more rows than that, its first ones. What is held at a time is the tables of one shard.

    Raises:
        RequestError: fewer than one row asked for, or a seed out of range.
    """
    if most < 1:
        raise RequestError(f"a sample of {most} rows says nothing; take at least 1")
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise RequestError(f"seed {seed!r} is out of range; take a whole number from 0 to {(1 << 32) - 1}")
    count = dataset.text_count
    if dataset.rows <= most:
        return _gathered(dataset, np.arange(count), dataset.rows)
    # A tenth more than the mean asks for: those that are too many go again, in the order of drawing.
    enough = min(count, int(1.1 * most * count / dataset.rows) + 2)
    return _gathered(dataset, np.random.default_rng(seed).choice(count, enough, replace=False), most)


def pick(dataset: Layered, rows: I64, special: int = 0) -> Sample:
    """Return rows of a dataset by their numbers, ascending."""
    found = []
    for begin, part in _numbered(dataset):
        low, high = np.searchsorted(rows, [begin, begin + part.rows])
        if low < high:
            found.append(_taken(part, rows[low:high] - begin))
    tables = zip(*found, strict=True) if found else ([dataset.index.slice(0, 0)], [dataset.texts.slice(0, 0)])
    # Shards may differ in what they know of a column, such as one that is missing throughout.
    index, texts = (pa.concat_tables(several, promote_options="permissive") for several in tables)
    return Sample(dataset, rows, index, texts, special)


def _numbered(dataset: Layered) -> Iterator[tuple[int, Layered]]:
    """Yield each part with the number of its first row."""
    begin = 0
    for part in dataset.parts():
        yield begin, part
        begin += part.rows


def _gathered(dataset: Layered, texts: I64, most: int) -> Sample:
    """The rows of some texts, given by their place in the order of drawing, as long as there are at most `most`."""
    order = np.argsort(texts, kind="stable")
    ascending = texts[order]
    rows, turns, special, first = [], [], 0, 0
    for begin, part in _numbered(dataset):
        low, high = np.searchsorted(ascending, [first, first + part.text_count])
        if low < high:
            docs = part.texts["doc"].to_numpy()[ascending[low:high] - first]
            kept, turn, dropped = _of_texts(part, docs)
            rows.append(kept + begin)
            turns.append(order[low:high][turn])
            special += dropped
        first += part.text_count
    found = np.concatenate([np.zeros(0, np.int64), *rows])
    turn = np.concatenate([np.zeros(0, np.int64), *turns])
    chosen = found[np.sort(_first_texts(turn, most))]
    return pick(dataset, chosen, special)


def _of_texts(part: Layered, docs: I64) -> tuple[I64, I64, int]:
    """Rows of the ascending `docs`, which of these each is of, and how many special tokens were left out."""
    index = part.index
    own = index["doc"].to_numpy()
    places = np.minimum(np.searchsorted(docs, own), len(docs) - 1)
    mine = docs[places] == own
    special = index["special"].to_numpy() if "special" in index.column_names else np.zeros(len(own), bool)
    kept = np.flatnonzero(mine & ~special)
    return kept, places[kept], int((mine & special).sum())


def _first_texts(turn: I64, most: int) -> I64:
    """Which rows are of the texts drawn first, as long as they are at most `most` together."""
    if len(turn) <= most:
        return np.arange(len(turn))
    order = np.argsort(turn, kind="stable")[: most + 1]
    cut = int(np.searchsorted(turn[order], turn[order[-1]])) if len(order) > most else most
    return order[: cut if cut else most]


def _taken(part: Layered, rows: I64) -> tuple[pa.Table, pa.Table]:
    index = part.index.take(rows)
    docs = np.unique(index["doc"].to_numpy())
    places = np.searchsorted(part.texts["doc"].to_numpy(), docs)
    return index, part.texts.take(places)
