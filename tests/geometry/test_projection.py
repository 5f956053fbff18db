"""Layers on a plane, nearest rows, and tokens along the layers."""

import sys
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from sklearn.decomposition import PCA

from layerwise.errors import RequestError
from layerwise.geometry.neighbours import nearest, nearest_to, units
from layerwise.geometry.projection import project
from layerwise.geometry.rows import standardise
from layerwise.geometry.token_paths import moves
from layerwise.geometry.umap import umap
from planted import noise, states_of


def same_shape(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """The same distances between points, up to one scale."""
    left, right = pdist(a), pdist(b)
    return bool(np.allclose(left / left.max(), right / right.max(), atol=1e-5))


@pytest.mark.parametrize(("rows", "width"), [(60, 8), (8, 60), (5, 2)])
def test_it_is_pca_of_standardised_rows(rows: int, width: int) -> None:
    x = noise(rows, width, 1)[0]
    made = project([x])
    reference = PCA(2, svd_solver="full").fit(standardise(x))
    assert same_shape(made.coords[0], reference.transform(standardise(x)))
    assert made.explained is not None
    assert made.explained[0] == pytest.approx(reference.explained_variance_ratio_)
    assert np.abs(made.coords[0]).max() == pytest.approx(1)
    assert made.coords[0].min(axis=0) == pytest.approx(-made.coords[0].max(axis=0), abs=1e-6), "in the middle"


def test_shares_are_those_of_the_axes_as_they_are_drawn() -> None:
    """A layer is turned towards the one before: its axes are then no principal axes."""
    first, second = noise(40, 6, 2)
    made = project([first, second])
    assert made.explained is not None
    rows = standardise(second)
    coords = made.coords[1].astype(np.float64)
    for axis in (0, 1):
        along = coords[:, axis] - coords[:, axis].mean()
        # the direction of this axis among the dimensions, by least squares
        direction = np.linalg.lstsq(rows, along, rcond=None)[0]
        direction /= np.linalg.norm(direction)
        assert made.explained[1, axis] == pytest.approx((rows @ direction).var() / rows.var(axis=0).sum())
    top = PCA(2, svd_solver="full").fit(rows).explained_variance_ratio_
    assert made.explained[1].sum() == pytest.approx(top.sum())
    assert made.explained[1] != pytest.approx(top, rel=1e-3), "this layer needn't be turned"


def test_a_turned_copy_of_what_is_on_the_plane_stays_where_it_was() -> None:
    """Two dimensions with standardised spread, turned by 45 degrees: PCA turns, alignment turns back."""
    x = standardise(np.random.default_rng(0).normal(size=(80, 2)))
    x -= x.mean(axis=0)
    x = standardise(x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T)
    half = np.sqrt(0.5)
    first, second = project([x, standardise(x @ np.array([[half, -half], [half, half]]))]).coords
    assert second == pytest.approx(first, abs=1e-4)


def test_mirrored_layers_are_mirrored_back() -> None:
    x = noise(50, 5, 1)[0]
    first, second = project([x, -x]).coords
    assert second == pytest.approx(first, abs=1e-5)


def test_layers_without_spread_lie_in_the_middle_and_are_passed_over() -> None:
    first, third = noise(30, 4, 2)
    bad = np.full_like(first, np.nan)
    made = project([first, np.ones_like(first), bad, third])
    assert not made.coords[1].any()
    assert not made.coords[2].any()
    assert made.explained is not None
    assert np.isnan(made.explained[1:3]).all()
    assert made.coords[3] == pytest.approx(project([first, third]).coords[1])


@pytest.mark.parametrize("shape", [(1, 4), (2, 1), (3, 1)])
def test_hardly_anything(shape: tuple[int, int]) -> None:
    made = project([np.arange(np.prod(shape), dtype=np.float32).reshape(shape)])
    assert made.coords.shape == (1, shape[0], 2)
    assert np.isfinite(made.coords).all()


def test_another_way_down() -> None:
    x = noise(20, 4, 2)
    seen = []

    def flat(rows: Any, before: Any) -> Any:
        seen.append(before)
        return rows[:, 1:3]

    made = project(x, flat)
    assert made.explained is None
    assert seen[0] is None
    assert same_shape(seen[1], made.coords[0])
    assert same_shape(made.coords[1], standardise(x[1])[:, 1:3])


@pytest.mark.slow  # numba compiles for half a minute
def test_umap_keeps_clusters_and_begins_where_the_layer_before_ended() -> None:
    rng = np.random.default_rng(0)
    side = np.arange(60) % 2
    x = (rng.normal(size=(60, 8)) + 6 * side[:, None]).astype(np.float32)
    first, second = project([x, x[:, ::-1]], umap(0)).coords
    for coords in (first, second):
        middle = [coords[side == n].mean(axis=0) for n in (0, 1)]
        own = np.linalg.norm(coords[:, None] - np.array(middle)[None], axis=2).argmin(axis=1)
        assert (own == side).all()
    assert np.linalg.norm(first - second, axis=1).mean() < 0.3, "layers aren't aligned"
    again = project([x, x[:, ::-1]], umap(0)).coords
    assert np.array_equal(again[1], second)


@pytest.mark.slow
def test_umap_of_hardly_anything() -> None:
    with pytest.raises(RequestError, match="needs 4 rows or more and got 3"):
        project(noise(3, 4, 1), umap(0))


def test_without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(RequestError, match=r"pip install 'layerwise\[umap\]'"):
        umap(0)


# --- neighbours -------------------------------------------------------------------------------------------


def test_nearest_by_brute_force() -> None:
    x = noise(70, 6, 1)[0]
    cosines = 1 - cdist(x, x, "cosine")
    np.fill_diagonal(cosines, -np.inf)
    rows, found = nearest(x, 7)
    order = np.argsort(-cosines, axis=1)[:, :7]
    assert rows.tolist() == order.tolist()
    assert found == pytest.approx(np.take_along_axis(cosines, order, 1), abs=1e-6)


def test_of_equal_rows_the_first() -> None:
    rows, cosines = nearest(np.ones((6, 3), np.float32), 2)
    assert rows.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]]
    assert cosines == pytest.approx(1)
    assert nearest(np.ones((2, 3), np.float32), 10)[0].tolist() == [[1], [0]]
    assert nearest(np.ones((1, 3), np.float32), 10)[0].shape == (1, 0)


