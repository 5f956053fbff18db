"""Labels that no layer carries: how often a difference is claimed."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from probes import probe
from scipy.stats import ttest_rel

from layerwise.probing.results import ProbeResult
from planted import noise, states_of


def of_nothing(run: int, **how: Any) -> ProbeResult:
    """Five candidates, 150 texts, and labels by the toss of a coin."""
    y = np.random.default_rng(1000 + run).integers(0, 2, 150).astype(str)
    columns: dict[str, Any] = {"y": y, "part": ["train"] * 80 + ["dev"] * 20 + ["test"] * 50}
    states = states_of(noise(150, 5, 4, seed=run), columns)
    return probe(states, "classify", "y", mixes=["mean(1:)"], seed=run, **how)


def plain_t_claims(result: ProbeResult) -> bool:
    """Tell whether t tests that take the folds for independent, adjusted by Bonferroni, claim a difference."""
    pairs = list(combinations([candidate.folds for candidate in result.candidates], 2))
    return min(float(ttest_rel(a, b).pvalue) for a, b in pairs) * len(pairs) < 0.05


@pytest.mark.slow
def test_folds_claim_a_difference_at_most_once_in_twenty() -> None:
    runs = [of_nothing(run) for run in range(25)]
    assert {len(candidate.folds) for result in runs for candidate in result.candidates} == {25}, (
        "5 × 5 folds, the default"
    )
    claims = sum(result.advice.differs for result in runs)
    assert claims <= len(runs) / 20, f"{claims} of {len(runs)} runs claim a difference that isn't there"
    plain = sum(map(plain_t_claims, runs))
    assert plain >= 5, f"only {plain} runs would without the correction, so that these runs don't test it"


@pytest.mark.slow
def test_a_test_set_claims_a_difference_about_once_in_twenty() -> None:
    claims = sum(of_nothing(run, split="part").advice.differs for run in range(100))
    # The level is .05 itself, so 5 of 100 runs are expected to claim one, above 5 has a chance of .38, and
    # above 10 one of about 1 in 100. These seeds gave 4, and 200 of them 9.
    assert claims <= 10, f"{claims} of 100 runs claim a difference that isn't there"
