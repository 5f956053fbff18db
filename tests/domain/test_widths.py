"""Layers of unequal width: stored and concatenated, and nothing else."""

import numpy as np
import pyarrow as pa
import pytest

from layerwise.errors import RequestError
from layerwise.mixes import apply_mix, layer_stats, parse_mix
from layerwise.states import LayerStates
from layerwise.widths import common_width, shown_width, width_of

RNG = np.random.default_rng(0)
VECTORS = {
    name: RNG.normal(size=(6, width)).astype(np.float32)
    for name, width in {"emb": 4, "value.1": 2, "attention.1": 4, "1": 4, "value.2": 2, "2": 4}.items()
}
WIDTHS = {name: values.shape[1] for name, values in VECTORS.items()}


@pytest.fixture
def states() -> LayerStates:
    tables = {"doc": np.arange(6)}
    return LayerStates(
        VECTORS, index=pa.table(tables), texts=pa.table(tables), blocks=2, level="text", pool="mean"
    )


def test_each_layer_has_its_own_width(states: LayerStates) -> None:
    assert states.width == 4
    assert states.widths == WIDTHS
    assert "× 2 to 4, level text" in repr(states)
    for name, values in VECTORS.items():
        assert np.array_equal(states.layer(name), values)
    pytest.importorskip("pandas")
    assert [name for name in states.to_pandas("value.2").columns if name.startswith("dim")] == [
        "dim0",
        "dim1",
    ]


def test_concat_joins_any_widths(states: LayerStates) -> None:
    expected = np.concatenate([VECTORS["2"], VECTORS["value.2"], VECTORS["emb"]], axis=1)
    assert np.array_equal(states.mix("concat(2,value.2,emb)"), expected)
    mix = parse_mix("concat(2,value.2,emb)", 2, None, WIDTHS)
    assert mix.out_width(WIDTHS) == 10
    assert np.array_equal(apply_mix(mix, VECTORS.__getitem__), expected)
    assert np.array_equal(apply_mix(mix, VECTORS.__getitem__, widths=WIDTHS), expected)


def test_standardised_concat_is_that_of_each_layer(states: LayerStates) -> None:
    stats = states.mix_stats("concat(2,value.2; norm=layer)")
    got = states.mix("concat(2,value.2; norm=layer)", stats=stats)
    alone = [layer_stats([VECTORS[name]])(VECTORS[name]) for name in ("2", "value.2")]
    assert np.array_equal(got, np.concatenate(alone, axis=1))


def test_mixes_of_one_width(states: LayerStates) -> None:
    mean = states.mix("mean(value.1:)")
    np.testing.assert_allclose(mean, (VECTORS["value.1"] + VECTORS["value.2"]) / 2, rtol=1e-6)
    assert states.stack("value.1:").shape == (2, 6, 2)
    assert states.stack().shape == (3, 6, 4), "`all` has no site"
    total = states.mix("sum(attention.1,1)")
    np.testing.assert_allclose(total, VECTORS["attention.1"] + VECTORS["1"], rtol=1e-6)


@pytest.mark.parametrize("how", ["mean", "sum", "max", "learned"])
def test_other_mixes_of_unequal_widths_are_refused(how: str, states: LayerStates) -> None:
    with pytest.raises(RequestError) as caught:
        states.mix(f"{how}(2,value.2)")
    message = str(caught.value)
    assert "unequal width (2 has 4, value.2 has 2)" in message
    assert "for example concat(2,value.2)" in message


def test_stacks_of_unequal_widths_are_refused(states: LayerStates) -> None:
    with pytest.raises(RequestError, match=r"unequal width \(emb has 4, value\.1 has 2\)"):
        states.stack("all,value.1")


def test_a_mix_names_the_layers_that_exist(states: LayerStates) -> None:
    with pytest.raises(
        RequestError, match=r"layer mlp\.2 isn't stored; there are emb, value\.1, attention\.1, 1"
    ):
        states.mix("concat(2,mlp.2)")


@pytest.mark.parametrize(
    ("name", "shape"), [("2", (6, 3)), ("value.1", (5, 2)), ("value.1", (6,)), ("mlp.3", (6, 4))]
)
def test_rows_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...]) -> None:
    tables = {"doc": np.arange(6)}
    vectors = {**VECTORS, name: np.zeros(shape, np.float32)}
    with pytest.raises(RequestError, match="layers"):
        LayerStates(vectors, index=pa.table(tables), texts=pa.table(tables), blocks=2, level="text")


def test_widths() -> None:
    assert [width_of(8, "1"), width_of({"1": 3}, "1")] == [8, 3]
    assert common_width({"1": 3, "2": 3, "value.1": 1}, ["1", "2"]) == 3
    assert [shown_width(8), shown_width({"1": 8, "2": 8}), shown_width({"1": 8, "2": 2})] == [
        "8",
        "8",
        "2 to 8",
    ]
