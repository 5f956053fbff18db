import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_estimator,
    check_set_output_transform,
    check_transformer_get_feature_names_out,
)

import layerwise as lw
from layerwise.heads.layer_mix import LayerMix, mix_feature_names
from layerwise.layers import layer_names
from layerwise.mixes import parse_mix
from layerwise.states import LayerStates

BLOCKS, WIDTH, ROWS = 6, 5, 40
STACK = np.random.default_rng(0).normal(3, 2, size=(BLOCKS + 1, ROWS, WIDTH)).astype(np.float32)
X = STACK.transpose(1, 0, 2).reshape(ROWS, -1)
Y = (STACK[3, :, 1] > 3).astype(int)
TRAIN, TEST = slice(0, 25), slice(25, ROWS)


def states() -> LayerStates:
    docs = pa.table({"doc": np.arange(ROWS)})
    vectors = dict(zip(layer_names(BLOCKS), STACK, strict=True))
    return LayerStates(vectors, index=docs, texts=docs, blocks=BLOCKS, level="text", pool="mean")


@pytest.mark.parametrize(
    "made",
    [
        LayerMix(),
        LayerMix("emb; norm=layer"),
        LayerMix("mean(all)", n_layers=1),
        LayerMix("sum(all; norm=layer)", n_layers=1),
        LayerMix("max:all", n_layers=1),
        LayerMix("concat(all)", n_layers=1),
        LayerMix("weighted(emb; 2)", n_layers=1),
        LayerMix("mean(all; norm=layer)", n_layers=13, layers="12"),
    ],
    ids=str,
)
def test_scikit_learn_takes_it_for_one_of_its_own(made: LayerMix) -> None:
    results = check_estimator(made, on_skip=None)
    assert sum(result["status"] == "passed" for result in results) > 40


@pytest.mark.parametrize("mix", ["mean(all)", "1; norm=layer", "concat(1,0)"])
def test_with_two_layers_scikit_learn_only_stumbles_over_odd_columns(mix: str) -> None:
    results = check_estimator(LayerMix(mix, n_layers=2), on_fail=None, on_skip=None)
    passed = [result["check_name"] for result in results if result["status"] == "passed"]
    failed = [str(result["exception"]) for result in results if result["status"] == "failed"]
    assert "check_n_features_in_after_fitting" in passed
    assert len(passed) > len(failed)
    assert all("aren't 2 layers of one width" in why for why in failed), failed


