"""Advice which layer and method aligns words best: chosen on one half of the sentences, scored on the other."""

from collections.abc import Sequence

import numpy as np

from layerwise.array_types import I64
from layerwise.geometry.word_alignment.gold_score import ends, error_rate, resampled
from layerwise.geometry.word_alignment.result import AlignmentAdvice
from layerwise.wording import Message, fixed, percent

_LEAST = 4  # sentence pairs that can be halved


def advise(
    of_sentences: I64, methods: Sequence[str], layers: Sequence[str], seed: int
) -> AlignmentAdvice | None:
    """Return the advice, and how the chosen layer compares with the deepest one; `None` for fewer than 4 sentences.

    Args:
        of_sentences: the counts of each sentence, int64 (sentences, methods, layers, 4).
        methods, layers: their names, in the order of the counts.
        seed: the seed of the halves and of the draws.
    """
    if len(of_sentences) < _LEAST:
        return None
    order = np.random.default_rng(seed).permutation(len(of_sentences))
    choosing, scoring = np.array_split(order, 2)
    rates = error_rate(of_sentences[choosing].sum(axis=0))
    if np.isnan(rates).all():
        return None
    method, layer = (int(place) for place in np.unravel_index(np.nanargmin(rates), rates.shape))
    scored = of_sentences[scoring, method][:, np.array([layer, len(layers) - 1])]
    draws = resampled(scored, seed)
    rate, last = error_rate(scored.sum(axis=0)).tolist()
    low, high = (end.tolist() for end in ends(error_rate(draws)[:, 0]))
    fewer = ends(error_rate(draws)[:, 1] - error_rate(draws)[:, 0])
    values = {
        "method": methods[method],
        "layer": layers[layer],
        "aer": percent(rate, 1),
        "low": fixed(100 * low, 1),
        "high": percent(high, 1),
        "n": len(choosing),
        "of": len(scoring),
    }
    text = Message("align.advice", **values)
    if layer != len(layers) - 1:
        key = "align.advice.last" if fewer[0] > 0 else "align.advice.last.same"
        more = Message(
            key,
            layer=layers[-1],
            aer=percent(last, 1),
            low=fixed(100 * float(fewer[0]), 1),
            high=fixed(100 * float(fewer[1]), 1),
        )
        text = Message("align.advice.both", advice=text, last=more)
    return AlignmentAdvice(methods[method], layers[layer], rate, low, high, text)
