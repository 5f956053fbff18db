"""Geometry and similarity of the layers of a dataset, measured on a sample of whole texts.

All measures are taken on the same sample, with all of its layers in memory. Each measure becomes a job, so that only
the chosen ones are computed; the jackknife repeats a job for its interval. Sampling single rows instead of whole
texts would change the measures that compare rows of a text.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import SILENT, Tracker
from layerwise._util.threads import spread
from layerwise.arguments import argument
from layerwise.choices import one_of
from layerwise.columns import is_paired
from layerwise.errors import RequestError
from layerwise.geometry import depth, retrieval, separation, shape, similarity
from layerwise.geometry.analysis import Analysis, Measured
from layerwise.geometry.depth import LayerMeasure
from layerwise.geometry.dimension import two_nn
from layerwise.geometry.jackknife import FEW, Jackknife, RowMask
from layerwise.geometry.matching import same_rows
from layerwise.geometry.row_info import RowInfo, rows_info
from layerwise.geometry.sample import Sample, draw, pick
from layerwise.geometry.similarity import MEASURES, Measure
from layerwise.states import F32, I64, Layered

ROWS = 2000
INTERVALS = ("quick", "all", "none")
_SLOW = ("svcca", "pwcca", "procrustes")  # repeating them would take most of the time
_NEEDED = {"class_": "label", "against_": "against", "retrieval_": "pairs"}  # arguments, by prefix of a name
# Seconds of a measure on 2,000 rows of minilm's layers, without repeats (docs/performance.md); others: _FAST_SECONDS.
_SECONDS = {
    "effective_rank": 0.25,
    "dataset_entropy": 0.08,
    "intrinsic_dimension": 0.8,
    "linear_cka": 0.2,
    "debiased_cka": 0.2,
    "svcca": 0.9,
    "pwcca": 1.4,
    "rsa": 1.65,
    "procrustes": 0.5,
    "neighbour_overlap": 0.57,
}
_FAST_SECONDS = 0.03
_TOP_DIMENSIONS = 10  # dimensions reported per layer


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
    track: Tracker = SILENT,
) -> Analysis:
    """Return the geometry of a dataset's layers, and how similar they are.

    Args:
        dataset: rows on disk or in memory; all layers of the sampled rows are held in memory.
        label: a column of classes, for class separation and the dimensions that separate classes best.
        against: another dataset of the same texts, compared layer by layer.
        pairs: a column whose equal values make two texts a pair, for retrieval; `part` for a dataset of pairs.
        sides: with `pairs`, a column of two values, such as languages, that says which side a text is;
            when left out, the earlier row is side a.
        sample: the most rows to measure, drawn by whole texts, and the most pairs.
        seed: seed of the sample and of the groups of the jackknife.
        measures: names of the measures to take; all when left out.
        intervals: which intervals to compute where rows were sampled: `quick` (all but those of svcca, pwcca and
            procrustes, which take longest), `all` or `none`.
        track: progress of the measures and their repeats.

    Raises:
        RequestError: a column, a measure or a choice that doesn't exist, no rows, or an `against` dataset
            of other texts.
    """
    one_of("intervals", intervals, INTERVALS)
    reading, measuring = track.split(1, 9)
    reading.named("reading the layers")
    rows = draw(dataset, sample, seed)
    if not len(rows):
        raise RequestError("the dataset has no rows to analyze; extract some texts first")
    info, notes = rows_info(rows, label)
    sampled = _SampledLayers(rows, info, seed, intervals)
    if not rows.all and len(np.unique(rows.docs)) == 1:
        notes.append(
            "All sampled rows are the first ones of a single text, so there are no intervals; "
            f"{argument('max_rows')} sets how many."
        )
    jobs = sampled.jobs(notes)
    matched = None if against is None else same_rows(rows, against, notes)
    if matched is not None:
        jobs |= sampled.against(matched)
    if sides is not None and pairs is None:
        raise RequestError(
            f"{argument('sides', sides)} only applies to pairs; give {argument('pairs')} with it"
        )
    if pairs is not None:
        jobs |= _retrieval(dataset, pairs, sides, sample, seed, intervals, notes)
    chosen = _chosen(jobs, measures)
    names, costs = [f"measure {name}" for name in chosen], [_cost(name, sampled) for name in chosen]
    measured = {}
    for (name, job), step in measuring.each(list(chosen.items()), names, costs):
        measured[name] = job(step)
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
        notes=(*notes, *sampled.health(), *_undefined(rows.layers, measured)),
    )


Jobs = dict[str, Callable[[Tracker], Measured]]


def _cost(name: str, sampled: "_SampledLayers") -> float:
    """Return about how many seconds a measure takes, repeats included; see the table in docs/performance.md."""
    kind = name.removeprefix("against_")
    once = _SECONDS.get(kind, _FAST_SECONDS) / (len(sampled.names) if kind != name else 1)
    slow, few = kind in _SLOW, any(kind == measure.name for measure in MEASURES)
    repeated = sampled.slow if slow else sampled.few if few else sampled.repeated
    return once * (1 + len(repeated.folds))


class _SampledLayers:
    """The sampled rows with all their layers, and the measures that apply to them."""

    def __init__(self, sample: Sample, info: RowInfo, seed: int, intervals: str) -> None:
        self.names, self.level, self.info = sample.layers, sample.level, info
        self.layers = [sample.layer(name) for name in sample.layers]
        self.once = Jackknife((), 1)
        share = 1 if intervals == "none" else len(sample) / sample.of
        self.repeated = Jackknife.of(sample.docs, seed, share)
        self.few = Jackknife.of(sample.docs, seed, share, FEW)
        self.slow = self.few if intervals == "all" else self.once

    def jobs(self, notes: list[str]) -> Jobs:
        """Return the measures of each layer, and of each pair of layers, as jobs by name."""
        dimension = None
        try:
            dimension = two_nn()
        except RequestError as error:  # the other measures don't need it
            notes.append(str(error))
        jobs: Jobs = {}
        for layer_measure in depth.measures(self.level, self.info, dimension):
            jobs[layer_measure.name] = partial(self._layer_job, layer_measure)
        for measure in MEASURES:
            jobs[measure.name] = partial(self._matrix_job, measure)
        return jobs

    def against(self, other: Sample) -> Jobs:
        """Return the similarities of each layer to the layer of the same name in the other dataset, as jobs by name."""
        others = {name: other.layer(name) for name in self.names if name in other.layers}
        return {f"against_{m.name}": partial(self._against_job, m, others) for m in MEASURES}

    def _layer_job(self, measure: LayerMeasure, track: Tracker) -> Measured:
        def values(keep: RowMask) -> list[float]:
            info = self.info if keep is None else self.info.take(keep)
            return spread(lambda layer: measure.of(_rows(layer, keep), info), self.layers)

        return self.repeated.take(values, track, unit=measure.unit, source=measure.source, note=measure.note)

    def _matrix_job(self, measure: Measure[Any], track: Tracker) -> Measured:
        def values(keep: RowMask) -> NDArray[np.float64]:
            return similarity.matrix(measure, [_rows(layer, keep) for layer in self.layers])

        note = None if measure.symmetric else "The layer in the row is the first of a pair."
        return self._repeats(measure).take(
            values, track, unit=measure.unit, source=measure.source, note=note, alike=measure.alike
        )

    def _against_job(self, measure: Measure[Any], others: Mapping[str, F32], track: Tracker) -> Measured:
        layers = dict(zip(self.names, self.layers, strict=True))

        def value(name: str, keep: RowMask) -> float:
            if name not in others:
                return float("nan")
            x, y = _rows(layers[name], keep), _rows(others[name], keep)
            return measure.compare(measure.prepare(x), measure.prepare(y))

        def values(keep: RowMask) -> list[float]:
            return spread(lambda name: value(name, keep), self.names)

        return self._repeats(measure).take(values, track, unit=measure.unit, source=measure.source)

    def _repeats(self, measure: Measure[Any]) -> Jackknife:
        return self.slow if measure.name in _SLOW else self.few

    def dimensions(self) -> dict[str, dict[str, list[dict[str, float]]]]:
        """Return each layer's top dimensions: those that raise cosines most, and those that separate classes best."""
        dimensions = {"rogue": {name: _rogue(x) for name, x in zip(self.names, self.layers, strict=True)}}
        if self.info.labels is not None and (labelled := self.info.labels >= 0).any():
            labels = self.info.labels[labelled]
            ranked = [_ranked(layer[labelled], labels) for layer in self.layers]
            dimensions["classes"] = dict(zip(self.names, ranked, strict=True))
        return dimensions

    def health(self) -> list[str]:
        """Return notes for people on problems of the rows."""
        rows = len(self.layers[0])
        problems = [f"Only {rows} row{'s' * (rows > 1)}: most measures need 4 or more."] if rows < 4 else []
        for name, layer in zip(self.names, self.layers, strict=True):
            if not shape.finite(layer):
                problems.append(
                    f"Layer {name} holds values that aren't finite: most measures aren't defined there."
                )
            elif rows > 1 and not shape.centred(layer)[0].any():
                problems.append(
                    f"Layer {name} is the same in every row: measures that need variance aren't defined there."
                )
            elif not layer.any(axis=1).all():
                problems.append(f"Layer {name} has rows of zeros: cosines aren't defined there.")
        return problems


