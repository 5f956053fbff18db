"""explore: the page of a dataset in a notebook, or served with its data behind it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import limited
from layerwise.figures.page import as_json, page
from layerwise.options import PageOptions, part
from layerwise.page.backend import NotebookPage, PageBackend, answer
from layerwise.page.content import STEPS
from layerwise.page.costs import shown_costs
from layerwise.page.report import POINTS, ResultSource, page_data, title
from layerwise.states import Layered
from layerwise.store.reader import open_rows
from layerwise.wording import in_language, messages_json


def explore(
    dataset: Layered | str | Path,
    *,
    probe: ResultSource = None,
    analysis: ResultSource = None,
    links: Any = None,
    costs: Any = None,
    lang: str = "en",
    points: int = POINTS,
    seed: int = 0,
    labels_from: Any = None,
    umap: bool = False,
    texts: Sequence[int] | None = None,
    attention: bool = False,
    progress: Callback | None = None,
    threads: int | None = None,
) -> NotebookPage:
    """Return the page of a dataset, or of states in memory, for a notebook to show.

    Args:
        dataset: a dataset, its folder, or states in memory.
        probe, analysis, links, costs, lang, points, seed, labels_from, umap, texts, attention: see `lw.report`.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        a page that a notebook displays; its `html` is the same as the file of `lw.report`.

    Raises:
        LayerwiseError: as `lw.report` does.
    """
    opened = open_rows(dataset)
    cut_costs = shown_costs(costs, opened)
    with limited(threads), tracking(progress) as track:
        making, writing = track.split(9, 1)
        data = page_data(
            opened,
            probe=probe,
            analysis=analysis,
            links=links,
            points=points,
            seed=seed,
            labels_from=labels_from,
            umap=umap,
            texts=texts,
            attention=attention,
            track=making,
        )
        writing.named("writing the page", STEPS, STEPS)
        return NotebookPage(page({**data, "costs": cut_costs}, lang))


def served(
    dataset: Layered | str | Path,
    options: PageOptions,
    *,
    progress: Callback | None = None,
    threads: int | None = None,
) -> tuple[str, Callable[[str, Mapping[str, str]], str]]:
    """Return the page of a dataset that requests its data, and the function that answers its requests in JSON.

    Args:
        dataset: a dataset, its folder, or states in memory.
        options: what the page shows.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Raises:
        LayerwiseError: as `lw.report` does.
    """
    opened = open_rows(dataset)
    html = page(
        {"title": title(opened), "messages": messages_json(title=title(opened))}, options.lang, remote=True
    )
    cut_costs = shown_costs(options.costs, opened)
    apart = ("lang", "costs")
    shown = {name: value for name, value in part(options, PageOptions).items() if name not in apart}
    with limited(threads), tracking(progress) as track:
        backend = PageBackend(opened, track=track, **shown)

    def answer_json(request: str, query: Mapping[str, str]) -> str:
        with limited(threads):
            content = answer(backend, request, query)
            content = {**content, "costs": cut_costs} if request == "head" else content
            return as_json(in_language(content, options.lang) if request == "head" else content)

    return html, answer_json
