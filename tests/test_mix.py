import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.errors import RequestError
from layerwise.mix import F32, HOWS, LayerStats, Mix, apply_mix, layer_stats, parse_mix

BLOCKS = 6
RNG = np.random.default_rng(0)
LAYERS = {name: RNG.normal(size=(5, 4)).astype(np.float32) for name in ("emb", "1", "2", "3", "4", "5", "6")}


def read(name: str) -> F32:
    return LAYERS[name]


def stack(mix: Mix) -> F32:
    return np.stack([LAYERS[name] for name in mix.layers])


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("8", "8"),
        (" emb ", "emb"),
        ("-1", "12"),
        (3, "3"),
        ("sum(1:)", "sum(1,2,3,4,5,6,7,8,9,10,11,12)"),
        ("mean(-4:)", "mean(9,10,11,12)"),
        ("mean:-4:", "mean(9,10,11,12)"),
        ("mean::3", "mean(emb,1,2)"),
        ("max( 1, 6 ,12 )", "max(1,6,12)"),
        ("concat(12,1)", "concat(12,1)"),
        ("learned:emb,1", "learned(emb,1)"),
        ("weighted(9,10; 0.1,0.9)", "weighted(9,10; 0.1,0.9)"),
        ("weighted:9,10;1,-2e-3", "weighted(9,10; 1,-0.002)"),
        ("mean(-2:; norm=layer)", "mean(11,12; norm=layer)"),
        ("mean:-2:;norm = layer", "mean(11,12; norm=layer)"),
        ("weighted(1;norm=layer;2)", "weighted(1; 2; norm=layer)"),
        ("8; norm=layer", "8; norm=layer"),
    ],
)
def test_a_mix_string_has_one_canonical_form(text: str | int, canonical: str) -> None:
    mix = parse_mix(text, 12)
    assert str(mix) == canonical
    assert parse_mix(str(mix), 12) == mix == parse_mix(mix, 12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no layer"),
        ("all", "7 layers where one is needed"),
        ("median(all)", "no mix is called 'median'"),
        ("mean()", "is no layer"),
        ("mean(", "is no layer"),
        ("mean(1,2", "is no layer"),
        ("mean", "'mean' is no layer"),
        ("mean(7)", "layer 7 doesn't exist"),
        ("mean(1,1)", "named twice"),
        ("mean(1;norm=batch)", "option 'norm=batch'"),
        ("mean(1;norm=layer;norm=layer)", "option 'norm=layer'"),
        ("mean(1;)", "option ''"),
        ("mean(1,2; 0.5,0.5)", "option '0.5,0.5'"),
        ("weighted(1,2)", "the weights are missing"),
        ("weighted(1,2; 0.5)", "1 weights for 2 layers"),
        ("weighted(1,2; a,b)", "'a,b' are no weights"),
        ("weighted(1,2; nan,1)", "aren't finite"),
        ("weighted(1,2; 1e39,1)", "aren't finite"),
        ("mean((1,2))", "is no layer"),
    ],
)
def test_a_broken_mix_string_is_refused_with_a_right_one(text: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_mix(text, BLOCKS)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    parse_mix(message.rpartition("a right one is ")[2], BLOCKS)


@given(st.text(alphabet="meansulrdwightco(){}:;,=-0123456789. norm\n", max_size=25))
@settings(deadline=None)
def test_any_string_is_a_mix_or_refused(text: str) -> None:
    try:
        mix = parse_mix(text, BLOCKS)
    except RequestError:
        return
    assert parse_mix(str(mix), BLOCKS) == mix


def test_layers_that_are_not_stored_are_refused_and_the_example_has_stored_ones() -> None:
    with pytest.raises(RequestError, match=r"layer 2 isn't stored; there are 1, 3; a right one is weighted"):
        parse_mix("weighted(1,2; 1,1)", BLOCKS, stored=("1", "3"))
    assert parse_mix("mean(all)", BLOCKS, stored=("1", "3")).layers == ("1", "3")


@pytest.mark.parametrize(
    ("text", "brute"),
    [
        ("4", lambda s: s[0]),
        ("sum(1:)", lambda s: s.sum(0)),
        ("mean(-4:)", lambda s: s.mean(0)),
        ("max(all)", lambda s: s.max(0)),
        ("concat(6,emb)", lambda s: np.concatenate(list(s), axis=1)),
        ("weighted(1,2,3; 0.5,-1,2)", lambda s: 0.5 * s[0] - s[1] + 2 * s[2]),
    ],
)
def test_mixes_equal_brute_force(text: str, brute: object) -> None:
    mix = parse_mix(text, BLOCKS)
    assert callable(brute)
    want = brute(stack(mix).astype(np.float64))
    got = apply_mix(mix, read)
    assert got.dtype == np.float32
    assert got.shape == (5, mix.out_width(4))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_a_mix_is_the_callers_own_and_leaves_layers_alone() -> None:
    before = {name: values.copy() for name, values in LAYERS.items()}
    for text in ("4", "sum(all)", "max(all)", "concat(1)", "weighted(1; 3)"):
        apply_mix(parse_mix(text, BLOCKS), read)[...] = 0
    for name, values in LAYERS.items():
        np.testing.assert_array_equal(values, before[name])


def test_layers_are_read_one_at_a_time_in_their_order() -> None:
    asked: list[str] = []

    def note(name: str) -> F32:
        asked.append(name)
        return LAYERS[name]

    apply_mix(parse_mix("mean(5,2,emb)", BLOCKS), note)
    assert asked == ["5", "2", "emb"]


@pytest.mark.parametrize("how", [how for how in HOWS if how not in ("learned", "weighted")])
def test_no_rows_give_no_rows(how: str) -> None:
    mix = parse_mix(f"{how}(all)", BLOCKS)
    got = apply_mix(mix, lambda name: np.zeros((0, 4), np.float32))
    assert got.shape == (0, mix.out_width(4))


def test_learned_without_a_head_is_refused_and_says_how_it_is_fitted() -> None:
    with pytest.raises(RequestError, match=r"fitted with a head.*layerwise train --mix 'learned\(1,2\)'"):
        apply_mix(parse_mix("learned(1,2)", BLOCKS), read)


def test_norm_standardises_every_layer_with_these_rows_and_says_so() -> None:
    mix = parse_mix("sum(1,2; norm=layer)", BLOCKS)
    with pytest.warns(UserWarning, match="statistics of these rows"):
        got = apply_mix(mix, read)
    layers = stack(mix).astype(np.float64)
    want = ((layers - layers.mean(1, keepdims=True)) / layers.std(1, keepdims=True)).sum(0)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_norm_with_given_statistics_is_silent_and_uses_them() -> None:
    mix = parse_mix("2; norm=layer", BLOCKS)
    stats = {"2": LayerStats(np.ones(4), np.full(4, 2.0))}
    np.testing.assert_allclose(apply_mix(mix, read, stats), (LAYERS["2"] - 1) / 2, rtol=1e-6)


@given(st.integers(0, 30), st.lists(st.integers(0, 30), max_size=4), st.floats(-1e4, 1e4, width=32))
@settings(deadline=None)
def test_statistics_do_not_depend_on_how_rows_are_cut(rows: int, cuts: list[int], shift: float) -> None:
    values = (np.random.default_rng(rows).normal(size=(rows, 3)) + shift).astype(np.float32)
    got = layer_stats(np.split(values, sorted(min(cut, rows) for cut in cuts)))
    whole = values.astype(np.float64)
    np.testing.assert_allclose(got.mean, whole.mean(0) if rows else np.zeros(3), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got.std, whole.std(0) if rows else np.zeros(3), rtol=1e-6, atol=1e-9)


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.integers(1, 40))
@settings(deadline=None)
def test_a_constant_dimension_becomes_nought(value: float, rows: int) -> None:
    values = np.full((rows, 2), value, np.float32)
    stats = layer_stats([values[:3], values[3:]])
    assert not stats(values).any()
