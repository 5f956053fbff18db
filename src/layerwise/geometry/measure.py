"""Geometry and similarity of the layers of a dataset, measured on a sample of whole texts.

All measures are computed on the same sample, with all of its layers in memory. Sampling single rows instead of whole texts
would change the measures that compare rows of a text.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.choices import one_of
from layerwise.errors import RequestError
from layerwise.geometry.analysis import Analysis, Measured
from layerwise.geometry.block_influence import NAME as BLOCK_INFLUENCE
from layerwise.geometry.chosen_measures import choose
from layerwise.geometry.jobs import SampledLayers, retrieval_jobs, sampled_pairs
from layerwise.geometry.leakage import Leakage
from layerwise.geometry.matching import same_rows
from layerwise.geometry.row_info import rows_info
from layerwise.geometry.sample import draw
from layerwise.geometry.token_truth import AttackerOf
from layerwise.states import Layered
from layerwise.wording import Message, measure_name

ROWS = 2000
INTERVALS = ("quick", "all", "none")


def analyze(
    dataset: Layered,
    *,
    label: str | None = None,
    against: Layered | None = None,
    pairs: str | None = None,
    sides: str | None = None,
    sample: int = ROWS,
    seed: int = 0,
    measures: Sequence[str] | None = None,
    intervals: str = "quick",
    attacker: AttackerOf | None = None,
    track: Tracker = SILENT,
) -> Analysis:
    """Return the geometry of a dataset's layers, and how similar they are.

    Args:
        dataset: rows on disk or in memory; all layers of the sampled rows are held in memory.
        label: a column of classes, for class separation and the dimensions that separate classes best.
        against: another dataset of the same texts, compared layer by layer.
        pairs: a column whose equal values make two texts a pair, for retrieval; `part` for a dataset of pairs.
        sides: with `pairs`, a column that gives the side of a text, such as its language; two or more. When left out,
            the earlier row is side a.
        sample: the largest number of rows to measure, and of pairs; whole texts are sampled.
        seed: seed of the sample and of the groups of the jackknife.
        measures: names of the measures to compute, or words of their names; all when left out.
        intervals: which intervals to compute where rows were sampled: `quick` (all but those of svcca, pwcca and
            procrustes, which take longest), `all` or `none`.
        attacker: gives what an attacker knows, for leakage, which is only measured if it is named.
        track: progress of the measures and their repeats.

    Raises:
        RequestError: a column, a measure or an option value that doesn't exist, no rows, or an `against` dataset
            of other texts.
    """
    one_of("intervals", intervals, INTERVALS)
    reading, measuring = track.split(1, 9)
    reading.named("reading the layers")
    rows = draw(dataset, sample, seed)
    if not len(rows):
        raise RequestError("the dataset has no rows to analyze; extract some texts first")
    info, notes = rows_info(rows, label)
    sampled = SampledLayers(rows, info, seed, intervals)
    if not rows.all and len(np.unique(rows.docs)) == 1:
        notes.append(Message("note.one.text", option=argument("max_rows")))
    jobs = sampled.jobs(notes)
    matched = None if against is None else same_rows(rows, against, notes)
    if matched is not None:
        jobs |= sampled.against(matched)
    if sides is not None and pairs is None:
        raise RequestError(
            f"{argument('sides', sides)} only applies to pairs; give {argument('pairs')} with it"
        )
    paired = None
    if pairs is not None:
        paired = sampled_pairs(dataset, pairs, sides, sample, seed, notes, intervals=intervals != "none")
        jobs |= retrieval_jobs(paired)
    names_given = [measures] if isinstance(measures, str) else measures
    jobs |= Leakage(rows, sampled.layers, attacker, seed).jobs(names_given, notes)
    chosen = choose(jobs, measures)
    names, costs = [f"measure {name}" for name in chosen], [sampled.cost(name) for name in chosen]
    measured = {}
    for (name, job), step in measuring.each(list(chosen.items()), names, costs):
        measured[name] = job(step)
    advice = None if paired is None else paired.advice()
    if paired is not None and paired.hits:
        notes += paired.advice_notes(advice)
    return Analysis(
        layers=rows.layers,
        rows=len(rows),
        of=rows.of,
        texts=len(np.unique(rows.docs)),
        seed=seed,
        level=rows.level,
        pool=rows.pool,
        label=label,
        measures=measured,
        dimensions=sampled.dimensions(),
        notes=(*notes, *sampled.notes(), *_undefined(rows.layers, measured)),
        retrieval=advice,
    )


def _undefined(layers: Sequence[str], measures: Mapping[str, Measured]) -> list[Message]:
    """Return notes on the layers where measures are undefined; measures undefined for the same layers share a note."""
    places: dict[tuple[str, ...], list[str]] = {}
    for name, measure in measures.items():
        if name == BLOCK_INFLUENCE:
            continue  # the embeddings are no block
        by_layer = measure.values if measure.directions is None else measure.values.T
        lacking = np.isnan(by_layer).reshape(len(layers), -1).all(axis=1)
        at = tuple(layers[place] for place in np.flatnonzero(lacking).tolist())
        if at:
            places.setdefault(at, []).append(measure_name(name))
    every = tuple(layers)
    return [
        Message("note.undefined", measures=names)
        if at == every
        else Message("note.undefined.layers", layers=at, measures=names)
        for at, names in places.items()
    ]
