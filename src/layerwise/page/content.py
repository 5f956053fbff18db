"""The content of a dataset's page: points of every layer on a plane, their columns, texts and neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise._util.progress import Tracker
from layerwise.columns import column_values, in_order, is_present
from layerwise.geometry import neighbours
from layerwise.geometry.projection import project
from layerwise.geometry.sample import Sample
from layerwise.labels.spelling import class_of_each
from layerwise.schema import PAIR_START
from layerwise.store import LayerDataset
from layerwise.wording import Message, messages_json

if TYPE_CHECKING:
    from layerwise.geometry.projection import Reducer
    from layerwise.states import Layered
    from layerwise.store.manifest import Manifest

CLIP = 400  # longest text that the page shows, in characters
NEIGHBOURS = 10
STEPS = 5  # progress steps of making a page: three here, the tokens of some texts, and writing it
_MISSING = 65535
_CATEGORIES = 1000  # a column with more different values distinguishes single points, not groups
_FEW = 12  # numeric columns with at most so many different values are categories
# Columns that layerwise writes itself; all others are the user's.
_STANDARD_COLUMNS = {
    *("doc", "start", "end", "text", "token_id", "word", "special", "dropped"),
    *("id", "source", "line", "unknown", "windows", "truncated", "words", "special_only"),
}


def facts(dataset: Layered) -> dict[str, Any]:
    """Return facts about a dataset: its model, layers, corpus, coverage and size."""
    entries: dict[str, Any] = {
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
        return entries | _coverage_in_memory(dataset)
    manifest = dataset.manifest
    totals = manifest.totals
    return entries | {
        "model": manifest.model.to_json(),
        "tokens": totals.tokens,
        "unknown": totals.unknown,
        "windows": totals.windows,
        "windowed": totals.windowed_texts,
        "truncated": totals.truncated_texts,
        "truncated_tokens": totals.truncated_tokens,
        "lost_words": totals.lost_words,
        "dropped_words": totals.dropped_words,
        "special_only": totals.special_only_texts,
        "special_tokens": manifest.settings.special_tokens,
        "prompt": manifest.settings.prompt,
        **_around(manifest),
        "skipped": len(manifest.skipped),
        **_notices(manifest),
        "bytes": totals.bytes,
        "dtype": dataset.dtype,
        "precision": manifest.settings.precision,
        "finished": dataset.run.finished,
        "versions": dict(manifest.versions),
        "sha256": dataset.sha256,
    }


def _around(manifest: Manifest) -> dict[str, Any]:
    """Return what texts are encoded with, where there is any: `context` of their documents, or the columns of a joint `pair`."""
    reading, context = manifest.settings.reading, manifest.settings.context
    pair = {"pair": list(reading.text)} if reading.joint and reading.text is not None else {}
    if context is None:
        return pair
    return pair | {"context": list(context), "cut_contexts": manifest.totals.cut_contexts}


def _notices(manifest: Manifest) -> dict[str, Any]:
    """Return the notices of a dataset, without that of steps which aren't applied: the page says so of the model."""
    model = manifest.model
    steps = Message("note.model.steps", model=repr(model.id), steps=model.not_applied)
    notices = [notice for notice in manifest.notice_messages if notice != steps]
    return {"notices": notices, "messages": messages_json(notices=notices)}


def _coverage_in_memory(states: Layered) -> dict[str, Any]:
    """Return what the table of texts says of the tokens of rows in memory; nothing where it has no such columns."""
    texts = states.texts
    if not {"tokens", "unknown", "windows", "truncated"} <= set(texts.column_names):
        return {}
    tokens, unknown, windows, truncated = (
        texts[name].to_numpy() for name in ("tokens", "unknown", "windows", "truncated")
    )
    return {
        "tokens": int(tokens.sum()),
        "unknown": int(unknown.sum()),
        "windows": int(windows.sum()),
        "windowed": int((windows > 1).sum()),
        "truncated": int((truncated > 0).sum()),
        "truncated_tokens": int(truncated.sum()),
    }


def points(
    sample: Sample, *, flat: Reducer | None, near: bool, first: Sequence[str], track: Tracker
) -> dict[str, Any]:
    """Return sampled rows as the page shows them; `figures.page` defines the shape.

    Args:
        sample: the rows.
        flat: another projection than PCA.
        first: names of the columns to list first.
        near: also return the nearest neighbours of every point among the points.
        track: progress of the steps.
    """
    reading, projecting, finding = track.split(1, 2, 5 if near else 0)
    reading.named("reading the layers", 1, STEPS)
    layers = [sample.layer(name) for name in sample.layers]
    projection = project(layers, flat, projecting.named("projecting the layers", 2, STEPS))
    content: dict[str, Any] = {
        "count": len(sample),
        "of": sample.of,
        "method": "pca" if flat is None else "umap",
        "row": sample.chosen.astype(np.uint32),
        "doc": sample.docs.astype(np.uint32),
        "coords": fixed(projection.coords),
        "explained": projection.explained,
        "columns": columns(sample, first),
        "unknown": unknown_of(sample),
        **texts_of(sample),
        "neighbours": None,
    }
    if near and len(sample) > 1:
        finding = finding.named("finding neighbours", 3, STEPS)
        steps = finding.each(layers, (f"layer {n + 1} of {len(layers)}" for n in range(len(layers))))
        each = [neighbours.nearest(layer, NEIGHBOURS) for layer, _ in steps]
        content["neighbours"] = {
            "k": each[0][0].shape[1],
            "points": np.stack([rows for rows, _ in each]).astype(np.uint32),
            "cosines": hundredths(np.stack([cosines for _, cosines in each])),
        }
    return content


