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
from layerwise.heads.head import blocks
from layerwise.wording import Message, fixed, messages_json, name_of

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
    def caution(self) -> Message:
        """A warning about how to read the weights, as text."""
        return Message("note.learned", a=self.alike[0], b=self.alike[1], cka=fixed(self.likeness, 2))

    @property
    def summary(self) -> tuple[Message, ...]:
        """What the ablation shows, and then what the weights show, as sentences."""
        return (*_ablation_sentences(self), *_weights_sentences(self))

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
            "messages": messages_json(summary=self.summary, caution=self.caution),
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


def _ablation_sentences(mix: LearnedMix) -> list[Message]:
    """Return which layers are needed, a sentence for each; empty if no row is held out."""
    losses = {name: left.difference for name, left in zip(mix.layers, mix.left_out, strict=False)}
    if not losses:
        return []
    digits = score_digits((loss.low, loss.high) for loss in losses.values())
    metric = name_of("metric", mix.metric)
    if not mix.needed:
        return [Message("learned.none", metric=metric)]
    sentences = [_needed_sentence(name, losses[name], metric, digits) for name in mix.needed]
    return sentences if len(sentences) == len(mix.layers) else [*sentences, Message("learned.no.other")]


def _needed_sentence(name: str, loss: Range, metric: str, digits: int) -> Message:
    """Return what is lost without a layer; a needed layer has an interval."""
    assert loss.low is not None
    assert loss.high is not None
    interval = Message("interval", low=fixed(loss.low, digits), high=fixed(loss.high, digits))
    return Message(
        "learned.needed", name=name, metric=metric, loss=fixed(loss.value, digits), interval=interval
    )


def _weights_sentences(mix: LearnedMix) -> list[Message]:
    """Return what the weights single out; empty without refits."""
    if mix.leading is None:
        return []
    if len(mix.leading) == 1:
        return [Message("learned.single", name=mix.leading[0], n=mix.draws)]
    if len(mix.leading) == len(mix.layers):
        return [Message("learned.nothing", n=mix.draws)]
    return [Message("learned.several", names=mix.leading, n=mix.draws)]


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
