"""The decoder, against every legal sequence counted out."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from layerwise.errors import RequestError
from layerwise.labels.tags import spans
from layerwise.labels.viterbi import decode, decode_many, legal

TAG_SETS = [
    ("O", "B-a", "I-a"),
    ("I-b", "O", "I-a", "B-b", "B-a"),
    ("O", "I-a", "B-b", "I-b"),
    ("B-a", "I-a"),
    ("B", "I", "O"),
    ("O",),
]


def is_legal(path: tuple[int, ...], tags: tuple[str, ...]) -> bool:
    """By the words of the rule, not by `legal`."""
    names = ["O", *(tags[code] for code in path)]
    return all(
        not now.startswith("I") or before in ("B" + now[1:], "I" + now[1:]) for before, now in pairwise(names)
    )


def best_of_all(scores: NDArray[np.float64], tags: tuple[str, ...]) -> float:
    words = range(len(scores))
    paths = (path for path in product(range(len(tags)), repeat=len(scores)) if is_legal(path, tags))
    return max(sum(float(scores[word, path[word]]) for word in words) for path in paths)


def check(
    scores: NDArray[np.float64], result: NDArray[np.int64], lengths: list[int], tags: tuple[str, ...]
) -> None:
    at = 0
    for length in lengths:
        part, path = scores[at : at + length], tuple(result[at : at + length].tolist())
        assert is_legal(path, tags)
        assert sum(part[word, code] for word, code in enumerate(path)) == best_of_all(part, tags)
        at += length


@given(
    tags=st.sampled_from(TAG_SETS),
    lengths=st.lists(st.integers(0, 4), max_size=5),
    problems=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_best_legal_path(tags: tuple[str, ...], lengths: list[int], problems: int, seed: int) -> None:
    # Whole numbers: sums are exact, and ties are common.
    random = np.random.default_rng(seed)
    scores = random.integers(-6, 1, (problems, sum(lengths), len(tags))).astype(np.float64)
    result = decode_many(scores.astype(np.float32), lengths, tags)
    assert result.shape == scores.shape[:2]
    assert result.dtype == np.int64
    for problem, paths in zip(scores, result, strict=True):
        check(problem, paths, lengths, tags)
        assert (decode(problem, lengths, tags) == paths).all()


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0, 1),
)
def test_what_is_impossible_is_avoided(lengths: list[int], seed: int, share: float) -> None:
    tags, random = TAG_SETS[1], np.random.default_rng(seed)
    scores = random.integers(-6, 1, (sum(lengths), len(tags))).astype(np.float64)
    scores[:, [0, 2, 3, 4]] = np.where(
        random.random((len(scores), 4)) < share, -np.inf, scores[:, [0, 2, 3, 4]]
    )
    check(scores, decode(scores, lengths, tags), lengths, tags)


def test_a_sentence_in_which_all_is_impossible_still_gets_a_legal_path() -> None:
    tags = ("I-a", "O", "B-b", "I-b")
    scores = np.full((3, len(tags)), -np.inf)
    scores[:, 0] = 0
    assert is_legal(tuple(decode(scores, [3], tags).tolist()), tags)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    tags, lengths = TAG_SETS[1], [3, 1, 0, 7, 2, 7]
    scores = random.normal(size=(9, sum(lengths), len(tags)))
    whole = decode_many(scores, lengths, tags)
    monkeypatch.setattr("layerwise.labels.viterbi._BLOCK", 60)
    assert (decode_many(scores, lengths, tags) == whole).all()
    assert (whole != scores.argmax(axis=2)).any()


def test_long_sentences_keep_small_differences() -> None:
    # In float32 a sum of 20,000 scores near -900 has steps of 2; the better ending differs by 0.001.
    tags = ("O", "B-a", "I-a")
    scores = np.full((20_000, 3), -900.0, dtype=np.float32)
    scores[:, 2] = -2000.0
    scores[-2:] = [[-1.0, -1.001, -9.0], [-3.0, -9.0, -1.0]]
    assert decode(scores, [20_000], tags)[-2:].tolist() == [1, 2]
    scores[-1, 0] = -1.002
    assert decode(scores, [20_000], tags)[-2:].tolist() == [1, 2]
    scores[-1, 0] = -1.0005
    assert decode(scores, [20_000], tags)[-2:].tolist() == [0, 0]


def test_the_law_of_iob2() -> None:
    start, follows = legal(["O", "B-a", "I-a", "I-b"])
    assert start.tolist() == [True, True, False, False]
    assert follows.tolist() == [
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, False],
        [True, True, False, True],
    ]


def test_a_path_of_the_decoder_has_every_inside_tag_in_a_span() -> None:
    tags = TAG_SETS[1]
    result = decode(np.random.default_rng(1).normal(size=(200, 5)), [200], tags)
    names = [tags[code] for code in result]
    assert sum(end - first for _, first, end in spans(names)) == sum(name != "O" for name in names)


def test_requests_that_cannot_be_met() -> None:
    with pytest.raises(
        RequestError, match="scores of 3 words × 1 tags don't fit sentences of 4 words and 1 tags"
    ):
        decode(np.zeros((3, 1)), [4], ["O"])
    with pytest.raises(RequestError, match="scores of 3 words × 2 tags"):
        decode(np.zeros((3, 2)), [3], ["O"])
    with pytest.raises(RequestError, match="the tags I-a, I-b allow no legal sequence"):
        decode(np.zeros((3, 2)), [3], ["I-a", "I-b"])
