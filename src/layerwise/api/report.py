"""report: one page that shows a dataset, its probe and its analysis."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerwise._util.paths import local_path
from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import limited
from layerwise.figures.page import page
from layerwise.page.content import STEPS
from layerwise.page.costs import shown_costs
from layerwise.page.report import POINTS, ResultSource, page_data
from layerwise.states import Layered
from layerwise.store import disk
from layerwise.store.reader import open_rows


def report(
    dataset: Layered | str | Path,
    out: str | Path,
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
) -> Path:
    """Write one HTML file that shows a dataset: it opens from disk, and needs no network.

    Args:
        dataset: a dataset, its folder, or states in memory.
        out: the file; it must not exist.
        probe, analysis: results of this dataset (of `lw.probe`, `lw.analyze`), or their folders.
        links: a file that `lw.align` wrote, or its result: the page shows the first sentence pairs with their links.
        costs: a table that `lw.cut` measured, or the file that it was written to: the page shows what each cut costs.
        lang: `en` or `zh`.
        points: the largest number of rows on the map; whole texts are sampled.
        seed: seed of the sample, and of UMAP.
        labels_from: a file of labels that colour the points, or `FILE:COL`; or in memory a data frame or a list. They are
            joined to the texts by the column `id` if both have one, else by order.
        umap: project layers by UMAP instead of PCA (needs the extra `umap`).
        texts: numbers of the texts whose tokens are shown; a few by default.
        attention: show attention maps of these texts, with at most a million numbers: for deep models or many
            texts only for the first tokens of each text; a note on the page then says so.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        the path of the file.

    Raises:
        RequestError: results of another dataset, or a language, a text or an extra that doesn't exist.
        DatasetError: no dataset.
        ModelError: attention of a model that can't be found, or that gives none.
        OutputError: `out` exists, or can't be written to.
    """
    target = local_path(out)
    disk.check_new(target)
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
        html = page({**data, "costs": cut_costs}, lang)
        with disk.new(target) as part:
            disk.write_synced(part, html.encode("utf-8", "replace"))
    return target