@pytest.mark.parametrize("mix", ["mean(all)", "max(2,1; norm=layer)", "concat(1,0)"])
def test_names_and_output_are_as_scikit_learn_checks_its_own(mix: str) -> None:
    check_transformer_get_feature_names_out("LayerMix", LayerMix(mix, n_layers=3))  # of three columns
    check_set_output_transform("LayerMix", LayerMix(mix, n_layers=5))  # of five


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("mix", "brute"),
    [
        (4, lambda s: s[4]),
        ("emb", lambda s: s[0]),
        ("sum(1:)", lambda s: s[1:].sum(0)),
        ("mean(-4:)", lambda s: s[-4:].mean(0)),
        ("max(1,6)", lambda s: np.maximum(s[1], s[6])),
        ("concat(6,emb)", lambda s: np.concatenate([s[6], s[0]], axis=1)),
        ("weighted(1,2; 0.5,-2)", lambda s: 0.5 * s[1] - 2 * s[2]),
        (parse_mix("mean(2,3)", BLOCKS), lambda s: s[2:4].mean(0)),
    ],
)
def test_mixes_equal_brute_force_in_the_type_that_comes(mix: Any, brute: Any, kind: Any) -> None:
    got = LayerMix(mix, n_layers=BLOCKS + 1).fit_transform(X.astype(kind))
    assert got.dtype == kind
    tolerance = 1e-5 if kind is np.float32 else 1e-12
    np.testing.assert_allclose(got, brute(STACK.astype(np.float64)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mix", ["3", "sum(1:)", "max(all)", "concat(all)", "weighted(6,1; 0.1,0.2)"])
def test_it_is_the_mix_of_states(mix: str) -> None:
    side_by_side = states().mix("concat(all)")
    np.testing.assert_array_equal(side_by_side, X)
    got = LayerMix(mix, n_layers=BLOCKS + 1).fit_transform(side_by_side)
    np.testing.assert_array_equal(got, states().mix(mix))


def test_standardising_uses_the_rows_that_were_fitted_and_no_others() -> None:
    layer_mix = LayerMix("sum(2,5; norm=layer)", n_layers=BLOCKS + 1).fit(X[TRAIN])
    scaled = [
        StandardScaler().fit(layer[TRAIN]).transform(layer[TEST]) for layer in STACK[[2, 5]].astype(float)
    ]
    np.testing.assert_allclose(layer_mix.transform(X[TEST]), sum(scaled), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer_mix.transform(X[TEST][:1]), sum(scaled)[:1], rtol=1e-4, atol=1e-5)
    known = states().mix_stats("sum(2,5; norm=layer)", rows=TRAIN)
    want = states().mix("sum(2,5; norm=layer)", stats=known)
    np.testing.assert_array_equal(layer_mix.transform(X), want)


@pytest.mark.parametrize("value", [0.1, 1e6 + 0.1, -3e-5])
def test_a_constant_column_of_any_type_becomes_nought(value: float) -> None:
    for kind in (np.float32, np.float64):
        constant = np.full((37, 4), value, kind)
        assert not LayerMix("mean(all; norm=layer)", n_layers=2).fit_transform(constant).any()


def test_layers_that_are_not_in_the_columns_are_left_out_of_account() -> None:
    some = LayerMix("mean(all)", n_layers=BLOCKS + 1, layers="2,emb,-1")
    columns = np.concatenate(list(STACK[[2, 0, 6]]), axis=1)
    np.testing.assert_allclose(some.fit_transform(columns), STACK[[2, 0, 6]].mean(0), rtol=1e-5, atol=1e-5)
    assert some.layers_ == ("2", "emb", "6")
    some.set_params(mix="-1")
    np.testing.assert_array_equal(some.fit_transform(columns), STACK[6])
    with pytest.raises(ValueError, match=r"layer 3 isn't stored; there are 2, emb, 6"):
        some.set_params(mix="sum(3,6)").fit(columns)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (LayerMix("mean(all)", n_layers=4), r"35 feature\(s\), which aren't 4 layers.*emb, 1, 2, 3"),
        (LayerMix("learned(all)", n_layers=7), "fitted with a head; train one with mix"),
        (LayerMix("mean(7)", n_layers=7), "layer 7 doesn't exist"),
        (LayerMix("median(all)", n_layers=7), "no mix is called 'median'"),
        (LayerMix("mean(all)"), "n_layers is missing"),
        (LayerMix("3"), "layer 3 doesn't exist"),
        (LayerMix("emb", n_layers=0), "n_layers=0"),
        (LayerMix("emb", n_layers=True), "n_layers=True"),
        (LayerMix("emb", n_layers=7.0), "n_layers=7.0"),  # type: ignore[arg-type]
        (LayerMix("emb", n_layers=7, layers="9"), "layer 9 doesn't exist"),
    ],
)
def test_what_does_not_fit_is_a_value_error(made: LayerMix, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        made.fit(X)
    assert isinstance(caught.value, lw.RequestError)
    with pytest.raises(ValueError, match="not fitted yet"):
        made.transform(X)


def test_columns_are_named_after_layer_and_dimension() -> None:
    wide = np.zeros((2, 7 * 384), np.float32)
    names = LayerMix("concat(3,emb)", n_layers=7).fit(wide).get_feature_names_out()
    assert names.shape == (768,)
    assert (names[0], names[117], names[383]) == ("layer03_dim000", "layer03_dim117", "layer03_dim383")
    assert (names[384], names[-1]) == ("layer00_dim000", "layer00_dim383")
    assert LayerMix("-1", n_layers=7).fit(wide).get_feature_names_out()[5] == "layer06_dim005"
    mixed = LayerMix("mean(1:4; norm=layer)", n_layers=7).fit(wide).get_feature_names_out()
    assert mixed[117] == "mean(1,2,3; norm=layer)_dim117"


@pytest.mark.parametrize(("blocks", "width"), [(12, 768), (150, 11), (1, 1)])
def test_names_sort_as_columns_stand_and_are_all_different(blocks: int, width: int) -> None:
    mix = parse_mix("concat(all)", blocks)
    names = mix_feature_names(mix, width, blocks).tolist()
    assert names == sorted(names)
    assert len(set(names)) == mix.out_width(width)


def test_the_grid_searches_over_mixes_and_finds_the_layer_that_tells() -> None:
    pipeline = make_pipeline(LayerMix(n_layers=BLOCKS + 1), StandardScaler(), LogisticRegression())
    mixes = ["1", "3", "6", "mean(-2:; norm=layer)"]
    search = GridSearchCV(pipeline, {"layermix__mix": mixes}, cv=4).fit(X, Y)
    assert search.best_params_ == {"layermix__mix": "3"}
    assert search.best_estimator_[0].get_feature_names_out().tolist() == [f"layer03_dim{k}" for k in range(5)]
    by_hand = make_pipeline(StandardScaler(), LogisticRegression()).fit(STACK[3], Y)
    np.testing.assert_allclose(search.predict_proba(X), by_hand.predict_proba(STACK[3]), rtol=1e-6)


def test_clones_and_pickles_give_the_same_rows() -> None:
    made = LayerMix(
        parse_mix("mean(1,2; norm=layer)", BLOCKS), n_layers=7, layers=["emb", 1, "2", 3, 4, 5, 6]
    )
    want = made.fit(X[TRAIN]).transform(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made)).transform(X), want)
    copy = clone(made)
    assert not hasattr(copy, "mix_")
    np.testing.assert_array_equal(copy.fit(X[TRAIN]).transform(X), want)


def test_it_says_what_columns_it_wants_of_tables() -> None:
    made = LayerMix("mean(all)", n_layers=7).fit(X)
    with pytest.raises(ValueError, match="X has 28 features, but LayerMix is expecting 35 features"):
        made.transform(X[:, :28])
    with pytest.raises(ValueError, match="input_features should have length equal"):
        made.get_feature_names_out(["a"])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_come_out_where_they_are_asked_for(library: str) -> None:
    frames = pytest.importorskip(library)
    columns = [f"c{k}" for k in range(35)]
    made = LayerMix("2", n_layers=7).set_output(transform=library)
    got = made.fit_transform(frames.DataFrame(dict(zip(columns, X.T, strict=True))))
    assert isinstance(got, frames.DataFrame)
    assert list(got.columns) == [f"layer02_dim{k}" for k in range(5)]
    np.testing.assert_array_equal(got.to_numpy(), STACK[2])