def fixed(coords: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return coordinates in [-1, 1] as int16."""
    return np.round(coords * 32767).astype(np.int16)


def hundredths(cosines: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return cosines as int8, × 127."""
    rounded: np.ndarray[Any, Any] = np.round(np.clip(cosines, -1, 1) * 127).astype(np.int8)
    return rounded


def unknown_of(sample: Sample) -> np.ndarray[Any, Any] | None:
    """Return the number of unknown tokens in each row, uint32 (n,); `None` where none is unknown, or it isn't known."""
    # The table of texts counts those of whole texts, which below text level isn't what a row has.
    table = sample.texts if sample.level == "text" else sample.index
    if "unknown" not in table.column_names:
        return None
    numbers = np.array([count or 0 for count in column_values(sample, "unknown")[0]], np.uint32)
    return numbers if numbers.any() else None


def texts_of(sample: Sample) -> dict[str, Any]:
    """Return each point's text and, below text level, its position in its text; empty where no texts are stored."""
    empty: dict[str, Any] = {"texts": None, "clipped": [], "context": None, "span": None}
    if "text" not in sample.index.column_names:
        return empty
    clipped: list[int] = []
    texts = list(_clip(sample.index["text"].to_pylist(), clipped))
    located = "start" in sample.index.column_names and not sample.index["start"].null_count
    # Of two texts that are encoded together, offsets count in the one that the row is of.
    of_pairs = PAIR_START in sample.texts.column_names
    if not located or of_pairs or "text" not in sample.texts.column_names:
        return {**empty, "texts": texts, "clipped": clipped}
    whole = {
        "docs": sample.texts["doc"].to_numpy().astype(np.uint32),
        "texts": [text or "" for text in sample.texts["text"].to_pylist()],
    }
    span = np.stack([sample.index[name].to_numpy() for name in ("start", "end")], axis=1)
    return {"texts": texts, "clipped": clipped, "context": whole, "span": span.astype(np.uint32)}


def _clip(texts: Iterable[str | None], clipped: list[int]) -> Iterable[str]:
    for number, text in enumerate(texts):
        if text is not None and len(text) > CLIP:
            clipped.append(number)
            yield text[: CLIP - 1] + "…"
        else:
            yield text or ""


def columns(sample: Sample, first: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the columns that can colour points: those named in `first`, then other columns of rows and of texts."""
    names = dict.fromkeys([*sample.index.column_names, *sample.texts.column_names])
    standard = _STANDARD_COLUMNS if unknown_of(sample) is None else _STANDARD_COLUMNS - {"unknown"}
    carried = [name for name in names if name not in standard]
    # Last come columns that users rarely need: `tokens`, which every dataset has, and renamed `source.` columns.
    carried.sort(
        key=lambda name: (name not in first, name in ("tokens", "unknown"), name.startswith("source."))
    )
    entries = (_column(name, column_values(sample, name)[0]) for name in carried)
    return [column for column in entries if column is not None]


def _column(name: str, values: Sequence[Any]) -> dict[str, Any] | None:
    present = [value for value in values if is_present(value)]
    different = len({str(value) for value in present})
    numbers = _numbers(values)
    if numbers is not None and different > _FEW:
        return {"name": name, "kind": "number", "values": numbers}
    if not present or different > min(_CATEGORIES, max(_FEW, len(values) // 2)):
        return None
    texts = [name or "" for name in class_of_each(values)]
    names = in_order(set(texts) - {""})
    numbered = {name: number for number, name in enumerate(names)} | {"": _MISSING}
    codes = np.array([numbered[text] for text in texts])
    return {
        "name": name,
        "kind": "category",
        "values": names,
        "codes": codes.astype(np.uint16),
    }


def _numbers(values: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    """Return numbers, NaN where missing; `None` for a column that has other values."""
    try:
        numbers = [_number(value) for value in values]
    except (TypeError, ValueError):
        return None
    array = np.array(numbers, np.float32)
    array[~np.isfinite(array)] = np.nan
    return array if np.isfinite(array).any() else None


def _number(value: Any) -> float:
    if not is_present(value):
        return np.nan
    if isinstance(value, bool | list) or "_" in str(value):
        raise ValueError
    return float(value)
