"""The coarse pass: what it rules out, and that the best is never among it."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from probes import probe
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import layerwise as lw
from layerwise.probing import coarse
from planted import states_of

CLASSES = 12


def planted(seed: int, signals: list[float], rows: int = 600) -> tuple[lw.LayerStates, NDArray[np.int64]]:
    """Layers of width 24 whose class means are `signals` standard deviations long."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % CLASSES)
    layers = [
        (rng.normal(size=(rows, 24)) + signal * rng.normal(size=(CLASSES, 24))[y]).astype(np.float32)
        for signal in signals
    ]
    return states_of(layers, {"y": [f"class {number}" for number in y]}), y


def everything_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse, "_COSTLY", 0.0)


def test_the_discriminant_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    states, y = planted(0, [0.4])
    x = states.layer("emb")
    train = np.arange(600) < 480
    monkeypatch.setattr(coarse, "_SHRINKAGE", (0.1,))
    held_out = np.flatnonzero(~train)
    hits = coarse.discriminant_hits(torch.from_numpy(x), y, [(train, held_out)], CLASSES)
    assert np.isnan(hits[train]).all()
    model = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Ridged()).fit(x[train], y[train])
    expected = model.predict(x[held_out]) == y[held_out]
    assert (hits[held_out] == expected).mean() > 0.99, "of 120 rows, one may lie on a border of float32"


class Ridged:
    """The shrunk covariance of the coarse pass, for scikit-learn, which calls it class by class."""

    def fit(self, x: NDArray[Any]) -> "Ridged":
        self.covariance_ = np.cov(x.T, bias=True)
        self.covariance_ += 0.1 * np.diag(self.covariance_).mean() * np.eye(x.shape[1])
        return self


@pytest.mark.parametrize("seed", range(3))
def test_the_best_is_never_ruled_out_and_layers_without_signal_are(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_pays(monkeypatch)
    states, _ = planted(seed, [0.0, 0.5, 0.45, 0.0])
    full = probe(states, "classify", "y", mixes=["concat(all)"], quick=True, seed=seed)
    monkeypatch.setattr(coarse, "_COSTLY", np.inf)
    exact = probe(states, "classify", "y", mixes=["concat(all)"], quick=True, seed=seed)
    dropped = {candidate.mix for candidate in full.candidates if candidate.dropped}
    assert {"emb", "3"} <= dropped
    assert exact.advice.best not in dropped
    assert full.advice.best == exact.advice.best
    assert [c.mix for c in full.candidates] == [c.mix for c in exact.candidates], "in the same order"
    for candidate in exact.candidates:
        if candidate.mix not in dropped:
            assert full[candidate.mix].folds == candidate.folds, "what is kept is fitted as without the pass"
    assert full["emb"].score == pytest.approx(exact["emb"].score, abs=0.05)
    assert full["emb"].p_vs_best is None
    assert any("ruled out" in note for note in full.notes)


def test_equal_candidates_are_kept() -> None:
    rng = np.random.default_rng(0)
    hits = (rng.random((13, 500)) < 0.6).astype(float)
    assert not coarse.ruled_out(hits, np.arange(500)).any()


def test_a_gap_of_few_groups_is_no_gap() -> None:
    """One group of 300 rows decides the difference: by rows it would be certain."""
    hits = np.zeros((2, 600))
    hits[0, :300] = 1
    assert coarse.ruled_out(hits, np.arange(600)).tolist() == [False, True]
    assert not coarse.ruled_out(hits, np.repeat([0, 1], 300)).any()


def test_a_small_problem_has_no_coarse_pass() -> None:
    states, _ = planted(0, [0.0, 0.5])
    result = probe(states, "classify", "y", mixes=[], quick=True)
    assert not any(candidate.dropped for candidate in result.candidates)


def test_the_codelength_can_be_left_out() -> None:
    states, _ = planted(0, [0.5])
    result = lw.probe(states, task="classify", label="y", mix=[], quick=True, no_codelength=True)
    assert result["emb"].codelength is None
    assert lw.probe(states, task="classify", label="y", mix=[], quick=True)["emb"].codelength is not None


def test_an_estimate_is_reported_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerwise.probing.duration._LEAST", 0.0)
    states, _ = planted(0, [0.5, 0.1])
    events: list[lw.Progress] = []
    lw.probe(states, task="classify", label="y", mix=[], quick=True, progress=events.append)
    notes = [event.note for event in events if event.note]
    (note,) = [note for note in notes if note.startswith("about ")]
    assert note.endswith("for 2 candidates, estimated from 15 fits of layer 1")
    stages = [event.stage for event in events]
    assert [bool(event.note) for event in events].index(True) < stages.index("candidate emb")