def test_rows_without_a_direction() -> None:
    x = np.array([[0, 0], [1, np.nan], [3, 4], [1e-30, 0], [1e30, 0]], np.float32)
    assert units(x) == pytest.approx(np.array([[0, 0], [0, 0], [0.6, 0.8], [1, 0], [1, 0]]))


def test_nearest_to_one_row_of_a_whole_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerwise.geometry.neighbours._CELLS", 40)  # blocks of ten rows
    states = states_of(noise(95, 4, 2), {})
    for row in (0, 37, 94):
        rows, cosines = nearest_to(states, "1", row, 12)
        everyone, theirs = nearest(states.layer("1"), 12)
        assert rows.tolist() == everyone[row].tolist()
        assert cosines == pytest.approx(theirs[row], abs=1e-6)


# --- tokens -----------------------------------------------------------------------------------------------


def test_tokens_along_the_layers() -> None:
    stack = np.stack(noise(9, 5, 3))
    stack[2] = 2 * stack[1]
    made = moves(stack)
    assert made.norms == pytest.approx(np.linalg.norm(stack, axis=2), rel=1e-6)
    assert made.moves[1] == pytest.approx(1, abs=1e-6), "longer isn't elsewhere"
    for place in range(9):
        a, b = stack[0][place], stack[1][place]
        assert made.moves[0][place] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert made.cosines[1] == pytest.approx(1 - cdist(stack[1], stack[1], "cosine"), abs=1e-6)
    assert made.plane.coords.shape == (3, 9, 2)
