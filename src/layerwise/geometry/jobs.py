"""The measures of an analysis as jobs, so that only the chosen ones are computed.

A job measures all sampled rows and, for its interval, repeats that without each group of texts (`jackknife`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from layerwise._util.progress import Tracker
from layerwise._util.threads import spread
from layerwise.arguments import argument
from layerwise.array_types import F32, F64, I64
from layerwise.columns import is_paired
from layerwise.errors import RequestError
from layerwise.geometry import depth, layer_pairs, separation, shape
from layerwise.geometry.analysis import Measured
from layerwise.geometry.block_influence import NAME, SOURCE, block_influence, layers_before
from layerwise.geometry.caution import of_layers, of_similarity
from layerwise.geometry.depth import LayerMeasure
from layerwise.geometry.dimension import two_nn
from layerwise.geometry.jackknife import FEW, Jackknife, RowMask
from layerwise.geometry.layer_pairs import Measure
from layerwise.geometry.retrieval.pairs import side_pairs
from layerwise.geometry.retrieval.sampled_pairs import SampledPairs
from layerwise.geometry.retrieval.variants import VARIANTS
from layerwise.geometry.row_info import RowInfo
from layerwise.geometry.rows import centred, finite
from layerwise.geometry.sample import Sample
from layerwise.geometry.similarity import MEASURES
from layerwise.states import Layered
from layerwise.wording import Message, reason

Jobs = dict[str, Callable[[Tracker], Measured]]
"""Functions that compute a measure, by the name of the measure; they report their progress to the tracker."""
_SLOW = ("svcca", "pwcca", "procrustes")  # repeating them would take most of the time
# Seconds of a measure on 2,000 rows of minilm's layers, without repeats (docs/explanation/performance.md); others: _FAST_SECONDS.
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
    "retrieval_csls": 2.0,
    "retrieval_margin": 3.0,
    "retrieval_procrustes": 6.0,
    "language_probe": 3.0,
}
_FAST_SECONDS = 0.03
_TOP_DIMENSIONS = 10  # dimensions reported per layer


class SampledLayers:
    """The sampled rows with all their layers, and the measures that apply to them."""

    def __init__(self, sample: Sample, info: RowInfo, seed: int, intervals: str) -> None:
        self.names, self.level, self.info = sample.layers, sample.level, info
        self.layers = [sample.layer(name) for name in sample.layers]
        self.once = Jackknife((), 1)
        share = 1 if intervals == "none" else len(sample) / sample.of
        self.repeated = Jackknife.of(sample.docs, seed, share)
        self.few = Jackknife.of(sample.docs, seed, share, FEW)
        self.slow = self.few if intervals == "all" else self.once
        self.seed = seed
        self.order = np.random.default_rng(seed).permutation(len(sample))

    def jobs(self, notes: list[Message]) -> Jobs:
        """Return the measures of each layer, and of each pair of layers, as jobs by name."""
        dimension = None
        try:
            dimension = two_nn()
        except RequestError as error:  # the other measures don't need it
            notes.append(Message("note.left.out", why=reason(error)))
        jobs: Jobs = {}
        for layer_measure in depth.measures(self.level, self.info, dimension):
            jobs[layer_measure.name] = partial(self._layer_job, layer_measure)
        if layers_before(self.names):
            jobs[NAME] = self._influence_job
        for measure in MEASURES:
            jobs[measure.name] = partial(self._matrix_job, measure)
        return jobs

    def against(self, other: Sample) -> Jobs:
        """Return the similarities of each layer to the layer of the same name in the other dataset, as jobs by name."""
        others = {name: other.layer(name) for name in self.names if name in other.layers}
        return {f"against_{m.name}": partial(self._against_job, m, others) for m in MEASURES}

    def cost(self, name: str) -> float:
        """Return about how many seconds a measure takes, repeats included; see the table in docs/explanation/performance.md."""
        kind = name.removeprefix("against_")
        once = _SECONDS.get(kind, _FAST_SECONDS) / (len(self.names) if kind != name else 1)
        if kind.startswith(("retrieval_", "language_")):
            return once
        slow, few = kind in _SLOW, any(kind == measure.name for measure in MEASURES)
        repeated = self.slow if slow else self.few if few else self.repeated
        return once * (1 + len(repeated.folds))

    def _layer_job(self, measure: LayerMeasure, track: Tracker) -> Measured:
        def values(keep: RowMask) -> list[float]:
            info = self.info if keep is None else self.info.take(keep)
            return spread(lambda layer: measure.of(_rows(layer, keep), info), self.layers)

        measured = self.repeated.take(
            values, track, unit=measure.unit, source=measure.source, note=measure.note
        )
        caution = of_layers(measure.name, measured.values, *self.layers[0].shape)
        usable = None if caution is None else np.zeros(len(self.layers), bool)
        if measure.floor is not None and caution is None:
            of = measure.floor
            floor = np.asarray(spread(lambda layer: of(layer, self.info), self.layers), np.float64)
            measured = replace(measured, floor=floor, floor_of=measure.floor_of)
        return replace(measured, caution=caution, usable=usable)

    def _influence_job(self, track: Tracker) -> Measured:
        layers, before = dict(zip(self.names, self.layers, strict=True)), layers_before(self.names)

        def value(name: str, keep: RowMask) -> float:
            if name not in before:
                return float("nan")
            return block_influence(_rows(layers[before[name]], keep), _rows(layers[name], keep))

        def values(keep: RowMask) -> list[float]:
            return spread(lambda name: value(name, keep), self.names)

        return self.repeated.take(
            values,
            track,
            unit=Message("unit.influence"),
            source=SOURCE,
            note=Message("note.influence"),
        )

    def _matrix_job(self, measure: Measure[Any], track: Tracker) -> Measured:
        floors = []

        def values(keep: RowMask) -> F64:
            layers = layer_pairs.prepared(measure, [_rows(layer, keep) for layer in self.layers])
            if keep is None:
                floors.append(layer_pairs.by_chance(measure, layers, self.order))
            return layer_pairs.compared(measure, layers)

        note = None if measure.symmetric else Message("note.asymmetric")
        measured = self._repeats(measure).take(
            values, track, unit=measure.unit, source=measure.source, note=note, alike=measure.alike
        )
        return self._judged(measure, measured, (self.layers[0], self.layers[-1]), floors[0])

    def _against_job(self, measure: Measure[Any], others: Mapping[str, F32], track: Tracker) -> Measured:
        layers = dict(zip(self.names, self.layers, strict=True))
        floors = dict.fromkeys(self.names, float("nan"))

        def value(name: str, keep: RowMask) -> float:
            if name not in others:
                return float("nan")
            x, y = (measure.prepare(_rows(layer, keep)) for layer in (layers[name], others[name]))
            if keep is None:
                floors[name] = float(layer_pairs.by_chance(measure, [x, y], self.order)[0, 1])
            return measure.compare(x, y)

        def values(keep: RowMask) -> list[float]:
            return spread(lambda name: value(name, keep), self.names)

        measured = self._repeats(measure).take(
            values, track, unit=measure.unit, source=measure.source, alike=measure.alike
        )
        common = next((name for name in reversed(self.names) if name in others), None)
        pair = (self.layers[-1],) * 2 if common is None else (layers[common], others[common])
        return self._judged(measure, measured, pair, np.array(list(floors.values())))

    def _judged(
        self, measure: Measure[Any], measured: Measured, pair: tuple[F32, F32], floor: F64
    ) -> Measured:
        """Return a measure with its floor, and which of its numbers can be told from it."""
        usable, caution = of_similarity(measure, *pair, measured.values, floor, self.seed)
        return replace(
            measured,
            floor=floor,
            floor_of=Message("note.floor.layers"),
            usable=None if caution is None else usable,
            caution=caution,
        )

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

    def notes(self) -> list[Message]:
        """Return notes on problems of the rows."""
        rows = len(self.layers[0])
        problems = [Message("note.no.rows.more", n=rows)] if rows < 4 else []
        for name, layer in zip(self.names, self.layers, strict=True):
            if not finite(layer):
                problems.append(Message("note.not.finite", layer=name))
            elif rows > 1 and not centred(layer)[0].any():
                problems.append(Message("note.constant", layer=name))
            elif not layer.any(axis=1).all():
                problems.append(Message("note.zeros", layer=name))
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


def retrieval_jobs(sampled: SampledPairs) -> Jobs:
    """Return how often a text's partner is found, as jobs by variant, and how well sides can be told."""

    def job(variant: str, track: Tracker) -> Measured:
        return sampled.measure(variant)

    jobs: Jobs = {f"retrieval_{variant}": partial(job, variant) for variant in VARIANTS}
    return jobs | {"language_probe": lambda track: sampled.language_probe()}


def sampled_pairs(
    dataset: Layered,
    column: str,
    sides: str | None,
    limit: int,
    seed: int,
    notes: list[Message],
    *,
    intervals: bool,
) -> SampledPairs:
    """Return at most `limit` pairs of each two sides; notes on texts without a partner are added to `notes`.

    Raises:
        RequestError: columns that define no pairs.
    """
    pairs, alone = side_pairs(dataset, column, sides)
    if alone:
        notes.append(Message("note.pairs.alone", n=alone, column=repr(column)))
    if sides is None and not (column == "part" and is_paired(dataset)):
        notes.append(Message("note.sides", option=argument("sides")))
    return SampledPairs(dataset, pairs, limit, seed, intervals=intervals)
