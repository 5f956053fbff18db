"""Features of pairs against numbers worked out by hand and by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import paired_cosine_distances

from layerwise.heads.mixing import halves, pair_features


def test_by_hand() -> None:
    got = pair_features(np.array([[3, 4]], np.float32), np.array([[4, -3]], np.float32))
    assert got.tolist() == [[0.0, 1.0, 7.0, 12.0, -12.0]]


def test_cosine_is_that_of_scikit_learn_and_order_does_not_matter() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 20, 7)).astype(np.float32)
    got = pair_features(a, b)
    assert got[:, 0] == pytest.approx(1 - paired_cosine_distances(a, b), abs=1e-6)
    assert np.array_equal(got, pair_features(b, a))
    assert got.dtype == np.float32
    assert got.shape == (20, 15)


def test_a_vector_of_zeros_has_cosine_0() -> None:
    assert pair_features(np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32))[0, 0] == 0


def test_halves_stand_one_after_the_other() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(halves(rows), pair_features(rows[[0, 2]], rows[[1, 3]]))
