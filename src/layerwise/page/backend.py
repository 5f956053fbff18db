"""Answers to requests of a page that is served, and doesn't contain the data itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from layerwise.errors import RequestError
from layerwise.figures.measure_scale import with_scales
from layerwise.geometry.neighbours import nearest_to
from layerwise.geometry.sample import pick
from layerwise.page import content
from layerwise.page.report import page_data

if TYPE_CHECKING:
    from layerwise.array_types import I64
    from layerwise.states import Layered

POINTS = 50_000
_HITS = 1000  # most rows that a search returns
_NEAR = 100  # most neighbours that a request may ask for


class PageBackend:
    """Data of a served page: the map shows a sample of the dataset's rows, all other requests use every row."""

    def __init__(self, dataset: Layered, *, points: int = POINTS, **options: Any) -> None:
        """Project the points of the map; `options` are those of `page_data`."""
        self.dataset = dataset
        self.data = page_data(dataset, points=points, near=False, **options)
        self._coords = self.data["points"]["coords"]
        self._point = {int(row): n for n, row in enumerate(self.data["points"]["row"])}

    @property
    def head(self) -> dict[str, Any]:
        """All that the page loads first: everything but coordinates and texts."""
        slim: dict[str, Any] = {"coords": None, "texts": None, "clipped": [], "context": None, "span": None}
        scaled = {"analysis": with_scales(self.data["analysis"])}
        return self.data | scaled | {"points": self.data["points"] | slim | {"remote": True}}

    def coords(self, layer: str, start: int, count: int) -> Any:
        """Return the coordinates of points `start` to `start + count` in a layer: int16 (count, 2)."""
        return self._coords[self._layer(layer), start : start + count]

    def texts(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return the texts of rows of the dataset, in the order of `rows`."""
        numbers = self._rows(rows)
        sample = pick(self.dataset, np.unique(numbers))
        place = np.searchsorted(sample.chosen, numbers)
        fields = content.texts_of(sample)
        texts = fields["texts"] or [""] * len(sample)
        entries = [{"row": int(row), "text": texts[n]} for row, n in zip(numbers, place, strict=True)]
        unknown = content.unknown_of(sample) if self.dataset.level != "text" else None
        if unknown is not None:
            entries = [entry | {"unknown": int(unknown[n])} for entry, n in zip(entries, place, strict=True)]
        if fields["context"] is not None:
            whole = dict(zip(fields["context"]["docs"].tolist(), fields["context"]["texts"], strict=True))
            for entry, n in zip(entries, place, strict=True):
                start, end = fields["span"][n].tolist()
                entry |= {"context": whole[int(sample.docs[n])], "start": start, "end": end}
        return entries

    def neighbours(self, row: int, layer: str, k: int) -> list[dict[str, Any]]:
        """Return the rows nearest to a row over the whole layer, nearest first."""
        name = self.dataset.layers[self._layer(layer)]
        (row,) = self._rows([row]).tolist()
        if not 1 <= k <= _NEAR:
            raise RequestError(f"k {k} is out of range; give 1 to {_NEAR}")
        rows, cosines = nearest_to(self.dataset, name, row, k)
        entries = {entry["row"]: entry for entry in self.texts(rows.tolist())} if len(rows) else {}
        return [
            {"point": self._point.get(int(near)), "cosine": round(float(cosine), 4), **entries[int(near)]}
            for near, cosine in zip(rows, cosines, strict=True)
        ]

    def search(self, query: str) -> dict[str, Any]:
        """Return the first rows whose text contains a string, ignoring case, and the total number of such rows."""
        matches: list[int] = []
        begin = total = 0
        for part in self.dataset.parts():
            if "text" in part.index.column_names:
                hits = pc.match_substring(part.index["text"], query, ignore_case=True)
                rows = np.flatnonzero(hits.fill_null(False).to_numpy())
                total += len(rows)
                matches += (rows[: _HITS - len(matches)] + begin).tolist()
            begin += part.rows
        points = sorted(self._point[row] for row in matches if row in self._point)
        return {"rows": matches, "points": points, "total": total}

    def _layer(self, name: str) -> int:
        if name not in self.dataset.layers:
            raise RequestError(f"no layer {name!r}; there are {', '.join(self.dataset.layers)}")
        return self.dataset.layers.index(name)

    def _rows(self, rows: Sequence[int]) -> I64:
        numbers = np.asarray(rows, np.int64)
        invalid = numbers[(numbers < 0) | (numbers >= self.dataset.rows)]
        if len(invalid):
            raise RequestError(f"no row {invalid[0]}; there are {self.dataset.rows:,}")
        return numbers


@dataclass(frozen=True, slots=True)
class NotebookPage:
    """A page that a notebook displays; `html` is the page."""

    html: str

    def _repr_html_(self) -> str:
        # Without allow-same-origin the page can't reach the notebook.
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" title="layerwise" '
            'style="width:100%;height:85vh;border:1px solid #8888"></iframe>'
        )

    def __repr__(self) -> str:
        return (
            f"<NotebookPage: a page of {len(self.html):,} characters; a notebook shows it, `html` holds it>"
        )


def answer(backend: PageBackend, what: str, query: Mapping[str, str]) -> Any:
    """Return the answer to a request of the page: JSON values, and arrays as numpy arrays.

    Raises:
        RequestError: an invalid request.
    """
    if what == "head":
        return backend.head
    if what == "coords":
        start, count = _numbers(query, "start"), _numbers(query, "count")
        return backend.coords(_required(query, "layer"), start[0], count[0])
    if what == "text":
        return backend.texts(_numbers(query, "rows"))
    if what == "neighbours":
        (row, *_), (k, *_) = _numbers(query, "row"), _numbers({"k": "10", **query}, "k")
        return backend.neighbours(row, _required(query, "layer"), k)
    if what == "search":
        return backend.search(_required(query, "q"))
    raise RequestError(f"there is no request {what!r}; ask for head, coords, text, neighbours or search")


def _required(query: Mapping[str, str], name: str) -> str:
    if name not in query:
        raise RequestError(f"{name!r} is missing; give it")
    return query[name]


def _numbers(query: Mapping[str, str], name: str) -> list[int]:
    """Return comma-separated whole numbers such as `1,2`, which must fit into int64."""
    items = _required(query, name).split(",")
    if not all(item.isascii() and item.isdecimal() and len(item) < 19 for item in items):
        raise RequestError(
            f"{name} {query[name]!r:.60} is no list of numbers; give whole numbers of 0 or more, separated by commas"
        )
    return [int(item) for item in items]
