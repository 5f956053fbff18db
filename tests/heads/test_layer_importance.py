"""What is shown of a learned mix: planted layers, brute force, and scikit-learn's scores."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, r2_score

from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.heads import learned_mix
from layerwise.heads.gradient import fit
from layerwise.heads.head import Fitted, apply
from layerwise.heads.layer_importance import explain, logit_shares
from layerwise.heads.learned_mix import LearnedMix, likeness, ranges
from layerwise.heads.loop_tasks import LoopOptions, LoopTask

ROWS, WIDTH, LAYERS = 400, 8, 6
NAMES = ("emb", "1", "2", "3", "4", "5")
GROUPS = np.arange(ROWS) // 2
HELD_OUT = np.arange(ROWS) >= 280
ALL, NOBODY = np.ones(ROWS, bool), np.zeros(ROWS, bool)
rng = np.random.default_rng


def layers(seed: int = 0) -> F32:
    return rng(seed).normal(size=(LAYERS, ROWS, WIDTH)).astype(np.float32)


def planted(x: F32) -> LoopTask:
    """Layer 3 alone carries the label."""
    y = x[3] @ rng(1).normal(size=WIDTH) + 0.3 * rng(2).normal(size=ROWS) > 0
    return LoopTask("t", "classify", x, y.astype(np.int64), 2, ALL, learned=True)


def looked_at(task: LoopTask, **more: Any) -> LearnedMix:
    options = LoopOptions()
    (fitted,) = fit([task], HELD_OUT, options)
    return explain(NAMES, task, fitted, HELD_OUT, GROUPS, options, **{"draws": 10, **more})


def head(weights: list[float], weight: Any, scale: float = 1.0) -> Fitted:
    weight = np.asarray(weight, np.float32)
    bias = np.zeros(weight.shape[1], np.float32)
    return Fitted(np.asarray(weights, np.float32), scale, None, weight, bias, 1, float("nan"))


# ---- planted layers


def test_the_layer_that_carries_the_label_has_it_all() -> None:
    task = planted(layers())
    (optimum,) = fit([task], NOBODY, LoopOptions())
    assert optimum.mix_weights[3] > 0.99
    result = looked_at(task)
    assert result.weights[3].value > 0.85  # the loop stops before the optimum, when held-out rows say so
    assert result.logit_variance[3].value == pytest.approx(1, abs=0.05)
    for place, (weight, share, left) in enumerate(
        zip(result.weights, result.logit_variance, result.left_out, strict=True)
    ):
        assert None not in (weight.low, weight.high, share.low, share.high)
        assert weight.low is not None
        assert weight.high is not None
        assert weight.low <= weight.high
        assert left.low <= left.value <= left.high
        low, high = left.difference.low, left.difference.high
        assert low is not None
        assert high is not None
        assert (low > 0.1) if place == 3 else (low <= 0 <= high)
    assert result.score is not None
    assert result.score > 0.75
    assert result.left_out[3].value < 0.62  # half by chance


def test_equal_copies_share_the_weight_and_neither_is_missed() -> None:
    x = layers()
    x[5] = x[3]
    result = looked_at(planted(x))
    for place in (3, 5):
        assert result.weights[place].value == pytest.approx(0.5, abs=0.05)
        assert result.logit_variance[place].value == pytest.approx(0.5, abs=0.05)
        assert abs(result.left_out[place].difference.value) < 0.03
    assert result.alike == ("3", "5")
    assert result.likeness == pytest.approx(1, abs=1e-5)


def test_turned_copies_have_weights_that_the_draw_decides() -> None:
    x = layers()
    turn = np.linalg.qr(rng(4).normal(size=(WIDTH, WIDTH)))[0]
    x[5] = x[3] @ turn.astype(np.float32)
    result = looked_at(planted(x), draws=20)
    assert result.weights[3].value + result.weights[5].value > 0.9
    for place in (3, 5):
        low, high = result.weights[place].low, result.weights[place].high
        assert low is not None
        assert high is not None
        assert high - low > 0.5
        assert abs(result.left_out[place].difference.value) < 0.03
    assert result.alike == ("3", "5")
    assert "share weight" in result.caution
    assert "The most similar layers are 3 and 5 (CKA 1.00)" in result.caution


# ---- shares of logit variance


@pytest.mark.parametrize("softmax", [False, True])
def test_shares_are_covariances_over_the_variance(softmax: bool) -> None:
    x, weights = layers(), [0.4, 0.1, 0.1, 0.2, 0.1, 0.1]
    weight, counts = rng(3).normal(size=(WIDTH, 3)), rng(4).integers(0, 3, ROWS)
    parts = np.stack(
        [s * 1.7 * layer.astype(np.float64) @ weight for s, layer in zip(weights, x, strict=True)]
    )
    if softmax:
        parts -= parts.mean(axis=2, keepdims=True)
    total, expected = parts.sum(axis=0), np.zeros(LAYERS)
    for layer in range(LAYERS):
        expected[layer] = sum(
            np.cov(parts[layer, :, k], total[:, k], fweights=counts, ddof=0)[0, 1] for k in range(3)
        )
    expected /= sum(np.cov(total[:, k], fweights=counts, ddof=0) for k in range(3))
    result = logit_shares(head(weights, weight, 1.7), x, counts.astype(float), softmax=softmax)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert result.sum() == pytest.approx(1)


def test_a_layer_that_works_against_the_others_has_a_negative_share() -> None:
    x = layers()[:2]
    x[1] = -x[0] / 2
    result = logit_shares(head([0.5, 0.5], np.ones((WIDTH, 1))), x, np.ones(ROWS), softmax=False)
    np.testing.assert_allclose(result, [2, -1], atol=1e-5)


def test_what_all_classes_share_is_no_share_of_a_softmax() -> None:
    same = np.ones((WIDTH, 3))
    assert not logit_shares(head([0.5, 0.5], same), layers()[:2], np.ones(ROWS), softmax=True).any()


@pytest.mark.slow
def test_a_hidden_layer_has_shares_of_what_it_takes_in() -> None:
    task = replace(planted(layers()), hidden=8)
    result = looked_at(task, draws=2)
    shares = [share.value for share in result.logit_variance]
    assert sum(shares) == pytest.approx(1)
    assert max(shares) == shares[3] > 0.5


# ---- scores without a layer


@pytest.mark.parametrize("kind", ["classify", "multilabel", "regress"])
def test_scores_are_those_of_refitted_heads_by_scikit_learn(kind: str) -> None:
    x, noise = layers(), rng(6)
    raw = x[3] @ noise.normal(size=(WIDTH, 3)) + x[1] @ noise.normal(size=(WIDTH, 3))
    cases: dict[str, tuple[Any, int, Callable[[Any, Any], float]]] = {
        "classify": (raw.argmax(1), 3, lambda y, z: accuracy_score(y, z.argmax(1))),
        "multilabel": ((raw > 0.5).astype(np.float32), 3, lambda y, z: f1_score(y, z > 0, average="micro")),
        "regress": (raw[:, 0].astype(np.float32) * 9 + 100, 1, lambda y, z: r2_score(y, z[:, 0])),
    }
    target, outputs, measure = cases[kind]
    mask = rng(7).random(ROWS) < 0.9
    task = LoopTask("t", kind, x, target, outputs, mask, learned=True)
    options = LoopOptions(l2=0.1)
    (fitted,) = fit([task], HELD_OUT, options)
    result = explain(NAMES, task, fitted, HELD_OUT, GROUPS, options, draws=0)
    train, test = mask & ~HELD_OUT, mask & HELD_OUT
    options = replace(options, epochs=max(1, fitted.epochs))
    for layer in (None, *range(LAYERS)):
        kept = [place for place in range(LAYERS) if place != layer]
        (refitted,) = fit([replace(task, x=x[kept], row_mask=train)], NOBODY, options)
        score = measure(target[test], apply(refitted, x[kept][:, test]))
        if layer is None:
            assert result.score == pytest.approx(score, abs=1e-6)
        else:
            assert result.left_out[layer].value == pytest.approx(score, abs=1e-6)
            assert result.left_out[layer].difference.value == pytest.approx(
                (result.score or 0) - score, abs=1e-6
            )


def test_without_rows_held_out_there_are_no_scores() -> None:
    task = planted(layers())
    (fitted,) = fit([task], NOBODY, LoopOptions())
    result = explain(NAMES, task, fitted, NOBODY, GROUPS, LoopOptions(), draws=0)
    assert result.score is None
    assert result.left_out == ()
    assert result.weights[3].low is None
    assert result.to_json()["left_out"] == {}


# ---- resampling


def test_a_draw_has_as_many_groups_and_all_rows_of_each() -> None:
    groups = rng(1).permutation(np.arange(60) // 3)
    counts = [learned_mix.redraw(groups, rng(seed)) for seed in range(200)]
    for group in range(20):
        drawn = np.stack([count[groups == group] for count in counts])
        assert (drawn == drawn[:, :1]).all()
        assert drawn.mean() == pytest.approx(1, abs=0.3)  # four standard errors
    assert {int(count.sum()) for count in counts} == {60}


def test_whole_groups_are_drawn() -> None:
    # With a single group every draw is the same rows, and every interval a point.
    task = planted(layers())
    (fitted,) = fit([task], NOBODY, LoopOptions())
    result = explain(NAMES, task, fitted, HELD_OUT, np.zeros(ROWS, np.int64), LoopOptions(), draws=3)
    for item in (*result.weights, *result.logit_variance):
        assert item.low == pytest.approx(item.high or 0, abs=1e-4)  # two descents to one place
    for left in result.left_out:
        assert left.low == left.high == left.value


def test_the_interval_of_a_score_covers_as_a_binomial_one_does() -> None:
    task = planted(layers())
    result = explain(
        NAMES,
        task,
        fit([task], HELD_OUT, LoopOptions())[0],
        HELD_OUT,
        np.arange(ROWS),
        LoopOptions(),
        draws=0,
    )
    for left in result.left_out:
        wide = 2 * 1.96 * np.sqrt(left.value * (1 - left.value) / HELD_OUT.sum())
        assert left.high - left.low == pytest.approx(wide, rel=0.2)


def test_the_same_seed_shows_the_same() -> None:
    task = planted(layers())
    first, second, other = (looked_at(task, draws=3, seed=seed).to_json() for seed in (1, 1, 2))
    assert first == second
    assert first["weights"] != other["weights"]


# ---- likeness of layers


def test_likeness_is_the_unbiased_estimate_by_its_formula() -> None:
    x = layers()[:3, :30]
    x[1] += x[0]

    def hsic(k: NDArray[Any], m: NDArray[Any]) -> float:
        n, ones = len(k), np.ones(len(k))
        inner = np.trace(k @ m) + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return float(inner - 2 / (n - 2) * ones @ k @ m @ ones) / (n * (n - 3))

    grams = [layer.astype(np.float64) @ layer.T for layer in x]
    for gram in grams:
        np.fill_diagonal(gram, 0)
    expected = [[hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b)) for b in grams] for a in grams]
    np.testing.assert_allclose(likeness(x), expected, atol=1e-5)


def test_likeness_does_not_see_turns_scales_or_means_and_unrelated_layers_have_none() -> None:
    x = layers()[:3]
    turn = np.linalg.qr(rng(4).normal(size=(WIDTH, WIDTH)))[0]
    x[1] = 3 * x[0] @ turn + 5
    result = likeness(x)
    assert result[0, 1] == pytest.approx(1, abs=1e-4)
    assert abs(result[0, 2]) < 0.05
    np.testing.assert_allclose(result, result.T)


def test_a_constant_layer_resembles_none() -> None:
    x = layers()[:2]
    x[1] = 0
    np.testing.assert_allclose(likeness(x), [[1, 0], [0, 0]], atol=1e-5)


# ---- what it is for machines, and what is refused


def test_json_holds_what_there_is_by_layer() -> None:
    result = looked_at(planted(layers()), draws=2)
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    for name in ("weights", "logit_variance", "left_out"):
        assert tuple(values[name]) == NAMES
        assert {"value", "low", "high"} <= set(values[name]["3"])
    assert set(values["left_out"]["3"]["difference"]) == {"value", "low", "high"}
    assert values["weights"]["3"]["value"] == result.weights[3].value
    assert values["caution"] == result.caution
    assert values["metric"] == "accuracy"
    assert values["score"] == result.score


def test_what_is_no_learned_mix_or_does_not_fit_is_refused() -> None:
    task, options = planted(layers()), LoopOptions(epochs=1)
    (fitted,) = fit([task], HELD_OUT, options)
    with pytest.raises(RequestError, match="has no learned mix of several layers; give"):
        explain(NAMES[:1], replace(task, x=task.x[:1]), fitted, HELD_OUT, GROUPS, options)
    with pytest.raises(RequestError, match=r"2 names, a mask of 400, groups of 400 don't fit"):
        explain(NAMES[:2], task, fitted, HELD_OUT, GROUPS, options)
    with pytest.raises(RequestError, match="draws=-1 is out of range"):
        explain(NAMES, task, fitted, HELD_OUT, GROUPS, options, draws=-1)
    with pytest.raises(RequestError, match="no row to train on"):
        explain(NAMES, task, fitted, ALL, GROUPS, options)


def test_an_interval_holds_its_own_value() -> None:
    drawn = [np.array([0.97 + n / 1000, 0.02]) for n in range(20)]
    outside, inside = ranges(np.array([0.94, 0.02]), drawn)
    assert (outside.low, outside.value) == (0.94, 0.94)
    assert outside.high == pytest.approx(0.9885, abs=1e-3)
    assert (inside.low, inside.value, inside.high) == (0.02, 0.02, 0.02)
