"""What the page shows of a dataset: points of every layer on a plane, their columns, texts and neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise._util.progress import Tracker
from layerwise.columns import column_values, there
from layerwise.geometry import neighbours
from layerwise.geometry.projection import project
from layerwise.geometry.sample import Sample
from layerwise.store import LayerDataset
from layerwise.store.described import described

if TYPE_CHECKING:
    from layerwise.geometry.projection import Flat
    from layerwise.states import Layered

CLIP = 400  # characters of a text that the page shows
NEIGHBOURS = 10
STEPS = 5  # of making a page: three here, the tokens of some texts, and writing it
_MISSING = 65535
_CATEGORIES = 1000  # a column with more different values tells points apart, not groups
_FEW = 12  # numbers with so few different values are categories
# Columns that place a row; what is left belongs to the user.
_OURS = {
    *("doc", "start", "end", "text", "token_id", "word", "special", "dropped"),
    *("id", "source", "line", "windows", "truncated", "words", "special_only"),
}


def about(dataset: Layered) -> dict[str, Any]:
    """Return what a dataset is: its model, layers, corpus, coverage and size."""
    made: dict[str, Any] = {
        "model": None,
        "layers": list(dataset.layers),
        "blocks": dataset.blocks,
        "width": dataset.width,
        "level": dataset.level,
        "pool": dataset.pool,
        "rows": dataset.rows,
        "texts": dataset.text_count,
    }
    if not isinstance(dataset, LayerDataset):
        return made
    manifest = described(dataset).manifest
    totals = manifest.get("totals", {})
    return made | {
        "model": manifest.get("model"),
        "tokens": totals.get("tokens"),
        "windows": totals.get("windows"),
        "truncated": totals.get("truncated_texts"),
        "lost_words": totals.get("lost_words"),
        "skipped": len(manifest.get("skipped", [])),
        "bytes": totals.get("bytes"),
        "dtype": dataset.dtype,
        "precision": manifest.get("settings", {}).get("precision"),
        "finished": manifest.get("finished"),
        "versions": manifest.get("versions"),
        "sha256": dataset.sha256,
    }


def points(
    drawn: Sample, *, flat: Flat | None, near: bool, first: Sequence[str], track: Tracker
) -> dict[str, Any]:
    """Return the drawn rows as the page shows them.

    Args:
        drawn: the rows.
        flat: another projection than PCA.
        first: columns that come first.
        near: find the nearest neighbours of every point among the points.
        track: reports what is being done.
    """
    reading, projecting, finding = track.split(1, 2, 5 if near else 0)
    reading.named("reading the layers", 1, STEPS)
    layers = [drawn.layer(name) for name in drawn.layers]
    laid = project(layers, flat, projecting.named("projecting the layers", 2, STEPS))
    found: dict[str, Any] = {
        "count": len(drawn),
        "of": drawn.of,
        "method": "pca" if flat is None else "umap",
        "row": drawn.chosen.astype(np.uint32),
        "doc": drawn.docs.astype(np.uint32),
        "coords": fixed(laid.coords),
        "explained": laid.explained,
        "columns": columns(drawn, first),
        **said(drawn),
        "neighbours": None,
    }
    if near and len(drawn) > 1:
        finding = finding.named("finding neighbours", 3, STEPS)
        steps = finding.each(layers, (f"layer {n + 1} of {len(layers)}" for n in range(len(layers))))
        each = [neighbours.nearest(layer, NEIGHBOURS) for layer, _ in steps]
        found["neighbours"] = {
            "k": each[0][0].shape[1],
            "points": np.stack([rows for rows, _ in each]).astype(np.uint32),
            "cosines": hundredths(np.stack([cosines for _, cosines in each])),
        }
    return found


def fixed(coords: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return coordinates in [-1, 1] as int16."""
    return np.round(coords * 32767).astype(np.int16)


def hundredths(cosines: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return cosines as int8, × 127."""
    made: np.ndarray[Any, Any] = np.round(np.clip(cosines, -1, 1) * 127).astype(np.int8)
    return made


def said(drawn: Sample) -> dict[str, Any]:
    """Return what each point says, and below text level where in which text; nothing where no texts are stored."""
    empty: dict[str, Any] = {"texts": None, "clipped": [], "context": None, "span": None}
    if "text" not in drawn.index.column_names:
        return empty
    clipped: list[int] = []
    texts = list(_clip(drawn.index["text"].to_pylist(), clipped))
    if "start" not in drawn.index.column_names or "text" not in drawn.texts.column_names:
        return {**empty, "texts": texts, "clipped": clipped}
    whole = {
        "docs": drawn.texts["doc"].to_numpy().astype(np.uint32),
        "texts": [text or "" for text in drawn.texts["text"].to_pylist()],
    }
    span = np.stack([drawn.index[name].to_numpy() for name in ("start", "end")], axis=1)
    return {"texts": texts, "clipped": clipped, "context": whole, "span": span.astype(np.uint32)}


def _clip(texts: Iterable[str | None], clipped: list[int]) -> Iterable[str]:
    for number, text in enumerate(texts):
        if text is not None and len(text) > CLIP:
            clipped.append(number)
            yield text[: CLIP - 1] + "…"
        else:
            yield text or ""


def columns(drawn: Sample, first: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the columns that points can be coloured by: those named `first`, then carried ones of rows, of texts."""
    named = dict.fromkeys([*drawn.index.column_names, *drawn.texts.column_names])
    carried = [name for name in named if name not in _OURS]
    # The number of tokens comes with every dataset, and what had one of our names is seldom asked for.
    carried.sort(key=lambda name: (name not in first, name == "tokens", name.startswith("source.")))
    made = (_column(name, column_values(drawn, name)[0]) for name in carried)
    return [column for column in made if column is not None]


def _column(name: str, values: Sequence[Any]) -> dict[str, Any] | None:
    known = [value for value in values if there(value)]
    different = len({str(value) for value in known})
    numbers = _numbers(values)
    if numbers is not None and different > _FEW:
        return {"name": name, "kind": "number", "values": numbers}
    if not known or different > min(_CATEGORIES, max(_FEW, len(values) // 2)):
        return None
    shown = [_shown(value) for value in values]
    names = sorted(set(shown) - {""})
    numbered = {name: number for number, name in enumerate(names)} | {"": _MISSING}
    codes = np.array([numbered[one] for one in shown])
    return {
        "name": name,
        "kind": "category",
        "values": names,
        "codes": codes.astype(np.uint16),
    }


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value) if there(value) else ""


def _numbers(values: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    """Numbers, NaN where there is none; `None` for a column that holds anything else."""
    try:
        found = [_number(value) for value in values]
    except (TypeError, ValueError):
        return None
    made = np.array(found, np.float32)
    made[~np.isfinite(made)] = np.nan
    return made if np.isfinite(made).any() else None


def _number(value: Any) -> float:
    if not there(value):
        return np.nan
    if isinstance(value, bool | list) or "_" in str(value):
        raise ValueError
    return float(value)
