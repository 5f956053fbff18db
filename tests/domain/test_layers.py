"""Layer strings, against Python's own slices and lists."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerwise.arguments import as_flags
from layerwise.errors import RequestError
from layerwise.layers import depth, layer_names, resolve_layers


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("all", "emb 1 2 3 4 5 6"),
        ("emb", "emb"),
        ("0", "emb"),
        ("6", "6"),
        ("-1", "6"),
        ("-7", "emb"),
        ("1,6, 2", "1 6 2"),
        ("1:", "1 2 3 4 5 6"),
        ("-4:", "3 4 5 6"),
        ("2:4", "2 3"),
        ("::2", "emb 2 4 6"),
        (":7", "emb 1 2 3 4 5 6"),
        ("::-1", "6 5 4 3 2 1 emb"),
        (3, "3"),
        ([0, "2", -1], "emb 2 6"),
        (("emb",), "emb"),
        (range(1, 4), "1 2 3"),
        (np.arange(1, 4), "1 2 3"),
        (np.int64(-1), "6"),
        (np.array(2), "2"),
        (np.array(["emb", "3"]), "emb 3"),
        (np.array("all"), "emb 1 2 3 4 5 6"),
        ((n for n in (1, 2)), "1 2"),
    ],
)
def test_what_strings_mean(spec: Any, names: str) -> None:
    assert resolve_layers(spec, 6) == tuple(names.split())


@given(st.integers(1, 30), st.data())
def test_slices_are_those_of_python(blocks: int, data: st.DataObject) -> None:
    positions = st.one_of(st.none(), st.integers(-blocks - 1, blocks))
    start, stop = data.draw(positions), data.draw(positions)
    step = data.draw(st.sampled_from([None, 1, 2, 3, -1, -2]))
    text = ":".join("" if part is None else str(part) for part in (start, stop, step))
    expected = layer_names(blocks)[slice(start, stop, step)]
    if expected:
        assert resolve_layers(text, blocks) == expected
    else:
        with pytest.raises(RequestError, match="the slice is empty"):
            resolve_layers(text, blocks)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("7", "layer 7 doesn't exist; there are emb, 1, 2, 3, 4, 5, 6"),
        ("-8", "layer -8 doesn't exist"),
        ("-9:", "layer -9 doesn't exist"),
        (":9", "a slice can't stop at 9"),
        ("1:2:0", "can't step by 0"),
        ("3:3", "the slice is empty"),
        ("1,1", "a layer is named twice"),
        ("1,-6", "a layer is named twice"),
        ("", "'' isn't a layer"),
        ("1,", "'' isn't a layer"),
        ("first", "'first' isn't a layer"),
        ("1.5", "'1.5' isn't a layer"),
        ("１", "'１' isn't a layer"),
        ("1:2:3:4", "'1:2:3:4' isn't a slice of layers"),
        ([], "no layer is named"),
        (None, "no layer is named"),
        (True, "no layer is named"),
        (np.True_, "no layer is named"),
        ([["1"], "2"], "no layer is named"),
        ({"1", "2"}, "no layer is named"),
        (np.arange(4).reshape(2, 2), "no layer is named"),
        ("9" * 5000, "isn't a layer"),
    ],
)
def test_what_is_refused(spec: Any, why: str) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_layers(spec, 6)
    assert why in str(caught.value)


def test_stored_layers_bound_what_can_be_asked_for() -> None:
    stored = ("2", "4", "6")
    assert resolve_layers("all", 6, stored) == stored
    assert resolve_layers("-1", 6, stored) == ("6",)
    with pytest.raises(RequestError, match="layer 5 isn't stored; there are 2, 4, 6"):
        resolve_layers("4:", 6, stored)


def test_a_single_layer_can_be_demanded() -> None:
    with pytest.raises(RequestError, match="are 6 layers where one is needed"):
        resolve_layers("1:", 6, single=True)


def test_the_depth_of_a_layer_is_its_position() -> None:
    assert [depth(name) for name in layer_names(12)] == list(range(13))
    with pytest.raises(ValueError, match="all"):
        depth("all")


def test_a_message_names_the_argument() -> None:
    with pytest.raises(RequestError, match=r"^layers '7': layer 7 doesn't exist; there are"):
        resolve_layers("7", 6)
    with as_flags(), pytest.raises(RequestError, match=r"^--layers '7': layer 7 doesn't exist; there are"):
        resolve_layers("7", 6)
    with pytest.raises(RequestError, match=r"^layer '1:': these are 6 layers where one is needed; give one"):
        resolve_layers("1:", 6, single=True, name="layer")
