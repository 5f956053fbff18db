"""Static word vectors as a baseline: features by hand, scores by scikit-learn on the same folds."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from layerwise.heads.mixing import pair_features
from layerwise.heads.solve import CS
from layerwise.probing.design import DesignBuilder, crossed
from layerwise.probing.word_features import word_features
from layerwise.states import LayerStates
from layerwise.word_vectors import WordVectors
from planted import noise, states_of, words_of

VECTORS = {"good": [1.0, 2.0], "Bad": [4.0, 0.0], "bad": [0.0, 8.0], "!": [2.0, 2.0]}


def reader(words: Collection[str]) -> WordVectors:
    names = [word for word in VECTORS if word in words]
    vectors = np.array([VECTORS[name] for name in names], np.float32).reshape(len(names), 2)
    return WordVectors("toy.txt", {name: row for row, name in enumerate(names)}, vectors, 4)


def test_a_text_has_the_mean_of_its_words() -> None:
    features = word_features(["Good, good bad", "Bad bad!", "BAD", "other words", ""], "text", False, reader)
    expected = np.array([[(1 + 1 + 0) / 3, (2 + 2 + 8) / 3], [2, 10 / 3], [0, 8], [0, 0], [0, 0]])
    np.testing.assert_allclose(features.x, expected, rtol=1e-6)  # float32
    coverage = features.coverage
    assert (coverage.words, coverage.covered) == (9, 6), "Good , good bad Bad ! BAD other words"
    assert (coverage.occurrences, coverage.covered_occurrences) == (10, 7)
    assert coverage.lower_case == 2, "Good and BAD"
    assert coverage.rows_without == 2
    notes = " ".join(coverage.notes())
    assert (
        "6 of the 9 different words have a vector (70.0% of all occurrences), 2 of these only that" in notes
    )
    assert "2 rows have no word with a vector" in notes


def test_a_word_has_its_own_vector_and_pairs_the_features_of_layers() -> None:
    words = word_features(["bad", "Bad", "good bad"], "word", False, reader)
    assert words.x.tolist() == [[0, 8], [4, 0], [0, 0]], "a row of words is one word"
    pairs = word_features(["good", "bad", "Bad", "!"], "text", True, reader)
    a, b = (np.array([VECTORS[x], VECTORS[y]], np.float32) for x, y in (("good", "Bad"), ("bad", "!")))
    np.testing.assert_array_equal(pairs.x, pair_features(a, b))


def planted_words(
    path: Path, seed: int = 0
) -> tuple[list[str], NDArray[Any], dict[str, NDArray[np.float32]]]:
    """Texts whose words' vectors tell the class, with the file of the vectors."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 240)
    vectors = {
        f"w{number}": (1.2 * np.eye(4)[number % 3] + rng.normal(size=4)).astype(np.float32)
        for number in range(90)
    }
    texts = [" ".join(f"w{k + 3 * rng.integers(30)}" for _ in range(3)) + " unseen" for k in y]
    lines = [f"{word} {' '.join(map(repr, map(float, v)))}" for word, v in vectors.items()]
    path.write_text("\n".join(lines) + "\n")
    return texts, y, vectors


def test_scores_are_those_of_scikit_learn_on_the_same_folds(tmp_path: Path) -> None:
    texts, y, vectors = planted_words(tmp_path / "v.txt")
    means = np.stack([np.mean([vectors[w] for w in text.split() if w in vectors], axis=0) for text in texts])
    states = states_of(noise(240, 4, 2), {"y": y.astype(str)}, texts)
    result = lw.probe(
        states, task="classify", label="y", mix=[], quick=True, vectors=tmp_path / "v.txt", no_codelength=True
    )
    number_of_text = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    groups = np.array([number_of_text[text] for text in texts])  # identical texts stay together
    design = crossed(DesignBuilder(groups, y, 3, spread=True), 1, 5, 0, [])
    lowest, highest = [], []
    for outer in design.outers:
        rows = np.flatnonzero(design.fits.train[outer.fit])
        cut = [(np.flatnonzero(~np.isin(rows, h)), np.flatnonzero(np.isin(rows, h))) for _, h in outer.inner]
        steps = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000, tol=1e-7))
        search = GridSearchCV(steps, {"logisticregression__C": list(CS)}, cv=cut).fit(means[rows], y[rows])
        inner = search.cv_results_["mean_test_score"]
        # Inner fits are coarser here, so one row may fall on the other side of a boundary: any C that is then best counts.
        near = [C for C, score in zip(CS, inner, strict=True) if score >= inner.max() - 1.5 / len(rows)]
        scores = [
            clone(steps)
            .set_params(logisticregression__C=C)
            .fit(means[rows], y[rows])
            .score(means[outer.test], y[outer.test])
            for C in near
        ]
        lowest.append(min(scores))
        highest.append(max(scores))
    # One row of the fold may too.
    score = result.baselines["word_vectors"].score
    assert np.mean(lowest) - 1 / 47 <= score <= np.mean(highest) + 1 / 47
    assert np.mean(lowest) > 0.6, "the vectors tell the class"
    assert result.vectors is not None
    assert result.vectors["covered"] == result.vectors["words"] - 1
    assert result.vectors["source"] == str(tmp_path / "v.txt")
    sentence = result.advice.messages[1]
    assert sentence.startswith("Static word vectors score accuracy"), "right after the first sentence"
    assert "higher than every candidate" in sentence
    assert sentence.in_language("zh").startswith("静态词向量")
    assert any("of all occurrences" in note for note in result.notes)


def test_of_words_the_vector_of_the_word_is_the_baseline(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sentences = [[f"w{rng.integers(12)}" for _ in range(5)] for _ in range(60)]
    labels = ["a" if int(word[1:]) % 2 else "b" for words in sentences for word in words]
    lines = [f"w{n} {n % 2} {rng.normal():.3f}" for n in range(12)]
    (tmp_path / "v.vec").write_text("12 2\n" + "\n".join(lines) + "\n")
    states = words_of(noise(300, 3, 2), sentences, {"y": labels})
    result = lw.probe(
        states, task="classify", label="y", mix=[], quick=True, vectors=tmp_path / "v.vec", no_codelength=True
    )
    assert result.baselines["word_vectors"].score == 1.0
    content = result.to_json()
    assert content["baselines"]["word_vectors"]["low"] > 0.9
    assert content["vectors"]["announced"] == content["vectors"]["total"] == 12


def test_vectors_that_fit_no_word_and_rows_without_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("zzz 1 2\n")
    states = states_of(noise(60, 4, 1), {"y": ["a", "b"] * 30})
    options: dict[str, Any] = {"task": "classify", "label": "y", "mix": [], "quick": True}
    with pytest.raises(lw.RequestError, match=r"vectors=?.*has none of the \d+ words of these rows"):
        lw.probe(states, vectors=tmp_path / "v.txt", **options)
    bare = LayerStates(
        {"emb": states.layer("emb")},
        index=states.index.drop_columns(["text"]),
        texts=states.texts.drop_columns(["text"]),
        blocks=0,
        level="text",
        pool="mean",
    )
    with pytest.raises(lw.RequestError, match="needs the words of the rows, and the dataset stores no texts"):
        lw.probe(bare, vectors=tmp_path / "v.txt", **options)
