"""The probability of a span: the share of the legal tag sequences that hold exactly this span, by their weight.

The weight of a sequence is the exponential of the sum of its scores, which is the sum that Viterbi maximises. So the
probability is the exact marginal of a chain in which only I-X is bound to the tag before it. It is computed by the
forward-backward algorithm (Rabiner 1989, section III A), in logarithms.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F64, I64
from layerwise.labels.tags import inside_partners


class TagSpan(NamedTuple):
    """A span among all words: the number of its tag B-X, its first word, and the word after its last."""

    tag: int
    first: int
    after: int


def span_probabilities(
    scores: NDArray[Any], sizes: Sequence[int] | I64, tags: Sequence[str], spans: Sequence[TagSpan]
) -> F64:
    """Return the probability of each span, float64 (spans,).

    Args:
        scores: float (words, T), sorted by sentence: logits, or any scores whose sum is the logarithm of a weight.
        sizes: (sentences,) the number of words of each sentence; may be 0.
        tags: (T,) the names of IOB2 tags, without repetition; at least one may begin a sentence.
        spans: each within one sentence.
    """
    if not spans:
        return np.zeros(0)
    values, lengths = np.asarray(scores, np.float64), np.asarray(sizes, np.int64)
    lengths = lengths[lengths > 0]
    first_words = np.cumsum(lengths) - lengths
    # This changes no probability, and keeps the sums of long sentences small.
    values = values - values.max(axis=1, keepdims=True)
    chain = _Chain(values, first_words, lengths, tags)
    before, unbound = chain.before(), chain.unbound()
    last_words = {int(word) for word in first_words + lengths - 1}
    partners = inside_partners(tags)
    out = np.empty(len(spans))
    for number, (tag, first, after) in enumerate(spans):
        sentence = int(np.searchsorted(first_words, first, side="right")) - 1
        inside = values[first, tag] + values[first + 1 : after, partners[tag]].sum()
        behind = 0.0 if after - 1 in last_words else unbound[after]
        out[number] = before[first] + inside + behind - unbound[first_words[sentence]]
    return np.exp(np.minimum(out, 0.0))  # rounding may give a logarithm just above 0


class _Chain:
    """The sums over all legal sequences of some sentences, without any padding.

    Args:
        values: scores, float64 (words, T).
        first_words, lengths: (sentences,), no sentence empty.
        tags: (T,) the names of IOB2 tags.
    """

    def __init__(self, values: F64, first_words: I64, lengths: I64, tags: Sequence[str]) -> None:
        order = np.argsort(-lengths, kind="stable")
        self._values, self._first = values, first_words[order]
        # The number of sentences that have a word at each place.
        self._counts = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left").tolist()
        is_inside = np.array([tag.partition("-")[0] == "I" for tag in tags], dtype=bool)
        self._bound, self._free = np.flatnonzero(is_inside), np.flatnonzero(~is_inside)
        self._partners = inside_partners(tags)

    def before(self) -> F64:
        """Return the logarithm of the weight of all that may precede each word, (words,); 0 for a first word."""
        out = np.zeros(len(self._values))
        number_of = {int(partner): tag for tag, partner in enumerate(self._partners) if tag != partner}
        # An I-X without B-X among the tags is preceded by nothing but itself.
        begins = np.array([number_of.get(int(tag), tag) for tag in self._bound], dtype=np.int64)
        weights = np.zeros((0, self._values.shape[1]))
        for step, words in self._steps():
            earlier, scores = weights[: len(words)], self._values[words]
            if not step:
                weights = scores
                weights[:, self._bound] = -np.inf
                continue
            out[words] = _log_sums(earlier)
            weights = out[words][:, None] + scores
            inside = np.logaddexp(earlier[:, self._bound], earlier[:, begins])
            weights[:, self._bound] = inside + scores[:, self._bound]
        return out

    def unbound(self) -> F64:
        """Return the logarithm of the weight of each word and all that follows, if it isn't I-X: (words,).

        At a first word that is the weight of all legal sequences of its sentence.
        """
        out = np.zeros(len(self._values))
        # Those of the next word of each sentence; where there is none, nothing follows but the end.
        unbound, inside = np.zeros(len(self._first)), np.full((len(self._first), len(self._bound)), -np.inf)
        followed = np.flatnonzero(self._partners >= 0)
        places = np.searchsorted(self._bound, self._partners[followed])
        for _, words in reversed(list(self._steps())):
            count = len(words)
            behind = np.repeat(unbound[:count, None], self._values.shape[1], axis=1)
            behind[:, followed] = np.logaddexp(behind[:, followed], inside[:count, places])
            weights = self._values[words] + behind
            unbound[:count] = out[words] = _log_sums(weights[:, self._free])
            inside[:count] = weights[:, self._bound]
        return out

    def _steps(self) -> Iterator[tuple[int, I64]]:
        """Yield each place in a sentence with the words there, those of longer sentences first."""
        for step, count in enumerate(self._counts):
            yield step, self._first[:count] + step


def _log_sums(logarithms: F64) -> F64:
    """Return the logarithm of the sum of each row, (n,), from logarithms (n, k) of which at least one is finite."""
    top = logarithms.max(axis=1)
    sums: F64 = top + np.log(np.exp(logarithms - top[:, None]).sum(axis=1))
    return sums
