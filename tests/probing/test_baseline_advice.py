"""What the advice says of the baselines, on corpora in which the answer is planted."""

import numpy as np
import pytest
from probes import probe

from layerwise.array_types import F64
from layerwise.probing.comparison import lead
from layerwise.probing.influence import Influence
from layerwise.wording import Message
from planted import noise, states_of


def test_layers_that_beat_both_baselines() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    layers = noise(300, 8, 4)
    layers[2][:, 0] += 20 * y
    advice = probe(states_of(layers, {"y": y.astype(str)}), "classify", "y", mixes=[], quick=True).advice
    assert (advice.recommended, advice.needs_model) == (True, True)
    assert advice.messages[0].startswith("The layers add to the baselines: the best, 2, scores accuracy ")
    assert advice.messages[1].startswith("Take 2: ")


def test_bag_of_words_that_beats_every_candidate() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 300)
    layers = noise(300, 8, 4)
    layers[2][:, 0] += 8 * y  # one standard deviation
    texts = [f"text {number} {'good' if label else 'bad'}" for number, label in enumerate(y)]
    states = states_of(layers, {"y": y.astype(str)}, texts)
    result = probe(states, "classify", "y", mixes=[], quick=True)
    assert result.baselines["bag_of_words"].score > 0.95
    assert result["2"].score < 0.8
    assert result.advice.recommended, "layer 2 beats the majority"
    assert not result.advice.needs_model
    assert result.advice.messages[0].startswith("No candidate beats a bag of words: it scores accuracy ")
    assert f"the best candidate, 2 ({result['2'].score:.2f}), by" in result.advice.messages[0]
    assert result.advice.messages[1].startswith("If you need the model's vectors, take 2: ")


def test_layers_without_the_label_recommend_nothing() -> None:
    """As on a corpus of acceptability: 72% of one class, and scores of the layers about that."""
    y = np.random.default_rng(2).permutation(np.arange(400) < 288)
    states = states_of(noise(400, 8, 4), {"y": y.astype(str)})
    result = probe(states, "classify", "y", mixes=["mean(1:)"], quick=True)
    assert result.baselines["majority"].score == pytest.approx(0.72)
    assert not result.advice.recommended
    assert (
        "No candidate is shown to beat the majority class: its accuracy is 0.72," in result.advice.messages[0]
    )
    assert "Take" not in result.advice.text
    assert result.to_json()["advice"]["recommended"] is False


def test_numbers_are_compared_with_their_mean() -> None:
    y = np.random.default_rng(3).normal(size=200)
    result = probe(states_of(noise(200, 8, 3), {"y": y}), "regress", "y", mixes=[], quick=True)
    assert "No candidate is shown to beat the mean: its R² is" in result.advice.messages[0]


def test_an_imbalance_is_told() -> None:
    y = np.where(np.random.default_rng(4).permutation(1000) < 990, "often", "seldom")
    result = probe(states_of(noise(1000, 6, 3), {"y": y}), "classify", "y", mixes=[], quick=True)
    assert "The classes are imbalanced: 'often' 99.0%, 'seldom' 1.0% of the rows." in result.notes
    assert not result.advice.recommended
    imbalance = result.advice.messages[1]
    assert imbalance == (
        "99.0% of the rows have the class 'often', so accuracy says little about the others; metric='macro_f1' counts every "
        "class alike."
    )
    assert isinstance(imbalance, Message)
    assert "99.0% 的行属于类别 'often'" in imbalance.in_language("zh")
    even = np.where(np.arange(200) % 3 == 0, "a", "b")
    result = probe(states_of(noise(200, 6, 2), {"y": even}), "classify", "y", mixes=[], quick=True)
    assert not any("imbalanced" in note for note in result.notes)


def _scored(right: F64, rng: np.random.Generator) -> Influence:
    """The influence values of candidates on rows (C, n) that are right or not, with fixed training sets."""
    scores = right.mean(axis=1)
    retrained = np.zeros((len(right), 0, right.shape[1]), np.float32)
    values = (right - scores[:, None]) / right.shape[1]
    return Influence(scores, values, retrained, rng.permutation(right.shape[1]))


def test_the_lead_of_one_of_equals_is_claimed_in_at_most_5_percent_of_cases() -> None:
    """Ten candidates as good as the baseline, rows in pairs: with no allowance for the choice, more than a tenth would lead."""
    rng = np.random.default_rng(5)
    claims = naive = 0
    for _ in range(400):
        right = (rng.random((11, 300)) < 0.7).astype(np.float64)
        result = lead(_scored(right, rng), range(10), 10)
        claims += result.low > 0
        best = int(right[:10].mean(axis=1).argmax())
        gaps = right[best] - right[10]
        naive += bool(gaps.mean() > 1.96 * gaps.std() / 300**0.5)
    assert claims <= 400 * 0.05 + 2 * (400 * 0.05 * 0.95) ** 0.5, f"{claims} of 400"
    assert naive > 40, "the test would tell if the choice weren't allowed for"


def test_the_lead_of_a_single_candidate_is_a_paired_t_interval() -> None:
    rng = np.random.default_rng(6)
    right = (rng.random((2, 2000)) < np.array([[0.8], [0.7]])).astype(np.float64)
    result = lead(_scored(right, rng), [0], 1)
    gaps = right[0] - right[1]
    half = 1.96 * gaps.std() / 2000**0.5
    assert result.difference == pytest.approx(gaps.mean())
    assert result.low == pytest.approx(gaps.mean() - half, abs=0.03 * half)
    assert result.high == pytest.approx(gaps.mean() + half, abs=0.03 * half)
    same = lead(_scored(right[[0, 0]], rng), [0], 1)
    assert same.difference == 0
    assert same.high == -same.low == pytest.approx(1.96**2 / 2000, rel=0.01), (
        "rows that agree don't show that all would"
    )
