"""Transforms of vectors, their fit, and the recall of a search, against brute force and scikit-learn."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from layerwise.errors import RequestError
from layerwise.recall import NearestRows, recall_of
from layerwise.transform_fit import TransformFitter
from layerwise.transforms import FittedRows, Transform

FITTED = FittedRows("6", False, "text", "mean", True, None, None, 50)


def rows_of(count: int = 50, width: int = 11, mean: float = 30.0) -> NDArray[np.float32]:
    """Correlated rows with a mean that is large beside their deviations, as those of some layers are."""
    rng = np.random.default_rng(3)
    return (rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + mean).astype(np.float32)


def fitted(kind: str, rows: NDArray[np.float32], components: int | None = None, step: int = 50) -> Transform:
    fitter = TransformFitter(kind, rows.shape[1], components)
    for start in range(0, len(rows), step):
        fitter.add(rows[start : start + step])
    return fitter.finish(FITTED)[0]


def test_bits_are_the_signs_of_the_centred_numbers() -> None:
    rows = rows_of()
    codes = fitted("binary", rows)(rows)
    assert codes.dtype == np.uint8
    assert codes.shape == (50, 2)
    signs = rows - rows.mean(axis=0, dtype=np.float64) > 0
    for code, of_row in zip(codes, signs, strict=True):
        text = "".join(f"{byte:08b}" for byte in code)
        assert text == "".join("01"[bool(sign)] for sign in of_row) + "00000"


def test_int8_codes_give_the_rows_back() -> None:
    rows = rows_of()
    transform = fitted("int8", rows)
    codes, scales = transform.with_scales(rows)
    assert codes.dtype == np.int8
    assert scales is not None
    assert (np.abs(codes).max(axis=1) == 127).all(), "the whole range is used by each row"
    error = np.abs(codes * scales[:, None] + transform.mean - rows)
    assert (error <= scales[:, None] / 2 + 1e-4).all(), "half a step, and the rounding of float32 at 30"


@pytest.mark.parametrize("step", [1, 7, 50])
def test_components_are_those_of_scikit_learn(step: int) -> None:
    rows = rows_of()
    fitter = TransformFitter("pca", 11, 4)
    for start in range(0, 50, step):
        fitter.add(rows[start : start + step])
    transform, kept = fitter.finish(FITTED)
    reference = PCA(4, svd_solver="full").fit(rows.astype(np.float64))
    assert transform.components is not None
    for ours, theirs in zip(transform.components, reference.components_, strict=True):
        assert abs(ours @ theirs) == pytest.approx(1, abs=1e-6)
        assert ours[np.abs(ours).argmax()] > 0
    assert kept == pytest.approx(reference.explained_variance_ratio_.sum(), abs=1e-9)
    signs = np.sign((transform.components * reference.components_).sum(axis=1))
    np.testing.assert_allclose(transform(rows), reference.transform(rows) * signs, atol=1e-3)


def test_no_other_projection_keeps_more_of_the_variance() -> None:
    rows = rows_of().astype(np.float64)
    centred = rows - rows.mean(axis=0)
    ours = fitted("pca", rows.astype(np.float32), 3).components
    assert ours is not None
    rng = np.random.default_rng(0)
    for _ in range(20):
        other, _ = np.linalg.qr(rng.normal(size=(11, 3)))
        assert ((centred @ other) ** 2).sum() < ((centred @ ours.T) ** 2).sum()


def test_units_have_length_1_and_the_mean_has_none() -> None:
    rows = rows_of()
    transform = fitted("unit", rows)
    np.testing.assert_allclose(np.linalg.norm(transform(rows), axis=1), 1, atol=1e-6)
    for kind in ("binary", "int8", "unit"):
        assert not fitted(kind, rows)(transform.mean[None]).any(), "a row at the mean has no direction"


def test_rows_that_are_equal_have_no_variance() -> None:
    rows = np.full((5, 3), 0.1, np.float32)
    fitter = TransformFitter("pca", 3, 2)
    fitter.add(rows)
    transform, kept = fitter.finish(FITTED)
    assert kept == 1
    assert not transform(rows).any()


def test_the_fit_depends_on_no_blocks() -> None:
    rows = rows_of(mean=1000)
    for kind, components in (("binary", None), ("pca", 5)):
        whole, parts = fitted(kind, rows, components), fitted(kind, rows, components, step=3)
        np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-7)
        if whole.components is not None and parts.components is not None:
            np.testing.assert_allclose(parts.components, whole.components, atol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        (np.zeros((2, 7)), r"vectors are \(rows, 7\) and this transform takes \(rows, 11\), of the mix 6"),
        (np.zeros(11), r"vectors are shape \(11,\) and this transform takes"),
        (np.full((2, 11), np.nan), "row 0 has numbers that aren't finite; leave it out"),
        (["a text"], r"vectors are list, not numbers; give an array \(rows, 11\)"),
        (None, "vectors are"),
        (np.full((1, 11), 1e300), "row 0 has numbers that aren't finite"),
    ],
)
def test_what_is_no_such_vector_is_refused(vectors: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        fitted("int8", rows_of())(vectors)


def test_no_rows_stay_no_rows() -> None:
    for kind in ("binary", "int8", "unit"):
        transform = fitted(kind, rows_of())
        assert transform(np.zeros((0, 11))).shape == (0, transform.numbers)


def test_a_transform_says_what_it_is() -> None:
    assert repr(fitted("binary", rows_of())) == (
        "<Transform binary: 11 numbers of the mix 6 become 2 of uint8>"
    )


def brute_force(queries: Any, numbers: Any, rows: Any, k: int) -> list[list[int]]:
    """The nearest rows of each query, of equally near ones the first, by sorting all."""
    return [
        sorted((n for n in range(len(rows)) if n != own_row), key=lambda n: (-(query @ rows[n]), n))[:k]
        for query, own_row in zip(queries, numbers, strict=True)
    ]


@pytest.mark.parametrize("step", [1, 7, 64])
@pytest.mark.parametrize("k", [1, 10, 63])
def test_the_nearest_rows_are_those_of_brute_force(step: int, k: int) -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(-2, 3, (64, 3)).astype(np.float32)  # many are equally near
    numbers = np.array([0, 5, 31, 63])
    nearest = NearestRows(rows[numbers], numbers, k)
    for start in range(0, 64, step):
        nearest.add(start, rows[start : start + step])
    assert nearest.rows.tolist() == brute_force(rows[numbers], numbers, rows, k)


def test_recall_is_the_share_of_the_nearest_rows_that_are_found() -> None:
    exact, other = np.array([[1, 2], [3, 4]]), np.array([[2, 9], [4, 3]])
    recall = recall_of(exact, other, 20)
    assert (recall.score, recall.k, recall.queries, recall.rows) == (0.75, 2, 2, 20)
    assert recall_of(exact, exact, 20).score == 1
