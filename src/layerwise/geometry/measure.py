"""Geometry and similarity of the layers of a dataset, on a sample of whole texts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import SILENT, Tracker
from layerwise._util.threads import spread
from layerwise.columns import is_paired
from layerwise.errors import RequestError
from layerwise.geometry import depth, retrieval, separation, shape, similarity
from layerwise.geometry.analysis import Analysis, Measured
from layerwise.geometry.depth import Depth
from layerwise.geometry.dimension import two_nn
from layerwise.geometry.jackknife import FEW, Keep, Repeated
from layerwise.geometry.matching import same_rows
from layerwise.geometry.row_info import About, about_rows
from layerwise.geometry.sample import Sample, draw, pick
from layerwise.geometry.similarity import MEASURES, Measure
from layerwise.states import F32, I64, Layered

ROWS = 2000
INTERVALS = ("quick", "all", "none")
_SLOW = ("svcca", "pwcca", "procrustes")  # to repeat them would take most of the time
_NEED = {"class_": "--label", "against_": "--against", "retrieval_": "--pairs"}
# Seconds of a measure, once on 2,000 rows of minilm's layers (docs/performance.md); the others take _LITTLE.
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
_LITTLE = 0.03
_FOREMOST = 10  # dimensions that are named per layer


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
    """Return how the layers of a dataset are shaped, and how alike they are.

    Args:
        dataset: rows on disk or in memory; of the rows looked at all layers are in memory.
        label: a column of classes, for class separation and the dimensions that tell classes apart.
        against: another dataset of the same texts, to be compared with layer by layer.
        pairs: a column whose equal values join two texts, for retrieval; `part` for a dataset of pairs.
        sides: with `pairs`, a column of two values, such as languages, that tells the two apart; when left
            out, the earlier row is side a.
        sample: at most so many rows are looked at, drawn by whole texts, and at most so many pairs.
        seed: of the sample, and of the groups of the jackknife.
        measures: only these, by name; all when left out.
        intervals: where rows were sampled: `quick` leaves out those of svcca, pwcca and procrustes,
            which take longest; `all`, `none`.
        track: reports the measures, and their repeats.

    Raises:
        RequestError: a column, a measure or a choice that doesn't exist, no rows, or another dataset
            with other texts.
    """
    if intervals not in INTERVALS:
        raise RequestError(f"--intervals {intervals!r} doesn't exist; choose one of {', '.join(INTERVALS)}")
    reading, measuring = track.split(1, 9)
    reading.named("reading the layers")
    drawn = draw(dataset, sample, seed)
    if not len(drawn):
        raise RequestError("the dataset has no rows to analyze; extract some texts first")
    about, notes = about_rows(drawn, label)
    looked = _Looked(drawn, about, seed, intervals)
    if not drawn.all and len(np.unique(drawn.docs)) == 1:
        notes.append(
            "All rows looked at are of one text, its first ones, so there are no intervals; --sample sets how many."
        )
    jobs = looked.jobs(notes)
    other = None if against is None else same_rows(drawn, against, notes)
    if other is not None:
        jobs |= looked.against(other)
    if sides is not None and pairs is None:
        raise RequestError(f"--sides {sides!r} tells the two texts of a pair apart; give --pairs COL with it")
    if pairs is not None:
        jobs |= _retrieval(dataset, pairs, sides, sample, seed, intervals, notes)
    chosen = _chosen(jobs, measures)
    names, costs = [f"measure {name}" for name in chosen], [_cost(name, looked) for name in chosen]
    found = {}
    for (name, job), step in measuring.each(list(chosen.items()), names, costs):
        found[name] = job(step)
    return Analysis(
        layers=drawn.layers,
        rows=len(drawn),
        of=drawn.of,
        texts=len(np.unique(drawn.docs)),
        seed=seed,
        level=drawn.level,
        pool=drawn.pool,
        label=label,
        measures=found,
        dimensions=looked.dimensions(),
        notes=(*notes, *looked.health(), *_undefined(drawn.layers, found)),
    )


Jobs = dict[str, Callable[[Tracker], Measured]]


def _cost(name: str, looked: "_Looked") -> float:
    """Return about how long a measure takes against others; see the table in docs/performance.md."""
    kind = name.removeprefix("against_")
    once = _SECONDS.get(kind, _LITTLE) / (len(looked.names) if kind != name else 1)
    slow, few = kind in _SLOW, any(kind == measure.name for measure in MEASURES)
    repeated = looked.slow if slow else looked.few if few else looked.repeated
    return once * (1 + len(repeated.folds))


class _Looked:
    """The rows looked at, all layers of them, and the measures that suit them."""

    def __init__(self, drawn: Sample, about: About, seed: int, intervals: str) -> None:
        self.names, self.level, self.about = drawn.layers, drawn.level, about
        self.layers = [drawn.layer(name) for name in drawn.layers]
        self.once = Repeated((), 1)
        share = 1 if intervals == "none" else len(drawn) / drawn.of
        self.repeated = Repeated.of(drawn.docs, seed, share)
        self.few = Repeated.of(drawn.docs, seed, share, FEW)
        self.slow = self.few if intervals == "all" else self.once

    def jobs(self, notes: list[str]) -> Jobs:
        """Return what is to be taken of each layer, and of each pair of layers, by name."""
        dimension = None
        try:
            dimension = two_nn()
        except RequestError as error:  # the other measures don't need it
            notes.append(str(error))
        found: Jobs = {}
        for one in depth.measures(self.level, self.about, dimension):
            found[one.name] = partial(self._depth, one)
        for measure in MEASURES:
            found[measure.name] = partial(self._matrix, measure)
        return found

    def against(self, other: Sample) -> Jobs:
        """Return how alike each layer is to the layer of that name in the other dataset."""
        others = {name: other.layer(name) for name in self.names if name in other.layers}
        return {f"against_{m.name}": partial(self._against, m, others) for m in MEASURES}

    def _depth(self, one: Depth, track: Tracker) -> Measured:
        def values(keep: Keep) -> list[float]:
            about = self.about if keep is None else self.about.take(keep)
            return spread(lambda layer: one.of(_rows(layer, keep), about), self.layers)

        return self.repeated.take(values, track, unit=one.unit, source=one.source, note=one.note)

    def _matrix(self, measure: Measure[Any], track: Tracker) -> Measured:
        def values(keep: Keep) -> NDArray[np.float64]:
            return similarity.matrix(measure, [_rows(layer, keep) for layer in self.layers])

        note = None if measure.symmetric else "The layer in the row is the first of a pair."
        return self._of(measure).take(
            values, track, unit=measure.unit, source=measure.source, note=note, alike=measure.alike
        )

    def _against(self, measure: Measure[Any], others: Mapping[str, F32], track: Tracker) -> Measured:
        layers = dict(zip(self.names, self.layers, strict=True))

        def value(name: str, keep: Keep) -> float:
            if name not in others:
                return float("nan")
            ours, theirs = _rows(layers[name], keep), _rows(others[name], keep)
            return measure.compare(measure.prepare(ours), measure.prepare(theirs))

        def values(keep: Keep) -> list[float]:
            return spread(lambda name: value(name, keep), self.names)

        return self._of(measure).take(values, track, unit=measure.unit, source=measure.source)

    def _of(self, measure: Measure[Any]) -> Repeated:
        return self.slow if measure.name in _SLOW else self.few

    def dimensions(self) -> dict[str, dict[str, list[dict[str, float]]]]:
        """Return the foremost dimensions of each layer: those that make cosines high, and tell classes apart."""
        found = {"rogue": {name: _rogue(x) for name, x in zip(self.names, self.layers, strict=True)}}
        if self.about.labels is not None and (told := self.about.labels >= 0).any():
            labels = self.about.labels[told]
            ranked = [_ranked(layer[told], labels) for layer in self.layers]
            found["classes"] = dict(zip(self.names, ranked, strict=True))
        return found

    def health(self) -> list[str]:
        """Return what is wrong with rows, for people."""
        rows = len(self.layers[0])
        found = [f"Only {rows} row{'s' * (rows > 1)}: most measures need 4 or more."] if rows < 4 else []
        for name, layer in zip(self.names, self.layers, strict=True):
            if not shape.finite(layer):
                found.append(
                    f"Layer {name} holds values that aren't finite: hardly anything is defined there."
                )
            elif rows > 1 and not shape.centred(layer)[0].any():
                found.append(f"Layer {name} is the same in every row: what needs spread isn't defined there.")
            elif not layer.any(axis=1).all():
                found.append(f"Layer {name} has rows of zeros: cosines aren't defined there.")
        return found


def _rows(layer: F32, keep: Keep) -> F32:
    return layer if keep is None else layer[keep]


def _rogue(x: F32) -> list[dict[str, float]]:
    order, shares = shape.rogue_shares(x, _FOREMOST)
    return [{"dimension": int(d), "share": float(s)} for d, s in zip(order, shares, strict=True)]


def _ranked(x: F32, labels: I64) -> list[dict[str, float]]:
    found = separation.ranked_dimensions(x, labels, _FOREMOST)
    each = zip(found.dimensions, found.f, found.eta2, strict=True)
    return [{"dimension": int(d), "f": float(f), "eta2": float(e)} for d, f, e in each]


def _retrieval(
    dataset: Layered, column: str, sides: str | None, most: int, seed: int, intervals: str, notes: list[str]
) -> Jobs:
    """Return how often a text's partner is its nearest, by way."""
    pairs, alone = retrieval.pair_rows(dataset, column, sides)
    if alone:
        notes.append(f"{alone:,} texts have no partner, or several, by column {column!r}, and were left out.")
    if sides is None and not (column == "part" and is_paired(dataset)):
        notes.append(
            "Without --sides a pair's earlier row is a and its later one b: centring takes the mean of the earlier "
            "and of the later ones off, not of languages."
        )
    total = len(pairs)
    if total > most:
        pairs = pairs[np.sort(np.random.default_rng(seed).choice(total, most, replace=False))]
    numbers, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(pairs.shape)
    drawn = pick(dataset, numbers)
    share = 1 if intervals == "none" else len(pairs) / total
    repeated = Repeated.of(np.arange(len(pairs)), seed, share)
    note = f"Among {len(pairs):,} pairs; by chance {1 / len(pairs):.2g}."

    def values(keep: Keep, *, way: int, centred: bool) -> list[float]:
        chosen = place if keep is None else place[keep]

        def value(layer: F32) -> float:
            return retrieval.accuracy(layer[chosen[:, 0]], layer[chosen[:, 1]], centred=centred)[way]

        return spread(value, map(drawn.layer, drawn.layers))

    def job(name: str, track: Tracker) -> Measured:
        take = partial(values, way=int(name.startswith("ba")), centred=name.endswith("centred"))
        return repeated.take(take, track, unit="share of texts", source=retrieval.SOURCE, note=note)

    return {f"retrieval_{name}": partial(job, name) for name in retrieval.WAYS}


def _chosen(jobs: Jobs, names: Sequence[str] | None) -> Jobs:
    if names is None:
        return jobs
    names = [names] if isinstance(names, str) else names
    unknown = [name for name in names if name not in jobs]
    if unknown:
        needs = next(
            (f" (it needs {option})" for start, option in _NEED.items() if unknown[0].startswith(start)), ""
        )
        raise RequestError(f"--measure {unknown[0]!r} isn't at hand here{needs}; there are {', '.join(jobs)}")
    return {name: job for name, job in jobs.items() if name in names}


def _undefined(layers: Sequence[str], found: Mapping[str, Measured]) -> list[str]:
    """Say for each measure where it has no number, those of the same places together."""
    places: dict[tuple[str, ...], list[str]] = {}
    for name, one in found.items():
        lacking = np.isnan(one.values).reshape(len(layers), -1).all(axis=1)
        if lacking.any():
            places.setdefault(tuple(np.array(layers)[lacking]), []).append(name)
    every = tuple(layers)
    return [
        f"Not defined {'anywhere' if at == every else 'for layer ' + ', '.join(at)}: {', '.join(names)}."
        for at, names in places.items()
    ]
