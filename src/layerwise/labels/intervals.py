"""95% intervals of the scores of predictions, from one set of rows that the head wasn't fitted to.

The rows of a text resemble each other, and so do the texts of a document, so units are resampled or counted, not rows.
A unit is a document where there are enough of them, else a text.

- The share of rows that are right (accuracy): the interval of Wilson (1927) for the effective number of rows, which is
  their number where every unit is one row, and else the number of independent rows that would vary as much (Dean and
  Pagano 2015).
- All other scores: percentiles of the scores of units drawn with replacement (Efron 1979). Where no draw differs from a
  score of 0 or 1, Wilson's interval for the number of units, because a draw can't show errors that didn't occur.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F64, I64
from layerwise.labels import metrics
from layerwise.labels.tags import cut, f1_of_counts, spans

Ends = tuple[float, float] | tuple[None, None]
"""The lower and the upper end of an interval; `None` where there is none."""

ENOUGH_UNITS = (
    30  # with fewer, the interval of an accuracy of a half is wider than 0.35, and a score says little
)
_Z = 1.959963984540054  # 97.5% of a normal distribution
_DRAWS = 2000
_LEAST_DRAWS = 200
_UNITS = 5000  # more units are put together at random, which keeps the variance of sums
_CELLS = 1 << 22  # numbers of an array that are in memory at once
_RANKED = 50_000  # rows whose ranks are computed in each draw; of more rows, a sample of units is drawn from
_SAME = 1e-12  # scores are of the order of 1: smaller differences are rounding


def score_intervals(
    task: str, multi: bool, gold: NDArray[Any], predicted: NDArray[Any], docs: I64, units: I64
) -> dict[str, Ends]:
    """Return the interval of each score of `metrics.scores`, by name.

    Args:
        task: `classify`, `regress` or `tag`.
        multi: whether a row may have several labels.
        gold, predicted: labels or numbers (n,); tags in IOB2.
        docs: the text of each row, int64 (n,), sorted by text.
        units: the unit of each row, int64 (n,): a text, or a document of several texts.
    """
    unit_index = np.unique(units, return_inverse=True)[1]
    if task == "regress":
        return _of_numbers(gold.astype(np.float64), predicted.astype(np.float64), unit_index)
    if task == "tag":
        return _of_tags(gold, predicted, docs, unit_index)
    names = {"accuracy": share_interval(_right(gold, predicted, multi), unit_index)}
    of_sums: dict[str, Callable[[F64], F64]] = {"macro_f1": metrics.macro_f1_of_counts}
    if multi:
        of_sums["micro_f1"] = lambda sums: f1_of_counts(sums.sum(axis=-2))
    return names | _resampled(_class_counts(gold, predicted, multi, unit_index), of_sums)


def _right(gold: NDArray[Any], predicted: NDArray[Any], multi: bool) -> F64:
    pairs = zip(gold, predicted, strict=True)
    return np.array([set(a) == set(b) if multi else a == b for a, b in pairs], np.float64)


def share_interval(right: F64, units: I64) -> tuple[float, float]:
    """Return Wilson's interval of the share of rows that are right, for the effective number of rows.

    Args:
        right: 1 or 0 for each row, float64 (n,).
        units: the number of the unit of each row, 0 … U - 1, int64 (n,).
    """
    share, rows = float(right.mean()), len(right)
    variance = float((np.bincount(units, right - share) ** 2).sum()) / rows**2
    count = min(rows, share * (1 - share) / variance) if variance > _SAME**2 else int(units.max()) + 1
    return wilson(share, count)


def wilson(share: float, count: float, quantile: float = _Z) -> tuple[float, float]:
    """Return the interval of Wilson (1927) for a share of `count` independent trials.

    `quantile` is that of its upper end, by default of a normal distribution for 95%.
    """
    square = quantile**2 / count
    centre = (share + square / 2) / (1 + square)
    half = float(np.sqrt(square * (share * (1 - share) + square / 4))) / (1 + square)
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


@dataclass(frozen=True, slots=True, eq=False)
class _UnitCounts:
    """What each unit, or each group of units, adds to the sums of a score: float64 (groups, …); `units` is their number."""

    counts: F64
    units: int


def _grouped(units: I64, numbers: int) -> tuple[I64, int]:
    """Return the group of each row, int64 (n,), and the number of groups: of units, at random where they are too many.

    `numbers` is how many numbers a group takes.
    """
    count, most = int(units.max()) + 1, max(_LEAST_DRAWS, min(_UNITS, _CELLS // numbers))
    if count <= most:
        return units, count
    return np.random.default_rng(0).permutation(count)[units] % most, most


def _class_counts(gold: NDArray[Any], predicted: NDArray[Any], multi: bool, units: I64) -> _UnitCounts:
    """Return the counts (groups, classes, 3) of true positives, predicted and gold rows of each class."""
    number: dict[Any, int] = {}
    sides = [_pairs(values, multi, number) for values in (gold, predicted)]
    classes = max(1, len(number))
    have, got = (np.unique(rows * classes + labels) for rows, labels in sides)
    groups, count = _grouped(units, 3 * classes)
    out = np.zeros((count, classes, 3))
    for column, codes in enumerate((np.intersect1d(have, got), got, have)):
        np.add.at(out[..., column], (groups[codes // classes], codes % classes), 1.0)
    return _UnitCounts(out, int(units.max()) + 1)


def _pairs(values: NDArray[Any], multi: bool, number: dict[Any, int]) -> tuple[I64, I64]:
    """Return the row and the number of each label, int64 (labels,) both; new labels are added to `number`."""
    labels = list(values) if multi else [(value,) for value in values]
    rows = np.repeat(np.arange(len(labels)), [len(row) for row in labels])
    numbers = [number.setdefault(label, len(number)) for row in labels for label in row]
    return rows, np.array(numbers, np.int64)


def _of_tags(gold: NDArray[Any], predicted: NDArray[Any], docs: I64, units: I64) -> dict[str, Ends]:
    texts = zip(cut(gold, docs), cut(predicted, docs), strict=True)
    both = [(set(spans(truth)), set(spans(guess))) for truth, guess in texts]
    counts = np.array([[len(a & b), len(b), len(a)] for a, b in both], np.float64)
    first = np.flatnonzero(np.diff(docs, prepend=docs[0] - 1))
    groups, count = _grouped(units, 3)
    sums = np.zeros((count, 3))
    np.add.at(sums, groups[first], counts)
    of_sums: dict[str, Callable[[F64], F64]] = {
        "span_f1": lambda all_sums: _defined(f1_of_counts(all_sums), all_sums[..., 1] + all_sums[..., 2]),
        "span_precision": lambda all_sums: _quotient(all_sums[..., 0], all_sums[..., 1]),
        "span_recall": lambda all_sums: _quotient(all_sums[..., 0], all_sums[..., 2]),
    }
    intervals = _resampled(_UnitCounts(sums, int(units.max()) + 1), of_sums)
    return intervals | {"word_accuracy": share_interval(_right(gold, predicted, False), units)}


def _of_numbers(gold: F64, predicted: F64, units: I64) -> dict[str, Ends]:
    a, b = gold - gold.mean(), predicted - predicted.mean()
    columns = np.stack([(gold - predicted) ** 2, a, a**2, np.ones(len(a)), b, b**2, a * b], axis=1)
    groups, count = _grouped(units, columns.shape[1])
    sums = np.zeros((count, columns.shape[1]))
    np.add.at(sums, groups, columns)
    of_sums: dict[str, Callable[[F64], F64]] = {
        "r2": lambda all_sums: metrics.r2_of_moments(all_sums[..., :4]),
        "pearson": lambda all_sums: _pearson(*np.moveaxis(all_sums[..., 1:], -1, 0)),
    }
    intervals = _resampled(_UnitCounts(sums, int(units.max()) + 1), of_sums)
    return intervals | {"spearman": _spearman_interval(a, b, groups, count)}


def _pearson(a: F64, aa: F64, count: F64, b: F64, bb: F64, ab: F64) -> F64:
    """Return Pearson's correlation (…) from sums (…) of a, a², 1, b, b², ab; NaN where a side is constant."""
    spread = (aa - a**2 / count) * (bb - b**2 / count)
    return _quotient(ab - a * b / count, np.sqrt(np.where(spread > _SAME * aa * bb, spread, 0.0)))


