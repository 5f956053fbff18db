"""Tokens of all layers on one plane: steps keep their lengths, and what the plane doesn't show is told."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, pdist
from scipy.stats import pearsonr, spearmanr

from layerwise.geometry import step_plane as module
from layerwise.geometry.neighbours import units
from layerwise.geometry.step_plane import step_plane
from layerwise.geometry.token_paths import moves
from planted import noise

TEXTS = [
    "What is the origin of the candy cane at Christmas ?",
    "The bank of the river was steep, and the bank in the town was closed.",
    "房间很干净，服务也不错，下次还会再来。",
]


def lengths(layers: Any) -> np.ndarray[Any, Any]:
    """The length of each step from layer to layer, (layers - 1, tokens)."""
    return np.array(
        [
            [np.sqrt(((b - a).astype(float) ** 2).sum()) for a, b in zip(*pair, strict=True)]
            for pair in pairwise(layers)
        ]
    )


@pytest.mark.parametrize("text", TEXTS)
def test_drawn_steps_are_as_long_as_the_real_ones(text: str, minilm: Any) -> None:
    """The planes of single layers correlated about 0.3 with the real steps."""
    stack = minilm.encode([text], level="token").stack()
    unit = np.stack([layer / np.linalg.norm(layer, axis=1, keepdims=True) for layer in stack])
    plane = moves(stack).plane
    drawn, wanted = lengths(plane.coords).ravel(), lengths(unit).ravel()
    assert pearsonr(drawn, wanted)[0] > 0.98
    assert spearmanr(drawn, wanted)[0] > 0.97
    assert drawn.sum() == pytest.approx(wanted.sum(), rel=0.02), "the scale of the plane is another one"
    assert plane.steps == pytest.approx(pearsonr(drawn, wanted)[0] ** 2, abs=1e-5)
    flat, whole = (values.reshape(-1, values.shape[2]) for values in (plane.coords, unit))
    assert plane.distances == pytest.approx(pearsonr(pdist(flat), pdist(whole))[0] ** 2, abs=1e-4)


def test_what_lies_on_a_plane_is_shown_whole() -> None:
    flat = np.random.default_rng(0).normal(size=(4, 6, 2))
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(9, 2)))
    plane = step_plane((flat @ turned.T + 3).astype(np.float32))
    drawn, wanted = plane.coords.reshape(-1, 2), flat.reshape(-1, 2)
    assert cdist(drawn, drawn) == pytest.approx(cdist(wanted, wanted), abs=1e-4)
    assert plane.coords.reshape(-1, 2).mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert [plane.steps, plane.distances] == pytest.approx([1, 1])


def test_a_general_optimiser_makes_the_stress_no_smaller() -> None:
    layers = np.stack(noise(5, 7, 3)).astype(np.float32)
    n = 15
    wanted = cdist(*[layers.reshape(n, -1).astype(float)] * 2)
    weight = np.ones((n, n))
    for a in range(n - 5):
        weight[a, a + 5] = weight[a + 5, a] = 1 + n
    pairs = np.triu_indices(n, 1)

    def stress(flat: Any) -> float:
        points = np.reshape(flat, (n, 2))
        return float((weight * (cdist(points, points) - wanted) ** 2)[pairs].sum())

    coords = step_plane(layers).coords.reshape(-1).astype(float)
    # Stretched so that steps have the right length: the stress is smallest at another scale.
    distances = pdist(coords.reshape(n, 2))
    weights, targets = weight[pairs], wanted[pairs]
    coords *= (weights * distances * targets).sum() / (weights * distances**2).sum()
    best = minimize(stress, coords, method="BFGS", options={"maxiter": 400})
    # a hundred rounds of SMACOF come near to a local minimum
    assert stress(coords) <= 1.03 * best.fun


@pytest.mark.parametrize("shape", [(1, 1, 4), (1, 5, 4), (3, 1, 4), (2, 2, 1)])
def test_hardly_anything(shape: tuple[int, int, int]) -> None:
    plane = step_plane(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    assert plane.coords.shape == (*shape[:2], 2)
    assert np.isfinite(plane.coords).all()
    assert np.isnan(plane.steps) == (shape[0] == 1), "without steps there is no share of them"


def test_points_that_are_all_the_same() -> None:
    plane = step_plane(np.zeros((3, 4, 2), np.float32))
    assert not plane.coords.any()
    assert np.isnan([plane.steps, plane.distances]).all()


def test_many_points_take_fewer_rounds_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = np.stack([units(layer) for layer in noise(30, 20, 4)])
    whole = step_plane(layers)
    monkeypatch.setattr(module, "_BLOCK", 500)
    assert step_plane(layers).coords == pytest.approx(whole.coords, abs=1e-4)
    monkeypatch.setattr(module, "_PAIRS", 2000)
    assert step_plane(layers).distances == pytest.approx(whole.distances, abs=0.05)
    monkeypatch.setattr(module, "_DISTANCES", 1)
    assert step_plane(layers).steps > 0.8
