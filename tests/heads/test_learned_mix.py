"""What the weights and the ablation of a learned mix are said to show, on numbers written down by hand."""

import numpy as np
import pytest

from layerwise.heads.learned_mix import (
    LearnedMix,
    LeftOut,
    Range,
    ablation_ends,
    by_layer,
    leading_layers,
    ranges,
)

ALONE = [0.9, 0.05, 0.05]


@pytest.mark.parametrize(
    ("fits", "leading"),
    [
        ([ALONE] * 20, [0]),
        ([ALONE] * 19 + [[0.05, 0.9, 0.05]], [0]),
        ([[0.6, 0.38, 0.02]] * 18 + [[0.38, 0.6, 0.02]] * 2, [0, 1]),
        ([ALONE] * 10 + [[0.05, 0.9, 0.05]] * 10, [0, 1, 2]),
        ([[0.45, 0.45, 0.1]] * 20, [0, 1]),
        ([[0.5, 0.3, 0.2]] * 20, [0]),
        ([[1 / 3, 1 / 3, 1 / 3]] * 20, [0, 1, 2]),
        ([[0.35, 0.33, 0.32]] * 20, [0, 1, 2]),
    ],
    ids=["one", "one in 95%", "two in 10%", "flipping", "two equal", "by a margin", "equal", "nearly equal"],
)
def test_layers_that_the_weights_put_first(fits: list[list[float]], leading: list[int]) -> None:
    weights = np.array(fits)
    assert leading_layers(weights) == leading
    turned = [2, 0, 1]
    assert leading_layers(weights[:, turned]) == sorted(turned.index(layer) for layer in leading)


def mix(losses: list[tuple[float, float, float]], fits: list[list[float]]) -> LearnedMix:
    """A mix of layers 1, 2, …: the loss without each with its ends, and the weights of the fit and its refits."""
    values, *refits = map(np.array, fits)
    names = tuple(str(n + 1) for n in range(len(values)))
    weights = ranges(values, refits)
    left_out = tuple(LeftOut(0.8 - loss[0], 0.7, 0.9, Range(*loss)) for loss in losses)
    return LearnedMix(
        names, left_out, weights, by_layer(refits), weights, "accuracy", 0.8, ("1", "2"), 0.9, len(refits)
    )


def test_layers_are_ranked_by_their_loss_and_needed_where_the_interval_is_above_0() -> None:
    result = mix([(0.0, -0.01, 0.01), (0.2, 0.1, 0.3), (0.05, 0.01, 0.1)], [ALONE] * 21)
    values = result.to_json()
    assert values["order"] == ["2", "3", "1"]
    assert values["needed"] == ["2", "3"]
    assert values["leading"] == ["1"]
    assert values["refits"]["1"] == (0.9,) * 20
    assert values["summary"] == [
        "Without layer 2 the accuracy falls by 0.20 (0.10 to 0.30).",
        "Without layer 3 the accuracy falls by 0.05 (0.01 to 0.10).",
        "For no other layer is the loss distinguished from 0.",
        "The weights single out layer 1: its weight is the greatest in at least 95% of the fit and its 20 refits on "
        "resampled texts.",
    ]
    keys = list(values)
    assert keys.index("left_out") < keys.index("weights"), "the ablation comes first"


def test_weights_that_mean_nothing_and_layers_that_replace_each_other_are_said() -> None:
    flipping = [[0.99, 0.005, 0.005], [0.005, 0.99, 0.005]] * 10 + [[0.99, 0.005, 0.005]]
    result = mix([(0.002, 0.0, 0.01), (0.0, 0.0, 0.0), (-0.01, -0.02, 0.01)], flipping)
    ablation, weights = result.summary
    assert result.needed == ()
    assert ablation.startswith(
        "No single layer is needed: for every layer the 95% interval of the loss of accuracy"
    )
    assert result.leading == ("1", "2", "3")
    assert weights.startswith(
        "The weights mean nothing here: over 20 refits on resampled texts no layer's weight"
    )
    two = mix([(0.1, 0.05, 0.2)] * 3, [[0.5, 0.5, 0.0]] * 21)
    assert not any("no other" in sentence for sentence in two.summary)
    assert (
        "single out no layer: over 20 refits on resampled texts those of layers 1, 2 aren't"
        in two.summary[-1]
    )


def test_without_refits_or_held_out_rows_nothing_is_claimed() -> None:
    result = mix([], [ALONE])
    assert (result.leading, result.order, result.needed, result.summary) == (None, (), (), ())
    assert result.to_json()["refits"] == {}


def test_intervals_for_all_layers_at_once_are_those_of_bonferroni() -> None:
    assert ablation_ends(1) == (0.025, 0.975)
    low, high = ablation_ends(5)
    assert (1 - high + low) * 5 == pytest.approx(0.05)