def _spearman_interval(a: F64, b: F64, groups: I64, count: int) -> Ends:
    """Return the interval of the rank correlation; each draw has ranks of its own, ties by mean ranks."""
    score, share = metrics.spearman(a, b), 1.0
    if len(a) > _RANKED and count * _RANKED // len(a) >= _LEAST_DRAWS:
        rows, groups = _sample_of_groups(groups, count, _RANKED / len(a))
        a, b, share = a[rows], b[rows], len(rows) / len(a)
        count = int(groups.max()) + 1
    samples = _rank_correlations(a, b, groups, count)
    # Intervals of samples are wider, by the root of their share (Bickel, Götze and van Zwet 1997).
    return _ends(score + (samples - metrics.spearman(a, b)) * share**0.5, score, count)


def _sample_of_groups(groups: I64, count: int, share: float) -> tuple[I64, I64]:
    """Return the rows of a share of the groups, and their groups, numbered anew."""
    chosen = np.random.default_rng(0).permutation(count)[: int(count * share)]
    rows = np.flatnonzero(np.isin(groups, chosen))
    return rows, np.unique(groups[rows], return_inverse=True)[1]


def _rank_correlations(a: F64, b: F64, groups: I64, count: int) -> F64:
    """Return Spearman's correlation of a and b (n,) in each draw of groups, (draws,)."""
    draws = int(np.clip(8 * _CELLS // len(a), _LEAST_DRAWS, _DRAWS))
    sides = [_sorted_ties(side) for side in (a, b)]
    samples = []
    for times in _draws(draws, count, len(a)):
        weights = times[:, groups]
        x, y = (_mean_ranks(weights, *side) for side in sides)
        products = ((weights * values).sum(axis=1) for values in (x, x * x, np.ones_like(x), y, y * y, x * y))
        samples.append(_pearson(*products))
    return np.concatenate(samples)


def _sorted_ties(values: F64) -> tuple[I64, I64, I64]:
    """Return the order that sorts values (n,), the first place of each run of equal ones, and the run of each value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    is_first = np.append(True, ordered[1:] != ordered[:-1])
    runs = np.empty(len(values), np.int64)
    runs[order] = np.cumsum(is_first) - 1
    return order, np.flatnonzero(is_first), runs


def _mean_ranks(weights: F64, order: I64, starts: I64, runs: I64) -> F64:
    """Return the mean rank of each value (draws, n), about 0, if value i occurs `weights[:, i]` times."""
    sums = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(sums, axis=1) - sums / 2
    result: F64 = (ranks - ranks[:, -1:] / 2)[:, runs]
    return result


def _resampled(units: _UnitCounts, of_sums: Mapping[str, Callable[[F64], F64]]) -> dict[str, Ends]:
    """Return the percentile interval of each score, which is computed from sums (…) of the counts of units."""
    flat = units.counts.reshape(len(units.counts), -1)
    samples: dict[str, list[F64]] = {name: [] for name in of_sums}
    for times in _draws(_DRAWS, len(flat), flat.shape[1]):
        sums = (times @ flat).reshape(-1, *units.counts.shape[1:])
        for name, metric in of_sums.items():
            samples[name].append(metric(sums))
    total = units.counts.sum(axis=0)
    return {
        name: _ends(np.concatenate(samples[name]), float(metric(total)), units.units)
        for name, metric in of_sums.items()
    }


def _ends(samples: F64, score: float, units: int) -> Ends:
    """Return the percentiles of the draws in which a score is defined; no interval where most are undefined."""
    defined = samples[~np.isnan(samples)]
    if units < 2 or len(defined) < len(samples) / 2:
        return None, None
    if np.ptp(defined) <= _SAME and min(abs(score), abs(1 - score)) <= _SAME:
        return wilson(round(score), units)
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def _draws(draws: int, units: int, numbers: int) -> Iterator[F64]:
    """Yield how often each unit is drawn, (some draws, units), in all `draws`; a unit takes `numbers` numbers of memory."""
    rng = np.random.default_rng(0)
    step = max(1, _CELLS // max(units, numbers))
    for start in range(0, draws, step):
        yield resample(rng, min(step, draws - start), units)


def resample(rng: np.random.Generator, draws: int, units: int) -> F64:
    """Return how often each unit is drawn, (draws, units): a multinomial sample, by counting random unit numbers."""
    numbers = rng.integers(0, units, size=(draws, units))
    numbers += np.arange(draws)[:, None] * units
    return np.bincount(numbers.ravel(), minlength=draws * units).reshape(draws, units).astype(np.float64)


def _quotient(part: F64, whole: F64) -> F64:
    """Return a quotient (…); NaN where the divisor is 0."""
    result: F64 = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) != 0)
    return result


def _defined(values: F64, counts: F64) -> F64:
    """Return values (…), NaN where a count is 0."""
    result: F64 = np.where(counts > 0, values, np.nan)
    return result
