"""Tag schemes and strict spans, against seqeval and against sequences written from spans in each scheme."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from layerwise.errors import RequestError
from layerwise.labels.tags import (
    SCHEMES,
    convert,
    f1_of_counts,
    scheme_of,
    span_counts,
    span_counts_of_codes,
    spans,
    split_tag,
    to_iob2,
)

NAMES = ["O", "B-PER", "I-PER", "B-LOC-x", "I-LOC-x", "I-lone"]
Span = tuple[str, int, int]
sentences = st.lists(st.lists(st.sampled_from(NAMES), max_size=7), min_size=1, max_size=5)


@st.composite
def segmented(draw: st.DrawFn) -> tuple[int, list[Span]]:
    """The length of a sentence and its spans, some of them side by side."""
    text_spans, at = [], 0
    for label, size in draw(
        st.lists(st.tuples(st.sampled_from(["", "A", "B"]), st.integers(1, 3)), max_size=6)
    ):
        if label:
            text_spans.append((label, at, at + size))
        at += size
    return at, text_spans


def written(length: int, text_spans: list[Span], one: str, first: str, middle: str, last: str) -> list[str]:
    tags = ["O"] * length
    for label, start, end in text_spans:
        letters = one if end - start == 1 else first + middle * (end - start - 2) + last
        tags[start:end] = [f"{letter}-{label}" for letter in letters]
    return tags


def written_iob1(length: int, text_spans: list[Span]) -> list[str]:
    tags = written(length, text_spans, "I", "I", "I", "I")
    ends = {(label, end) for label, _, end in text_spans}
    for label, start, _ in text_spans:
        if (label, start) in ends:
            tags[start] = f"B-{label}"
    return tags


def of_seqeval(side: list[list[str]], scheme: type) -> list[list[Span]]:
    return [[(e.tag, e.start, e.end) for e in text] for text in Entities(side, scheme=scheme).entities]


SPELLINGS = {
    "IOB2": "BBII",
    "IOBES": "SBIE",
    "BIOES": "SBIE",
    "BMES": "SBME",
    "BILOU": "UBIL",
    "BMEWO": "WBME",
    "IOE2": "EIIE",
}


@pytest.mark.parametrize("letters", SPELLINGS.values(), ids=SPELLINGS.keys())
@given(text=segmented())
def test_a_sentence_of_any_scheme_has_its_spans(letters: str, text: tuple[int, list[Span]]) -> None:
    length, text_spans = text
    tags = to_iob2(written(length, text_spans, *letters))
    assert spans(tags) == text_spans
    assert tags == written(length, text_spans, "B", "B", "I", "I")


@given(text=segmented())
def test_iob1_says_where_spans_meet(text: tuple[int, list[Span]]) -> None:
    assert spans(to_iob2(written_iob1(*text))) == text[1]


@given(texts=st.lists(segmented(), min_size=1, max_size=4))
def test_seqeval_reads_legal_schemes_alike(texts: list[tuple[int, list[Span]]]) -> None:
    for scheme, letters in ((IOBES, "SBIE"), (BILOU, "UBIL")):
        tagged = [written(length, text_spans, *letters) for length, text_spans in texts]
        assert [spans(to_iob2(tags)) for tags in tagged] == of_seqeval(tagged, scheme)
    tagged = [written_iob1(*text) for text in texts]
    assert [spans(to_iob2(tags)) for tags in tagged] == of_seqeval(tagged, IOB1)


@given(side=sentences)
def test_strict_spans_are_those_of_seqeval_on_any_sequence(side: list[list[str]]) -> None:
    assert [spans(tags) for tags in side] == of_seqeval(side, IOB2)


@given(side=sentences)
def test_what_is_legal_iob2_stays_and_what_comes_out_is_legal(side: list[list[str]]) -> None:
    out = [to_iob2(tags) for tags in side]
    assert scheme_of(out) == "IOB2"
    assert [to_iob2(tags) for tags in out] == out
    assert (out == side) == (scheme_of(side) == "IOB2")


@pytest.mark.parametrize(
    ("corpus", "scheme"),
    [
        (["O O", ""], "IOB2"),
        (["B-A I-A B-A O", "B-B"], "IOB2"),
        (["I-A I-A O I-B", "O"], "IO"),
        (["I-A B-A O I-B", "I-A I-B"], "IOB1"),
        (["B-A I-A O", "O I-A"], "IOB"),
        (["B-A I-B"], "IOB"),
        (["O S-A", "O"], "IOBES"),
        (["B-A E-A"], "IOBES"),
        (["B-A L-A U-B"], "IOBES"),
        (["B M E S"], "IOBES"),
        (["B-A M-A E-A W-A O"], "IOBES"),
        (["I-A E-A O E-B"], "IOE"),
        (["B_A I_A"], "IOB2"),
    ],
)
def test_the_scheme_of_a_corpus(corpus: list[str], scheme: str) -> None:
    split = [line.split() for line in corpus]
    assert scheme_of(split) == scheme
    assert scheme in SCHEMES
    assert convert(split, scheme) == [to_iob2(tags) for tags in split]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O I-A I-A I-B", "O B-A I-A B-B"),
        ("B-A E-A I-A", "B-A I-A B-A"),
        ("E-A E-A S-A I-A", "B-A B-A B-A B-A"),
        ("B M E S", "B I I B"),
        ("B_A I-A", "B-A I-A"),
        ("B-A O I-A", "B-A O B-A"),
        ("B-a-b I-a-b I-a", "B-a-b I-a-b B-a"),
        ("", ""),
    ],
)
def test_one_reading_for_legal_and_illegal_tags(tags: str, expected: str) -> None:
    assert to_iob2(tags.split()) == expected.split()


def test_a_bare_letter_is_a_span_without_a_name() -> None:
    assert (
        spans(["B", "I", "O", "B"])
        == [("_", 0, 2), ("_", 3, 4)]
        == of_seqeval([["B", "I", "O", "B"]], IOB2)[0]
    )


@pytest.mark.parametrize("tag", ["NOUN", "", "o", "B-", "X-PER", "BPER", "O-PER", None, " O"])
@pytest.mark.parametrize("reads", [lambda s: scheme_of([s]), to_iob2, lambda s: convert([s], "IOB2")])
def test_no_tag_is_named(tag: str, reads: Callable[[list[str]], object]) -> None:
    with pytest.raises(RequestError, match="isn't a tag; allowed are O and LETTER-LABEL") as caught:
        reads(["O", tag])
    assert str(caught.value).startswith(repr(tag))


def test_a_tag_of_another_scheme_is_named() -> None:
    with pytest.raises(RequestError, match="tag 'E-A' doesn't belong to the scheme IOB2"):
        convert([["B-A", "E-A"]], "IOB2")
    with pytest.raises(RequestError, match="tag 'B-A' doesn't belong to the scheme IO,"):
        convert([["I-A"], ["B-A"]], "IO")
    with pytest.raises(RequestError, match="^scheme 'iob3' doesn't exist; choose one of IOB2"):
        convert([["O"]], "iob3")


def test_letters_of_other_spellings() -> None:
    assert [split_tag(tag) for tag in ("O", "M-x", "L-x", "U-x", "W", "B-x\ny")] == [
        ("O", ""),
        ("I", "x"),
        ("E", "x"),
        ("S", "x"),
        ("S", ""),
        ("B", "x\ny"),
    ]


def test_counts_of_a_hand_made_example() -> None:
    gold = [["B-A", "I-A", "O", "B-B"], ["O"], [], ["B-A", "O"]]
    guess = [["B-A", "I-A", "O", "B-A"], ["B-A"], [], ["B-A", "I-A"]]
    assert span_counts(gold, guess).tolist() == [[1, 2, 2], [0, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert f1_of_counts(span_counts(gold, guess)).tolist() == [0.5, 0, 0, 0]
    assert float(f1_of_counts(np.array([1, 4, 3]))) == 2 / 7
    assert f1_of_counts(np.zeros((2, 5, 3))).tolist() == np.zeros((2, 5)).tolist()


def test_sides_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        span_counts([["O"], ["O"]], [["O"]])


codes = st.integers(0, len(NAMES) - 1)


@given(
    lengths=st.lists(st.integers(0, 5), max_size=6),
    problems=st.integers(0, 4),
    like_gold=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_counts_of_codes_are_those_of_names(
    lengths: list[int], problems: int, like_gold: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    gold = random.integers(0, len(NAMES), sum(lengths))
    guess = random.integers(0, len(NAMES), (problems, sum(lengths)))
    guess = np.where(random.random(guess.shape) < like_gold, gold, guess)
    counts = span_counts_of_codes(gold, guess, lengths, NAMES)
    assert counts.shape == (problems, len(lengths), 3)
    for got, problem in zip(counts, guess, strict=True):
        expected = span_counts(cut(gold, lengths), cut(problem, lengths))
        assert got.tolist() == expected.reshape(-1, 3).tolist()


def test_blocks_of_predictions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    gold, guess = random.integers(0, 6, 40), random.integers(0, 6, (7, 40))
    whole = span_counts_of_codes(gold, guess, [10, 0, 30], NAMES)
    monkeypatch.setattr("layerwise.labels.tags._BLOCK", 90)
    assert (span_counts_of_codes(gold, guess.astype(np.int8), [10, 0, 30], NAMES) == whole).all()


def cut(numbers: np.ndarray[tuple[int, ...], np.dtype[np.int64]], lengths: list[int]) -> list[list[str]]:
    ends = np.cumsum([0, *lengths])
    return [[NAMES[code] for code in numbers[a:b]] for a, b in pairwise(ends)]


def test_numbers_of_tags_name_the_option() -> None:
    with pytest.raises(
        RequestError, match=r"'1' isn't a tag but its number; .* such as classes='O,B-PER,I-PER'$"
    ):
        split_tag("1")
