"""Retrieval among the sampled pairs of a dataset: every variant in every direction at every layer, and the language probe."""

from collections.abc import Sequence

import numpy as np

from layerwise._util.threads import spread
from layerwise.array_types import F64, I64
from layerwise.geometry.analysis import Measured
from layerwise.geometry.retrieval.advice import RetrievalAdvice, advise
from layerwise.geometry.retrieval.language_probe import side_hits
from layerwise.geometry.retrieval.pairs import SidePair
from layerwise.geometry.retrieval.variants import variant_hits
from layerwise.geometry.sample import pick
from layerwise.labels.intervals import resample
from layerwise.states import Layered
from layerwise.wording import Message, fixed, some

_DRAWS = 1000
_CELLS = 1 << 20  # numbers of an array that are in memory at once
_TELLS_ALL = 0.95  # a probe above it says nothing about alignment


class SampledPairs:
    """The rows of at most `limit` pairs of each two sides."""

    def __init__(
        self, dataset: Layered, pairs: Sequence[SidePair], limit: int, seed: int, *, intervals: bool
    ) -> None:
        rng = np.random.default_rng(seed)
        self.of = [len(pair.rows) for pair in pairs]
        self.pairs = [pair.take(_drawn(rng, len(pair.rows), limit)) for pair in pairs]
        numbers = np.unique(np.concatenate([pair.rows.ravel() for pair in self.pairs]))
        self._places = [np.searchsorted(numbers, pair.rows) for pair in self.pairs]
        self._texts, self._seed, self._intervals = pick(dataset, numbers), seed, intervals
        self.layers = dataset.layers
        self.directions = tuple(name for pair in self.pairs for name in pair.directions)
        self.hits: dict[str, list[F64]] = {}

    def measure(self, variant: str) -> Measured:
        """Return the accuracy of a variant: values (directions, layers), with intervals by resampling pairs."""
        by_layer = spread(lambda name: self._layer_hits(name, variant), self.layers)
        # For each direction: (layers, pairs).
        hits = [np.stack(of_layers) for of_layers in zip(*by_layer, strict=True)]
        self.hits[variant] = hits
        sizes = [len(pair.rows) for pair in self.pairs]
        chance = np.repeat([1 / size for size in sizes], 2)
        low, high = self._ends(hits)
        return Measured(
            np.stack([of.mean(axis=1) for of in hits]),
            unit=Message("unit.texts"),
            source=Message(f"source.retrieval.{variant}"),
            low=low,
            high=high,
            note=Message("note.retrieval.sides", n=sum(sizes), sides=self._sides_of(sizes)),
            floor=np.repeat(chance[:, None], len(self.layers), axis=1),
            floor_of=Message("note.floor.chance"),
            step=1 / max(sizes),
            directions=self.directions,
        )

    def language_probe(self) -> Measured:
        """Return the accuracy of telling the side of a text: values (layers,)."""
        sides, groups, places = self._sided_rows()
        hits = np.stack(
            spread(
                lambda name: side_hits(self._texts.layer(name)[places], sides, groups, self._seed),
                self.layers,
            )
        )
        low, high = _resampled_means(hits, groups, self._seed) if self._intervals else (None, None)
        values = hits.mean(axis=1)
        least = float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
        note = Message("note.language.probe", least=fixed(least, 3)) if least >= _TELLS_ALL else None
        majority = np.bincount(sides).max() / len(sides)
        return Measured(
            values,
            unit=Message("unit.texts"),
            source=Message("source.language.probe"),
            low=low,
            high=high,
            note=note,
            floor=np.full(len(self.layers), majority),
            floor_of=Message("note.floor.majority"),
            step=1 / len(sides),
        )

    def advice(self) -> RetrievalAdvice | None:
        """Return the layer and the variant to use, of those that were measured; `None` without any."""
        return advise(self.hits, self.directions, self.layers, self._seed)

    def advice_notes(self, advice: RetrievalAdvice | None) -> list[Message]:
        """Return a note where there is no advice, or none for some directions."""
        if advice is None:
            return [Message("note.retrieval.advice")]
        without = [name.replace(">", " → ") for name in self.directions if name not in advice.directions]
        return [Message("note.retrieval.few", directions=some(without))] if without else []

    def _layer_hits(self, name: str, variant: str) -> list[F64]:
        vectors = self._texts.layer(name)
        both = (variant_hits(variant, vectors[at[:, 0]], vectors[at[:, 1]]) for at in self._places)
        return [hits for directions in both for hits in directions]

    def _ends(self, hits: Sequence[F64]) -> tuple[F64 | None, F64 | None]:
        if not self._intervals:
            return None, None
        ends = [_resampled_means(of, np.arange(of.shape[1]), self._seed) for of in hits]
        return np.stack([low for low, _ in ends]), np.stack([high for _, high in ends])

    def _sided_rows(self) -> tuple[I64, I64, I64]:
        """Return the side, the group and the place of each row; rows that are connected by pairs are one group."""
        names = sorted({name for pair in self.pairs for name in (pair.a, pair.b)})
        count = self._texts.rows
        sides, groups = np.zeros(count, np.int64), np.arange(count)
        for pair, places in zip(self.pairs, self._places, strict=True):
            sides[places] = [names.index(pair.a), names.index(pair.b)]
            # Pairs come in sorted order of sides, so the first side of a group leads.
            groups[places[:, 1]] = groups[places[:, 0]]
        return sides, groups, np.arange(count)

    def _sides_of(self, sizes: Sequence[int]) -> list[str]:
        return [f"{pair.a} – {pair.b} {size:,}" for pair, size in zip(self.pairs, sizes, strict=True)]


def _drawn(rng: np.random.Generator, count: int, limit: int) -> I64:
    if count <= limit:
        return np.arange(count)
    return np.sort(rng.choice(count, limit, replace=False))


def _resampled_means(hits: F64, groups: I64, seed: int) -> tuple[F64, F64]:
    """Return the ends of the 95% intervals of means over rows (layers, n), by resampling whole groups."""
    names, group = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(group, weights=of_layer, minlength=len(names)) for of_layer in hits], axis=1)
    sizes = np.bincount(group, minlength=len(names)).astype(np.float64)
    rng, step = np.random.default_rng(seed), max(1, _CELLS // len(names))
    means = []
    for start in range(0, _DRAWS, step):
        draws = resample(rng, min(step, _DRAWS - start), len(names))
        means.append((draws @ sums) / (draws @ sizes)[:, None])
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975], axis=0)
    return low, high
