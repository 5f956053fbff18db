"""What is reported about a learned mix: what each layer adds to the score, its weight, and which layers are alike.

The weights of a learned mix are easily misread. Similar layers share weight, so a small weight doesn't mean that a layer
holds little; and a weight means little if the scores hardly depend on it. So layers are ranked by ablation: the loss of
score without the layer. The weights of every refit are reported, with the layers that they single out, if any, each
layer's share of the variance of the logits, and a caution that names the two most similar layers. These are computed
for a trained head in `layer_importance`, and for a probe in `probing.mix_importance`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from layerwise._util.display import score_digits
from layerwise.array_types import F32, F64, I64
from layerwise.choices import METRICS
from layerwise.heads.head import blocks

INTERVAL = (0.025, 0.975)
_SURE = 0.95  # of the fits, in which one weight must be greater than another to be told from it
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

    `difference` is the score with all layers minus this score: what the layer adds to the others. Its interval holds
    for all layers at once; see `ablation_ends`.
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
        left_out: scores without each layer; empty if no row is held out.
        weights: softmax weights, of sum 1.
        refits: for each layer its weights in the refits on resampled groups; empty without refits.
        logit_variance: shares of the variance of the logits, of sum 1; see `logit_shares`.
        metric: the metric of the scores: accuracy, micro_f1, span_f1 or r2.
        score: the score with all layers, on the rows of `left_out`; `None` if no row is held out.
        alike: the two most similar layers.
        likeness: their similarity, the largest `likeness` of all pairs; at most 1.
        draws: the number of refits.
    """

    layers: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    weights: tuple[Range, ...]
    refits: tuple[tuple[float, ...], ...]
    logit_variance: tuple[Range, ...]
    metric: str
    score: float | None
    alike: tuple[str, str]
    likeness: float
    draws: int

    @property
    def order(self) -> tuple[str, ...]:
        """The layers by the loss of score without each, the greatest first; empty if no row is held out."""
        losses = [left.difference.value for left in self.left_out]
        return tuple(self.layers[i] for i in sorted(range(len(losses)), key=lambda i: -losses[i]))

    @property
    def needed(self) -> tuple[str, ...]:
        """The layers, in this order, without which the loss is distinguished from 0: the interval is above it."""
        lows = dict(zip(self.layers, (left.difference.low for left in self.left_out), strict=False))
        return tuple(name for name in self.order if (lows[name] or 0) > 0)

    @property
    def leading(self) -> tuple[str, ...] | None:
        """The layers that the weights put first; see `leading_layers`. `None` without refits.

        One layer: the weights single it out. All layers: the weights mean nothing.
        """
        if not self.refits:
            return None
        fits = np.array([[w.value, *refits] for w, refits in zip(self.weights, self.refits, strict=True)])
        return tuple(self.layers[i] for i in leading_layers(fits.T))

    @property
    def caution(self) -> str:
        """A warning about how to read the weights, as text."""
        return (
            "Layers that resemble each other share weight, so a small weight doesn't mean that a layer holds "
            f"little information; the most similar layers are {self.alike[0]} and {self.alike[1]} (CKA {self.likeness:.2f})."
        )

    @property
    def summary(self) -> tuple[str, ...]:
        """What the ablation shows, and what the weights show, a sentence for each that there is."""
        ablation = (_ablation_sentence(self),) if self.left_out else ()
        return ablation if self.leading is None else (*ablation, _weights_sentence(self))

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values; values per layer are keyed by the layer's name."""
        fields = asdict(self)
        for name in ("left_out", "weights", "refits", "logit_variance"):
            fields[name] = dict(zip(self.layers, fields[name], strict=False))
        return {
            "summary": list(self.summary),
            "order": list(self.order),
            "needed": list(self.needed),
            "leading": None if self.leading is None else list(self.leading),
            **fields,
            "layers": list(self.layers),
            "alike": list(self.alike),
            "caution": self.caution,
        }


def leading_layers(weights: F64) -> list[int]:
    """Return the layers whose weight isn't distinguished from the greatest, in the order of the mix.

    A weight is distinguished from another if it is greater by at least half of an equal share, 1 / 2L, in 95% of the
    fits. The greatest is that of the highest median.

    Args:
        weights: (fits, layers), each fit of sum 1.
    """
    fits, layers = weights.shape
    first = weights[:, [int(np.median(weights, axis=0).argmax())]]
    greater = (first - weights >= 0.5 / layers).sum(axis=0)
    return np.flatnonzero(greater < np.ceil(_SURE * fits)).tolist()


def ablation_ends(layers: int) -> tuple[float, float]:
    """Return the quantiles of a loss that give 95% intervals for all layers at once (Bonferroni)."""
    return INTERVAL[0] / layers, 1 - INTERVAL[0] / layers


def _ablation_sentence(mix: LearnedMix) -> str:
    """Return which layers are needed, as text."""
    losses = {name: left.difference for name, left in zip(mix.layers, mix.left_out, strict=True)}
    digits = score_digits((loss.low, loss.high) for loss in losses.values())
    metric = METRICS.get(mix.metric, mix.metric)
    if not mix.needed:
        return (
            f"No single layer is needed: for every layer the 95% interval of the loss of {metric} without it "
            "contains 0. The other layers replace it, or the rows are too few to show a loss."
        )
    items = [
        f"layer {name} by {losses[name].value:.{digits}f} ({losses[name].low:.{digits}f} to {losses[name].high:.{digits}f})"
        for name in mix.needed
    ]
    others = "" if len(items) == len(mix.layers) else "; for no other layer is the loss distinguished from 0"
    return f"The {metric} falls without {', without '.join(items)}{others}."


def _weights_sentence(mix: LearnedMix) -> str:
    """Return what the weights single out, as text."""
    leading = mix.leading or ()
    fits = f"{mix.draws} refits on resampled texts"
    if len(leading) == 1:
        return (
            f"The weights single out layer {leading[0]}: its weight is the greatest in at least 95% of the fit and its "
            f"{fits}."
        )
    if len(leading) == len(mix.layers):
        return (
            f"The weights mean nothing here: over {fits} no layer's weight is distinguished from the others."
        )
    names = f"{', '.join(leading[:-1])} and {leading[-1]}"
    return f"The weights single out no layer: over {fits} those of layers {names} aren't distinguished."


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


def ranges(values: F64, resampled: Sequence[F64], ends: tuple[float, float] = INTERVAL) -> tuple[Range, ...]:
    """Return values (layers,) with the intervals of their resampled values, between the quantiles `ends`.

    A fit on resampled rows uses some of them several times, so its values can be more extreme than those of the
    fit on all rows: an interval that excludes the value is extended to it.
    """
    if not resampled:
        return tuple(Range(float(value)) for value in values)
    low, high = np.quantile(np.stack(resampled), ends, axis=0)
    extended = np.minimum(low, values), np.maximum(high, values)
    return tuple(Range(*map(float, item)) for item in zip(values, *extended, strict=True))


def by_layer(resampled: Sequence[F64]) -> tuple[tuple[float, ...], ...]:
    """Return the values of refits, (layers,) each, as a tuple per layer; empty without refits."""
    return tuple(map(tuple, np.stack(resampled).T.tolist())) if resampled else ()
