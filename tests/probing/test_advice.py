"""The advice in words: what may be said, and what is cheapest."""

import numpy as np
import pytest

from layerwise.mixes import parse_mix
from layerwise.probing.advice import BaselineLeads, advise
from layerwise.probing.candidates import Candidate
from layerwise.probing.comparison import CandidateComparison, Lead
from layerwise.probing.results import Advice
from layerwise.results import Estimate
from layerwise.wording import Message


def compared(scores: list[float], p: float, error: float = 0.01) -> CandidateComparison:
    """Candidates each of which has the p and the error of its difference from the best."""
    values = np.array(scores)
    best = int(values.argmax())
    gaps = values[best] - values
    ps = np.full(len(scores), p)
    ps[best] = 1
    spread = np.full(len(scores), error)
    return CandidateComparison(values, ps, spread, gaps - 5 * error, gaps + 5 * error)


def over(baseline: float, score: float = 0.8, half: float = 0.05) -> Lead:
    """The lead of a score over a baseline."""
    return Lead(score, baseline, score - baseline, score - baseline - half, score - baseline + half)


BOTH = BaselineLeads(over(0.5), over(0.6), over(0.5, 0.6))


def advised(
    comparison: CandidateComparison,
    mixes: list[str] | None = None,
    sizes: list[int] | None = None,
    leads: BaselineLeads = BOTH,
    imbalance: Message | None = None,
) -> Advice:
    layers = ["emb", "1", "2", "3"]
    names = mixes or layers[: len(comparison.scores)]
    candidates = [Candidate(name, parse_mix(name, 3, layers), 3) for name in names]
    chosen, sizes = Estimate(0.7, 0.65, 0.75), sizes or [8] * len(names)
    return advise(comparison, candidates, sizes, chosen, leads, "accuracy", imbalance)


def test_as_good_is_said_where_the_interval_allows_it() -> None:
    """A cheaper candidate more than a standard error below the best, with an interval that ends at .02 or less."""
    sure = advised(compared([0.795, 0.799, 0.81], p=0.01, error=0.002))
    assert (sure.best, sure.cheapest) == ("2", "2"), "neither is within one standard error"
    assert "Take 2: of the candidates it has the highest accuracy" in sure.text
    assert "emb is as good, to within 0.02, as 2 (lower by 0.015 (95%: 0.005 to 0.025))" not in sure.text, (
        "its interval ends above .02"
    )
    assert "is as good, to within" not in sure.text
    closer = advised(compared([0.795, 0.805, 0.81], p=0.01, error=0.002))
    sentence = "1 is as good, to within 0.02, as 2 (lower by 0.005 (95%: −0.005 to 0.015)), and it needs"
    assert f"{sentence} 33% of a forward pass instead of 67%." in closer.text
    chinese = " ".join(message.in_language("zh") for message in closer.messages)
    assert "1 与 2 的差距不超过 0.02" in chinese
    both = advised(compared([0.80, 0.801, 0.81], p=0.3, error=0.0011))
    assert both.text.count("as good, to within") == 1, "the cheapest one, once"


def test_advice_says_nothing_that_its_own_interval_contradicts() -> None:
    text = advised(compared([0.70, 0.73, 0.72], p=0.3)).text
    assert "More rows may show a difference." in text
    assert "difference is 0.030 (95%: −0.020 to 0.080)" in text, "five errors to both sides, not two"
    assert "allows for the choice of the best" in text
    assert "all have the same accuracy, 0.700" in advised(compared([0.7, 0.7], p=1)).text
    some = compared([0.70, 0.80, 0.75], p=0.3)
    some.p[0] = 0.01
    assert "1 differs significantly from 1 of the other candidates, but not from 2." in advised(some).text
    assert "There is one candidate" in advised(compared([0.7], p=1)).text
    assert (
        "Take emb: it needs 0% of a forward pass and 8 bytes per row." in advised(compared([0.7], p=1)).text
    )


def test_the_cheapest_is_within_one_standard_error_of_the_best() -> None:
    error = "standard error"
    inside = advised(compared([0.7001, 0.71], p=0.3))
    assert (inside.best, inside.cheapest) == ("1", "emb"), "0.0099 is less than an error of 0.01"
    assert "or emb for the lowest cost: accuracy 0.700" in inside.text
    assert f"which is within one {error} (a rule of thumb)" in inside.text
    outside = advised(compared([0.6999, 0.71], p=0.3))
    assert (outside.best, outside.cheapest) == ("1", "1"), "0.0101 is more"
    assert f"no cheaper candidate lies within one {error} of it (a rule of thumb)." in outside.text


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
    gap = "lower by 0.005 (95%: −0.045 to 0.055), which is within one standard error (a rule of thumb)"
    assert f"or {cheapest} for the lowest cost: accuracy 0.705, {gap}; {saves}" in advice.text


