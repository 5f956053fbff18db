"""The shape of one layer: lengths, directions and dimensions of its rows, also within texts.

Rows are x, float32 or float64 (n, d); sums are float64. Cosines of raw vectors are high because one to three
rogue dimensions dominate them (Timkey and van Schijndel 2021): `standardise(x)` has none, and similarities are
also given minus the mean cosine of any two rows (Ethayarajh 2019).

Undefined numbers are NaN, undefined lists are empty: a value that isn't finite, a row of zeros where cosines are
needed, no variance, too few rows. The only error is raised for labels that don't fit the rows; nothing warns.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from layerwise.array_types import F64, I64
from layerwise.geometry.label_groups import Labels, groups_of, mean_of, sums_of, thinned
from layerwise.geometry.rows import SAME, RowArray, centred, finite, row_lengths, unit_rows
from layerwise.geometry.svd import singular_values


@dataclass(frozen=True, slots=True)
class RowNorms:
    """Euclidean lengths of rows, in the unit of the vectors: mean, median, 5th and 95th percentile."""

    mean: float
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Similarity:
    """A mean cosine, and the same minus the mean cosine of any two rows of the layer (`anisotropy`)."""

    mean: float
    adjusted: float


def norms(x: RowArray) -> RowNorms:
    """Return mean and percentiles of the Euclidean lengths √Σx² of rows of x (n, d).

    Percentiles are interpolated between rows, as NumPy does.
    """
    if not finite(x):
        return RowNorms(math.nan, math.nan, math.nan, math.nan)
    unit = float(np.abs(x).max()) or 1.0
    lengths = row_lengths(np.asarray(x, np.float64) / unit)
    low, median, high = np.percentile(lengths, [5, 50, 95])
    return RowNorms(*(float(value * unit) for value in (lengths.mean(), median, low, high)))


def anisotropy(x: RowArray) -> float:
    """Return the mean cosine of two different rows, over all pairs, in [-1 / (n - 1), 1] (Ethayarajh 2019).

    (‖Σu‖² - n) / (n (n - 1)), u being the n rows at length 1. 0 where directions are spread evenly; near 0
    for `standardise(x)`, whose columns sum to 0.
    """
    return float(contributions(x).sum())


def contributions(x: RowArray) -> F64:
    """Return what each dimension adds to the mean cosine of two different rows, float64 (d,); the sum is `anisotropy`.

    ((Σu_i)² - Σu_i²) / (n (n - 1)) for dimension i: as Timkey and van Schijndel (2021), but over all pairs.
    """
    unit = unit_rows(x)
    if unit is None or len(unit) < 2:
        return np.full(max(1, x.shape[1]), np.nan)
    pairs = len(unit) * (len(unit) - 1)
    parts: F64 = (unit.sum(axis=0) ** 2 - (unit**2).sum(axis=0)) / pairs
    return parts


def rogue_shares(x: RowArray, top: int = 3) -> tuple[I64, F64]:
    """Return the dimensions that add most to the mean cosine (k,), and their shares of it (k,), the largest first.

    Shares of all dimensions sum to 1; one may exceed 1 where others are below 0. Even shares are 1/d. Empty
    where the mean cosine isn't above 0, so that shares aren't defined (Timkey and van Schijndel 2021).
    """
    parts = contributions(x)
    total = parts.sum()
    if not total > SAME:
        return np.empty(0, np.int64), np.empty(0)
    order = np.argsort(-parts, kind="stable")[:top]
    return order, parts[order] / total


def effective_rank(x: RowArray) -> float:
    """Return how many directions the rows of x (n, d) use, in [1, min(n - 1, d)] (Roy and Vetterli 2007).

    exp(-Σ p log p), p being the singular values of the centred rows divided by their sum.
    """
    if not finite(x):
        return math.nan
    values, _ = centred(x)
    if not values.any():
        return math.nan
    singular = singular_values(values)
    return math.exp(special.entr(singular / singular.sum()).sum())


def intra_text_similarity(x: RowArray, docs: Labels) -> Similarity:
    """Return the mean cosine of a row with the mean row of its text, averaged over texts (Ethayarajh 2019).

    A row is part of its text's mean: m unrelated rows still give about 1/√m. Texts of one row,
    and those whose mean is 0, are left out.

    Args:
        x: (n, d), such as words.
        docs: (n,), the text of each row.
    """
    unit, groups = unit_rows(x), groups_of(docs, len(x))
    if unit is None:
        return Similarity(math.nan, math.nan)
    values = np.asarray(x, np.float64)[groups.order] / float(np.abs(x).max())
    sums, lengths = sums_of(values, groups), sums_of(row_lengths(values)[:, None], groups)[:, 0]
    length = row_lengths(sums)
    defined = (groups.counts > 1) & (length > SAME * lengths)
    cosines = np.einsum("td,td->t", sums_of(unit[groups.order], groups), sums)[defined]
    return _adjusted(cosines / length[defined] / groups.counts[defined], x)


def self_similarity(x: RowArray, words: Labels, most: int = 1000) -> Similarity:
    """Return the mean cosine of two occurrences of a word type, averaged over types (Ethayarajh 2019).

    (‖Σu‖² - m) / (m (m - 1)) for a type of m occurrences, u being their rows at length 1. Types that occur
    once are left out; of those that occur more than `most` times, `most` evenly spaced occurrences are taken.

    Args:
        x: (n, d), words in context.
        words: (n,), the type of each.
        most: the most occurrences of a type.
    """
    unit, groups = unit_rows(x), groups_of(words, len(x))
    if unit is None:
        return Similarity(math.nan, math.nan)
    groups = thinned(groups, most)
    counts = groups.counts
    squares = (sums_of(unit[groups.order], groups) ** 2).sum(axis=1)
    repeated = counts > 1
    return _adjusted(((squares - counts)[repeated] / (counts * (counts - 1))[repeated]), x)


def curvature(x: RowArray, docs: Labels) -> float:
    """Return the mean angle between a text's successive steps from row to row, averaged over texts, radians in [0, π].

    The angle of x_{t+1} - x_t and x_{t+2} - x_{t+1} (Hosseini and Fedorenko 2023; Skean et al. 2025, whose
    code takes the absolute cosine, so that reversing the direction counts as straight). Unrelated rows give
    about 2π/3. Texts of fewer than 3 rows are left out, and angles at a step of length 0.

    Args:
        x: (n, d), the rows of a text in its order.
        docs: (n,), the text of each row.
    """
    groups = groups_of(docs, len(x))
    if len(x) < 3 or not finite(x):
        return math.nan
    steps = np.diff(np.asarray(x, np.float64)[groups.order] / (float(np.abs(x).max()) or 1.0), axis=0)
    lengths = row_lengths(steps)
    steps /= np.where(lengths > 0, lengths, 1)[:, None]
    text = np.repeat(np.arange(len(groups.counts)), groups.counts)
    # Rows are sorted by text: where the first and the third of three rows are of one text, so is the second.
    defined = (text[:-2] == text[2:]) & (lengths[:-1] > 0) & (lengths[1:] > 0)
    # Kahan's formula: the arc cosine would lose half of the digits of small angles.
    angles = 2 * np.arctan2(row_lengths(steps[:-1] - steps[1:]), row_lengths(steps[:-1] + steps[1:]))[defined]
    angle_counts = np.bincount(text[:-2][defined])
    sums = np.bincount(text[:-2][defined], weights=angles)
    return mean_of(sums[angle_counts > 0] / angle_counts[angle_counts > 0])


def prompt_entropy(x: RowArray, docs: Labels) -> float:
    """Return how evenly the rows of a text are spread over directions, averaged over texts, in [0, 1] (Skean et al. 2025).

    `dataset_entropy` of each text: 0 where its rows are parallel, 1 where they are orthogonal. Texts of one
    row are left out.

    Args:
        x: (n, d), such as words.
        docs: (n,), the text of each row.
    """
    unit, groups = unit_rows(x), groups_of(docs, len(x))
    if unit is None or x.shape[1] < 2:
        return math.nan
    texts = np.split(unit[groups.order], groups.starts[1:])
    return mean_of(np.array([_entropy(text) for text in texts if len(text) > 1]))


def dataset_entropy(x: RowArray) -> float:
    """Return how evenly the rows of x (n, d), such as one per text, are spread over directions, in [0, 1].

    The matrix-based entropy in its limit α = 1 (von Neumann), -Σ p log p, p being the eigenvalues of UUᵀ / n
    and U the rows at length 1, divided by log min(n, d): "maxEntropy" in the code of Skean et al. (2025).
    That code also centres rows and sets negative cosines to 0; their formula and this function do not.
    """
    unit = unit_rows(x)
    return math.nan if unit is None or min(unit.shape) < 2 else _entropy(unit)


def _adjusted(cosines: F64, x: RowArray) -> Similarity:
    mean = mean_of(cosines)
    return Similarity(mean, mean - anisotropy(x))


def _entropy(unit: F64) -> float:
    """Return the normalised entropy of rows of length 1, (n, d).

    Both Gram matrices have the same eigenvalues above 0; the smaller one is used.
    """
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    shares = np.maximum(np.linalg.eigvalsh(gram / len(unit)), 0)
    return float(special.entr(shares).sum() / math.log(len(gram)))