def _rows(layer: F32, keep: RowMask) -> F32:
    return layer if keep is None else layer[keep]


def _rogue(x: F32) -> list[dict[str, float]]:
    order, shares = shape.rogue_shares(x, _TOP_DIMENSIONS)
    return [{"dimension": int(d), "share": float(s)} for d, s in zip(order, shares, strict=True)]


def _ranked(x: F32, labels: I64) -> list[dict[str, float]]:
    ranking = separation.ranked_dimensions(x, labels, _TOP_DIMENSIONS)
    each = zip(ranking.dimensions, ranking.f, ranking.eta2, strict=True)
    return [{"dimension": int(d), "f": float(f), "eta2": float(e)} for d, f, e in each]


def _retrieval(
    dataset: Layered, column: str, sides: str | None, limit: int, seed: int, intervals: str, notes: list[str]
) -> Jobs:
    """Return how often a text's partner is its nearest neighbour, as jobs by direction."""
    pairs, alone = retrieval.pair_rows(dataset, column, sides)
    if alone:
        notes.append(
            f"{alone:,} texts have no partner, or more than one, by column {column!r}, and were left out."
        )
    if sides is None and not (column == "part" and is_paired(dataset)):
        notes.append(
            f"Without {argument('sides')} a pair's earlier row is a and its later one b: centring subtracts "
            "the mean of the earlier rows and of the later rows, not of each language."
        )
    total = len(pairs)
    if total > limit:
        pairs = pairs[np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))]
    numbers, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(pairs.shape)
    texts = pick(dataset, numbers)
    share = 1 if intervals == "none" else len(pairs) / total
    repeated = Jackknife.of(np.arange(len(pairs)), seed, share)
    note = f"Among {len(pairs):,} pairs; by chance {1 / len(pairs):.2g}."

    def values(keep: RowMask, *, direction: int, centred: bool) -> list[float]:
        chosen = place if keep is None else place[keep]

        def value(layer: F32) -> float:
            return retrieval.accuracy(layer[chosen[:, 0]], layer[chosen[:, 1]], centred=centred)[direction]

        return spread(value, map(texts.layer, texts.layers))

    def job(name: str, track: Tracker) -> Measured:
        take = partial(values, direction=int(name.startswith("ba")), centred=name.endswith("centred"))
        return repeated.take(take, track, unit="share of texts", source=retrieval.SOURCE, note=note)

    return {f"retrieval_{name}": partial(job, name) for name in retrieval.DIRECTIONS}


def _chosen(jobs: Jobs, names: Sequence[str] | None) -> Jobs:
    if names is None:
        return jobs
    names = [names] if isinstance(names, str) else names
    unknown = [name for name in names if name not in jobs]
    if unknown:
        needs = next(
            (
                f" (it needs {argument(option)})"
                for start, option in _NEEDED.items()
                if unknown[0].startswith(start)
            ),
            "",
        )
        raise RequestError(
            f"{argument('measure', unknown[0])} isn't available for this dataset{needs}; there are {', '.join(jobs)}"
        )
    return {name: job for name, job in jobs.items() if name in names}


def _undefined(layers: Sequence[str], measures: Mapping[str, Measured]) -> list[str]:
    """Return notes on the layers where measures are undefined; measures undefined for the same layers share a note."""
    places: dict[tuple[str, ...], list[str]] = {}
    for name, measure in measures.items():
        lacking = np.isnan(measure.values).reshape(len(layers), -1).all(axis=1)
        if lacking.any():
            places.setdefault(tuple(np.array(layers)[lacking]), []).append(name)
    every = tuple(layers)
    return [
        f"Not defined {'anywhere' if at == every else 'for layer ' + ', '.join(at)}: {', '.join(names)}."
        for at, names in places.items()
    ]
