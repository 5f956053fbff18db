"""analyze: geometry and similarity of layers, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import limited
from layerwise.columns import column_values, there
from layerwise.errors import RequestError
from layerwise.figures import plots
from layerwise.figures.result_access import of_pairs, per_layer
from layerwise.geometry.measure import analyze as look
from layerwise.geometry.projection import project
from layerwise.geometry.sample import draw
from layerwise.store import disk
from layerwise.store.layout import to_json
from layerwise.store.reader import open_rows
from layerwise.store.result_provenance import about

if TYPE_CHECKING:
    from layerwise.geometry.analysis import Analysis
    from layerwise.geometry.sample import Sample
    from layerwise.states import Layered


def analyze(
    dataset: Layered | str | Path,
    *,
    out: str | Path | None = None,
    label: str | None = None,
    against: Layered | str | Path | None = None,
    pairs: str | None = None,
    sides: str | None = None,
    max_rows: int = 2000,
    seed: int = 0,
    measure: Sequence[str] | None = None,
    intervals: str = "quick",
    progress: Callback | None = None,
    threads: int | None = None,
) -> Analysis:
    """Measure how the layers of a dataset are shaped, and how alike they are.

    Args:
        dataset: a dataset, its folder, or states in memory.
        out: a folder for analysis.json and figures (SVG and PNG); it may not exist.
        label: a column of classes, for how far each layer separates them.
        against: another dataset of the same texts, or its folder, compared layer by layer.
        pairs: a column whose equal values join two texts, for retrieval; `part` for a dataset of pairs.
        sides: with `pairs`, a column of two values, such as languages, that tells the two texts apart.
        max_rows: at most so many rows are looked at, drawn by whole texts.
        seed: of the sample.
        measure: only these measures, by name; all when left out.
        intervals: where rows were sampled: `quick` leaves out those of svcca, pwcca and procrustes, which take
            longest; `all`; `none`.
        progress: called with how far it has come; see `lw.Progress`.
        threads: how many to compute with; see `lw.extract`.

    Returns:
        the result; `analysis["linear_cka"].values` is a matrix layers × layers.

    Raises:
        RequestError: a column, a measure or a choice that doesn't exist, or other texts in `against`.
        DatasetError: no dataset.
        OutputError: an `out` that exists, or can't be written to.
    """
    target = Path(out) if out is not None else None
    if target is not None:
        disk.check_new(target)
    opened, other = open_rows(dataset), None if against is None else open_rows(against)
    with limited(threads), tracking(progress) as track:
        measuring, drawing = track.split(19, 0 if target is None else 1)
        result = look(
            opened,
            label=label,
            against=other,
            pairs=pairs,
            sides=sides,
            sample=max_rows,
            seed=seed,
            measures=measure,
            intervals=intervals,
            track=measuring,
        )
        provenance = about(opened)
        if other is not None:
            provenance["against"] = about(other).get("dataset", {})
        result = replace(result, about=provenance)
        if target is not None:
            drawing.named("drawing the figures")
            result = _write(result, draw(opened, max_rows, seed), target)
    return result


def _write(result: Analysis, drawn: Sample, target: Path) -> Analysis:
    with disk.new(target) as part:
        part.mkdir()
        try:
            _figures(result, drawn, part)
        except RequestError as error:  # the figures are an extra; the numbers aren't
            result = replace(result, notes=(*result.notes, str(error)))
        disk.write_file(part / "analysis.json", to_json(result.to_json()))
    return result


def _figures(analysis: Analysis, drawn: Sample, part: Path) -> None:
    result = analysis.to_json()
    for name in of_pairs(result):
        plots.save(plots.heatmap(result, name), part / name)
    if per_layer(result):
        plots.save(plots.geometry(result), part / "geometry")
    laid = project([drawn.layer(name) for name in drawn.layers])
    values = [] if analysis.label is None else column_values(drawn, analysis.label)[0]
    labels = [str(value) if there(value) else None for value in values] or None
    figure = plots.projection(
        laid.coords, drawn.layers, labels, explained=laid.explained, name=analysis.label
    )
    plots.save(figure, part / "projection")
