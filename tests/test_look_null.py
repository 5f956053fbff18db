"""Labels that no layer carries: how often a difference is claimed."""

from typing import Any

import numpy as np
import pytest

from layerwise.look.probe import probe
from planted import noise, states_of

RUNS = 40


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [False, True])
def test_differences_are_claimed_at_most_once_in_twenty(fixed: bool) -> None:
    claims = 0
    for run in range(RUNS):
        y = np.random.default_rng(1000 + run).integers(0, 2, 150).astype(str)
        columns: dict[str, Any] = {"y": y, "part": ["train"] * 80 + ["dev"] * 20 + ["test"] * 50}
        states = states_of(noise(150, 5, 4, seed=run), columns)
        split = "part" if fixed else None
        found = probe(states, "classify", "y", mixes=["mean(1:)"], quick=True, split=split, seed=run)
        claims += found.advice.differs
    assert claims <= RUNS / 20, f"{claims} of {RUNS} runs claim a difference that isn't there"
