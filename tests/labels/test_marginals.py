"""The probability of a span, against the sum over every tag sequence that there is."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from layerwise.labels.marginals import TagSpan, span_probabilities
from layerwise.labels.tags import lengths, spans
from layerwise.labels.viterbi import decode, legal

TAGS = [
    ("O", "B-A", "I-A"),
    ("O", "B-A", "B-B", "I-A", "I-B"),
    ("I-A", "B-B", "O", "B-A"),  # I-B never occurs, and O isn't the first
    ("O", "B", "I"),
    ("B-A", "I-A"),
    ("O", "B-A", "B-B"),
    ("O", "I-A", "B-B", "I-B"),  # no B-A, so no I-A
]


def by_hand(scores: Any, tags: Sequence[str]) -> tuple[dict[tuple[str, int, int], float], float]:
    """The probability of each span of one sentence: the weights of all legal sequences, one by one."""
    start, follows = legal(tags)
    weight_of: dict[tuple[str, int, int], float] = {}
    total = 0.0
    for path in product(range(len(tags)), repeat=len(scores)):
        if not start[path[0]] or not all(follows[a, b] for a, b in pairwise(path)):
            continue
        weight = float(np.exp(sum(scores[word, tag] for word, tag in enumerate(path))))
        total += weight
        for span in spans([tags[tag] for tag in path]):
            weight_of[span] = weight_of.get(span, 0.0) + weight
    return {span: weight / total for span, weight in weight_of.items()}, total


def number_of(label: str, tags: Sequence[str]) -> int:
    return list(tags).index("B" if label == "_" else f"B-{label}")


@pytest.mark.parametrize("tags", TAGS, ids=",".join)
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_every_span_of_every_sentence(tags: tuple[str, ...], scale: float) -> None:
    """Sentences of several lengths together, empty ones among them; a third of the spans is hardly possible."""
    chance = np.random.default_rng(len(tags))
    sizes = [3, 0, 5, 1, 2, 5, 0]
    scores = (chance.standard_normal((sum(sizes), len(tags))) * scale).astype(np.float32)
    asked, expected, begin = [], [], 0
    for size in sizes:
        probability_of, _ = by_hand(scores[begin : begin + size].astype(float), tags) if size else ({}, 0.0)
        for (label, first, after), probability in probability_of.items():
            asked.append(TagSpan(number_of(label, tags), begin + first, begin + after))
            expected.append(probability)
        begin += size
    order = chance.permutation(len(asked))
    result = span_probabilities(scores, sizes, tags, [asked[n] for n in order])
    assert result == pytest.approx(np.array(expected)[order], rel=1e-9, abs=1e-300)
    assert len(expected) > 10


def test_the_probabilities_of_all_readings_of_a_word_sum_to_one() -> None:
    """A single word is a span of A, of B, or none."""
    tags = ("O", "B-A", "B-B", "I-A", "I-B")
    scores = np.array([[0.3, 1.0, -2.0, 9.0, 9.0]])
    both = span_probabilities(scores, [1], tags, [TagSpan(1, 0, 1), TagSpan(2, 0, 1)])
    free = np.exp(scores[0, :3])
    assert both == pytest.approx(free[1:] / free.sum(), rel=1e-12), "I can't begin, however high its score"


def test_adding_to_all_scores_of_a_word_changes_nothing() -> None:
    """So the probability of a softmax of the scores is that of the scores."""
    tags = TAGS[1]
    chance = np.random.default_rng(0)
    scores = chance.standard_normal((6, 5))
    asked = [TagSpan(1, 1, 3), TagSpan(2, 3, 4)]
    moved = scores + chance.standard_normal((6, 1)) * 50
    assert span_probabilities(moved, [4, 2], tags, asked) == pytest.approx(
        span_probabilities(scores, [4, 2], tags, asked), rel=1e-9
    )


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e30])
def test_large_scores_and_long_sentences(scale: float) -> None:
    tags, words = TAGS[1], 3000
    scores = (np.random.default_rng(1).standard_normal((words, 5)) * scale).astype(np.float32)
    best = decode(scores, [words - 7, 7], tags)
    docs = np.repeat([0, 1], [words - 7, 7])
    assert lengths(docs) == [words - 7, 7]
    asked = [
        TagSpan(number_of(label, tags), first, after)
        for begin, end in ((0, words - 7), (words - 7, words))
        for label, first, after in (
            (label, begin + first, begin + after)
            for label, first, after in spans([tags[tag] for tag in best[begin:end]])
        )
    ]
    result = span_probabilities(scores, [words - 7, 7], tags, asked)
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.median(result) > 0.99, "the best sequence has nearly all of the weight"


def test_no_span_has_no_probability() -> None:
    assert span_probabilities(np.zeros((3, 3)), [3], TAGS[0], []).shape == (0,)
    assert span_probabilities(np.zeros((0, 3)), [], TAGS[0], []).shape == (0,)
