"""What the page asks for when the data stands behind it and not in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from layerwise.errors import RequestError
from layerwise.geometry.neighbours import nearest_to
from layerwise.geometry.sample import pick
from layerwise.page import content
from layerwise.page.report import page_data

if TYPE_CHECKING:
    from layerwise.states import I64, Layered

POINTS = 50_000
_HITS = 1000  # rows that a search gives at most
_NEAR = 100


class PageBackend:
    """A dataset behind a page: the map is a sample of its rows, everything else is asked of all of them."""

    def __init__(self, dataset: Layered, *, points: int = POINTS, **options: Any) -> None:
        """Lay the points out; `options` are those of `page_data`."""
        self.dataset = dataset
        self.data = page_data(dataset, points=points, near=False, **options)
        self._coords = self.data["points"]["coords"]
        self._point = {int(row): n for n, row in enumerate(self.data["points"]["row"])}

    @property
    def head(self) -> dict[str, Any]:
        """All that the page needs at once: no coordinates, no texts."""
        slim: dict[str, Any] = {"coords": None, "texts": None, "clipped": [], "context": None, "span": None}
        return self.data | {"points": self.data["points"] | slim | {"remote": True}}

    def coords(self, layer: str, start: int, count: int) -> Any:
        """Return where some points stand in a layer: int16 (count, 2)."""
        return self._coords[self._layer(layer), start : start + count]

    def texts(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return what rows of the dataset say, in the order asked for."""
        wanted = self._rows(rows)
        drawn = pick(self.dataset, np.unique(wanted))
        place = np.searchsorted(drawn.chosen, wanted)
        said = content.said(drawn)
        texts = said["texts"] or [""] * len(drawn)
        found = [{"row": int(row), "text": texts[n]} for row, n in zip(wanted, place, strict=True)]
        if said["context"] is not None:
            whole = dict(zip(said["context"]["docs"].tolist(), said["context"]["texts"], strict=True))
            for one, n in zip(found, place, strict=True):
                start, end = said["span"][n].tolist()
                one |= {"context": whole[int(drawn.docs[n])], "start": start, "end": end}
        return found

    def neighbours(self, row: int, layer: str, k: int) -> list[dict[str, Any]]:
        """Return the rows nearest to a row over the whole layer, nearest first."""
        name = self.dataset.layers[self._layer(layer)]
        (row,) = self._rows([row]).tolist()
        if not 1 <= k <= _NEAR:
            raise RequestError(f"k {k} is out of range; take 1 to {_NEAR}")
        rows, cosines = nearest_to(self.dataset, name, row, k)
        said = {one["row"]: one for one in self.texts(rows.tolist())} if len(rows) else {}
        return [
            {"point": self._point.get(int(near)), "cosine": round(float(cosine), 4), **said[int(near)]}
            for near, cosine in zip(rows, cosines, strict=True)
        ]

    def search(self, query: str) -> dict[str, Any]:
        """Return the rows whose text contains a string, in any case: the first of them, and how many there are."""
        found: list[int] = []
        begin = total = 0
        for part in self.dataset.parts():
            if "text" in part.index.column_names:
                hits = pc.match_substring(part.index["text"], query, ignore_case=True)
                rows = np.flatnonzero(hits.fill_null(False).to_numpy())
                total += len(rows)
                found += (rows[: _HITS - len(found)] + begin).tolist()
            begin += part.rows
        points = sorted(self._point[row] for row in found if row in self._point)
        return {"rows": found, "points": points, "total": total}

    def _layer(self, name: str) -> int:
        if name not in self.dataset.layers:
            raise RequestError(f"no layer {name!r}; there are {', '.join(self.dataset.layers)}")
        return self.dataset.layers.index(name)

    def _rows(self, rows: Sequence[int]) -> I64:
        wanted = np.asarray(rows, np.int64)
        wrong = wanted[(wanted < 0) | (wanted >= self.dataset.rows)]
        if len(wrong):
            raise RequestError(f"no row {wrong[0]}; there are {self.dataset.rows:,}")
        return wanted


@dataclass(frozen=True, slots=True)
class Shown:
    """A page that a notebook shows; `html` is the page."""

    html: str

    def _repr_html_(self) -> str:
        # Without allow-same-origin the page can't reach the notebook.
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" title="layerwise" '
            'style="width:100%;height:85vh;border:1px solid #8888"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<Shown: a page of {len(self.html):,} characters; a notebook shows it, `html` holds it>"


def answer(explored: PageBackend, what: str, query: Mapping[str, str]) -> Any:
    """Return the answer to a request of the page, as JSON holds it, arrays still arrays.

    Raises:
        RequestError: a request that makes no sense.
    """
    if what == "head":
        return explored.head
    if what == "coords":
        start, count = _numbers(query, "start"), _numbers(query, "count")
        return explored.coords(_given(query, "layer"), start[0], count[0])
    if what == "text":
        return explored.texts(_numbers(query, "rows"))
    if what == "neighbours":
        (row, *_), (k, *_) = _numbers(query, "row"), _numbers({"k": "10", **query}, "k")
        return explored.neighbours(row, _given(query, "layer"), k)
    if what == "search":
        return explored.search(_given(query, "q"))
    raise RequestError(f"there is no {what!r} here")


def _given(query: Mapping[str, str], name: str) -> str:
    if name not in query:
        raise RequestError(f"{name!r} is missing")
    return query[name]


def _numbers(query: Mapping[str, str], name: str) -> list[int]:
    """The numbers of rows and the like, `1,2`: whole ones that no integer of ours is too small for."""
    found = _given(query, name).split(",")
    if not all(one.isascii() and one.isdecimal() and len(one) < 19 for one in found):
        raise RequestError(f"{name} {query[name]!r:.60} is no number of 0 or more")
    return [int(one) for one in found]
