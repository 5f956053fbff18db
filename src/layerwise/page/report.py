"""All data of a dataset's page: its points, its probe, its analysis, the tokens of some texts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layerwise._util.progress import SILENT, Tracker
from layerwise._util.versions import versions
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.geometry.sample import draw
from layerwise.geometry.umap import umap as by_umap
from layerwise.labels.attached import with_labels
from layerwise.layers import short_mix
from layerwise.page import content
from layerwise.page.tokens import some_docs, tokens_of
from layerwise.page.word_links import shown_links
from layerwise.store import LayerDataset
from layerwise.store.result_provenance import fingerprint
from layerwise.store.stored_result import VERBS, result_content
from layerwise.wording import Message, messages_json

if TYPE_CHECKING:
    from layerwise.states import Layered

POINTS = 5000
ResultSource = Any
"""A result in memory, the folder or file that it was written to, or `None`."""


def page_data(
    dataset: Layered,
    *,
    probe: ResultSource = None,
    analysis: ResultSource = None,
    links: Any = None,
    points: int = POINTS,
    seed: int = 0,
    umap: bool = False,
    texts: Sequence[int] | None = None,
    attention: bool = False,
    labels_from: Any = None,
    near: bool = True,
    track: Tracker = SILENT,
) -> dict[str, Any]:
    """Return all data of the page; see `api.report` for the options, and `figures.page` for the shape.

    Args:
        near: include the nearest neighbours of every point among the points.
        track: progress of the steps.
    """
    attached = with_labels(dataset, labels_from, None)
    for note in attached.notes:
        warnings.warn(note, stacklevel=2)
    results = {
        "probe": _with_short_mixes(_result(probe, "probe", dataset)),
        "analysis": _result(analysis, "analysis", dataset),
    }
    sentence_pairs = shown_links(links)
    flat = by_umap(seed) if umap else None
    sample = draw(attached.dataset, points, seed, option="points")
    if not len(sample):
        raise RequestError("the dataset has no rows to show; extract some texts first")
    labels = [attached.label] if attached.label is not None else []
    labels += [
        result["label"] for result in results.values() if result and isinstance(result.get("label"), str)
    ]
    map_track, token_track = track.split(3, 1)
    map_points = content.points(sample, flat=flat, near=near, first=labels, track=map_track)
    token_track = token_track.named("reading the tokens of some texts", content.STEPS - 1, content.STEPS)
    docs = sorted(set(texts)) if texts is not None else some_docs(sample.texts)
    tokens, why = tokens_of(
        dataset, docs, attention=attention, requested=texts is not None, track=token_track
    )
    return {
        "title": title(dataset),
        "about": content.facts(dataset),
        "points": map_points | {"seed": seed},
        **results,
        "tokens": tokens,
        "links": sentence_pairs,
        "tokens_note": why,
        "versions": versions(),
        "notes": attached.notes,
        "messages": messages_json(title=title(dataset), tokens_note=why, notes=attached.notes),
    }


def title(dataset: Layered) -> str:
    """Return the title of a dataset's page."""
    return dataset.path.resolve().name if isinstance(dataset, LayerDataset) else Message("note.memory")


def _with_short_mixes(probe: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a probe with `short_mixes`: the shortest form of each mix string in it, by mix string."""
    if probe is None:
        return None
    advice, learned = probe.get("advice") or {}, probe.get("learned") or {}
    mixes = [candidate.get("mix") for candidate in probe.get("candidates") or ()]
    mixes += [advice.get("best"), advice.get("cheapest"), learned.get("mix")]
    return {**probe, "short_mixes": {mix: short_mix(mix) for mix in mixes if isinstance(mix, str)}}


def _result(result: ResultSource, name: str, dataset: Layered) -> Mapping[str, Any] | None:
    """Return the JSON content of a result, after checking that it is of this dataset."""
    if result is None:
        return None
    data = result_content(result, name, name)
    source = data.get("dataset")
    source = source if isinstance(source, dict) else {}
    if source.get("sha256") != fingerprint(dataset):
        raise RequestError(
            f"{argument(name)} is of another dataset ({source.get('path', 'rows in memory')!s:.80}, or one since "
            f"changed), not of this one; make it again with `{VERBS[name]}`"
        )
    return data
