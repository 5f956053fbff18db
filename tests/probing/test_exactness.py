"""How close the losses of fits are to the least ones: against scikit-learn and scipy in double precision."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise.heads.solve import CS
from layerwise.labels.scorers import class_scorer
from layerwise.probing.batched_solver import Solver
from layerwise.probing.design import DesignBuilder, crossed
from layerwise.probing.evaluate import CandidateEvaluation
from layerwise.probing.fits import Fits, Scores

Array = NDArray[np.float64]
# As `docs/explanation/probe.md` says.
TOLERANCE = 2e-6


def planted(
    rows: int, width: int, classes: int, signal: float = 0.6
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows around the means of their classes, with directions of very different size, as layers have."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(rows) % classes)
    spread = np.geomspace(1, 0.05, width)
    x = (rng.normal(size=(rows, width)) + signal * rng.normal(size=(classes, width))[y]) * spread
    return (x @ rng.normal(size=(width, width))).astype(np.float32), y


def fits_of(y: NDArray[np.int64], classes: int, count: int = 2) -> Fits:
    train = np.random.default_rng(1).random((count, len(y))) < 0.7
    return Fits(train, y[None], np.zeros(count, np.int64), classes, np.arange(count))


def losses(logits: Array, y: NDArray[np.int64]) -> float:
    """The sum of the losses of rows, from logits (n, K)."""
    highest = logits.max(axis=1, keepdims=True)
    totals = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]
    return float((totals - logits[np.arange(len(y)), y]).sum())


def objective(weights: Array, bias: Array, x: Array, y: NDArray[np.int64], C: float) -> float:
    """C · Σ loss + ½ ‖W‖² in double precision; weights (columns, width)."""
    logits = x @ weights.T + bias
    if len(weights) == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    return C * losses(logits, y) + 0.5 * float((weights**2).sum())


def weights_of(
    scores: Scores, fit: int, scaled: Array, train: NDArray[np.bool_], columns: int
) -> tuple[Array, Array]:
    """Weights of standardised features, and biases; `parameters` have the former, or weights of rows."""
    assert scores.parameters is not None
    values = scores.parameters[fit].astype(np.float64)
    weights, bias = values[:-columns].reshape(columns, -1), values[-columns:]
    if weights.shape[1] == len(train):
        assert not weights[:, ~train].any()
        weights = weights[:, train] @ scaled
    return weights, bias


@pytest.mark.parametrize("classes", [2, 6, 30])
@pytest.mark.parametrize("wide", [False, True], ids=["features", "rows"])
def test_losses_are_the_least_ones(classes: int, wide: bool) -> None:
    rows = 8 * classes if classes > 6 else 160
    x, y = planted(rows, rows + 50 if wide else 24, classes)
    fits = fits_of(y, classes)
    for c_index in (1, 4):
        scores = Solver(x).at(fits, c_index)
        for fit, train in enumerate(fits.train):
            scaled = StandardScaler().fit_transform(x[train].astype(np.float64))
            model = LogisticRegression(C=CS[c_index], solver="newton-cg", tol=1e-9, max_iter=500)
            model.fit(scaled, y[train])
            best = objective(model.coef_, model.intercept_, scaled, y[train], CS[c_index])
            weights, bias = weights_of(scores, fit, scaled, train, fits.columns)
            loss = objective(weights, bias, scaled, y[train], CS[c_index])
            assert loss / best - 1 < TOLERANCE, f"C = {CS[c_index]}, fit {fit}"


def learned_objective(values: Array, x: torch.Tensor, y: torch.Tensor, C: float) -> tuple[float, Array]:
    """The loss of a learned mix of standardised layers x (n, layers, width), and its gradient."""
    point = torch.tensor(values, requires_grad=True)
    layers, classes = x.shape[1], int(y.max()) + 1
    weights, bias, mix = torch.split(point, [len(point) - classes - layers, classes, layers])
    mixed = (torch.softmax(mix, 0)[:, None] * x).sum(1)
    logits = mixed @ weights.view(classes, -1).T + bias
    loss = C * torch.nn.functional.cross_entropy(logits, y, reduction="sum") + 0.5 * (weights**2).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert point.grad is not None
    return loss.item(), point.grad.numpy()


@pytest.mark.parametrize("c_index", [2, 3])
def test_a_learned_mix_has_the_least_loss_around(c_index: int) -> None:
    """From several starts. Where regularisation is weak, starts far away can lead to another, lower minimum.

    `LEARNED` is a hundred times `lbfgs.EXACT`, for which `TOLERANCE` holds; 2e-5 was seen.
    """
    classes, layers, width, rows = 4, 3, 12, 240
    rng = np.random.default_rng(3)
    y = rng.permutation(np.arange(rows) % classes)
    means = rng.normal(size=(layers, classes, width)) * np.array([0.2, 0.8, 0.6])[:, None, None]
    x = (rng.normal(size=(rows, layers, width)) + means[:, y].transpose(1, 0, 2)).astype(np.float32)
    fits = fits_of(y, classes)
    scores = Solver(x.reshape(rows, -1), layers=layers).at(fits, c_index)
    assert scores.parameters is not None
    for fit, train in enumerate(fits.train):
        scaled = StandardScaler().fit_transform(x[train].reshape(train.sum(), -1).astype(np.float64))
        inputs = torch.from_numpy(scaled).view(-1, layers, width)
        solution = scores.parameters[fit].astype(np.float64)
        loss, _ = learned_objective(solution, inputs, torch.from_numpy(y[train]), CS[c_index])
        starts = [solution, *(solution + 0.1 * rng.normal(size=len(solution)) for _ in range(2))]
        if c_index == 2:
            starts += [np.zeros_like(solution), 0.3 * rng.normal(size=len(solution))]
        best = min(least_learned(start, inputs, torch.from_numpy(y[train]), CS[c_index]) for start in starts)
        assert loss / best - 1 < 50 * TOLERANCE, f"fit {fit}: {loss} against {best}"


def least_learned(start: Array, x: torch.Tensor, y: torch.Tensor, C: float) -> float:
    """The least loss of a learned mix that scipy finds in double precision."""
    options = {"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-8}
    return float(minimize(learned_objective, start, (x, y, C), "L-BFGS-B", jac=True, options=options).fun)


def test_weights_of_rows_are_weights_of_features() -> None:
    """The same wide fits in both ways."""
    x, y = planted(120, 300, 3)
    fits = fits_of(y, 3, 3)
    by_row, by_feature = Solver(x), Solver(x)
    by_feature._solves_by_row = False
    assert by_row._solves_by_row
    for c_index in (1, 3):
        expected = by_feature.at(fits, c_index).values
        # Twice the root of the tolerance of both losses, as probabilities.
        assert np.abs(np.exp(by_row.at(fits, c_index).values) - np.exp(expected)).max() < 0.01


def test_scores_of_150_classes_are_those_of_scikit_learn() -> None:
    """The outer folds of a quick design, at the chosen C of each."""
    classes, rows = 150, 750
    x, y = planted(rows, 32, classes, signal=1.5)
    builder = DesignBuilder(np.arange(rows), y, classes, spread=True)
    design = crossed(builder, 1, 5, 0, [], codes=0)
    scorer = class_scorer(y, "accuracy")
    scores = CandidateEvaluation(design, scorer).run(Solver(x))
    pairs = []
    for predicted, outer, chosen in list(zip(scores.predicted, design.outers, scores.chosen, strict=True))[
        :3
    ]:
        train = design.fits.train[outer.fit]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=CS[chosen], max_iter=1000, tol=1e-6))
        expected = model.fit(x[train], y[train]).score(x[outer.test], y[outer.test])
        pairs.append((scorer.score(predicted, outer.test), expected))
    ours, expected = np.mean(pairs, axis=0)
    assert 0.2 < expected < 0.9, "neither hopeless nor trivial"
    assert ours == pytest.approx(expected, abs=0.003)
