"""Layer strings, against Python's own slices and lists."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerwise.arguments import as_flags
from layerwise.errors import RequestError
from layerwise.layers import depth, in_order, is_layer_of, layer_names, resolve_layers, short_mix, site


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
        ("attention.6", "attention.6"),
        ("mlp.-1", "mlp.6"),
        ("value.1:", "value.1 value.2 value.3 value.4 value.5 value.6"),
        ("value.-2:,5, attention.2", "value.5 value.6 5 attention.2"),
        ("all,mlp.3", "emb 1 2 3 4 5 6 mlp.3"),
        ("1:3,5", "1 2 5"),
        (["all", "value.2", "mlp.5:"], "emb 1 2 3 4 5 6 value.2 mlp.5 mlp.6"),
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
        ("attention.emb", "'attention.emb' includes emb, which has no sites; blocks 1 to 6 have"),
        ("attention.0", "includes emb, which has no sites"),
        ("value.:", "includes emb, which has no sites"),
        ("value.-7:", "includes emb, which has no sites"),
        ("mlp.7", "layer 7 doesn't exist; there are emb, 1"),
        ("hook.1", "a block has no 'hook'; its sites are value, attention, mlp"),
        ("attention.", "'' isn't a layer"),
        ("attention.all", "'all' isn't a layer"),
        ("attention.2,attention.-5", "a layer is named twice"),
        ("1.attention", "'1.attention' isn't a layer"),
    ],
)
def test_what_is_refused(spec: Any, why: str) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_layers(spec, 6)
    assert why in str(caught.value)


def test_all_is_never_a_site() -> None:
    stored = ("emb", "value.1", "1", "attention.2", "2")
    assert resolve_layers("all", 2, stored) == ("emb", "1", "2")
    assert resolve_layers("all,value.1", 2, stored) == ("emb", "1", "2", "value.1")
    with pytest.raises(
        RequestError, match=r"layer mlp\.1 isn't stored; there are emb, value\.1, 1, attention\.2, 2"
    ):
        resolve_layers("mlp.1", 2, stored)
    with pytest.raises(RequestError, match=r"none is stored; there are value\.1, value\.2"):
        resolve_layers("all", 2, ("value.1", "value.2"))


def test_the_order_of_a_dataset_is_that_of_computation() -> None:
    names = ["2", "mlp.1", "emb", "attention.2", "value.2", "1", "value.1", "mlp.2", "attention.1"]
    expected = "emb value.1 attention.1 mlp.1 1 value.2 attention.2 mlp.2 2"
    assert in_order(names) == tuple(expected.split())
    assert in_order(["value.10", "value.9", "10"]) == ("value.9", "value.10", "10")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        *(
            ("emb", True),
            ("3", True),
            ("4", False),
            ("value.3", True),
            ("value.4", False),
            ("value.emb", False),
        ),
        *(("hook.1", False), ("value.", False), ("value.01", False), (".1", False), ("value.1.1", False)),
    ],
)
def test_names_of_a_model(name: str, is_one: bool) -> None:
    assert is_layer_of(name, 3) == is_one


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
    assert [depth("attention.12"), site("attention.12"), site("12"), site("emb")] == [
        12,
        "attention",
        None,
        None,
    ]
    with pytest.raises(ValueError, match="all"):
        depth("all")


@pytest.mark.parametrize(
    ("mix", "short"),
    [
        ("mean(value.1,value.2,value.3)", "mean(value.1:4)"),
        ("mean(1,2,3; norm=layer)", "mean(1:4; norm=layer)"),
        ("concat(value.1,mlp.2,value.3)", "concat(value.1,mlp.2,value.3)"),
        ("concat(value.1,2,3)", "concat(value.1,2,3)"),
        ("sum(emb,1,2)", "sum(0:3)"),
    ],
)
def test_short_mixes_denote_the_same_layers(mix: str, short: str) -> None:
    assert short_mix(mix) == short
    inner = [text[text.index("(") + 1 :].split(";")[0].rstrip(")") for text in (mix, short)]
    assert resolve_layers(inner[0], 3) == resolve_layers(inner[1], 3)


def test_a_message_names_the_argument() -> None:
    with pytest.raises(RequestError, match=r"^layers '7': layer 7 doesn't exist; there are"):
        resolve_layers("7", 6)
    with as_flags(), pytest.raises(RequestError, match=r"^--layers '7': layer 7 doesn't exist; there are"):
        resolve_layers("7", 6)
    with pytest.raises(RequestError, match=r"^layer '1:': these are 6 layers where one is needed; give one"):
        resolve_layers("1:", 6, single=True, name="layer")
