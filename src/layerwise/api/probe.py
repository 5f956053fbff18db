"""probe: which layer, which mix, with evidence; and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import limited
from layerwise.errors import RequestError
from layerwise.extraction.untrained import untrained
from layerwise.figures import plots
from layerwise.figures.markdown import probe_markdown
from layerwise.probing.probe import probe as look
from layerwise.store import disk
from layerwise.store.layout import to_json
from layerwise.store.reader import open_rows
from layerwise.store.result_provenance import about

if TYPE_CHECKING:
    from layerwise.probing.results import ProbeResult
    from layerwise.states import Layered


def probe(
    dataset: Layered | str | Path,
    task: str,
    label: str,
    *,
    out: str | Path | None = None,
    mix: Sequence[str] | None = None,
    groups: str | None = None,
    split: str | None = None,
    quick: bool = False,
    seed: int = 0,
    max_rows: int = 20_000,
    random_model: bool = False,
    progress: Callback | None = None,
    threads: int | None = None,
) -> ProbeResult:
    """Score every layer and several mixes of a dataset for a label, and say which to take.

    Args:
        dataset: a dataset, its folder, or states in memory.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels.
        out: a folder for probe.json, probe.md and a figure (SVG and PNG); it may not exist.
        mix: mix strings to score besides the single layers; a few common ones when left out.
        groups: a column; texts with equal values are never split between training and test.
        split: a column of `train`, `dev` and `test`.
        quick: 1 × 5 folds instead of 5 × 5.
        seed: of folds, samples and resamples.
        max_rows: at most so many rows are used, drawn by whole texts.
        random_model: score the best candidate on the same architecture with random weights as well, by three
            seeds; the dataset must hold its texts.
        progress: called with how far it has come; see `lw.Progress`.
        threads: how many to compute with; see `lw.extract`.

    Returns:
        the result; its `advice.text` is the answer in words.

    Raises:
        RequestError: labels, classes, texts, columns or mixes that the question can't be answered with.
        DatasetError: no dataset.
        OutputError: an `out` that exists, or can't be written to.
    """
    target = Path(out) if out is not None else None
    if target is not None:
        disk.check_new(target)
    opened = open_rows(dataset).checked()
    with limited(threads), tracking(progress) as track:
        result = look(
            opened,
            task,
            label,
            mixes=mix,
            groups=groups,
            split=split,
            quick=quick,
            seed=seed,
            max_rows=max_rows,
            random_models=untrained(opened, seed) if random_model else (),
            track=track,
        )
        result = replace(result, about=about(opened))
        if target is not None:
            result = _write(result, target)
    return result


def _write(found: ProbeResult, target: Path) -> ProbeResult:
    with disk.new(target) as part:
        part.mkdir()
        try:
            plots.save(plots.layer_curve(found), part / "probe")
            if found.learned is not None:
                plots.save(plots.weights(found), part / "weights")
        except RequestError as error:  # the figure is an extra; the numbers aren't
            found = replace(found, notes=(*found.notes, str(error)))
        result = found.to_json()
        disk.write_file(part / "probe.json", to_json(result))
        disk.write_file(part / "probe.md", probe_markdown(result).encode())
    return found
