"""Viterbi for IOB2: of the legal tag sequences, the one with the highest sum of scores.

The law is one-sided: only an I-X depends on what comes before it, and there is no score for a transition. So the
best path without the law is also the best one under it wherever it happens to be legal, and only the other
sentences are decoded, in O(words · T): a free tag (O, B-X) follows the best of all tags, an I-X the better of two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import RequestError
from layerwise.labels.tags import I64, inside_partners

_Bool = NDArray[np.bool_]
# A decoded block holds at most about so many scores.
_BLOCK = 1 << 22
# Stands for the logarithm of 0: below any real score, yet sums of it stay finite.
_LOWEST = -1e30


def legal(tags: Sequence[str]) -> tuple[_Bool, _Bool]:
    """Return which IOB2 tags may begin a sentence, bool (T,), and which may follow which, bool (T, T).

    I-X comes only after B-X or I-X; all else is free. Rows are the tag before.
    """
    inside = inside_partners(tags)
    bound = _bound(tags)
    follows = np.tile(~bound, (len(tags), 1))
    before = np.flatnonzero(inside >= 0)
    follows[before, inside[before]] = True
    return ~bound, follows


def decode(scores: NDArray[Any], lengths: Sequence[int] | I64, tags: Sequence[str]) -> I64:
    """Return the best legal tags of each sentence.

    Args:
        scores: float (words, T), sentence after sentence; logarithms of probabilities, or any scores whose sum
            is to be highest; -inf for what can't be, never NaN.
        lengths: (sentences,) words of each; may be 0.
        tags: (T,) IOB2 names, each once.

    Returns:
        int64 (words,), numbers of tags. Of equally good sequences, one.

    Raises:
        RequestError: for lengths that don't add up to the words, or tags that can't begin a sentence.
    """
    found: I64 = decode_many(scores[None], lengths, tags)[0]
    return found


def decode_many(scores: NDArray[Any], lengths: Sequence[int] | I64, tags: Sequence[str]) -> I64:
    """Return what `decode` returns for P sets of scores (P, words, T) of the same sentences, int64 (P, words).

    Raises:
        RequestError: as `decode`.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    _check(scores, sizes, tags)
    problems, words, _ = scores.shape
    if not problems or not words:
        return np.zeros((problems, words), dtype=np.int64)
    best: I64 = scores.argmax(axis=2)
    starts = np.cumsum(sizes) - sizes
    at, sentence = np.nonzero(_broken(best, sizes, legal(tags)))
    # Equal lengths side by side, so that no block is padded much.
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
    if _bound(tags).all():
        raise RequestError(
            f"the tags {', '.join(tags) or '(none)'} allow no legal sequence: only O and B- begin one; add O"
        )


def _bound(tags: Sequence[str]) -> _Bool:
    """Which tags are inside ones, I or I-X."""
    return np.array([tag.partition("-")[0] == "I" for tag in tags], dtype=bool)


def _broken(best: I64, sizes: I64, law: tuple[_Bool, _Bool]) -> _Bool:
    """Which sentences have an illegal path, bool (P, sentences)."""
    start, follows = law
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
        at: (n,) the problem of each sentence.
        first: (n,) its first word.
        size: (n,) its words, falling, none 0.
        tags: (T,) names.
    """
    came_from = np.zeros((size[0], len(tags), len(at)), dtype=np.int16)
    active = np.searchsorted(-size, -np.arange(size[0]), side="left")
    bound = np.flatnonzero(_bound(tags))
    begin = _begin_partners(tags)[bound]
    # The last row stands for a B-X that isn't among the tags: no path comes from there.
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
    place = {tag: at for at, tag in enumerate(tags)}
    return np.array([place.get("B" + tag[1:], len(tags)) for tag in tags], dtype=np.int64)


def _scores_at(scores: NDArray[Any], at: I64, word: I64) -> NDArray[np.float64]:
    """Scores of one word of each of n sentences, float64 (T, n); sums in float64 don't lose small differences."""
    return np.maximum(scores[at, word].T.astype(np.float64), _LOWEST)
