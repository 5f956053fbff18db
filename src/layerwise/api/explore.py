"""explore: the page of a dataset in a notebook, or with its data behind it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import limited
from layerwise.figures.page import as_json, page
from layerwise.page.backend import POINTS, NotebookPage, PageBackend, answer
from layerwise.page.content import STEPS
from layerwise.page.report import page_data, title
from layerwise.states import Layered
from layerwise.store.reader import open_rows


def explore(
    dataset: Layered | str | Path,
    *,
    lang: str = "en",
    progress: Callback | None = None,
    threads: int | None = None,
    **options: Any,
) -> NotebookPage:
    """Return the page of a dataset, or of states in memory, for a notebook to show.

    Args:
        dataset: a dataset, its folder, or states in memory.
        lang: `en` or `zh`.
        progress: called with how far it has come; see `lw.Progress`.
        threads: how many to compute with; see `lw.extract`.
        **options: `probe`, `analysis`, `points`, `seed`, `umap`, `texts`, `attention` of `lw.report`.

    Raises:
        LayerwiseError: as `lw.report` does.
    """
    opened = open_rows(dataset)
    with limited(threads), tracking(progress) as track:
        making, writing = track.split(9, 1)
        data = page_data(opened, track=making, **options)
        writing.named("writing the page", STEPS, STEPS)
        return NotebookPage(page(data, lang))


def served(
    dataset: Layered | str | Path,
    *,
    lang: str = "en",
    points: int = POINTS,
    progress: Callback | None = None,
    threads: int | None = None,
    **options: Any,
) -> tuple[str, Callable[[str, Mapping[str, str]], str]]:
    """Return the page of a dataset whose data stays behind it, and what answers its requests in JSON.

    Args:
        dataset, lang, progress, threads, options: as for `explore`.
        points: rows on the map.
    """
    opened = open_rows(dataset)
    html = page({"title": title(opened)}, lang, remote=True)
    with limited(threads), tracking(progress) as track:
        explored = PageBackend(opened, points=points, track=track, **options)

    def answered(what: str, query: Mapping[str, str]) -> str:
        with limited(threads):
            return as_json(answer(explored, what, query))

    return html, answered
