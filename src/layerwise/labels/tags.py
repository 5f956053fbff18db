"""Tag sequences: convert every scheme to IOB2, and count spans as in seqeval's strict IOB2 mode.

One rule converts all schemes: a span begins at B, at S, and at an I or E that continues no span; it continues
with I or E of the same label; it ends after E or S. On legal sequences this is the definition of each scheme, IOE
included; on illegal ones it is what conlleval and most trainers do. Only gold tags are converted by this rule;
predicted tags aren't, since `spans` is strict: correcting them would raise their scores.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.choices import one_of
from layerwise.errors import RequestError

# IOB is used if no other scheme fits: tags of B, I and O in which both B and I begin spans.
SCHEMES = {"IOB2": "BIO", "IOB1": "BIO", "IO": "IO", "IOBES": "BIESO", "IOE": "IEO", "IOB": "BIO"}
_NO_LABEL = "_"
_TAG = re.compile(r"([BIMELSUW])(?:[-_](.+))?", re.DOTALL)
_SPELLINGS = {"M": "I", "L": "E", "U": "S", "W": "S"}
# Predictions are compared in blocks of about this many tags.
_BLOCK = 1 << 24


def split_tag(tag: str) -> tuple[str, str]:
    """Return the letter of a tag, one of O, B, I, E, S, and its label (empty for O and for a bare letter).

    The letters of BILOU, BMES and BMEWO are read as those of IOBES: M as I, L as E, U and W as S.

    Raises:
        RequestError: an invalid tag.
    """
    if tag == "O":
        return "O", ""
    match = _TAG.fullmatch(str(tag))
    if match is None and str(tag).isdecimal():
        raise RequestError(
            f"{tag!r} isn't a tag but its number; name the tags when they are extracted, in order, such as "
            f"{argument('classes', 'O,B-PER,I-PER')}"
        )
    if match is None:
        raise RequestError(
            f"{tag!r} isn't a tag; allowed are O and LETTER-LABEL with one of B, I, E, S (IOB1, IOB2, IOBES, IO) "
            f"or M, L, U, W (BMES, BILOU, BMEWO); use {argument('task', 'classify')} for labels of single words"
        )
    letter = match[1]
    return _SPELLINGS.get(letter, letter), match[2] or ""


def to_iob2(tags: Sequence[str]) -> list[str]:
    """Return one sentence of tags of any scheme as legal IOB2.

    Raises:
        RequestError: an invalid tag.
    """
    out: list[str] = []
    inside: str | None = None
    for letter, label in map(split_tag, tags):
        if letter == "O":
            out.append("O")
            inside = None
            continue
        goes_on = letter in "IE" and inside == label
        out.append(_join("I" if goes_on else "B", label))
        inside = None if letter in "ES" else label
    return out


def lengths(docs: I64) -> list[int]:
    """Return the number of rows of each text; `docs` (n,) is the text of each row, sorted by text."""
    borders = np.flatnonzero(np.diff(docs)) + 1
    return np.diff([0, *borders.tolist(), len(docs)]).tolist() if len(docs) else []


def cut(values: NDArray[Any], docs: I64) -> list[list[Any]]:
    """Return the values (n,) as a list per text; `docs` (n,) is the text of each row, sorted by text."""
    ends = np.cumsum(lengths(docs))[:-1]
    return [part.tolist() for part in np.split(values, ends)] if len(docs) else []


def _join(letter: str, label: str) -> str:
    return f"{letter}-{label}" if label else letter


def scheme_of(sentences: Iterable[Sequence[str]]) -> str:
    """Return the scheme of a whole corpus, a key of `SCHEMES`.

    IOB2 if the corpus is legal IOB2 (also if nothing is tagged); IO without any B; IOB1 if B comes only directly
    after a span of the same label; IOBES with E or S (BILOU, BMES and BMEWO are spellings of it); IOE with E but
    neither B nor S. Any other corpus is IOB: both B and I begin spans, mostly because of annotation errors;
    `to_iob2` begins a span at both.

    Raises:
        RequestError: an invalid tag.
    """
    letters: set[str] = set()
    bad_iob2 = bad_iob1 = False
    for sentence in sentences:
        previous = ("O", "")
        for tag in map(split_tag, sentence):
            follows = previous[0] != "O" and previous[1] == tag[1]
            bad_iob2 |= tag[0] == "I" and not follows
            bad_iob1 |= tag[0] == "B" and not follows
            letters.add(tag[0])
            previous = tag
    if letters & set("ES"):
        return "IOBES" if letters & set("BS") else "IOE"
    if not bad_iob2:
        return "IOB2"
    if "B" not in letters:
        return "IO"
    return "IOB" if bad_iob1 else "IOB1"


def convert(sentences: Sequence[Sequence[str]], scheme: str) -> list[list[str]]:
    """Return sentences of tags of `scheme`, a key of `SCHEMES`, as legal IOB2.

    Raises:
        RequestError: an unknown scheme, or a tag that isn't in the scheme; the message names it.
    """
    letters = SCHEMES[one_of("scheme", scheme, tuple(SCHEMES))]
    for tag in sorted({tag for sentence in sentences for tag in sentence}, key=str):
        if split_tag(tag)[0] not in letters:
            raise RequestError(
                f"tag {tag!r} doesn't belong to the scheme {scheme}, which has {', '.join(letters)}; "
                "use one scheme in all sentences"
            )
    return [to_iob2(sentence) for sentence in sentences]


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return the strict spans of one sentence of IOB2 tags: label, first word, word after the last.

    A span is B-X and all I-X directly after it; an I-X after anything else is in no span, as in seqeval's
    `mode="strict", scheme=IOB2`. A tag without a label has the label `_`.
    """
    result: list[tuple[str, int, int]] = []
    inside: str | None = None
    for position, tag in enumerate(tags):
        letter, _, label = tag.partition("-")
        if letter == "I" and inside == label:
            result[-1] = (*result[-1][:2], position + 1)
            continue
        inside = label if letter == "B" else None
        if letter == "B":
            result.append((label or _NO_LABEL, position, position + 1))
    return result


