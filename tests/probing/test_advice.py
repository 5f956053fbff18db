"""The advice in words: what may be said, and what is cheapest."""

import numpy as np
import pytest

from layerwise.mixes import parse_mix
from layerwise.probing.advice import advise
from layerwise.probing.candidates import Candidate
from layerwise.probing.comparison import CandidateComparison
from layerwise.probing.results import Advice
from layerwise.results import Estimate


def compared(scores: list[float], p: float, error: float = 0.01) -> CandidateComparison:
    """Candidates each of which has the p and the error of its difference from the best."""
    values = np.array(scores)
    best = int(values.argmax())
    gaps = values[best] - values
    ps = np.full(len(scores), p)
    ps[best] = 1
    spread = np.full(len(scores), error)
    return CandidateComparison(values, ps, spread, gaps - 5 * error, gaps + 5 * error)


def advised(
    comparison: CandidateComparison, mixes: list[str] | None = None, sizes: list[int] | None = None
) -> Advice:
    layers = ["emb", "1", "2", "3"]
    names = mixes or layers[: len(comparison.scores)]
    candidates = [Candidate(name, parse_mix(name, 3, layers), 3) for name in names]
    return advise(comparison, candidates, sizes or [8] * len(names), Estimate(0.7, 0.65, 0.75), "accuracy")


def test_advice_says_nothing_that_its_own_interval_contradicts() -> None:
    text = advised(compared([0.70, 0.73, 0.72], p=0.3)).text
    assert "difference is 0.030 (95%: −0.020 to 0.080)" in text, "five errors to both sides, not two"
    assert "allows for the choice of the best" in text
    assert "all have the same accuracy, 0.700" in advised(compared([0.7, 0.7], p=1)).text
    some = compared([0.70, 0.80, 0.75], p=0.3)
    some.p[0] = 0.01
    assert "it differs significantly from 1 of the others, but not from 2." in advised(some).text
    assert "There is one candidate" in advised(compared([0.7], p=1)).text


def test_the_cheapest_is_within_one_standard_error_of_the_best() -> None:
    error = "standard error"
    inside = advised(compared([0.7001, 0.71], p=0.3))
    assert (inside.best, inside.cheapest) == ("1", "emb"), "0.0099 is less than an error of 0.01"
    assert f"Cheapest within one {error} of it (a rule of thumb): emb, accuracy 0.700" in inside.text
    outside = advised(compared([0.6999, 0.71], p=0.3))
    assert (outside.best, outside.cheapest) == ("1", "1"), "0.0101 is more"
    assert f"No cheaper candidate lies within one {error} of it (a rule of thumb)." in outside.text


@pytest.mark.parametrize(
    ("mixes", "sizes", "cheapest", "saves"),
    [
        (["1", "3"], [8, 8], "1", "it needs 33% of a forward pass instead of 100%."),
        (["3", "concat(all)"], [8, 32], "3", "it needs 8 bytes per row instead of 32."),
        (
            ["2", "concat(all)"],
            [8, 1032],
            "2",
            "it needs 67% of a forward pass instead of 100% and 8 bytes per row instead of 1,032.",
        ),
        (["concat(1,2)", "3"], [16, 8], "concat(1,2)", "it needs 67% of a forward pass instead of 100%."),
        (["3", "2", "concat(1:)"], [8, 8, 24], "2", "it needs 67% of a forward pass instead of 100% and 8 b"),
    ],
)
def test_what_the_cheapest_saves_is_said(
    mixes: list[str], sizes: list[int], cheapest: str, saves: str
) -> None:
    scores = [0.705, 0.705, 0.71][-len(mixes) :]
    advice = advised(compared(scores, p=0.3), mixes, sizes)
    assert (advice.best, advice.cheapest) == (mixes[-1], cheapest)
    assert f"{cheapest}, accuracy 0.705, lower by 0.005 (95%: −0.045 to 0.055); {saves}" in advice.text


def test_the_score_of_a_choice_is_in_the_text() -> None:
    text = advised(compared([0.7, 0.8], p=0.01)).text
    expected = "A candidate that this procedure chooses scores accuracy 0.700 (95%: 0.650 to 0.750) on texts that weren't used"
    assert expected in text
    assert text.startswith("Best: 1, accuracy 0.800; it differs significantly from the other.")


def test_that_mean_and_sum_are_the_same_is_said_where_there_is_one() -> None:
    sentence = "(mean and sum of the same layers are the same here, as features are standardised.)"
    assert sentence in advised(compared([0.7, 0.8], p=1), ["3", "mean(1:)"]).text
    assert sentence in advised(compared([0.7, 0.8], p=1), ["3", "sum(1:)"]).text
    assert sentence not in advised(compared([0.7, 0.8], p=1), ["3", "concat(1:)"]).text
