"""Alignment by offsets, against brute force, on ordinary and hostile text."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerwise.alignment import Groups, by_number, by_overlap, concatenate, first_row
from layerwise.errors import RequestError
from layerwise.word_split import split_words

BORDERS = st.lists(st.integers(0, 30), max_size=12).map(sorted)
HOSTILE = st.text(
    st.one_of(
        st.characters(max_codepoint=0x2FF),
        st.sampled_from("\u200d\u200c\u202e\u0301\ufe0f\ufffd\x00\u3000天気🙂👩🏽\u0e33אب\ud7ff_ \n\t"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


@given(BORDERS, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_overlap_is_what_brute_force_says(cuts: list[int], spans: list[tuple[int, int]]) -> None:
    starts, ends = np.array([*cuts[:-1]], dtype=np.int64), np.array([*cuts[1:]], dtype=np.int64)
    spans = [(min(s), max(s) + 1) for s in spans]
    groups = by_overlap(starts, ends, spans)
    at = 0
    for (a, b), count in zip(spans, groups.counts, strict=True):
        found = groups.members[at : at + count].tolist()
        at += count
        assert found == [p for p in range(len(starts)) if max(a, starts[p]) < min(b, ends[p])], (
            f"span {(a, b)}"
        )


@given(st.lists(st.integers(-1, 6), max_size=20))
def test_numbers_are_what_brute_force_says(numbers: list[int]) -> None:
    groups = by_number(np.array(numbers, dtype=np.int64), 7)
    ends = np.cumsum(groups.counts)
    for row in range(7):
        found = groups.members[ends[row] - groups.counts[row] : ends[row]].tolist()
        assert found == [place for place, number in enumerate(numbers) if number == row]


def test_the_first_row_of_a_token_that_two_words_share() -> None:
    groups = by_overlap(np.array([0, 2]), np.array([2, 4]), [(0, 1), (1, 3), (3, 4)])
    assert first_row(groups, 2).tolist() == [0, 1]


def test_groups_of_several_texts_stand_behind_each_other() -> None:
    one, two = Groups(np.array([0, 1]), np.array([2])), Groups(np.array([0, 2]), np.array([1, 1]))
    whole = concatenate([one, two], [3, 4])
    assert (whole.members.tolist(), whole.counts.tolist()) == ([0, 1, 3, 5], [2, 1, 1])


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=HOSTILE)
def test_slices_give_tokens_and_words_back(family: str, encoder_of: Callable[[str], Any], text: str) -> None:
    encoder = encoder_of(family)
    for level in ("token", "word"):
        states = encoder.encode([text], layers="emb", level=level)
        for row in states.index.to_pylist():
            assert row["text"] == text[row["start"] : row["end"]]
        assert np.isfinite(states.layer("emb")).all()
    words = split_words(text)
    borders = [(row["start"], row["end"]) for row in states.index.to_pylist()]
    assert set(borders) <= set(words), "a word row is a word of the text"


def test_spans_by_characters(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    text = "The bank of the river"
    states = encoder.encode([text, "second"], level="span", spans=[[(4, 8), (4, 21)], [(0, 6)]])
    assert states.index["text"].to_pylist() == ["bank", "bank of the river", "second"]
    assert states.index["span"].to_pylist() == [0, 1, 0]
    tokens = encoder.encode([text], level="token")
    rows = [
        n
        for n, r in enumerate(tokens.index.to_pylist())
        if r["start"] >= 4 and r["end"] <= 8 and r["end"] > 0
    ]
    assert np.allclose(states.stack()[:, 0], tokens.stack()[:, rows].mean(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([[(3, 4)]], r"span \(3, 4\) ' ' holds no token"),
        ([[(4, 4)]], r"span \(4, 4\) doesn't fit its 8 characters"),
        ([[(0, 9)]], r"span \(0, 9\) doesn't fit"),
    ],
)
def test_spans_that_hold_nothing_are_refused(
    spans: Any, message: str, encoder_of: Callable[[str], Any]
) -> None:
    with pytest.raises(RequestError, match=message):
        encoder_of("bert").encode(["The bank"], level="span", spans=spans)


def test_spans_and_level_go_together(encoder_of: Callable[[str], Any]) -> None:
    with pytest.raises(RequestError, match="spans go with level 'span' and only with it"):
        encoder_of("bert").encode(["The bank"], level="span")
    with pytest.raises(RequestError, match="spans go with level 'span' and only with it"):
        encoder_of("bert").encode(["The bank"], level="word", spans=[[(0, 3)]])
