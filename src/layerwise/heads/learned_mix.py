"""What is reported about a learned mix: its weights, what each layer contributes and adds, and which layers are alike.

The weights of a learned mix are easily misread. Similar layers share weight, so a small weight doesn't mean that a layer
holds little; and a weight means little if the scores hardly depend on it. So each layer also gets its share of the
variance of the logits, the score without it, intervals, and a caution that names the two most similar layers. These are
computed for a trained head in `layer_importance`, and for a probe in `probing.mix_importance`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from layerwise.array_types import F32, F64, I64
from layerwise.heads.head import blocks
from layerwise.wording import Message, fixed, messages_json

INTERVAL = (0.025, 0.975)
_ALIKE_ROWS = 1000  # rows on which the similarity of layers is computed


@dataclass(frozen=True, slots=True)
class Range:
    """A number and the ends of its 95% interval; the ends are `None` if nothing was resampled."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The held-out score of the head fitted without one layer, with its 95% interval.

    `difference` is the score with all layers minus this score: what the layer adds to the others.
    """

    value: float
    low: float
    high: float
    difference: Range


@dataclass(frozen=True, slots=True)
class LearnedMix:
    """The explanation of a learned mix; sequences have an item per layer, in the order of the mix.

    Attributes:
        layers: names.
        weights: softmax weights, of sum 1.
        logit_variance: shares of the variance of the logits, of sum 1; see `logit_shares`.
        left_out: scores without each layer; empty if no row is held out.
        metric: the metric of these scores: accuracy, micro_f1 or r2.
        score: the score with all layers, fitted on the same rows; `None` if no row is held out.
        alike: the two most similar layers.
        likeness: their similarity, the largest `likeness` of all pairs; at most 1.
        draws: the number of resamples of the groups for the intervals of weights and shares.
    """

    layers: tuple[str, ...]
    weights: tuple[Range, ...]
    logit_variance: tuple[Range, ...]
    left_out: tuple[LeftOut, ...]
    metric: str
    score: float | None
    alike: tuple[str, str]
    likeness: float
    draws: int

    @property
    def caution(self) -> Message:
        """A warning about how to read the weights, as text."""
        return Message("note.learned", a=self.alike[0], b=self.alike[1], cka=fixed(self.likeness, 2))

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values; values per layer are keyed by the layer's name."""
        fields = asdict(self)
        for name in ("weights", "logit_variance", "left_out"):
            fields[name] = dict(zip(self.layers, fields[name], strict=False))
        lists = {"layers": list(self.layers), "alike": list(self.alike)}
        return {**fields, **lists, "caution": self.caution, "messages": messages_json(caution=self.caution)}


def layer_shares(x: F32, weights: F32, weight: F64, *, softmax: bool) -> F64:
    """Return the shares of `layer_importance.logit_shares` where z_l = x_l weights_l.

    `weights` are float32 (layers, width, outputs).
    """
    if softmax:
        weights = weights - weights.mean(axis=2, keepdims=True)
    weight = weight / weight.sum()
    mean, product = np.zeros((len(x), weights.shape[2])), np.zeros((len(x), weights.shape[2]))
    for rows in blocks(x.shape[1], x.shape[0] * x.shape[2]):
        parts = (x[:, rows] @ weights).astype(np.float64)
        weighted = parts * weight[rows][:, None]
        mean += weighted.sum(axis=1)
        product += np.einsum("lrk,rk->lk", weighted, parts.sum(axis=0))
    covariance = (product - mean * mean.sum(axis=0)).sum(axis=1)
    total = covariance.sum()
    shares: F64 = covariance / total if total > 0 else np.zeros(len(x))
    return shares


def likeness(x: F32) -> F64:
    """Return the similarity of layers, which doesn't change under rotation, float64 (layers, layers).

    Linear CKA (Kornblith et al. 2019) with the unbiased estimate of Song et al. (2012), so that unrelated
    layers give about 0 even on few rows. 0 where it isn't defined: a constant layer, or fewer than 4 rows.

    Args:
        x: (layers, rows, width); each layer needs a matrix of rows × rows.
    """
    rows = x.shape[1]
    if rows < 4:
        return np.eye(len(x))
    grams = []
    for layer in x.astype(np.float64):
        gram = layer @ layer.T
        np.fill_diagonal(gram, 0)
        sums = gram.sum(axis=0) / (rows - 2)
        gram = gram - sums - sums[:, None] + sums.sum() / (rows - 1)
        np.fill_diagonal(gram, 0)
        norm = np.linalg.norm(gram)
        grams.append((gram / norm if norm > 0 else gram).ravel().astype(np.float32))
    flat = np.stack(grams)
    cka: F64 = (flat @ flat.T).astype(np.float64)
    return cka


def most_alike(x: F32, rows: I64, rng: np.random.Generator) -> tuple[tuple[int, int], float]:
    """Return the two most similar layers and their similarity, on a sample of `rows`; x as in `likeness`."""
    if len(rows) > _ALIKE_ROWS:
        rows = np.sort(rng.choice(rows, _ALIKE_ROWS, replace=False))
    cka = likeness(x[:, rows])
    np.fill_diagonal(cka, -np.inf)
    first, second = np.unravel_index(int(cka.argmax()), cka.shape)
    return (int(first), int(second)), float(cka[first, second])


def redraw(groups: I64, rng: np.random.Generator) -> I64:
    """Resample the groups with replacement; return how often each row is drawn, (rows,)."""
    names, group_of_row = np.unique(groups, return_inverse=True)
    times_drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
    counts: I64 = times_drawn[group_of_row]
    return counts


def ranges(values: F64, resampled: Sequence[F64]) -> tuple[Range, ...]:
    """Return values (layers,) with the 95% intervals of their resampled values.

    A fit on resampled rows uses some of them several times, so its values can be more extreme than those of the
    fit on all rows: an interval that excludes the value is extended to it.
    """
    if not resampled:
        return tuple(Range(float(value)) for value in values)
    low, high = np.quantile(np.stack(resampled), INTERVAL, axis=0)
    ends = np.minimum(low, values), np.maximum(high, values)
    return tuple(Range(*map(float, item)) for item in zip(values, *ends, strict=True))
