"""The batched solver against scikit-learn, fit by fit."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from layerwise.heads.solve import CS
from layerwise.probing.batched_solver import Solver
from layerwise.probing.fits import Fits


def data(rows: int, width: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(rows, 8)) @ rng.normal(size=(8, width)) + rng.normal(size=(rows, width))) * 7 + 3
    y = (x[:, :classes] + 6 * rng.gumbel(size=(rows, classes))).argmax(axis=1)
    return x.astype(np.float32), y


@pytest.mark.parametrize(("rows", "width", "classes"), [(300, 20, 2), (300, 20, 5), (60, 90, 3)])
def test_every_fit_is_the_one_that_scikit_learn_finds(rows: int, width: int, classes: int) -> None:
    x, y = data(rows, width, classes)
    train = np.random.default_rng(1).random((4, rows)) < 0.7
    fits = Fits(train, y[None], np.zeros(4, np.int64), classes, np.arange(4))
    for scores in Solver(x).path(fits):
        for index, fit in enumerate(scores.fits):
            scaler = StandardScaler().fit(x[train[fit]])
            model = LogisticRegression(C=CS[scores.c_index], max_iter=5000, tol=1e-8)
            model.fit(scaler.transform(x[train[fit]]), y[train[fit]])
            expected = model.predict_proba(scaler.transform(x))
            # Our fits end within about 4e-6 of the least loss: twice its root, 0.002, in probability. Where
            # C is above 1 some directions are so flat that a single row may be further off.
            most = 0.01 if CS[scores.c_index] <= 1 else 0.03
            assert np.abs(np.exp(scores.values[index].T) - expected).max() < most
            assert np.abs(np.exp(scores.values[index].T) - expected).mean() < 0.002


@pytest.mark.parametrize("c_index", [3, 4])
def test_a_start_far_from_the_solution_leads_to_it_where_there_are_more_features_than_rows(
    c_index: int,
) -> None:
    # More rows than the 256 directions in which the preconditioner is exact, and a spectrum that goes on behind them.
    rng = np.random.default_rng(0)
    rows, width, classes = 420, 500, 4
    turned = (rng.normal(size=(rows, width)) * np.exp(-np.arange(width) / 120)) @ rng.normal(
        size=(width, width)
    )
    x: NDArray[np.float32] = turned.astype(np.float32)
    y = (x[:, :classes] / x[:, :classes].std() + rng.gumbel(size=(rows, classes)) / 2).argmax(axis=1)
    train = np.random.default_rng(1).random((3, rows)) < 0.9
    zeros = np.zeros(3, np.int64)
    fits = Fits(train, y[None], zeros, classes, zeros)
    solver = Solver(x)
    size = solver.at(fits, 0).parameters
    assert size is not None
    scores = solver.at(fits, c_index, start=np.zeros_like(size))
    for index in range(3):
        scaler = StandardScaler().fit(x[train[index]])
        model = LogisticRegression(C=CS[c_index], max_iter=5000, tol=1e-8)
        model.fit(scaler.transform(x[train[index]]), y[train[index]])
        expected = model.predict_log_proba(scaler.transform(x[train[index]]))
        theirs = -expected[np.arange(train[index].sum()), y[train[index]]].mean()
        ours = -scores.values[index][y, np.arange(rows)][train[index]].mean()
        assert abs(ours - theirs) < 0.02 * theirs + 2e-4, (
            f"fit {index}: loss {ours}, of scikit-learn {theirs}"
        )


def test_a_row_that_counts_twice_is_there_twice() -> None:
    x, y = data(200, 10, 3)
    times = np.random.default_rng(1).integers(0, 4, (3, 200))
    nothing = np.zeros(3, np.int64)
    scores = Solver(x).at(Fits(times, y[None], nothing, 3, nothing), CS.index(0.1))
    for fit in range(3):
        rows = np.repeat(np.arange(200), times[fit])
        scaler = StandardScaler().fit(x[rows])
        model = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit(scaler.transform(x[rows]), y[rows])
        expected = model.predict_proba(scaler.transform(x))
        gap = np.abs(np.exp(scores.values[fit].T) - expected).max()
        assert gap < 0.01, f"fit {fit} is {gap} from scikit-learn's on repeated rows"


def test_weights_of_a_learned_mix_make_its_logits() -> None:
    x, y = data(200, 12, 3)
    fits = Fits(np.ones((1, 200), bool), y[None], np.zeros(1, np.int64), 3, np.zeros(1, np.int64))
    solver = Solver(x, layers=3)
    scores = solver.at(fits, 3)
    assert scores.weights is not None
    logits = solver.features @ scores.weights[0].T
    # Log-probabilities are logits but for a number per row, and the biases, a number per class.
    rest = (scores.values[0].T - logits) - (scores.values[0].T - logits).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(rest, np.broadcast_to(rest[:1], rest.shape), atol=1e-3)


def test_numbers_are_ridge_regression() -> None:
    x, _ = data(300, 20, 2)
    target = (x[:, 0] - x[:, 3] + np.random.default_rng(2).normal(size=300) * 5).astype(np.float32)
    target = (target - target.mean()) / target.std()
    train = np.random.default_rng(1).random((3, 300)) < 0.7
    fits = Fits(train, target[None], np.zeros(3, np.int64), 1, np.arange(3))
    for scores in Solver(x).path(fits):
        for index, fit in enumerate(scores.fits):
            scaler = StandardScaler().fit(x[train[fit]])
            model = Ridge(alpha=1 / CS[scores.c_index]).fit(
                scaler.transform(x[train[fit]]), target[train[fit]]
            )
            assert np.allclose(scores.values[index, 0], model.predict(scaler.transform(x)), atol=0.01)


def test_a_learned_mix_finds_the_layer_that_knows() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    layers = [rng.normal(size=(400, 10)) * (1 + 9 * n) for n in range(4)]
    layers[2][:, 0] += 40 * y
    fits = Fits(np.ones((1, 400), bool), y[None], np.zeros(1, np.int64), 2, np.zeros(1, np.int64))
    *_, last = Solver(np.hstack(layers).astype(np.float32), layers=4).path(fits)
    assert last.mix is not None
    assert last.mix.sum() == pytest.approx(1, abs=1e-5)
    assert last.mix[0].argmax() == 2


def test_a_learned_mix_leaves_the_layer_that_strong_regularisation_prefers() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    sign = 2.0 * y - 1
    # Many columns that each carry the same weak signal, against one column that carries a strong one.
    redundant = 0.4 * sign[:, None] + rng.normal(size=(400, 1)) + 0.1 * rng.normal(size=(400, 60))
    informative = rng.normal(size=(400, 60))
    informative[:, 0] = 3 * sign + rng.normal(size=400)
    fits = Fits(np.ones((1, 400), bool), y[None], np.zeros(1, np.int64), 2, np.zeros(1, np.int64))
    mixes = [
        s.mix[0]
        for s in Solver(np.hstack([redundant, informative]).astype(np.float32), layers=2).path(fits)
        if s.mix is not None
    ]
    assert mixes[0][0] > 0.9, "where weights must be small, many numbers add up"
    assert mixes[-1][1] > 0.9, "else the layer that knows wins"


def test_a_fixed_mix_is_the_mix_of_layers_standardised_by_the_training_rows() -> None:
    x, y = data(300, 12, 2)
    train = np.random.default_rng(1).random((1, 300)) < 0.7
    fits = Fits(train, y[None], np.zeros(1, np.int64), 2, np.zeros(1, np.int64))
    scaled = StandardScaler().fit(x[train[0]]).transform(x)
    mixed = 0.3 * scaled[:, :6] + 0.7 * scaled[:, 6:]
    for scores in Solver(x, layers=2, mix=(0.3, 0.7)).path(fits):
        model = LogisticRegression(C=CS[scores.c_index], max_iter=5000, tol=1e-8)
        expected = model.fit(mixed[train[0]], y[train[0]]).predict_proba(mixed)
        assert np.abs(np.exp(scores.values[0].T) - expected).max() < 0.01


def test_a_constant_column_counts_for_nothing() -> None:
    x, y = data(200, 6, 2)
    fits = Fits(np.ones((1, 200), bool), y[None], np.zeros(1, np.int64), 2, np.zeros(1, np.int64))
    wide = np.hstack([x, np.full((200, 1), 5, np.float32)])
    for plain, more in zip(Solver(x).path(fits), Solver(wide).path(fits), strict=True):
        assert np.abs(np.exp(plain.values) - np.exp(more.values)).max() < 0.01


def test_a_path_ends_where_it_is_told_to_and_families_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(200, 6, 2)
    train = np.random.default_rng(1).random((6, 200)) < 0.7
    fits = Fits(train, y[None], np.zeros(6, np.int64), 2, np.array([0, 0, 0, 1, 1, 2]))
    whole = {
        (fit, s.c_index): s.values[index] for s in Solver(x).path(fits) for index, fit in enumerate(s.fits)
    }
    monkeypatch.setattr("layerwise.probing.batched_solver._MAX_SCORES", 4 * 200 * 2)  # room for four fits
    seen: list[tuple[int, list[int]]] = []

    def may_stop(family: int) -> bool:
        return family == 1 and seen[-1][0] == 2

    for scores in Solver(x).path(fits, may_stop):
        seen.append((scores.c_index, scores.fits.tolist()))
        for index, fit in enumerate(scores.fits):
            # Fits that are solved beside others end at the same place but for rounding.
            assert np.abs(np.exp(scores.values[index]) - np.exp(whole[fit, scores.c_index])).max() < 0.01
    assert [fits for C, fits in seen if C == 2] == [[0, 1, 2], [3, 4, 5]]
    assert [fits for C, fits in seen if C == 3] == [[0, 1, 2], [5]]
