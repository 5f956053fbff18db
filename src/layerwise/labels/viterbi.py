"""Viterbi for IOB2: find the legal tag sequence with the highest sum of scores.

The best tag of each word alone may give an illegal sequence, such as I-X after O. Only I-X has a constraint on the
tag before it, and transitions have no scores. So the best tags of each word are also the best legal sequence
whenever they are legal, and only the other sentences are decoded, in O(words · T): O and B-X follow the best of all
tags, I-X follows the better of B-X and I-X.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import I64
from layerwise.errors import RequestError
from layerwise.labels.tags import inside_partners

_Bool = NDArray[np.bool_]
# A decoded block holds at most about this many scores.
_BLOCK = 1 << 22
# Replaces the logarithm of 0: lower than any real score, but its sums stay finite.
_LOWEST = -1e30


def legal(tags: Sequence[str]) -> tuple[_Bool, _Bool]:
    """Return the IOB2 tags that may begin a sentence, bool (T,), and the legal transitions, bool (T, T).

    I-X comes only after B-X or I-X; all other transitions are legal. The row is the earlier tag.
    """
    inside = inside_partners(tags)
    bound = _is_inside(tags)
    follows = np.tile(~bound, (len(tags), 1))
    has_inside = np.flatnonzero(inside >= 0)
    follows[has_inside, inside[has_inside]] = True
    return ~bound, follows


def decode(scores: NDArray[Any], lengths: Sequence[int] | I64, tags: Sequence[str]) -> I64:
    """Return the best legal tags of each sentence.

    Args:
        scores: float (words, T), sorted by sentence; log probabilities, or any scores whose sum is maximised;
            -inf for an impossible tag, never NaN.
        lengths: (sentences,) the number of words of each sentence; may be 0.
        tags: (T,) the names of IOB2 tags, without repetition.

    Returns:
        int64 (words,), tag numbers; one of the best if several sequences are equally good.

    Raises:
        RequestError: lengths whose sum isn't the number of words, or no tag that can begin a sentence.
    """
    best: I64 = decode_many(scores[None], lengths, tags)[0]
    return best


def decode_many(scores: NDArray[Any], lengths: Sequence[int] | I64, tags: Sequence[str]) -> I64:
    """Return the result of `decode` for P sets of scores (P, words, T) of the same sentences, int64 (P, words).

    Raises:
        RequestError: as in `decode`.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    _check(scores, sizes, tags)
    problems, words, _ = scores.shape
    if not problems or not words:
        return np.zeros((problems, words), dtype=np.int64)
    best: I64 = scores.argmax(axis=2)
    starts = np.cumsum(sizes) - sizes
    at, sentence = np.nonzero(_has_illegal_path(best, sizes, legal(tags)))
    # Sorted by length, so that a block needs little padding.
    order = np.argsort(-sizes[sentence], kind="stable")
    at, first, size = at[order], starts[sentence[order]], sizes[sentence[order]]
    while len(at):
        count = max(1, _BLOCK // int(size[0] * len(tags)))
        _decode_block(best, scores, at[:count], first[:count], size[:count], tags)
        at, first, size = at[count:], first[count:], size[count:]
    return best


def _check(scores: NDArray[Any], sizes: I64, tags: Sequence[str]) -> None:
    if scores.shape[1:] != (sizes.sum(), len(tags)):
        raise RequestError(
            f"scores of {scores.shape[1]} words × {scores.shape[2]} tags don't fit sentences of {sizes.sum()} words "
            f"and {len(tags)} tags; give one score per word and tag"
        )
    if _is_inside(tags).all():
        raise RequestError(
            f"the tags {', '.join(tags) or '(none)'} allow no legal sequence: only O and B- begin one; add O"
        )


def _is_inside(tags: Sequence[str]) -> _Bool:
    """Return which tags are I or I-X."""
    return np.array([tag.partition("-")[0] == "I" for tag in tags], dtype=bool)


def _has_illegal_path(best: I64, sizes: I64, legality: tuple[_Bool, _Bool]) -> _Bool:
    """Return which sentences have an illegal path, bool (P, sentences)."""
    start, follows = legality
    wrong = np.zeros(best.shape, dtype=bool)
    wrong[:, 1:] = ~follows.ravel()[best[:, :-1] * len(start) + best[:, 1:]]
    first = (np.cumsum(sizes) - sizes)[sizes > 0]
    wrong[:, first] = ~start[best[:, first]]
    broken = np.zeros((len(best), len(sizes)), dtype=bool)
    broken[:, sizes > 0] = np.logical_or.reduceat(wrong, first, axis=1)
    return broken


def _decode_block(
    best: I64, scores: NDArray[Any], at: I64, first: I64, size: I64, tags: Sequence[str]
) -> None:
    """Write the best legal paths of sentences, longest first, into `best` (P, words).

    Args:
        best: int64 (P, words).
        scores: float (P, words, T).
        at: (n,) the set of scores of each sentence.
        first: (n,) the first word of each sentence.
        size: (n,) the number of words of each sentence, descending, never 0.
        tags: (T,) the names of the tags.
    """
    came_from = np.zeros((size[0], len(tags), len(at)), dtype=np.int16)
    active = np.searchsorted(-size, -np.arange(size[0]), side="left")
    bound = np.flatnonzero(_is_inside(tags))
    begin = _begin_partners(tags)[bound]
    # The last row replaces a B-X that isn't among the tags: no path comes from it.
    value = np.full((len(tags) + 1, len(at)), -np.inf)
    value[:-1] = _scores_at(scores, at, first)
    value[bound] = -np.inf
    for step in range(1, size[0]):
        n = active[step]
        before, back = value[:, :n], came_from[step, :, :n]
        stay, enter = before[bound], before[begin]
        back[:] = before[:-1].argmax(axis=0)
        back[bound] = np.where(stay >= enter, bound[:, None], begin[:, None])
        added = _scores_at(scores, at[:n], first[:n] + step)
        value[:-1, :n] = before.max(axis=0)
        value[bound, :n] = np.maximum(stay, enter)
        value[:-1, :n] += added
    tag = value[:-1].argmax(axis=0)
    for step in range(size[0] - 1, -1, -1):
        n = active[step]
        best[at[:n], first[:n] + step] = tag[:n]
        tag[:n] = came_from[step, tag[:n], np.arange(n)]


def _begin_partners(tags: Sequence[str]) -> I64:
    """Return, for each I-X, the number of B-X in `tags`; the number of tags where there is none."""
    number_of = {tag: number for number, tag in enumerate(tags)}
    return np.array([number_of.get("B" + tag[1:], len(tags)) for tag in tags], dtype=np.int64)


def _scores_at(scores: NDArray[Any], at: I64, word: I64) -> NDArray[np.float64]:
    """Return the scores of one word of each of n sentences, float64 (T, n), in which sums keep small differences."""
    return np.maximum(scores[at, word].T.astype(np.float64), _LOWEST)
