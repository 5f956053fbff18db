"""What the page of a dataset shows: its points, its probe, its analysis, the tokens of some texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.guarded import read_json
from layerwise._util.progress import SILENT, Tracker
from layerwise._util.versions import versions
from layerwise.errors import RequestError
from layerwise.geometry.sample import draw
from layerwise.geometry.umap import umap as by_umap
from layerwise.page import content
from layerwise.page.tokens import some_docs, tokens_of
from layerwise.store import LayerDataset
from layerwise.store.result_provenance import fingerprint

if TYPE_CHECKING:
    from layerwise.states import Layered

POINTS = 5000
_VERBS = {"probe": "probe", "analysis": "analyze"}
Result = Any
"""A result in memory, the folder that it was written to, or `None`."""


def page_data(
    dataset: Layered,
    *,
    probe: Result = None,
    analysis: Result = None,
    points: int = POINTS,
    seed: int = 0,
    umap: bool = False,
    texts: Sequence[int] | None = None,
    attention: bool = False,
    near: bool = True,
    track: Tracker = SILENT,
) -> dict[str, Any]:
    """Return all that the page shows; see `api.report`, and `show.page` for its shape.

    Args:
        near: with the neighbours of every point among the points.
        track: reports what is being done.
    """
    results = {
        "probe": _result(probe, "probe", dataset),
        "analysis": _result(analysis, "analysis", dataset),
    }
    flat = by_umap(seed) if umap else None
    drawn = draw(dataset, points, seed)
    if not len(drawn):
        raise RequestError("the dataset has no rows to show; extract some texts first")
    asked = [found["label"] for found in results.values() if found and isinstance(found.get("label"), str)]
    mapping, looking = track.split(3, 1)
    shown = content.points(drawn, flat=flat, near=near, first=asked, track=mapping)
    looking = looking.named("looking at the tokens of some texts", content.STEPS - 1, content.STEPS)
    docs = sorted(set(texts)) if texts is not None else some_docs(drawn.texts)
    tokens, why = tokens_of(dataset, docs, attention=attention, asked=texts is not None, track=looking)
    return {
        "title": title(dataset),
        "about": content.about(dataset),
        "points": shown | {"seed": seed},
        **results,
        "tokens": tokens,
        "tokens_note": why,
        "versions": versions(),
        "notes": [],
    }


def title(dataset: Layered) -> str:
    """Return what a page of a dataset is called."""
    return dataset.path.resolve().name if isinstance(dataset, LayerDataset) else "states in memory"


def _result(given: Result, name: str, dataset: Layered) -> Mapping[str, Any] | None:
    """Return a result as JSON holds it, after making sure that it is of this dataset."""
    if given is None:
        return None
    if isinstance(given, str | Path):
        found = _read(Path(given), name)
    else:
        found = dict(given) if isinstance(given, Mapping) else _content(given, name)
    _check_kind(found, name, name)
    other = found.get("dataset")
    other = other if isinstance(other, dict) else {}
    if other.get("sha256") != fingerprint(dataset):
        raise RequestError(
            f"--{name} is of another dataset ({other.get('path', 'rows in memory')!s:.80}, or one since "
            f"changed), not of this one; make it again with `layerwise {_VERBS[name]}`"
        )
    return found


def _content(given: Any, name: str) -> dict[str, Any]:
    if not hasattr(given, "to_json"):
        raise RequestError(f"{name} can't be {given!r:.60}; give a result, or the folder of one")
    found: dict[str, Any] = given.to_json()
    return found


def _read(folder: Path, name: str) -> dict[str, Any]:
    file = folder / f"{name}.json" if folder.is_dir() else folder
    try:
        found = read_json(file)
    except OSError as error:
        what = error.strerror or error
        raise RequestError(
            f"--{name} {folder}: {what}; give the folder that `layerwise {_VERBS[name]} --out` wrote"
        ) from None
    except ValueError as error:
        raise RequestError(f"{file} isn't JSON ({error}); make it again") from None
    _check_kind(found, name, str(file))
    return dict(found)


def _check_kind(found: Any, name: str, where: str) -> None:
    """Raise RequestError for what is no result of the kind `name`, or a damaged one."""
    if name == "probe":
        fine = isinstance(found, Mapping) and isinstance(found.get("candidates"), list | tuple)
    else:
        fine = (
            isinstance(found, Mapping)
            and isinstance(found.get("measures"), Mapping)
            and isinstance(found.get("layers"), list | tuple)
            and bool(found["layers"])
        )
        fine = fine and all(
            isinstance(one, Mapping)
            and isinstance(one.get("values"), list | tuple)
            and len(one["values"]) == len(found["layers"])
            for one in found["measures"].values()
        )
    if not fine:
        raise RequestError(
            f"{where} holds no {name}, or a damaged one; make it again with `layerwise {_VERBS[name]}`"
        )
