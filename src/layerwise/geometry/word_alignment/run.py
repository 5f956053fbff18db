"""Align the words of sentence pairs, a few at a time: every layer from one forward of each side."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32, F64, I64
from layerwise.geometry.word_alignment import gold_score
from layerwise.geometry.word_alignment.advice import advise
from layerwise.geometry.word_alignment.argmax import directions
from layerwise.geometry.word_alignment.methods import Method
from layerwise.geometry.word_alignment.result import AlignedPair, Alignment, LayerLinks
from layerwise.geometry.word_alignment.sides import AlignedSide, side_of, similarities, word_links
from layerwise.states import Layered
from layerwise.word_split import split_words
from layerwise.wording import Message, percent

Sentence = str | tuple[str, ...]
Encode = Callable[[Sequence[Sentence]], Layered]
"""Encodes sentences into rows of level `token`, special tokens included."""
_BYTES = 1 << 27  # of the vectors of a chunk
_MANY_UNKNOWN = 0.1


class Pair(Protocol):
    """A sentence of each side: a string, or words."""

    @property
    def a(self) -> Sentence:
        """The sentence of side a."""

    @property
    def b(self) -> Sentence:
        """The sentence of side b."""


class Gold(Protocol):
    """The gold links of a sentence pair, counted from 0; sure links are possible too."""

    @property
    def sure(self) -> frozenset[tuple[int, int]]:
        """The sure links."""

    @property
    def possible(self) -> frozenset[tuple[int, int]]:
        """All links."""


@dataclass(frozen=True, slots=True)
class AlignPlan:
    """What is aligned, and how.

    Attributes:
        layers: the names of the layers.
        width: the numbers of a vector.
        methods: by name.
        centre: subtract the mean of all tokens of each side from its vectors, layer by layer.
        gold: gold links for each sentence pair; `None` without.
        seed: the seed of the halves and of the draws.
    """

    layers: tuple[str, ...]
    width: int
    methods: Mapping[str, Method]
    centre: bool = False
    gold: Sequence[Gold] | None = None
    seed: int = 0

    @property
    def characters(self) -> int:
        """How many bytes of text a chunk may have: a byte has at most one token."""
        return _BYTES // (4 * self.width * len(self.layers))


@dataclass(slots=True)
class _Tallies:
    """What is counted while sentence pairs are aligned: of each sentence (with gold, or agreement without), and of each side."""

    gold: list[I64] = field(default_factory=list)
    agreement: list[I64] = field(default_factory=list)
    unknown: list[int] = field(default_factory=lambda: [0, 0])
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    sentences: int = 0
    empty: int = 0


class Aligner:
    """Aligns sentence pairs: iterate over `pairs`, then take the `result`."""

    def __init__(self, texts: Iterable[Pair], encode: Encode, plan: AlignPlan) -> None:
        self._texts, self._encode, self._plan = texts, encode, plan
        self._counts = _Tallies()

    def pairs(self, total: int, track: Tracker = SILENT) -> Iterator[AlignedPair]:
        """Yield the links of each of `total` sentence pairs; only a few of them are in memory."""
        means, first, done = None, None, 0
        if self._plan.centre:
            averaging, track = track.split(1, 1)
            means, first = self._means(total, averaging)
        track = track.named("aligning")
        for pairs in chunks(self._texts, self._plan.characters):
            sides = self._sides(pairs) if first is None else first
            for number, side in enumerate(sides):
                side.scale(None if means is None else means[number])
                self._counts.unknown[number] += side.unknown
                self._counts.tokens[number] += side.tokens
            for place, pair in enumerate(pairs):
                yield self._aligned(done + place, pair, sides, place)
            done += len(pairs)
            track.report(done / max(total, 1), texts=len(pairs))

    def result(self, pairs: Sequence[AlignedPair] = ()) -> Alignment:
        """Return the result, after all pairs were aligned; `pairs` are those to keep in it."""
        plan, counts = self._plan, self._counts
        methods = self._agreeing() if plan.gold is None else self._scored()
        of_gold = np.array(counts.gold, np.int64)
        advice = None if plan.gold is None else advise(of_gold, list(plan.methods), plan.layers, plan.seed)
        return Alignment(
            layers=plan.layers,
            sentences=counts.sentences,
            centred=plan.centre,
            methods=methods,
            advice=advice,
            pairs=tuple(pairs),
            notes=tuple(self._notes(has_advice=advice is not None)),
        )

    def _sides(self, pairs: Sequence[Pair]) -> tuple[AlignedSide, AlignedSide]:
        first, second = [pair.a for pair in pairs], [pair.b for pair in pairs]
        return side_of(self._encode(first), first), side_of(self._encode(second), second)

    def _means(self, total: int, track: Tracker) -> tuple[list[F64], tuple[AlignedSide, AlignedSide] | None]:
        """Return the mean of each side, (layers, width), and the sides, if all sentences are in one chunk."""
        track = track.named("averaging")
        sums, tokens, done, chunk_count = [np.zeros(()), np.zeros(())], [0, 0], 0, 0
        for pairs in chunks(self._texts, self._plan.characters):
            sides = self._sides(pairs)
            for number, side in enumerate(sides):
                sums[number] = sums[number] + side.sums()
                tokens[number] += side.vectors.shape[1]
            done, chunk_count = done + len(pairs), chunk_count + 1
            track.report(done / max(total, 1), texts=len(pairs))
        means = [of_side / max(count, 1) for of_side, count in zip(sums, tokens, strict=True)]
        return means, sides if chunk_count == 1 else None

    def _aligned(
        self, doc: int, pair: Pair, sides: tuple[AlignedSide, AlignedSide], place: int
    ) -> AlignedPair:
        of_words = self._word_links(sides, place)
        if self._plan.gold is not None:
            gold = self._plan.gold[doc]
            counts = [gold_score.counts(links, gold.sure, gold.possible) for links in of_words.values()]
            self._counts.gold.append(np.stack(counts))
        self._counts.sentences += 1
        self._counts.empty += not all(side.token_count(place) for side in sides)
        links = {name: listed_links(of_method, self._plan.layers) for name, of_method in of_words.items()}
        return AlignedPair(doc, _words(pair.a), _words(pair.b), links)

    def _word_links(self, sides: tuple[AlignedSide, AlignedSide], place: int) -> dict[str, NDArray[np.bool_]]:
        """Return the links of a sentence pair by method, bool (layers, words of a, words of b); count its agreement."""
        a, b = (side.incidences[place] for side in sides)
        links: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in self._plan.methods}
        agreement = []
        for cosines in similarities(*sides, place):
            if self._plan.gold is None:
                agreement.append(agreement_counts(cosines))
            for name, method in self._plan.methods.items():
                links[name].append(word_links(method(cosines), a, b))
        if agreement:
            self._counts.agreement.append(np.concatenate(agreement))
        return {name: np.concatenate(of_blocks) for name, of_blocks in links.items()}

    def _scored(self) -> dict[str, dict[str, LayerLinks]]:
        plan, of_sentences = self._plan, np.array(self._counts.gold, np.int64)
        sums = of_sentences.sum(axis=0)
        rates = [gold_score.error_rate(sums), *gold_score.ends(self._drawn(of_sentences))]
        rates += [gold_score.precision(sums), gold_score.recall(sums)]
        return {
            name: {
                layer: LayerLinks(rate, None, low, high, precision, recall)
                for layer, (rate, low, high, precision, recall) in zip(plan.layers, of_method, strict=True)
            }
            for name, of_method in zip(plan.methods, np.stack(rates, axis=2).tolist(), strict=True)
        }

    def _drawn(self, of_sentences: I64) -> F64:
        return gold_score.error_rate(gold_score.resampled(of_sentences, self._plan.seed))

    def _agreeing(self) -> dict[str, dict[str, LayerLinks]]:
        of_sentences = np.array(self._counts.agreement, np.int64)
        drawn = gold_score.agreement(gold_score.resampled(of_sentences, self._plan.seed))
        values = np.stack([gold_score.agreement(of_sentences.sum(axis=0)), *gold_score.ends(drawn)], axis=1)
        of_layers = {
            layer: LayerLinks(None, *ends)
            for layer, ends in zip(self._plan.layers, values.tolist(), strict=True)
        }
        return dict.fromkeys(self._plan.methods, of_layers)

    def _notes(self, *, has_advice: bool) -> Iterator[Message]:
        counts = self._counts
        if counts.empty:
            yield Message("align.note.empty", n=counts.empty)
        for side, unknown, tokens in zip("ab", counts.unknown, counts.tokens, strict=True):
            if unknown > _MANY_UNKNOWN * tokens:
                yield Message(
                    "align.note.unknown", side=side, n=unknown, of=tokens, share=percent(unknown / tokens, 1)
                )
        if self._plan.gold is None:
            yield Message("align.note.agreement")
            return
        if not any(gold.sure for gold in self._plan.gold):
            yield Message("align.note.sure")
        if not has_advice:
            yield Message("align.note.advice")


def chunks(texts: Iterable[Pair], characters: int) -> Iterator[list[Pair]]:
    """Yield sentence pairs in groups, each side of which has at most so many bytes, or is a single sentence."""
    chunk: list[Pair] = []
    sizes = [0, 0]
    for pair in texts:
        more = [_bytes(pair.a), _bytes(pair.b)]
        if chunk and max(size + added for size, added in zip(sizes, more, strict=True)) > characters:
            yield chunk
            chunk, sizes = [], [0, 0]
        chunk.append(pair)
        sizes = [size + added for size, added in zip(sizes, more, strict=True)]
    if chunk:
        yield chunk


def agreement_counts(cosines: F32) -> I64:
    """Return the links of both directions of argmax, and twice those that both have: int64 (layers, 2)."""
    forward, backward = directions(cosines)
    both = 2 * (forward & backward).sum(axis=(1, 2))
    all_links = np.full(len(cosines), sum(cosines.shape[1:]) if cosines.size else 0)
    counts: I64 = np.stack([all_links, both], axis=1).astype(np.int64)
    return counts


def listed_links(links: np.ndarray, layers: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """Return links, bool (layers, words of a, words of b), as the linked words of each layer, in order."""
    numbers, a, b = np.nonzero(links)
    bounds = np.searchsorted(numbers, np.arange(len(layers) + 1)).tolist()
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    return {layer: pairs[bounds[n] : bounds[n + 1]] for n, layer in enumerate(layers)}


def _bytes(sentence: Sentence) -> int:
    text = sentence if isinstance(sentence, str) else " ".join(sentence)
    return len(text.encode("utf-8", "replace")) + 2


def _words(sentence: Sentence) -> tuple[str, ...]:
    if isinstance(sentence, str):
        return tuple(sentence[start:end] for start, end in split_words(sentence))
    return sentence