def span_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> I64:
    """Return the number of correct, predicted and gold strict spans of each text.

    Args:
        gold: IOB2 tags, a sequence per text.
        predicted: the same shape.

    Returns:
        int64 (texts, 3): true positives, predicted, gold.
    """
    counts = np.zeros((len(gold), 3), dtype=np.int64)
    for row, truth, guess in zip(counts, gold, predicted, strict=True):
        gold_spans, predicted_spans = set(spans(truth)), set(spans(guess))
        row[:] = len(gold_spans & predicted_spans), len(predicted_spans), len(gold_spans)
    return counts


def f1_of_counts(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return F1 of counts (…, 3), true positives, predicted and gold, as (…); 0 if all counts are 0.

    Counts summed over texts, or over labels, give micro F1.
    """
    both = np.asarray(counts[..., 1] + counts[..., 2], dtype=np.float64)
    return np.divide(2.0 * counts[..., 0], both, out=np.zeros_like(both), where=both > 0)


def span_counts_of_codes(
    gold: I64, predicted: NDArray[np.integer[Any]], sizes: Sequence[int] | I64, tags: Sequence[str]
) -> I64:
    """Return the result of `span_counts` for many predictions of the same texts at once.

    A gold span is predicted correctly if its words have its tags and the word after it doesn't continue it.

    Args:
        gold: int64 (words,), numbers of IOB2 tags, sorted by text.
        predicted: int (P, words), P predictions.
        sizes: (texts,) the number of words of each text; may be 0.
        tags: (T,) the names of the tags, without repetition.

    Returns:
        int64 (P, texts, 3): true positives, predicted, gold.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    begins, inside = _begins(tags), inside_partners(tags)
    first, end = _gold_spans(gold, sizes, begins, inside)
    per_text = _sums(begins[gold], sizes)
    following, partner = _following(gold, sizes, first, end, inside)
    counts = np.empty((len(predicted), len(sizes), 3), dtype=np.int64)
    counts[..., 2] = per_text
    step = max(1, _BLOCK // max(1, len(gold)))
    for at in range(0, len(predicted), step):
        part, block = predicted[at : at + step], counts[at : at + step]
        right = _all_equal(part, gold, first, end) & (part[:, following] != partner)
        block[..., 0] = _sums(right, per_text)
        block[..., 1] = _sums(begins[part], sizes)
    return counts


def inside_partners(tags: Sequence[str]) -> I64:
    """Return, for each IOB2 tag B-X or I-X, the number of I-X in `tags`; -1 for O or where there is none.

    int64 (T,)
    """
    number_of = {tag: number for number, tag in enumerate(tags)}
    return np.array(
        [number_of.get("I" + tag[1:], -1) if tag[:1] in "BI" else -1 for tag in tags], dtype=np.int64
    )


def _begins(tags: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([tag.partition("-")[0] == "B" for tag in tags], dtype=bool)


def _gold_spans(gold: I64, sizes: I64, begins: NDArray[np.bool_], inside: I64) -> tuple[I64, I64]:
    """Return the first words of strict spans, (spans,), and the words after their last words, (spans,)."""
    goes_on = np.zeros(len(gold), dtype=bool)
    goes_on[1:] = gold[1:] == inside[gold[:-1]]
    goes_on[_starts(sizes)] = False
    breaks = np.append(np.flatnonzero(~goes_on), len(gold))
    first = np.flatnonzero(begins[gold])
    return first, breaks[np.searchsorted(breaks, first, side="right")]


def _following(gold: I64, sizes: I64, first: I64, end: I64, inside: I64) -> tuple[I64, I64]:
    """Return the word after each span, and the tag that would continue the span; -1 where the text ends."""
    text_end = np.repeat(np.cumsum(sizes), sizes)
    partner = np.where(end < text_end[first], inside[gold[first]], -1)
    return np.minimum(end, max(0, len(gold) - 1)), partner


def _all_equal(part: NDArray[np.integer[Any]], gold: I64, first: I64, end: I64) -> NDArray[np.bool_]:
    """Return whether all words of each span have its tags, bool (P, spans)."""
    if not len(first):
        return np.zeros((len(part), 0), dtype=bool)
    sizes = end - first
    offsets = np.cumsum(sizes) - sizes
    words = np.repeat(first - offsets, sizes) + np.arange(sizes.sum())
    equal: NDArray[np.bool_] = np.logical_and.reduceat(part[:, words] == gold[words], offsets, axis=1)
    return equal


def _starts(sizes: I64) -> I64:
    """Return the first word of each text that isn't empty."""
    starts: I64 = (np.cumsum(sizes) - sizes)[sizes > 0]
    return starts


def _sums(flags: NDArray[np.bool_], sizes: I64) -> I64:
    """Return the sum of flags (…, words) over each text, int64 (…, texts)."""
    sums = np.zeros((*flags.shape[:-1], len(sizes)), dtype=np.int64)
    if sizes.any():
        sums[..., sizes > 0] = np.add.reduceat(flags, _starts(sizes), axis=-1, dtype=np.int64)
    return sums
