"""Who trains and who is scored: no group on both sides, and codes that know the past alone."""

import numpy as np
import pytest
from numpy.typing import NDArray
from probes import probe

from layerwise.probing.candidates import candidates
from layerwise.probing.design import Design, DesignBuilder, crossed
from layerwise.probing.problem import ProbeProblem, gather
from layerwise.probing.run import ProbeRun
from layerwise.probing.stats import paired_bootstrap
from layerwise.states import LayerStates
from planted import noise, states_of, words_of


def gathered(states: LayerStates, groups: str | None = None, split: str | None = None) -> ProbeProblem:
    return gather(states, "classify", "y", groups=groups, split=split, folds=5, max_rows=10_000, seed=0)


def of_teams(rows: int = 200) -> tuple[LayerStates, NDArray[np.int64]]:
    """Texts by 25 teams, some of which say the same, and the team of each."""
    rng = np.random.default_rng(0)
    team = rng.integers(0, 25, rows)
    y = rng.integers(0, 2, rows).astype(str)
    return states_of(noise(rows, 4, 2), {"y": y, "team": team.astype(str)}), team


def of_sentences() -> tuple[LayerStates, NDArray[np.int64]]:
    """Words of sentences of which each stands there twice, and the number of what each word's sentence says."""
    rng = np.random.default_rng(0)
    texts = [[f"w{number}", *map(str, rng.integers(0, 9, rng.integers(1, 6)))] for number in range(40)]
    which = rng.permutation(np.repeat(np.arange(40), 2))
    sentences = [texts[number] for number in which]
    number = np.repeat(which, [len(words) for words in sentences])
    y = rng.integers(0, 2, len(number)).astype(str)
    return words_of(noise(len(number), 4, 2), sentences, {"y": y}), number


def check_whole(design: Design, group: NDArray[np.int64]) -> None:
    """Check that no group is on both sides of any cut, and that what is held out is within its training set."""

    def apart(first: NDArray[np.int64], second: NDArray[np.int64], where: str) -> None:
        both = set(group[first]) & set(group[second])
        assert not both, f"groups {both} are on both sides of {where}"

    for number, outer in enumerate(design.outers):
        train = np.flatnonzero(design.fits.train[outer.fit])
        apart(train, outer.test, f"outer fold {number}")
        assert sorted([*train, *outer.test]) == list(range(len(group)))
        for fit, held_out in outer.inner:
            inner = np.flatnonzero(design.fits.train[fit])
            apart(inner, held_out, f"an inner fold of {number}")
            assert sorted([*inner, *held_out]) == train.tolist(), (
                "inner folds cut the outer training set alone"
            )
    for order in design.orders:
        for block in order[1:]:
            assert block.fit is not None
            apart(np.flatnonzero(design.fits.train[block.fit]), block.rows, "a block of a code")


def test_groups_are_never_cut() -> None:
    states, team = of_teams()
    design = ProbeRun(states, gathered(states, "team"), 2, 0).design
    assert len(design.outers) == 10
    check_whole(design, team)
    with pytest.raises(AssertionError, match="both sides of outer fold 0"):
        check_whole(ProbeRun(states, gathered(states), 1, 0).design, team)


def test_words_of_a_text_and_identical_texts_are_never_cut() -> None:
    states, number = of_sentences()
    check_whole(ProbeRun(states, gathered(states), 2, 0).design, number)


def test_a_test_set_is_drawn_by_groups() -> None:
    """Eight texts of each team, all right or all wrong: with teams drawn, scores are whole tenths."""
    team = np.arange(160) // 8
    y = np.arange(160) % 2
    part = np.where(team < 10, "train", "test")
    columns = {"y": y.astype(str), "team": team.astype(str), "part": part}
    states = states_of(noise(160, 4, 1), columns)
    run = ProbeRun(states, gathered(states, "team", "part"), 1, 0)
    test = run.design.outers[0].test
    guess = np.where(team[test] % 2 == 0, y[test], 1 - y[test])
    bootstrap = run.bootstrap([[guess]])
    assert bootstrap.scores[0] == 0.5
    np.testing.assert_allclose(bootstrap.samples * 10, np.round(bootstrap.samples * 10), atol=1e-9)
    sums = np.array([[[8.0 * (number % 2 == 0), 8.0] for number in range(10)]])
    expected = paired_bootstrap(sums, run.scorer.of_sums, len(bootstrap.samples), 0)
    np.testing.assert_array_equal(bootstrap.samples, expected.samples)
    by_row = ProbeRun(states, gathered(states, None, "part"), 1, 0).bootstrap([[guess]])
    assert bootstrap.high[0] - bootstrap.low[0] > 2 * (by_row.high[0] - by_row.low[0]), (
        "80 texts are 10 facts here"
    )


def test_a_code_knows_the_labels_before_a_block_and_no_others() -> None:
    y = np.random.default_rng(0).integers(0, 20, 1000)
    design = crossed(DesignBuilder(np.arange(1000), y, 20, spread=True), 1, 5, 0, [])
    assert len(design.orders) == 3
    for order in design.orders:
        assert order[0].fit is None
        assert len(order[0].rows) == 40, "2K rows come first"
        for index, block in enumerate(order[1:], 1):
            before = np.concatenate([earlier.rows for earlier in order[:index]])
            assert block.fit is not None
            assert np.flatnonzero(design.fits.train[block.fit]).tolist() == sorted(before)
            assert block.before == len(before)
        assert sorted(np.concatenate([block.rows for block in order])) == list(range(1000))
    firsts = {tuple(sorted(order[0].rows)) for order in design.orders}
    assert len(firsts) == 3, "each order is another"


def test_a_code_is_as_long_as_three_orders_on_average() -> None:
    y = np.random.default_rng(0).integers(0, 3, 240)
    layers = noise(240, 4, 1)
    layers[0][:, :3] += 2 * np.eye(3)[y]
    states = states_of(layers, {"y": y.astype(str)})
    run = ProbeRun(states, gathered(states), 1, 0)
    (candidate,) = candidates(states, [])
    bits = run.evaluate(candidate).bits
    assert len(set(bits)) == 3
    codelength = probe(states, "classify", "y", mixes=[])["emb"].codelength
    assert codelength is not None
    assert codelength["bits"] == pytest.approx(sum(bits) / 3)
    quick = probe(states, "classify", "y", mixes=[], quick=True)["emb"].codelength
    assert quick is not None
    assert quick["bits"] == pytest.approx(bits[0]), "one order suffices for a quick answer"
    assert codelength["bits_per_label"] == pytest.approx(sum(bits) / 3 / 240)
    assert codelength["compression"] == pytest.approx(240 * np.log2(3) / (sum(bits) / 3))
