import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.mixes import HOWS, LayerStats, Mix, apply_mix, layer_stats, parse_mix
from layerwise.store import LayerDataset
from selection import few_of
from stored import make, written

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
        ("", "isn't a layer"),
        ("all", "7 layers where one is needed"),
        ("median(all)", "no mix is called 'median'"),
        ("mean()", "isn't a layer"),
        ("mean(", "isn't a layer"),
        ("mean(1,2", "isn't a layer"),
        ("mean", "'mean' isn't a layer"),
        ("mean(7)", "layer 7 doesn't exist"),
        ("mean(1,1)", "named twice"),
        ("mean(1;norm=batch)", "option 'norm=batch'"),
        ("mean(1;norm=layer;norm=layer)", "option 'norm=layer'"),
        ("mean(1;)", "option ''"),
        ("mean(1,2; 0.5,0.5)", "option '0.5,0.5'"),
        ("weighted(1,2)", "the weights are missing"),
        ("weighted(1,2; 0.5)", "1 weight for 2 layers"),
        ("weighted(1,2; a,b)", "'a,b' aren't weights"),
        ("weighted(1,2; nan,1)", "aren't finite"),
        ("weighted(1,2; 1e39,1)", "aren't finite"),
        ("mean((1,2))", "isn't a layer"),
    ],
)
def test_a_broken_mix_string_is_refused_with_a_right_one(text: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_mix(text, BLOCKS)
    message = str(caught.value)
    assert says in message
    assert message.startswith(f"mix {text!r}: ")
    assert "layers '" not in message, "one argument is named"
    parse_mix(message.rpartition("for example ")[2], BLOCKS)


@given(st.text(alphabet="meansulrdwightco(){}:;,=-0123456789. norm\n", max_size=25))
@settings(deadline=None)
def test_any_string_is_a_mix_or_refused(text: str) -> None:
    try:
        mix = parse_mix(text, BLOCKS)
    except RequestError:
        return
    assert parse_mix(str(mix), BLOCKS) == mix


def test_layers_that_are_not_stored_are_refused_and_the_example_has_stored_ones() -> None:
    with pytest.raises(RequestError, match=r"layer 2 isn't stored; there are 1, 3; for example weighted"):
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
    with pytest.raises(RequestError, match=r"fitted with a head; train one with mix='learned\(1,2\)'"):
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


class Watched:
    """A dataset on disk that notes which rows of which layer are decoded."""

    def __init__(self, dataset: LayerDataset, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dataset = dataset
        self.rows: dict[str, list[int]] = {}
        real = dataset._read

        def read(name: str, rows: slice, raw: bool) -> F32:
            self.rows.setdefault(name, []).extend(range(dataset.rows)[rows])
            values: F32 = real(name, rows, raw)
            return values

        monkeypatch.setattr(dataset, "_read", read)


SIZES = (7, 0, 4, 9)
MIXES = ["2", "sum(1:)", "mean(all)", "max:all", "concat(2,emb)", "weighted(emb,2; 0.5,-2)"]


def brute_mix(layers: dict[str, np.ndarray[Any, Any]], text: str, normed: bool) -> np.ndarray[Any, Any]:
    """The mixes of MIXES, in float64 from whole layers."""
    x = {name: values.astype(np.float64) for name, values in layers.items()}
    if normed:
        x = {name: (values - values.mean(0)) / values.std(0) for name, values in x.items()}
    stacked = np.stack([x["emb"], x["1"], x["2"]])
    made: dict[str, np.ndarray[Any, Any]] = {
        "2": x["2"],
        "sum(1:)": stacked[1:].sum(0),
        "mean(all)": stacked.mean(0),
        "max:all": stacked.max(0),
        "concat(2,emb)": np.concatenate([x["2"], x["emb"]], axis=1),
        "weighted(emb,2; 0.5,-2)": 0.5 * x["emb"] - 2 * x["2"],
    }
    return made[text]


def with_norm(text: str) -> str:
    return text.removesuffix(")") + "; norm=layer" + (")" if text.endswith(")") else "")


@pytest.mark.parametrize("block", [1, 30, 1 << 20])  # numbers: a row, six rows, everything
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("text", MIXES)
def test_a_dataset_of_many_shards_is_mixed_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, normed: bool, block: int
) -> None:
    monkeypatch.setattr("layerwise.mixes._BLOCK", block)
    dataset = make(tmp_path / "d", SIZES, dtype="float32")
    layers = {name: written(SIZES, name) for name in dataset.layers}
    watched = Watched(dataset, monkeypatch)
    if normed:
        with pytest.warns(UserWarning, match="statistics of these rows"):
            got = dataset.mix(with_norm(text))
    else:
        got = dataset.mix(text)
    np.testing.assert_allclose(got, brute_mix(layers, text, normed), rtol=1e-5, atol=1e-5)
    wanted = parse_mix(text, 2).layers
    assert watched.rows == {name: list(range(dataset.rows)) for name in wanted}, "each row once, in order"


@pytest.mark.parametrize("rows", [None, slice(2, 13), [3, 18, 0, 11], np.arange(20) % 3 == 0])
def test_parts_are_mixed_with_the_statistics_of_all_or_of_some_rows(tmp_path: Path, rows: Any) -> None:
    dataset = make(tmp_path / "d", SIZES)
    text = "sum(1,2; norm=layer)"
    stats = dataset.mix_stats(text, rows)
    got = np.concatenate([part.mix(text, stats=stats) for part in dataset.parts()])
    layers = [dataset.layer(name).astype(np.float64) for name in ("1", "2")]
    chosen = slice(None) if rows is None else rows
    want = sum((x - x[chosen].mean(0)) / x[chosen].std(0) for x in layers)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got, dataset.mix(text, stats=stats))


def test_statistics_need_rows_and_every_layer(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d", SIZES)
    with pytest.raises(RequestError, match="no row is chosen"):
        dataset.mix_stats("mean(all)", [])
    with pytest.raises(RequestError, match=r"stats lack layer 2; use those of mix_stats\("):
        dataset.mix("mean(1,2; norm=layer)", stats=dataset.mix_stats("1"))
    with pytest.raises(RequestError, match="fitted with a head"):
        dataset.mix("learned(1)", stats={})


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("how", few_of(["mean", "max", "concat", "sum"], "mean", "concat"))
def test_a_mix_holds_little_besides_its_result(tmp_path: Path, how: str, dtype: str) -> None:
    rows = 60_000
    dataset = make(tmp_path / "d", (rows // 2, rows // 2), dtype=dtype)
    layer = rows * dataset.width * 4
    for text, spare in ((f"{how}(all)", 0.5), (f"{how}(all; norm=layer)", 1.5)):
        result = layer * (3 if how == "concat" else 1)
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            patch.setattr("layerwise.mixes._BLOCK", 1 << 13)
            dataset.mix(text)  # what is kept for the next time isn't the mix's
            tracemalloc.start()
            dataset.mix(text)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert result <= peak < result + spare * layer, (text, (peak - result) / layer)


def test_a_constant_dimension_of_float64_becomes_nought() -> None:
    values: Any = np.full((1000, 2), 0.1)
    stats = layer_stats(np.array_split(values, 7))
    assert not stats(values).any()
    assert stats(values).dtype == np.float64
