"""The gradient loop against scikit-learn, scipy and plain torch."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp
from sklearn.linear_model import LogisticRegression, Ridge

from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.heads import gradient, loop_tasks
from layerwise.heads.gradient import fit
from layerwise.heads.head import Fitted, apply
from layerwise.heads.loop_tasks import LoopOptions, LoopTask

ROWS, WIDTH = 300, 8
NOBODY = np.zeros(ROWS, bool)
ALL = np.ones(ROWS, bool)
rng = np.random.default_rng


def layers(count: int = 1, seed: int = 0, width: int = WIDTH) -> F32:
    return rng(seed).normal(size=(count, ROWS, width)).astype(np.float32)


def classes(x: F32, count: int = 3, seed: int = 1) -> NDArray[np.int64]:
    noise = rng(seed)
    scores = x @ noise.normal(size=(x.shape[1], count)) + noise.gumbel(size=(len(x), count))
    return np.asarray(scores.argmax(axis=1), np.int64)


def task(x: F32, target: NDArray[Any], outputs: int, kind: str = "classify", **more: Any) -> LoopTask:
    return LoopTask("t", kind, x, target, outputs, **{"row_mask": ALL, "learned": len(x) > 1, **more})


def planted(kind: str = "classify", **more: Any) -> LoopTask:
    x = layers(5)
    return task(x, classes(x[3] * 2), 3, kind, **more)


def same(one: Fitted, other: Fitted) -> bool:
    pairs = [
        (getattr(one, name), getattr(other, name)) for name in ("mix_weights", "weight", "bias", "scale")
    ]
    pairs += list(zip(one.hidden or (), other.hidden or (), strict=True))
    return all(np.array_equal(a, b) for a, b in pairs)


def cross_entropy(fitted: Fitted, x: F32, target: NDArray[np.int64]) -> float:
    return float(-log_softmax(apply(fitted, x).astype(np.float64), axis=1)[range(len(target)), target].mean())


# ---- linear heads are those of scikit-learn


def test_classes_are_fitted_as_scikit_learn_does() -> None:
    x, l2 = layers(), 0.02
    y, mask = classes(x[0]), rng(2).random(ROWS) < 0.8
    weight = rng(3).uniform(0.5, 2, ROWS).astype(np.float32)
    unlabelled = np.where(mask, y, -1)
    (solution,) = fit([task(x, unlabelled, 3, row_mask=mask, weight=weight)], NOBODY, LoopOptions(l2=l2))
    reference = LogisticRegression(C=1 / (l2 * weight[mask].sum()), tol=1e-8, max_iter=1000)
    reference.fit(x[0, mask], y[mask], weight[mask])
    scores = apply(solution, x)
    # Both stop near the optimum: by 1e-3 of a logit.
    np.testing.assert_allclose(
        scores - scores.mean(1, keepdims=True), reference.decision_function(x[0]), atol=3e-3
    )

    def objective(scores: NDArray[Any], weights: NDArray[Any]) -> float:
        losses = logsumexp(scores, axis=1) - scores[range(ROWS), y]
        return float(np.average(losses[mask], weights=weight[mask]) + l2 / 2 * (weights**2).sum())

    least = objective(reference.decision_function(x[0]), reference.coef_)
    assert objective(scores.astype(np.float64), solution.weight) == pytest.approx(least, abs=1e-5)


def test_numbers_are_fitted_as_scikit_learn_does_in_their_own_unit() -> None:
    x = layers()
    y = (1000 + 50 * (x[0] @ rng(1).normal(size=WIDTH) + rng(2).normal(size=ROWS))).astype(np.float32)
    mask = rng(3).random(ROWS) < 0.7
    (solution,) = fit(
        [task(x, np.where(mask, y, np.nan), 1, "regress", row_mask=mask)], NOBODY, LoopOptions(l2=0.1)
    )
    reference = Ridge(alpha=0.1 * mask.sum()).fit(x[0, mask].astype(np.float64), y[mask])
    np.testing.assert_allclose(apply(solution, x)[:, 0], reference.predict(x[0]), atol=0.05)


def test_several_labels_are_as_many_regressions() -> None:
    x = layers()
    y = (x[0] @ rng(1).normal(size=(WIDTH, 4)) + rng(2).logistic(size=(ROWS, 4)) > 0.5).astype(np.float32)
    (solution,) = fit([task(x, y, 4, "multilabel")], NOBODY, LoopOptions(l2=0.05))
    for label in range(4):
        reference = LogisticRegression(C=1 / (0.05 * ROWS), tol=1e-8).fit(x[0], y[:, label])
        np.testing.assert_allclose(apply(solution, x)[:, label], reference.decision_function(x[0]), atol=3e-3)


def test_a_constant_number_is_predicted() -> None:
    (solution,) = fit([task(layers(), np.full(ROWS, 7, np.float32), 1, "regress")], NOBODY, LoopOptions())
    np.testing.assert_allclose(apply(solution, layers()), 7, atol=1e-5)


def test_biases_are_not_shrunk() -> None:
    y = (np.arange(ROWS) % 4 == 0).astype(np.int64)
    (solution,) = fit([task(layers(), y, 2)], NOBODY, LoopOptions(l2=1e4))
    assert np.abs(solution.weight).max() < 1e-3
    assert solution.bias[0] - solution.bias[1] == pytest.approx(np.log(3), abs=1e-2)


def test_wide_rows_reach_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    x = layers() * np.geomspace(0.1, 3, WIDTH, dtype=np.float32)
    one = task(x, classes(x[0]), 3)
    (usual,) = fit([one], NOBODY, LoopOptions())
    monkeypatch.setattr(gradient, "_MAX_EIGEN_WIDTH", 4)
    (wide,) = fit([one], NOBODY, LoopOptions())
    np.testing.assert_allclose(apply(wide, x), apply(usual, x), atol=1e-2)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = planted()
    (usual,) = fit([one], NOBODY, LoopOptions(epochs=5))
    monkeypatch.setattr("layerwise.heads.head._BLOCK", 1)
    (blocks,) = fit([one], NOBODY, LoopOptions(epochs=5))
    np.testing.assert_allclose(apply(blocks, one.x), apply(usual, one.x), atol=1e-4)


# ---- learned mixes


def test_a_learned_mix_is_as_good_as_what_scipy_finds() -> None:
    l2, one = 0.05, planted()
    (solution,) = fit([one], NOBODY, LoopOptions(l2=l2))

    def objective(parameters: NDArray[Any]) -> float:
        logits, weight, bias = np.split(parameters, [5, 5 + WIDTH * 3])
        mix = np.exp(log_softmax(logits))
        scores = np.tensordot(mix, one.x, 1) @ weight.reshape(WIDTH, 3) + bias
        losses = logsumexp(scores, axis=1) - scores[range(ROWS), one.target]
        return float(losses.mean() + l2 / 2 * (weight**2).sum())

    start = np.concatenate([np.zeros(5), rng(0).normal(size=WIDTH * 3) * 0.1, np.zeros(3)])
    reference = minimize(objective, start, method="L-BFGS-B", options={"maxfun": 100_000})
    result = np.concatenate(
        [np.log(solution.mix_weights), (solution.scale * solution.weight).ravel(), solution.bias]
    )
    assert objective(result) == pytest.approx(reference.fun, abs=1e-3)


@pytest.mark.parametrize("hidden", [None, 16])
@pytest.mark.parametrize("layer_dropout", [0.0, 0.3])
def test_the_layer_that_knows_is_found(hidden: int | None, layer_dropout: float) -> None:
    one, dev = planted(hidden=hidden), rng(5).random(ROWS) < 0.2
    options = LoopOptions(layer_dropout=layer_dropout, batch=32, learning_rate=1e-2, epochs=60)
    (result,) = fit([one], dev, options)
    assert result.mix_weights.sum() == pytest.approx(1, abs=1e-6)
    assert result.mix_weights[3] > 0.8
    assert (apply(result, one.x[:, dev]).argmax(1) == one.target[dev]).mean() > 0.6  # a third by chance


def test_where_all_layers_drop_out_one_is_kept() -> None:
    chance = torch.Generator().manual_seed(0)
    dropped = torch.stack([loop_tasks._dropped(4, 0.999, chance) for _ in range(200)])
    assert (dropped.sum(1) == 3).all()
    assert (~dropped).any(0).all()


def test_a_hidden_layer_learns_what_a_line_cannot_tell() -> None:
    x = layers(width=2)
    y = ((x[0] > 0).sum(axis=1) == 1).astype(np.int64)
    options = LoopOptions(learning_rate=1e-2, batch=64, epochs=150)
    line, curve = (fit([task(x, y, 2, hidden=hidden)], NOBODY, options)[0] for hidden in (None, 32))
    assert (apply(line, x).argmax(1) == y).mean() < 0.7
    assert (apply(curve, x).argmax(1) == y).mean() > 0.93


def test_weight_decay_shrinks_the_weights_of_hidden_heads_alone() -> None:
    free, shrunk = (
        fit([planted(hidden=8)], NOBODY, LoopOptions(epochs=40, learning_rate=1e-2, weight_decay=decay))[0]
        for decay in (0.0, 1.0)
    )
    assert free.hidden is not None
    assert shrunk.hidden is not None
    assert np.linalg.norm(shrunk.weight) < 0.9 * np.linalg.norm(free.weight)
    assert np.linalg.norm(shrunk.hidden[0]) < 0.9 * np.linalg.norm(free.hidden[0])
    assert shrunk.mix_weights[3] > 0.5


# ---- several tasks


def several() -> list[LoopTask]:
    x, fixed = layers(4), layers(1, seed=9)
    y = (x[2] @ rng(1).normal(size=(WIDTH, 3)) > 0).astype(np.float32)
    mask = rng(2).random(ROWS) < 0.4
    value = (x[1, :, 0] * 3 + 5).astype(np.float32)
    return [
        LoopTask("classes", "classify", x, classes(x[3]), 3, ALL, learned=True),
        LoopTask("labels", "multilabel", x, y, 3, mask, learned=True, hidden=8),
        LoopTask("number", "regress", fixed, np.where(mask, value, np.nan), 1, mask),
    ]


@pytest.mark.parametrize("layer_dropout", [0.0, 0.2])
def test_tasks_that_share_nothing_are_what_they_are_alone(layer_dropout: float) -> None:
    dev, options = rng(5).random(ROWS) < 0.2, LoopOptions(epochs=5, layer_dropout=layer_dropout)
    together = fit(several(), dev, options)
    alone = [fit([one], dev, options)[0] for one in several()]
    assert all(itertools.starmap(same, zip(together, alone, strict=True)))


def test_a_shared_layer_is_shared_and_serves_all() -> None:
    tasks, dev = several(), rng(5).random(ROWS) < 0.2
    result = fit(tasks, dev, LoopOptions(shared_hidden=16, learning_rate=1e-2, batch=32))
    shared = result[0].hidden
    assert shared is not None
    assert shared[0].shape == (WIDTH, 16)
    for one in result:
        assert one.hidden is not None
        assert np.array_equal(one.hidden[0], shared[0])
        assert one.weight.shape[0] == 16
        assert one.epochs == result[0].epochs
    right = apply(result[0], tasks[0].x[:, dev]).argmax(1) == tasks[0].target[dev]
    assert right.mean() > 0.5  # a third by chance


def test_sharing_a_layer_helps_a_task_with_few_labels() -> None:
    x = layers(1, width=40)
    hidden = np.tanh(x[0] @ rng(1).normal(size=(40, 2)) / 3)
    many = (3 * hidden @ rng(2).normal(size=(2, 5)) + rng(4).gumbel(size=(ROWS, 5))).argmax(1)
    few = (hidden @ np.array([1.0, -1.0]) > 0).astype(np.int64)
    labelled = np.arange(ROWS) < 25
    tasks = [task(x, few, 2, row_mask=labelled, hidden=8), task(x, many, 5)]
    options = LoopOptions(learning_rate=1e-2, batch=50, epochs=40)
    (alone,) = fit(tasks[:1], NOBODY, options)
    together = fit(tasks, NOBODY, replace(options, shared_hidden=8))[0]
    good = [(apply(one, x).argmax(1) == few)[~labelled].mean() for one in (alone, together)]
    assert good[1] > good[0]


def test_widths_that_differ_share_no_layer() -> None:
    x, wide = layers(), layers(width=5)
    tasks = [task(x, classes(x[0]), 3), task(wide, classes(wide[0]), 3)]
    with pytest.raises(RequestError, match="widths 5, 8 can't share a hidden layer; give all the same"):
        fit(tasks, NOBODY, LoopOptions(shared_hidden=4))


# ---- when to stop


@pytest.mark.parametrize("hidden", [None, 16])
def test_the_best_state_for_the_held_out_rows_is_kept(hidden: int | None) -> None:
    x = layers(3, width=30)
    y = classes(x[1], seed=3)
    dev = rng(5).random(ROWS) < 0.4
    options = LoopOptions(l2=1e-5, learning_rate=1e-2, patience=6, epochs=100, batch=40)
    one = task(x, y, 3, hidden=hidden)
    (kept,) = fit([one], dev, options)
    assert kept.dev_loss == pytest.approx(cross_entropy(kept, x[:, dev], y[dev]), abs=1e-5)
    # The training rows alone, for as many epochs, lead to the same state; no other number leads to a better.
    runs = {}
    for epochs in range(1, kept.epochs + 7):
        (run,) = fit([replace(one, row_mask=~dev)], NOBODY, replace(options, epochs=epochs))
        assert run.epochs == epochs
        runs[epochs] = cross_entropy(run, x[:, dev], y[dev])
        if epochs == kept.epochs:
            np.testing.assert_allclose(apply(run, x), apply(kept, x), atol=1e-3)
    assert min(runs, key=lambda epochs: runs[epochs]) == kept.epochs
    assert kept.epochs < 60


def test_without_held_out_rows_all_epochs_are_run() -> None:
    (result,) = fit([planted(hidden=4)], NOBODY, LoopOptions(epochs=7, patience=1))
    assert result.epochs == 7
    assert np.isnan(result.dev_loss)


def test_held_out_rows_are_not_trained_on() -> None:
    one, dev = planted(), rng(5).random(ROWS) < 0.3
    other = replace(one, target=np.where(dev, 0, one.target))
    for hidden in (None, 8):
        options = LoopOptions(epochs=1)
        pair = (fit([replace(t, hidden=hidden)], dev, options)[0] for t in (one, other))
        assert same(*pair)


# ---- chance, and what must not change


@pytest.mark.parametrize("hidden", [None, 8])
def test_the_same_seed_gives_the_same_head(hidden: int | None) -> None:
    one, dev = planted(hidden=hidden), rng(5).random(ROWS) < 0.2
    options = LoopOptions(epochs=5, layer_dropout=0.2)
    first, second, other = (fit([one], dev, replace(options, seed=seed))[0] for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


def test_threads_hardly_matter() -> None:
    heads = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        heads.append(
            [fit([planted(hidden=hidden)], NOBODY, LoopOptions(epochs=5))[0] for hidden in (None, 8)]
        )
    torch.set_num_threads(1)
    for one, two in zip(*heads, strict=True):
        np.testing.assert_allclose(apply(one, layers(5)), apply(two, layers(5)), atol=1e-3)


def test_nothing_global_and_no_input_is_changed() -> None:
    one = planted(hidden=8)
    x, target = one.x.copy(), one.target.copy()
    one.x.flags.writeable = one.target.flags.writeable = False
    torch.manual_seed(3)
    state = torch.get_rng_state().clone()
    settings = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
    fit([one, replace(one, hidden=None)], NOBODY, LoopOptions(epochs=2, layer_dropout=0.5))
    assert torch.equal(torch.get_rng_state(), state)
    assert settings == (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
    assert np.array_equal(one.x, x)
    assert np.array_equal(one.target, target)
    assert not one.x.flags.writeable


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_apply_is_the_forward_of_torch(activation: str) -> None:
    one = planted(hidden=8)
    (result,) = fit([one], NOBODY, LoopOptions(epochs=3, activation=activation))
    assert result.hidden is not None
    mixed = torch.einsum("l,lrw->rw", torch.tensor(result.mix_weights), torch.tensor(one.x)) * result.scale
    act = torch.nn.ReLU() if activation == "relu" else torch.nn.GELU()
    inner = act(mixed @ torch.tensor(result.hidden[0]) + torch.tensor(result.hidden[1]))
    expected = inner @ torch.tensor(result.weight) + torch.tensor(result.bias)
    scores = apply(result, one.x)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-5)


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "guess"}, "no kind is called 'guess'; there are classify"),
        ({"learned": False}, r"layers have shape \(5, 300, 8\); give \(layers, rows, width\), of one layer"),
        ({"target": np.zeros(3, np.int64)}, r"a target of shape \(3,\)"),
        ({"target": np.full(ROWS, 3)}, "classes go from 3 to 3; they must lie in 0 … 2"),
        ({"row_mask": NOBODY}, "no row to train on; hold out fewer rows"),
        ({"weight": np.zeros(ROWS, np.float32)}, "no row to train on has a weight"),
        ({"hidden": 0}, "a hidden layer can't have 0 units"),
    ],
)
def test_a_task_that_cannot_be_learned_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        fit([replace(planted(), **change)], NOBODY, LoopOptions())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs=0 is out of range; it must be at least 1"),
        ({"l2": -1.0}, "l2=-1.0 is out of range; it must be at least 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is out of range"),
        ({"layer_dropout": 1.0}, "layer_dropout=1.0 is out of range; it must be at least 0 and below 1"),
        ({"activation": "sine"}, "no activation is called 'sine'; there are gelu, relu"),
        ({"shared_hidden": 0}, "a shared hidden layer can't have 0 units"),
    ],
)
def test_options_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        fit([planted()], NOBODY, replace(LoopOptions(), **change))


def test_rows_that_do_not_fit_the_head_are_refused() -> None:
    (result,) = fit([planted()], NOBODY, LoopOptions(epochs=1))
    with pytest.raises(RequestError, match=r"don't fit a head for \(layers, width\) = \(5, 8\)"):
        apply(result, layers(4))
