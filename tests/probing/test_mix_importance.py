"""The learned mix of a probe on planted layers: the ablation and the weights say what was planted."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from probes import probe
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise.heads.solve import CS
from layerwise.probing.candidates import candidates
from layerwise.probing.design import DesignBuilder, crossed
from layerwise.probing.mix_importance import mix_importance
from layerwise.probing.problem import gather
from planted import noise, states_of

ROWS = 240


def labels(seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 2, ROWS)


def learned_of(layers: list[NDArray[Any]], y: NDArray[Any]) -> dict[str, Any]:
    result = probe(
        states_of(layers, {"y": y.astype(str)}), "classify", "y", mixes=["learned(all)"], quick=True
    )
    learned: dict[str, Any] = result.to_json()["learned"]
    folds = result["learned(all)"].folds
    assert learned["score"] == pytest.approx(np.mean(folds), abs=0.02), "on the rows of all folds"
    return learned


def test_a_layer_that_alone_has_the_signal_is_needed_and_singled_out() -> None:
    y = labels()
    layers = noise(ROWS, 8, 4)
    layers[2][:, 0] += 20 * y
    learned = learned_of(layers, y)
    assert learned["order"][0] == "2"
    assert learned["needed"] == ["2"]
    assert learned["leading"] == ["2"]
    assert len(learned["refits"]["2"]) == learned["draws"] == 20
    assert min(learned["refits"]["2"]) > 0.5
    assert learned["summary"][0].startswith("Without layer 2 the accuracy falls by 0.")
    assert "single out layer 2" in learned["summary"][-1]


def test_equal_layers_have_weights_that_mean_nothing_and_none_is_needed() -> None:
    y = labels()
    layer = noise(ROWS, 8, 1)[0]
    layer[:, 0] += 2 * y
    learned = learned_of([layer] * 4, y)
    assert learned["needed"] == []
    assert learned["leading"] == ["emb", "1", "2", "3"]
    assert "No single layer is needed" in learned["summary"][0]
    assert "mean nothing" in learned["summary"][1]


def test_a_layer_and_its_copy_are_not_distinguished() -> None:
    y = labels()
    layers = noise(ROWS, 8, 3)
    layers[1][:, 0] += 20 * y
    layers[2] = layers[1]
    learned = learned_of(layers, y)
    assert learned["needed"] == [], "either replaces the other"
    assert learned["leading"] == ["1", "2"]
    assert "those of layers 1, 2 aren't distinguished" in learned["summary"][1]


def test_scores_without_a_layer_are_those_of_scikit_learn_on_the_other() -> None:
    """Of two layers one is left: the mix without the other is the logistic regression on its standardised features."""
    y = labels(1)
    layers = noise(ROWS, 6, 2)
    layers[0][:, 0] += 1.5 * y
    states = states_of(layers, {"y": y.astype(str)})
    problem = gather(states, "classify", "y", groups=None, split=None, folds=5, max_rows=ROWS, seed=0)
    design = crossed(DesignBuilder(np.arange(ROWS), y, 2, spread=True), 2, 5, 0, [])
    mix = candidates(states, ["learned(all)"])[-1]
    c_index = CS.index(0.1)
    result = mix_importance(states, problem, design, mix, c_index, draws=0, seed=0)
    assert result is not None
    for left_out, rest in ((0, 1), (1, 0)):
        right = 0
        for outer in design.outers[:5]:
            train = design.fits.train[outer.fit].astype(bool)
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=CS[c_index], max_iter=5000, tol=1e-8)
            )
            model.fit(layers[rest][train], y[train])
            right += (model.predict(layers[rest][outer.test]) == y[outer.test]).sum()
        assert result.left_out[left_out].value == pytest.approx(right / ROWS, abs=1.5 / ROWS)
