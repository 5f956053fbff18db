"""What is compared: defaults that exist and differ; and mixes that are made anew for each training set."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from layerwise.array_types import F64
from layerwise.heads.mixing import halves
from layerwise.heads.solve import CS
from layerwise.probing.candidates import _PerFitSolver, candidates, fitter
from layerwise.probing.fits import Fits
from planted import noise, states_of


@pytest.mark.parametrize(
    ("blocks", "mixes"),
    [
        (0, []),
        (1, ["concat(all)", "learned(all)"]),
        (2, ["mean(1:)", "concat(all)", "learned(all)"]),
        (3, ["mean(1:)", "mean(-4:)", "concat(-4:)", "learned(all)"]),
        (4, ["mean(1:)", "concat(-4:)", "concat(all)", "learned(all)"]),
        (5, ["mean(1:)", "mean(-4:)", "concat(-4:)", "concat(all)", "learned(all)"]),
    ],
)
def test_defaults_that_do_not_exist_or_coincide_are_dropped(blocks: int, mixes: list[str]) -> None:
    states = states_of(noise(3, 2, blocks + 1), {})
    names = [candidate.name for candidate in candidates(states, None)]
    assert names == ["emb", *map(str, range(1, blocks + 1)), *mixes]


def test_mixes_of_the_users_own_appear_once() -> None:
    states = states_of(noise(3, 2, 3), {})
    mixes = ["mean(1:)", "sum(2,1)", "concat(2)", "mean(1:; norm=layer)", "concat(1,2)", "concat(1:)"]
    names = [candidate.name for candidate in candidates(states, mixes)]
    assert names == ["emb", "1", "2", "mean(1:)", "mean(1:; norm=layer)", "concat(1,2)"]


@pytest.mark.parametrize(
    ("mix", "name"),
    [
        ("mean:1:", "mean(1:)"),
        (" concat: -2:", "concat(-2:)"),
        ("mean:1:; norm=layer", "mean(1:; norm=layer)"),
        ("weighted:1,2; 0.5,0.25", "weighted(1,2; 0.5,0.25)"),
        ("mean(1:)", "mean(1:)"),
    ],
)
def test_a_name_has_brackets(mix: str, name: str) -> None:
    states = states_of(noise(3, 2, 3), {})
    assert [candidate.name for candidate in candidates(states, [mix])][3:] == [name]


ROWS = np.arange(240)


def standardised(layers: list[NDArray[np.float32]], train: NDArray[np.bool_]) -> list[F64]:
    return [StandardScaler().fit(x[train]).transform(x).astype(np.float64) for x in layers]


def largest(layers: list[NDArray[np.float32]], train: NDArray[np.bool_]) -> F64:
    return np.maximum(*standardised(layers[1:], train))


def of_pairs(layers: list[NDArray[np.float32]], train: NDArray[np.bool_]) -> F64:
    first, second = standardised(layers[1:], np.repeat(train, 2))
    return halves(((first + second) / 2).astype(np.float32)).astype(np.float64)


@pytest.mark.parametrize(
    ("mix", "rows", "mix_by_hand"),
    [
        ("max(1:; norm=layer)", ROWS, largest),
        ("mean(1:; norm=layer)", ROWS.reshape(-1, 2), of_pairs),
    ],
)
def test_layers_are_standardised_by_the_rows_that_train(
    mix: str, rows: NDArray[np.int64], mix_by_hand: Callable[..., F64]
) -> None:
    """The rows that don't train lie elsewhere, so that their statistics would be seen."""
    count = len(rows)
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, count)
    train = rng.random((2, count)) < 0.6
    train[:, -40:] = False
    layers = noise(240, 5, 3)
    layers[2][:, 0] += np.repeat(12 * y, 240 // count)
    for layer in layers:
        layer[rows[-40:].reshape(-1)] *= 3
    states = states_of(layers, {})
    candidate = candidates(states, [mix])[-1]
    fits = Fits(train, y[None], np.zeros(2, np.int64), 2, np.arange(2))
    solver = fitter(states, rows, candidate)
    assert isinstance(solver, _PerFitSolver)
    c_index = CS.index(0.1)
    scores = solver.at(fits, c_index)
    for number, trained in enumerate(train):
        x = mix_by_hand(layers, trained)
        x = StandardScaler().fit(x[trained]).transform(x)
        expected = (
            LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit(x[trained], y[trained]).predict_proba(x)
        )
        gap = np.abs(np.exp(scores.values[number].T) - expected).max()
        # With the statistics of all rows it is 0.05 for the one and 1 for the other.
        assert gap < 0.02, f"fit {number} is {gap} from scikit-learn's"
    path = {(int(item.fits[0]), item.c_index): item.values[0] for item in solver.path(fits, lambda _: False)}
    assert len(path) == 2 * len(CS)
    for number in range(2):
        # Both end within 1e-6 of the least loss, on different ways.
        gap = np.abs(np.exp(path[number, c_index]) - np.exp(scores.values[number])).max()
        assert gap < 0.005, f"fit {number} of the path is {gap} from the fit at one C"
