"""The choice of C: what an outer fit takes over from inner fits."""

import numpy as np
import pytest
from probes import probe

from layerwise.labels.scorers import ClassScorer
from layerwise.probing.choice import ChoiceOfC
from layerwise.probing.design import DesignBuilder, crossed
from layerwise.probing.fit_batch import FitBatch
from planted import noise, states_of


def test_an_outer_fit_starts_at_its_own_inner_fits_at_the_best_c() -> None:
    # Inner fits of other outer fits train on the rows that this one is tested on.
    labels = np.arange(60) % 2
    design = crossed(DesignBuilder(np.arange(60), labels, 2, spread=True), 2, 5, 0, [])
    choice = ChoiceOfC(design, ClassScorer(labels), 3)
    right = np.stack([labels == 0, labels == 1]).astype(np.float32)
    for c_index in (0, 1, 2):
        for fit in choice.fits:
            # The second C is right, and the last as right as it.
            values = right if c_index else right[::-1]
            choice.add(fit, c_index, values, np.array([fit, c_index], np.float32))
    for number, outer in enumerate(design.outers):
        start = [float(np.mean([fit for fit, _ in outer.inner])), 1.0]
        assert choice.start(number).tolist() == pytest.approx(start), f"outer fit {number}"
        assert not any(design.fits.train[fit][outer.test].any() for fit, _ in outer.inner)


def test_fits_that_stop_before_the_minimum_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(120) % 3
    layers = noise(120, 8, 2)
    layers[1][:, 0] += labels
    states = states_of(layers, {"label": [f"class {label}" for label in labels]})
    assert not [
        note for note in probe(states, "classify", "label", quick=True).notes if "evaluations" in note
    ]
    monkeypatch.setattr(FitBatch, "rounds", (2,))
    told = [note for note in probe(states, "classify", "label", quick=True).notes if "evaluations" in note]
    assert any(note.startswith("1: 5 of 5 scored fits stopped") for note in told), told
