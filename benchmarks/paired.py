"""Scores of several predictors on the same test texts, and their differences, with intervals from the same resamples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.labels.tags import spans, to_iob2

DRAWS = 2000
Counts = NDArray[np.int64]
Scores = NDArray[np.float64]


def counts_of_texts(gold: Sequence[Any], predicted: Sequence[Any], *, lenient: bool = False) -> Counts:
    """Return for each text the numbers of right, of predicted and of gold answers: int64 (texts, 3).

    An answer is the label of a text or, if `gold` holds lists of IOB2 tags, a strict span. `lenient` reads a predicted
    I that continues no span as the beginning of one.
    """
    rows = []
    for labels, answer in zip(gold, predicted, strict=True):
        if isinstance(labels, str):
            rows.append((int(labels == answer), 1, 1))
            continue
        marked = set(spans(to_iob2(answer) if lenient else answer))
        expected = set(spans(labels))
        rows.append((len(marked & expected), len(marked), len(expected)))
    return np.array(rows, np.int64)


def score(counts: NDArray[Any]) -> Any:
    """Return the F1 of summed counts (..., 3): of classes, where all texts have one answer, that is the accuracy."""
    right, predicted, gold = np.moveaxis(counts, -1, 0)
    return 2 * right / np.maximum(1, predicted + gold)


class Paired:
    """The scores of predictors on all test texts, and on the same `DRAWS` resamples of the texts.

    A predictor is given as a list of counts, one per training seed; its score is the mean over its seeds.
    """

    def __init__(self, texts: int) -> None:
        chance = np.random.default_rng(0)
        self._weights = chance.multinomial(texts, np.full(texts, 1 / texts), size=DRAWS)

    def scores(self, seeds: Sequence[Counts]) -> list[float]:
        """Return the score of each seed."""
        return [float(score(counts.sum(axis=0))) for counts in seeds]

    def mean(self, seeds: Sequence[Counts]) -> float:
        """Return the mean score of the seeds."""
        return float(np.mean(self.scores(seeds)))

    def interval(self, seeds: Sequence[Counts], other: Sequence[Counts] | None = None) -> tuple[float, float]:
        """Return the 95% interval of the mean score, or of its difference from that of another predictor."""
        drawn = self._drawn(seeds) - (0.0 if other is None else self._drawn(other))
        low, high = np.percentile(drawn, [2.5, 97.5])
        return float(low), float(high)

    def _drawn(self, seeds: Sequence[Counts]) -> Scores:
        """Return the mean score of the seeds on each resample, float64 (draws,)."""
        drawn: Scores = np.mean([score(self._weights @ counts) for counts in seeds], axis=0)
        return drawn
