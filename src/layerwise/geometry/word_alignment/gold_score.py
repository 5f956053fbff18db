"""Scores of links against gold links: the alignment error rate of Och and Ney (2003), precision and recall.

With the links A, the sure ones S and the possible ones P ⊇ S: AER = 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|), precision
|A ∩ P| / |A|, recall |A ∩ S| / |S|, of all sentences together. Intervals resample sentences.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F64, I64
from layerwise.labels.intervals import resample

COUNTS = 4
_DRAWS = 1000
_CELLS = 1 << 20  # numbers of an array that are in memory at once
Links = Collection[tuple[int, int]]


def counts(links: NDArray[np.bool_], sure: Links, possible: Links) -> I64:
    """Return |A|, |S|, |A ∩ S| and |A ∩ P| of a sentence: int64 (layers, 4).

    `links` is bool (layers, words of a, words of b); sure links are among the possible ones.
    """
    hits = [links[:, [i for i, _ in gold], [j for _, j in gold]].sum(axis=1) for gold in (sure, possible)]
    sure_links = np.full(len(links), len(sure))
    result: I64 = np.stack([links.sum(axis=(1, 2)), sure_links, *hits], axis=1).astype(np.int64)
    return result


def error_rate(sums: NDArray[np.int64] | F64) -> F64:
    """Return the AER of summed counts (…, 4); NaN without any link and any sure link."""
    links, sure, of_sure, of_possible = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    return 1 - _share(of_sure + of_possible, links + sure)


def precision(sums: NDArray[np.int64] | F64) -> F64:
    """Return the precision of summed counts (…, 4); NaN without a link."""
    return _share(sums[..., 3], sums[..., 0])


def recall(sums: NDArray[np.int64] | F64) -> F64:
    """Return the recall of summed counts (…, 4); NaN without a sure link."""
    return _share(sums[..., 2], sums[..., 1])


def agreement(sums: NDArray[np.int64] | F64) -> F64:
    """Return the share of links of one direction that the other has too, from summed counts (…, 2); NaN without links.

    The counts are the links of both directions, and twice those that both have.
    """
    return _share(sums[..., 1], sums[..., 0])


def resampled(of_sentences: I64, seed: int) -> F64:
    """Return the sums of counts (sentences, …) over sentences drawn with replacement: float64 (draws, …)."""
    sentences = len(of_sentences)
    flat = of_sentences.reshape(sentences, -1).astype(np.float64)
    rng, step = np.random.default_rng(seed), max(1, _CELLS // max(sentences, 1))
    sums = [resample(rng, min(step, _DRAWS - start), sentences) @ flat for start in range(0, _DRAWS, step)]
    return np.concatenate(sums).reshape(_DRAWS, *of_sentences.shape[1:])


def ends(draws: F64) -> tuple[F64, F64]:
    """Return the ends of the 95% intervals of rates (draws, …); NaN where most draws have none."""
    undefined = np.isnan(draws).mean(axis=0) > 0.5
    filled = np.where(undefined, 0.0, draws)
    low, high = np.nanquantile(filled, [0.025, 0.975], axis=0)
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)


def _share(part: NDArray[np.int64] | F64, whole: NDArray[np.int64] | F64) -> F64:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    result: F64 = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return result
