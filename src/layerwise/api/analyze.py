"""analyze: geometry and similarity of layers, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.paths import local_path
from layerwise._util.progress import Callback, tracking
from layerwise._util.silence import warned_once
from layerwise._util.threads import limited
from layerwise.choices import LANGS, one_of
from layerwise.extraction.attacker import table_and_tokens
from layerwise.figures.result_figures import save_analysis_figures
from layerwise.geometry.measure import analyze as measure_layers
from layerwise.geometry.projection import project
from layerwise.geometry.sample import draw
from layerwise.labels.attached import with_labels
from layerwise.labels.spelling import row_names
from layerwise.options import AnalyzeOptions, check_types
from layerwise.store import disk
from layerwise.store.layout import to_json
from layerwise.store.reader import open_rows
from layerwise.store.result_folder import result_folder
from layerwise.store.result_provenance import provenance_of

if TYPE_CHECKING:
    from layerwise.geometry.analysis import Analysis
    from layerwise.states import Layered


def analyze(
    dataset: Layered | str | Path,
    *,
    label: str | None = None,
    labels_from: Any = None,
    out: str | Path | None = None,
    against: Layered | str | Path | None = None,
    pairs: str | None = None,
    sides: str | None = None,
    max_rows: int = 2000,
    measure: Sequence[str] | None = None,
    source: str | Path | Sequence[str | Path] | None = None,
    intervals: str = "quick",
    lang: str = "en",
    seed: int = 0,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Analysis:
    """Measure how the layers of a dataset are shaped, and how alike they are.

    Args:
        dataset: a dataset, its folder, or states in memory.
        label: a column of classes, for how far each layer separates them.
        labels_from: a file of these classes, or `FILE:COL`; or in memory a data frame or a list. They are joined to the
            texts by the column `id` if both have one, else by order.
        out: a folder for analysis.json and figures (SVG and PNG); it must not exist.
        against: another dataset of the same texts, its folder, or states in memory, compared layer by layer.
        pairs: a column whose equal values join two texts, for retrieval; `part` for a dataset of pairs.
        sides: with `pairs`, a column with the side of each text, such as its language; two values or more.
        max_rows: the largest number of rows to use; whole texts are sampled.
        measure: names of the measures to compute, or words of their names, such as `retrieval` or `cka`; all but
            `leakage` by default, which also needs the model of the dataset (see "Privacy" in the documentation).
        source: for leakage, the texts that the dataset was made from, if it stores none; they are read anew, and nothing of
            them is stored.
        intervals: which 95% intervals to compute if rows are sampled: `quick`: all but those of svcca, pwcca and
            procrustes, which take longest; `all`; `none`.
        lang: the language of the figures, `en` or `zh`; analysis.json has its sentences in English, and as messages that can be
            said in every language.
        seed: seed of the sample.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        the measures: `analysis["linear_cka"].values` is a matrix layers × layers.

    Raises:
        RequestError: a column, a measure or an option value that doesn't exist, or other texts in `against`.
        DatasetError: no dataset.
        OutputError: `out` exists, or can't be written to.
    """
    options = {
        "label": label,
        "pairs": pairs,
        "sides": sides,
        "max_rows": max_rows,
        "seed": seed,
        "measure": measure,
        "intervals": intervals,
        "lang": lang,
    }
    check_types(AnalyzeOptions, options)
    one_of("lang", lang, LANGS)
    target = local_path(out) if out is not None else None
    if target is not None:
        disk.check_new(target)
    opened, other = open_rows(dataset), None if against is None else open_rows(against)
    attached = with_labels(opened, labels_from, label)
    with warned_once(), limited(threads), tracking(progress) as track:
        measuring, drawing = track.split(19, 0 if target is None else 1)
        result = measure_layers(
            attached.dataset,
            label=attached.label,
            against=other,
            pairs=pairs,
            sides=sides,
            sample=max_rows,
            seed=seed,
            measures=measure,
            intervals=intervals,
            attacker=partial(table_and_tokens, opened, source),
            track=measuring,
        )
        provenance = provenance_of(opened) | {"labels_from": attached.record}
        if other is not None:
            provenance["against"] = provenance_of(other).get("dataset", {})
        notes = (*attached.notes, *result.notes)
        result = replace(result, notes=notes, provenance=provenance)
        if target is not None:
            drawing.named("drawing the figures")
            sample = draw(attached.dataset, max_rows, seed)
            plane = project([sample.layer(name) for name in sample.layers])
            labels = row_names(sample, result.label)
            with result_folder(target) as folder:
                figure_notes = save_analysis_figures(
                    result.to_json(), folder, plane.coords, plane.explained, labels, lang
                )
                result = replace(result, notes=(*result.notes, *figure_notes))
                disk.write_file(folder / "analysis.json", to_json(result.to_json()))
    return result
