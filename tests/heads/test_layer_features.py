import copy
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator_cloneable, check_no_attributes_set_in_init

import layerwise as lw
from layerwise.encode.encoder import Encoder
from layerwise.encode.load import load_encoder, shared_encoder
from layerwise.heads.layer_features import LayerFeatures
from warm import Python

TEXTS = [
    "A charming and often affecting journey.",
    "It is slow and flat.",
    "One of the finest films of the year, warm and funny.",
    "A dull, lifeless and badly acted mess.",
    "The actors are a joy to watch.",
    "I wanted my money and my evening back.",
    "Beautiful, moving, and beautifully shot.",
    "The plot makes no sense and the jokes are bad.",
    "A wonderful film that I will see again.",
    "Boring from the first minute to the last.",
    "It made me laugh and cry, and I loved it.",
    "The worst script that I have ever sat through.",
]
LABELS = ["good", "bad"] * 6
NEW = ["What a lovely, wonderful film.", "A boring and awful mess."]


@pytest.fixture(scope="session")
def tiny(model_folder: Callable[[str], Path]) -> Path:
    return model_folder("bert")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that are loaded while a test runs; none is kept from before."""
    from layerwise.encode import load

    real, seen = load.load_encoder, []

    def note(model: str, **options: Any) -> Encoder:
        seen.append(str(model))
        return real(model, **options)

    load._shared.cache_clear()
    monkeypatch.setattr(load, "load_encoder", note)
    return seen


@pytest.mark.parametrize("level", ["text", "word", "token"])
@pytest.mark.parametrize("mix", [2, "mean(1:)", "concat(3,emb)", "max:all", "weighted(1,2; 2,-1)"])
def test_features_are_the_mix_of_what_the_encoder_gives(tiny: Path, mix: str | int, level: str) -> None:
    encoder = shared_encoder(tiny)
    want = encoder.encode(TEXTS, level=level).mix(mix)
    features = LayerFeatures(tiny, mix=mix, level=level)
    for got in (features.fit_transform(TEXTS), features.fit(TEXTS).transform(TEXTS)):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want)
    assert len(features.get_feature_names_out()) == want.shape[1]


def test_pools_and_options_reach_the_encoder(tiny: Path) -> None:
    options = {"special_tokens": False, "max_length": 8}
    got = LayerFeatures(tiny, mix="2", pool="max", options=options).fit_transform(TEXTS)
    want = shared_encoder(tiny).encode(TEXTS, "2", pool="max", special_tokens=False, max_length=8).layer(2)
    np.testing.assert_array_equal(got, want)
    assert not np.array_equal(got, LayerFeatures(tiny, mix="2", pool="max").fit_transform(TEXTS))


def test_only_the_layers_of_the_mix_are_encoded(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = shared_encoder(tiny)
    depths: list[frozenset[int]] = []
    run = encoder._engine.run

    def note(sequences: Any, batch: Any, expected: frozenset[int], on_layer: Any) -> None:
        depths.append(expected)
        run(sequences, batch, expected, on_layer)

    monkeypatch.setattr(encoder._engine, "run", note)
    LayerFeatures(encoder, mix="1").fit(TEXTS)
    assert not depths, "there is nothing to learn from texts without norm=layer"
    LayerFeatures(encoder, mix="concat(emb,1)").fit_transform(TEXTS)
    assert set(depths) == {frozenset({0, 1})}
    depths.clear()
    LayerFeatures(encoder, mix="sum(2; norm=layer)").fit_transform(TEXTS)
    once = len(depths)
    assert set(depths) == {frozenset({2})}
    depths.clear()
    LayerFeatures(encoder, mix="2").fit_transform(TEXTS)
    assert len(depths) == once, "norm=layer encodes once, too"


def test_layers_say_what_all_means(tiny: Path) -> None:
    encoder = shared_encoder(tiny)
    some = LayerFeatures(tiny, layers="1,3", mix="mean(all)")
    np.testing.assert_array_equal(some.fit_transform(TEXTS), encoder.encode(TEXTS).mix("mean(1,3)"))
    assert str(some.mix_) == "mean(1,3)"
    with pytest.raises(ValueError, match="layer 2 isn't stored; there are 1, 3"):
        some.set_params(mix="2").fit(TEXTS)


@pytest.mark.parametrize("level", ["text", "token"])
def test_standardising_uses_the_texts_that_were_fitted(tiny: Path, level: str) -> None:
    encoder, train, test = shared_encoder(tiny), TEXTS[:8], TEXTS[8:]
    features = LayerFeatures(tiny, mix="sum(1,3; norm=layer)", level=level).fit(train)
    rows = [encoder.encode(texts, level=level) for texts in (train, test)]
    want: Any = 0
    for name in ("1", "3"):
        want += StandardScaler().fit(rows[0].layer(name).astype(float)).transform(rows[1].layer(name))
    np.testing.assert_allclose(features.transform(test), want, rtol=1e-3, atol=1e-4)
    again = clone(features).fit_transform(train)
    np.testing.assert_array_equal(again, features.transform(train))


def test_many_texts_are_mixed_part_by_part(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerwise.heads.layer_features._TEXTS", 5)
    encoder = shared_encoder(tiny)
    for level in ("text", "word"):
        got = LayerFeatures(tiny, mix="mean(all)", level=level).fit_transform(TEXTS)
        want = encoder.encode(TEXTS, level=level).mix("mean(all)")
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_no_texts_give_no_rows_once_it_is_fitted(tiny: Path) -> None:
    features = LayerFeatures(tiny, mix="concat(all)").fit(TEXTS)
    assert features.transform([]).shape == (0, 4 * 32)


def test_rows_of_words_stand_in_the_order_of_texts(tiny: Path) -> None:
    sentences = [text.split() for text in TEXTS]
    tags = np.array([len(word) > 4 for words in sentences for word in words])
    words = LayerFeatures(tiny, mix="concat(all)", level="word")
    pipeline = make_pipeline(words, StandardScaler(), LogisticRegression())
    assert pipeline.fit(sentences, tags).predict(sentences).shape == tags.shape
    states = lw.load_encoder(tiny, device="cpu").encode(sentences, level="word")
    assert states.index["text"].to_pylist() == [word for words in sentences for word in words]
    np.testing.assert_allclose(words.transform(sentences), states.mix("concat(all)"), atol=1e-5)
    one = pipeline[0].transform([sentences[1]])
    there = pipeline[0].transform(sentences)[len(sentences[0]) :][: len(one)]
    np.testing.assert_allclose(one, there, atol=1e-5)
    assert len(pipeline.predict([sentences[1]])) == len(sentences[1]), "a row for every word"


@pytest.mark.parametrize(
    "given", [np.array(TEXTS), np.array(TEXTS, object), tuple(TEXTS), pa.chunked_array([TEXTS]), iter(TEXTS)]
)
def test_texts_come_in_any_kind_of_list(tiny: Path, given: Any) -> None:
    want = shared_encoder(tiny).encode(TEXTS, "3").layer(3)
    np.testing.assert_array_equal(LayerFeatures(tiny).fit_transform(given), want)


@pytest.mark.parametrize(
    ("settings", "texts", "says"),
    [
        ({}, "one text", "got one string for a list of texts; put it in a list"),
        ({}, np.array([["a"], ["b"]]), r"an array of shape \(2, 1\)"),
        ({}, {"a": 1}, r"such as \['a'\]"),
        ({}, 3, "give a list"),
        ({}, [], "no text to fit on"),
        ({"mix": "9"}, TEXTS, "layer 9 doesn't exist"),
        ({"mix": "learned(all)"}, TEXTS, "fitted with a head"),
        ({"layers": "9"}, TEXTS, "layer 9 doesn't exist"),
        ({"level": "span"}, TEXTS, "use text, word or token"),
        ({"level": "letter"}, TEXTS, "level 'letter' doesn't exist"),
        ({"level": "token", "pool": "mean"}, TEXTS, "doesn't fit level 'token'"),
        ({"options": {"max_length": 1}}, TEXTS, "max_length=1 doesn't fit"),
        ({"model": 5}, TEXTS, "model 5 isn't a model"),
    ],
)
def test_what_cannot_be_done_is_a_value_error(
    tiny: Path, settings: dict[str, Any], texts: Any, says: str
) -> None:
    features = LayerFeatures(**{"model": tiny, **settings})
    for fit in (features.fit, features.fit_transform):
        with pytest.raises(ValueError, match=says) as caught:
            fit(texts)
        assert isinstance(caught.value, lw.RequestError)


def test_a_text_that_is_none_is_named_by_its_place(tiny: Path) -> None:
    with pytest.raises(lw.RequestError, match="text 1 is float; give a string"):
        LayerFeatures(tiny).fit_transform(["a", float("nan")])
    with pytest.raises(ValueError, match="not fitted yet"):
        LayerFeatures(tiny).transform(TEXTS)


def test_it_is_an_estimator_in_the_eyes_of_scikit_learn() -> None:
    for check in (check_estimator_cloneable, check_no_attributes_set_in_init):
        check("LayerFeatures", LayerFeatures())
    assert LayerFeatures().get_params() == {
        "model": "minilm",
        "layers": "all",
        "mix": "-1",
        "level": "text",
        "pool": None,
        "options": None,
        "task": None,
        "hidden": False,
    }
    assert lw.LayerFeatures is LayerFeatures


def test_a_named_model_is_loaded_once_for_all_candidates_of_a_search(tiny: Path, loads: list[str]) -> None:
    pipeline = make_pipeline(LayerFeatures(tiny), LogisticRegression())
    GridSearchCV(pipeline, {"layerfeatures__mix": ["emb", "3", "mean(1:)"]}, cv=2).fit(TEXTS, LABELS)
    assert loads == [str(tiny)]
    shared_encoder(str(tiny) + "/")
    assert loads == [str(tiny)], "however its folder is spelt"


def test_a_folder_that_changed_is_loaded_anew_and_refused_by_what_was_fitted(
    tmp_path: Path, tiny: Path, loads: list[str]
) -> None:
    from conftest import make_model

    folder = make_model("bert", tmp_path / "model")
    features = LayerFeatures(folder).fit(TEXTS)
    before = features.transform(TEXTS)
    make_model("bert", folder, initializer_range=0.5)
    with pytest.raises(lw.ModelError, match="isn't the model that was used in fit"):
        features.transform(TEXTS)
    assert not np.allclose(features.fit(TEXTS).transform(TEXTS), before)
    assert len(loads) == 2


def test_an_encoder_is_shared_by_clones_and_never_copied(tiny: Path, loads: list[str]) -> None:
    encoder = load_encoder(tiny)
    pipeline = make_pipeline(LayerFeatures(encoder), LogisticRegression())
    for other in (clone(pipeline), copy.deepcopy(pipeline)):
        assert other[0].model is encoder
    search = GridSearchCV(pipeline, {"layerfeatures__mix": ["1", "3"]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_estimator_[0].model is encoder
    assert not loads


@pytest.mark.slow
def test_pickled_pipelines_carry_no_model_and_work_in_a_new_process(
    python: Python, tiny: Path, tmp_path: Path
) -> None:
    pipelines = [
        make_pipeline(LayerFeatures(tiny, mix="mean(1:; norm=layer)"), LogisticRegression()),
        make_pipeline(LayerFeatures(load_encoder(tiny), mix="3"), LogisticRegression()),
    ]
    saved = pickle.dumps([pipeline.fit(TEXTS, LABELS) for pipeline in pipelines])
    assert len(saved) < 20_000
    (tmp_path / "pipelines").write_bytes(saved)
    np.save(tmp_path / "want.npy", [pipeline.predict_proba(TEXTS) for pipeline in pipelines])
    code = (
        "import pickle, sys, numpy as np, pathlib\n"
        "made = pickle.loads(pathlib.Path('pipelines').read_bytes())\n"
        "got = [pipeline.predict_proba(sys.argv[1:]) for pipeline in made]\n"
        "np.testing.assert_allclose(got, np.load('want.npy'), rtol=1e-4)"
    )
    subprocess.run(python("-c", code, *TEXTS), check=True, cwd=tmp_path)


def test_searches_may_have_threads(tiny: Path) -> None:
    from joblib import parallel_config  # type: ignore[import-untyped]

    pipeline = make_pipeline(LayerFeatures(tiny), LogisticRegression())
    grid = {"layerfeatures__mix": ["1", "2", "3", "mean(all)"]}
    alone = GridSearchCV(pipeline, grid, cv=3).fit(TEXTS, LABELS).cv_results_["mean_test_score"]
    with parallel_config("threading", n_jobs=2):
        together = GridSearchCV(pipeline, grid, cv=3).fit(TEXTS, LABELS).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(alone, together)


def test_minilm_tells_good_films_from_bad_ones_in_a_pipeline(minilm: Any) -> None:
    steps = [("texts", LayerFeatures(minilm)), ("scale", StandardScaler()), ("head", LogisticRegression())]
    pipeline = Pipeline(steps)
    mixes = ["6", "mean(-3:)", "concat(4,6; norm=layer)"]
    search = GridSearchCV(pipeline, {"texts__mix": mixes, "head__C": [0.1, 1.0]}, cv=3).fit(TEXTS, LABELS)
    assert search.predict(NEW).tolist() == ["good", "bad"]
    # By hand: the same folds, scored without the transformer.
    x = minilm.encode(TEXTS).mix("mean(-3:)")
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    by_hand = cross_val_score(plain, x, LABELS, cv=3).mean()
    result = [
        score
        for score, params in zip(
            search.cv_results_["mean_test_score"], search.cv_results_["params"], strict=True
        )
        if params == {"texts__mix": "mean(-3:)", "head__C": 0.1}
    ]
    assert result == [pytest.approx(by_hand)]
    names = pipeline.set_params(texts__mix="3").fit(TEXTS, LABELS)[:1].get_feature_names_out()
    assert names[117] == "layer03_dim117"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_column_of_a_table_gives_a_table(tiny: Path, library: str) -> None:
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({"text": TEXTS, "label": LABELS})
    features = LayerFeatures(tiny, mix="1").set_output(transform=library)
    got = features.fit_transform(frame["text"])
    assert isinstance(got, frames.DataFrame)
    assert list(got.columns)[:2] == ["layer01_dim00", "layer01_dim01"]
    with pytest.raises(lw.RequestError, match=r"columns text, label; pass one of them, such as \['text'\]"):
        features.fit(frame)
