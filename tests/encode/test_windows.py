"""Long texts: windows by brute force, and layers stitched by hand."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerwise.encode.windows import windows
from layerwise.errors import RequestError
from reference import Plain, worst

LONG = "One two three, four five six seven; eight nine ten eleven twelve thirteen. " * 6


@given(st.integers(0, 300), st.integers(1, 60), st.data())
def test_every_token_comes_from_the_window_in_which_it_stands_farthest_from_an_edge(
    body: int, capacity: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, capacity - 1))
    cuts = list(windows(body, capacity, overlap))
    assert all(w.end - w.start <= capacity for w in cuts)
    assert all(b.start <= a.end - overlap for a, b in pairwise(cuts)), "too little overlap"
    owners = [n for n, w in enumerate(cuts) for _ in range(w.first, w.last)]
    assert [p for w in cuts for p in range(w.first, w.last)] == list(range(body)), "each token exactly once"
    for token, owner in enumerate(owners):
        distances = [min(token - w.start, w.end - 1 - token) for w in cuts if w.start <= token < w.end]
        mine = cuts[owner]
        assert min(token - mine.start, mine.end - 1 - token) == max(distances), f"token {token} of {body}"


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "convbert"])
@pytest.mark.parametrize("level", ["token", "text"])
def test_stitched_layers_are_those_of_the_windows_alone(
    family: str, level: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of(family), Plain(model_folder(family))
    length, overlap = 20, 6
    ids = plain.raw(LONG)["input_ids"]
    prefix, suffix = (0, 1) if family == "t5" else (1, 1)
    body = ids[prefix:-suffix]
    expected = _stitched(plain, ids[:prefix], body, ids[-suffix:], length - prefix - suffix, overlap)
    states = encoder.encode([LONG], level=level, max_length=length, overlap=overlap)
    if level == "text":
        expected = expected.mean(axis=1, keepdims=True)
    assert worst(states.stack(), expected) <= 1e-5
    assert states.texts["tokens"].to_pylist() == [len(ids)]
    assert states.texts["windows"].to_pylist() == [
        len(list(windows(len(body), length - prefix - suffix, overlap)))
    ]
    assert states.texts["truncated"].to_pylist() == [0]


def _stitched(
    plain: Plain, before: list[int], body: list[int], after: list[int], capacity: int, overlap: int
) -> Any:
    """Run each window by itself, and for each token take the window in which it stands farthest from an edge."""
    starts = [0]
    while starts[-1] + capacity < len(body):
        starts.append(min(starts[-1] + capacity - overlap, len(body) - capacity))
    runs = [plain.states([*before, *body[s : s + capacity], *after]) for s in starts]
    columns = [runs[0][:, place] for place in range(len(before))]
    for token in range(len(body)):
        inside = [n for n, s in enumerate(starts) if s <= token < s + capacity]
        best = max(inside, key=lambda n: min(token - starts[n], starts[n] + capacity - 1 - token))
        columns.append(runs[best][:, len(before) + token - starts[best]])
    columns += [runs[-1][:, place - len(after)] for place in range(len(after))]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("pool", ["mean", "max", "sum", "first", "last", "first_last", "cls"])
def test_every_pool_of_a_windowed_text_is_that_of_its_stitched_tokens(
    pool: str, encoder_of: Callable[[str], Any]
) -> None:
    encoder = encoder_of("bert")
    tokens = encoder.encode([LONG], level="token", max_length=20).stack()
    by_hand = {
        "mean": tokens.mean(axis=1),
        "max": tokens.max(axis=1),
        "sum": tokens.sum(axis=1),
        "first": tokens[:, 1],
        "last": tokens[:, -2],
        "first_last": (tokens[:, 1] + tokens[:, -2]) / 2,
        "cls": tokens[:, 0],
    }[pool]
    # A budget of one window per batch makes every window a batch of its own.
    for budget in (1, 50, 10_000):
        got = encoder.encode(["short", LONG], pool=pool, max_length=20, batch_tokens=budget)
        assert worst(got.stack()[:, 1:], by_hand[:, None]) <= (1e-4 if pool == "sum" else 1e-5), (
            f"budget {budget}"
        )


def test_a_word_across_two_windows_is_the_mean_of_all_its_tokens(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("roberta")
    text = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz end"
    tokens = encoder.encode([text], level="token", max_length=20)
    words = encoder.encode([text], level="word", max_length=20)
    assert words.texts["windows"].to_pylist()[0] > 2
    rows = tokens.where(word=0)
    assert worst(words.stack()[:, :1], tokens.stack()[:, rows].mean(axis=1, keepdims=True)) <= 1e-5


def test_truncating_says_how_much_is_gone(
    encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of("bert"), Plain(model_folder("bert"))
    ids = plain.raw(LONG)["input_ids"]
    states = encoder.encode(["short", LONG], level="token", long="truncate", max_length=20)
    assert states.texts["truncated"].to_pylist() == [0, len(ids) - 20]
    assert states.texts["tokens"].to_pylist()[1] == 20
    rows = states.where(doc=1)
    assert worst(states.stack()[:, rows], plain.states([*ids[:19], ids[-1]])) <= 1e-5


def test_an_error_names_the_long_text(encoder_of: Callable[[str], Any]) -> None:
    with pytest.raises(RequestError, match=r"text 1 has \d+ tokens and the limit is 20; use long='window'"):
        encoder_of("bert").encode(["short", LONG], long="error", max_length=20)


def test_windows_that_cannot_be_are_refused(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    with pytest.raises(RequestError, match="overlap=18 doesn't fit: windows hold 18 tokens; give 0 to 17"):
        encoder.encode([LONG], max_length=20, overlap=18)
    with pytest.raises(RequestError, match="max_length=81 doesn't fit this model; give 3 to 80"):
        encoder.encode([LONG], max_length=81)
    with pytest.raises(RequestError, match="overlap=2 only applies to long='window', not to long='truncate'"):
        encoder.encode([LONG], long="truncate", overlap=2)