def test_a_cheaper_candidate_is_as_good_only_where_the_interval_allows_a_small_loss() -> None:
    close = advised(compared([0.705, 0.71], p=0.3, error=0.0028), ["1", "3"])
    assert (close.best, close.cheapest) == ("3", "3"), "0.005 is more than one error"
    close = advised(compared([0.708, 0.71], p=0.3, error=0.0028), ["1", "3"])
    assert (
        "Take 1: it is as good, to within 0.02, as 3, which has the highest accuracy of the candidates (lower by 0.002 (95%: "
        "−0.012 to 0.016)), and it needs 33% of a forward pass instead of 100%." in close.text
    )
    wide = advised(compared([0.708, 0.71], p=0.3, error=0.004), ["1", "3"])
    assert "as good" not in wide.text, "the loss may be 0.022"


def test_the_score_of_a_choice_is_in_the_text() -> None:
    text = advised(compared([0.7, 0.8], p=0.01)).text
    expected = (
        "Choosing the candidate with the highest accuracy scores 0.700 (95%: 0.650 to 0.750) on texts that"
    )
    assert expected in text
    assert "1 differs significantly from the other candidate." in text


def test_the_first_sentence_says_whether_any_candidate_beats_the_baselines() -> None:
    comparison = compared([0.7, 0.8], p=0.01)
    both = advised(comparison)
    assert both.recommended
    assert both.messages[0] == (
        "The layers add to the baselines: the best, 1, scores accuracy 0.800, higher than the majority class by 0.300 (95%: "
        "0.250 to 0.350) and than a bag of words by 0.200 (95%: 0.150 to 0.250)."
    )
    assert both.messages[1].startswith("Take 1: ")
    alone = advised(comparison, leads=BaselineLeads(over(0.5), mean=True))
    assert (
        "higher than the mean by 0.300 (95%: 0.250 to 0.350). There is no bag of words" in alone.messages[0]
    )
    words = advised(comparison, leads=BaselineLeads(over(0.5), over(0.9), over(0.5, 0.9)))
    assert words.recommended
    assert words.messages[0].startswith(
        "No candidate beats a bag of words: it scores accuracy 0.900, significantly higher than the best candidate, 1 (0.800), "
        "by 0.100 (95%: 0.050 to 0.150). So take the bag of words, which needs no model. The best candidate does beat the "
        "majority class, by 0.300"
    )
    assert words.messages[1].startswith("If you need the model's vectors, take 1: ")
    level = advised(comparison, leads=BaselineLeads(over(0.5), over(0.82), over(0.5, 0.82)))
    assert level.messages[0].startswith(
        "No candidate beats a bag of words: it scores accuracy 0.820, higher than the best candidate, 1 (0.800), by 0.020 (95%: "
        "−0.030 to 0.070); this difference isn't significant."
    )
    unsure = advised(comparison, leads=BaselineLeads(over(0.5), over(0.79), over(0.5, 0.79)))
    assert unsure.messages[0].startswith(
        "No candidate is shown to beat a bag of words: the best, 1, scores accuracy 0.800, a bag of words 0.790, and the"
    )
    assert unsure.messages[1].startswith("If you need the model's vectors, take 1: ")


def test_where_nothing_beats_the_majority_no_mix_is_recommended() -> None:
    comparison = compared([0.7, 0.8], p=0.3)
    uneven = Message("advise.imbalance", share="77%", label="'a'", option="--metric macro_f1")
    leads = BaselineLeads(over(0.79), over(0.79), over(0.79, 0.79))
    advice = advised(comparison, leads=leads, imbalance=uneven)
    assert not advice.recommended
    assert advice.messages[0].startswith(
        "No candidate is shown to beat the majority class: its accuracy is 0.790"
    )
    assert advice.messages[0].endswith("so no layer or mix is recommended.")
    assert advice.messages[1] == uneven
    assert advice.messages[-1] == "More rows, or another metric, may show a difference."
    assert "Take" not in advice.text
    better = BaselineLeads(over(0.79), over(0.9), over(0.79, 0.9))
    assert (
        "A bag of words does beat the majority class: accuracy 0.900, higher by 0.110"
        in advised(comparison, leads=better).text
    )
    unknown = BaselineLeads(Lead(0.8, 0.5, 0.3, np.nan, np.nan))
    assert not advised(comparison, leads=unknown).recommended, "no interval, no claim"


def test_that_mean_and_sum_are_the_same_is_said_where_there_is_one() -> None:
    sentence = "(mean and sum of the same layers are the same here, as features are standardised.)"
    assert sentence in advised(compared([0.7, 0.8], p=1), ["3", "mean(1:)"]).text
    assert sentence in advised(compared([0.7, 0.8], p=1), ["3", "sum(1:)"]).text
    assert sentence not in advised(compared([0.7, 0.8], p=1), ["3", "concat(1:)"]).text
