"""Advice which layer and method aligns words best: chosen on one half of the sentences, scored on the other."""

from collections.abc import Sequence

import numpy as np

from layerwise.array_types import I64
from layerwise.geometry.word_alignment.gold_score import ends, error_rate, resampled
from layerwise.geometry.word_alignment.result import AlignmentAdvice
from layerwise.wording import Message, fixed, percent

_LEAST = 4  # sentence pairs that can be halved
# By whether there were several methods and several layers to choose from.
_KEYS = {
    (True, True): "align.advice",
    (True, False): "align.advice.method",
    (False, True): "align.advice.layer",
    (False, False): "align.advice.only",
}


def advise(
    of_sentences: I64, methods: Sequence[str], layers: Sequence[str], seed: int
) -> AlignmentAdvice | None:
    """Return the advice, and how the chosen layer compares with the deepest one; `None` for fewer than 4 sentences.

    With one method and one layer nothing is chosen, and all sentences score them.

    Args:
        of_sentences: the counts of each sentence, int64 (sentences, methods, layers, 4).
        methods, layers: their names, in the order of the counts.
        seed: the seed of the halves and of the draws.
    """
    halves = _halves(len(of_sentences), seed, are_needed=len(methods) * len(layers) > 1)
    if halves is None:
        return None
    choosing, scoring = halves
    rates = error_rate(of_sentences[choosing].sum(axis=0))
    if np.isnan(rates).all():
        return None
    method, layer = (int(place) for place in np.unravel_index(np.nanargmin(rates), rates.shape))
    scored = of_sentences[scoring, method][:, np.array([layer, len(layers) - 1])]
    rates_of_both = error_rate(resampled(scored, seed))
    rate, last = error_rate(scored.sum(axis=0)).tolist()
    low, high = (float(end[0]) for end in ends(rates_of_both))
    chosen = Message(
        _KEYS[len(methods) > 1, len(layers) > 1],
        method=methods[method],
        layer=layers[layer],
        **_rate(rate, low, high),
        n=len(choosing),
        of=len(scoring),
    )
    if layer == len(layers) - 1:
        return AlignmentAdvice(methods[method], layers[layer], rate, low, high, chosen)
    more, most = (float(end) for end in ends(rates_of_both[:, 1] - rates_of_both[:, 0]))
    text = Message("align.advice.both", advice=chosen, last=_deepest(layers[-1], last, more, most))
    return AlignmentAdvice(methods[method], layers[layer], rate, low, high, text)


def _halves(count: int, seed: int, *, are_needed: bool) -> tuple[I64, I64] | None:
    """Return the sentences that choose and those that score: all twice where no choice is needed, `None` for too few."""
    if not are_needed:
        return np.arange(count), np.arange(count)
    choosing, scoring = np.array_split(np.random.default_rng(seed).permutation(count), 2)
    return None if count < _LEAST else (choosing, scoring)


def _deepest(layer: str, rate: float, more: float, most: float) -> Message:
    """Return how many more errors the deepest layer makes."""
    key = "align.advice.last" if more > 0 else "align.advice.last.same"
    return Message(key, layer=layer, **_rate(rate, more, most))


def _rate(rate: float, low: float, high: float) -> dict[str, str]:
    """Return a rate and the ends of an interval as numbers of percent."""
    return {"aer": percent(rate, 1), "low": fixed(100 * low, 1), "high": fixed(100 * high, 1)}
