"""The probe on planted data: it must find what is there, and say so when nothing is."""

import itertools
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from probes import probe
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from layerwise.cli.main import main
from layerwise.heads.solve import CS
from layerwise.probing.candidates import candidates
from layerwise.probing.control import control_labels
from layerwise.probing.design import CodeBlock, DesignBuilder, crossed, online_blocks
from layerwise.probing.extras import chosen_predictions, inner_choices
from layerwise.probing.online_codes import block_bits, code_bits
from layerwise.probing.problem import gather
from layerwise.probing.run import ProbeRun
from planted import noise, states_of, words_of


def test_one_layer_that_carries_the_label_is_found() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    layers = noise(300, 8, 5)
    layers[3][:, 0] += 150 * y
    result = probe(states_of(layers, {"y": y.astype(str)}), "classify", "y", quick=True)
    assert result.advice.best == "3"
    assert result["3"].score > 0.9
    assert result.advice.differs
    assert result["1"].p_vs_best is not None
    assert result["1"].p_vs_best < 0.05
    assert result["learned(all)"].score > 0.9, "the learned mix finds layer 3"
    weights = result.to_json()["learned"]["weights"]
    assert max(weights, key=lambda name: weights[name]["value"]) == "3", "and weighs it most"
    assert result.advice.cheapest == "3"
    assert abs(result.baselines["majority"].score - 0.5) < 0.1
    assert result["3"].codelength is not None
    assert result["1"].codelength is not None
    assert result["3"].codelength["compression"] > 1.5 > 1.1 > result["1"].codelength["compression"]
    assert result["3"].selectivity is None, "there is no control task at text level"


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_what_the_learned_mix_weighs_is_shown(task: str) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    layers = noise(300, 8, 4)
    layers[2][:, 0] += 20 * y
    result = probe(states_of(layers, {"y": y.astype(str)}), task, "y", mixes=["learned(all)"])
    learned = result.to_json()["learned"]
    assert learned["mix"] == "learned(all)"
    assert learned["weights"]["2"]["low"] > 0.5, "the weight, over resampled texts, is layer 2's"
    assert learned["logit_variance"]["2"]["value"] > 0.8
    assert learned["left_out"]["2"]["difference"]["low"] > 0.2, "nothing can stand in for layer 2"
    assert abs(learned["left_out"]["1"]["difference"]["value"]) < 0.05
    assert "share weight" in learned["caution"]
    folds = result["learned(all)"].folds[:5]
    assert learned["score"] == pytest.approx(np.mean(folds), abs=0.01), "on the folds of the first repeat"
    plain = probe(states_of(layers, {"y": y.astype(str)}), task, "y", mixes=[], quick=True)
    assert plain.learned is None


def test_where_no_layer_carries_it_nothing_is_said_to_differ() -> None:
    y = np.random.default_rng(5).integers(0, 2, 200)
    result = probe(states_of(noise(200, 6, 3), {"y": y.astype(str)}), "classify", "y", mixes=["mean(1:)"])
    assert not result.advice.differs
    assert "No candidate is shown to beat the majority class" in result.advice.text


def test_halves_in_two_layers_need_both() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, (2, 400))
    layers = noise(400, 6, 4)
    layers[1][:, 0] += 30 * a
    layers[3][:, 0] += 60 * b
    result = probe(states_of(layers, {"y": (2 * a + b).astype(str)}), "classify", "y", quick=True)
    assert result.advice.best == "concat(-4:)", "all four layers, under the name that came first"
    assert result["concat(-4:)"].score > result["1"].score + 0.2


def test_scores_are_those_of_a_grid_search_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 240)
    layers = noise(240, 10, 2)
    layers[1][:, :3] += 4 * np.eye(3)[y]
    result = probe(states_of(layers, {"y": y.astype(str)}), "classify", "y", mixes=[], quick=True)
    build = DesignBuilder(np.arange(240), y, 3, spread=True)
    design = crossed(build, 1, 5, 0, [])
    for fold, outer in enumerate(design.outers):
        train = design.fits.train[outer.fit]
        rows = np.flatnonzero(train)
        cut = [
            (np.flatnonzero(~np.isin(rows, held_out)), np.flatnonzero(np.isin(rows, held_out)))
            for _, held_out in outer.inner
        ]
        grid = {"logisticregression__C": list(CS)}
        search = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000, tol=1e-7)), grid, cv=cut
        )
        expected = search.fit(layers[1][rows], y[rows]).score(layers[1][outer.test], y[outer.test])
        # One row of 48 may fall on the other side of a boundary.
        assert abs(result["1"].folds[fold] - expected) <= 1 / 48 + 1e-9


def test_baselines_are_a_pipeline_of_scikit_learn_and_the_commonest_class() -> None:
    rng = np.random.default_rng(4)
    y = rng.choice(3, 200, p=[0.6, 0.3, 0.1])
    vocabulary = [f"w{number}" for number in range(60)]
    texts = [" ".join([*rng.choice(vocabulary, 8), *rng.choice(vocabulary[4 * k : 4 * k + 4], 2)]) for k in y]
    result = probe(
        states_of(noise(200, 4, 1), {"y": y.astype(str)}, texts), "classify", "y", mixes=[], quick=True
    )
    design = crossed(DesignBuilder(np.arange(200), y, 3, spread=True), 1, 5, 0, [])
    bag, common = [], []
    for outer in design.outers:
        rows = np.flatnonzero(design.fits.train[outer.fit])
        cut = [(np.flatnonzero(~np.isin(rows, h)), np.flatnonzero(np.isin(rows, h))) for _, h in outer.inner]
        steps = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000, tol=1e-6))
        search = GridSearchCV(steps, {"logisticregression__C": [0.1, 1, 10, 100]}, cv=cut)
        train = [texts[row] for row in rows]
        test = [texts[row] for row in outer.test]
        bag.append(search.fit(train, y[rows]).score(test, y[outer.test]))
        common.append(np.mean(y[outer.test] == np.bincount(y[rows]).argmax()))
    assert result.baselines["bag_of_words"].score == pytest.approx(np.mean(bag), abs=1e-9)
    assert result.baselines["majority"].score == pytest.approx(np.mean(common), abs=1e-9)
    assert np.mean(bag) > np.mean(common) + 0.1, "the words say the label"


def test_numbers() -> None:
    rng = np.random.default_rng(0)
    layers = noise(200, 6, 3)
    y = layers[2][:, 0] + rng.normal(size=200)
    result = probe(states_of(layers, {"y": [f"{v:.4f}" for v in y]}), "regress", "y", quick=True, mixes=[])
    assert result.metric == "r2"
    assert result.advice.best == "2"
    assert result["2"].score > 0.9
    assert result["2"].scores["spearman"] > 0.9
    assert result["2"].codelength is None


def test_tags_are_scored_by_spans_and_controlled_by_words() -> None:
    rng = np.random.default_rng(0)
    sentences = [[f"w{rng.integers(200)}" for _ in range(6)] for _ in range(120)]
    tags = [
        t for _ in sentences for t in ["O", "B-PER", "I-PER", "O", *rng.choice([["B-LOC", "O"], ["O", "O"]])]
    ]
    layers = noise(720, 8, 3)
    codes = {tag: n for n, tag in enumerate(sorted(set(tags)))}
    layers[2][:, : len(codes)] += 60 * np.eye(len(codes))[[codes[t] for t in tags]]
    result = probe(words_of(layers, sentences, {"ner": tags}), "tag", "ner", quick=True, mixes=[])
    assert result.metric == "span_f1"
    assert result.advice.best == "2"
    assert result["2"].score > 0.9 > 0.5 > result["1"].score
    assert result["2"].selectivity is not None
    assert result["2"].selectivity > 0.3


def test_a_text_with_an_untagged_word_is_left_out_as_a_whole() -> None:
    sentences = [[f"a{n}", "b", "c"] for n in range(30)]
    tags: list[str | None] = ["S-PER", "O", "O"] * 30
    tags[4] = None
    result = probe(words_of(noise(90, 4, 2), sentences, {"ner": tags}), "tag", "ner", quick=True, mixes=[])
    assert result.rows == 87
    assert "3 rows of texts with an untagged word were left out." in result.notes
    assert result.classes == ("B-PER", "O"), "any scheme goes in, IOB2 is inside"


def test_a_split_is_scored_once_on_test() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    layers = noise(300, 6, 3)
    layers[2][:, 0] += 20 * y
    part = ["train"] * 180 + ["dev"] * 50 + ["test"] * 70
    result = probe(
        states_of(layers, {"y": y.astype(str), "part": part}), "classify", "y", split="part", mixes=[]
    )
    assert len(result["2"].folds) == 1
    assert result.advice.best == "2"
    assert result["2"].low is not None
    assert result["2"].high is not None
    assert result["2"].low < result["2"].score <= result["2"].high
    assert result.chosen.score == pytest.approx(result["2"].score)
    assert "180 train, 50 dev, 70 test" in result.design


def test_with_a_split_dev_chooses_and_test_scores() -> None:
    """Layer 1 knows the labels of dev and few of test, layer 2 those of test and few of dev."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    misheard = np.where(rng.random(400) < 0.7, y, 1 - y)
    part = np.repeat(["train", "dev", "test"], [200, 100, 100])
    layers = noise(400, 6, 3)
    layers[1][:, 0] += 30 * np.where(part == "test", misheard, y)
    layers[2][:, 0] += 60 * np.where(part == "dev", misheard, y)
    states = states_of(layers, {"y": y.astype(str), "part": part})
    result = probe(states, "classify", "y", split="part", mixes=[])
    assert result.advice.best == "2"
    assert result["2"].score > 0.9 > 0.8 > result["1"].score
    assert result.chosen.score == result["1"].score, "chosen is what dev takes, whatever test says of it"


def test_chosen_is_in_each_fold_what_the_inner_folds_take() -> None:
    y = np.random.default_rng(0).integers(0, 2, 200)
    layers = noise(200, 6, 3)
    layers[1][:, 0] += 8 * y
    layers[2][:, 0] += 10 * y
    states = states_of(layers, {"y": y.astype(str)})
    problem = gather(states, "classify", "y", groups=None, split=None, folds=5, max_rows=200, seed=0)
    run = ProbeRun(states, problem, 2, 0)
    all_candidates = candidates(states, [])
    evaluations = [run.evaluate(candidate) for candidate in all_candidates]
    inner = np.array([scores.inner for scores in evaluations])
    taken = inner.argmax(axis=0)
    assert set(taken) == {1, 2}, "both are taken somewhere"
    chosen = run.folds(chosen_predictions(evaluations, inner_choices(evaluations)).predicted)
    folds = np.stack([run.folds(scores.predicted) for scores in evaluations])
    assert chosen.tolist() == folds[taken, np.arange(10)].tolist()
    assert chosen.mean() < folds.max(axis=0).mean(), "the rows that score don't choose"
    public = probe(states, "classify", "y", mixes=[], quick=True)
    assert public.chosen.score == pytest.approx(chosen[:5].mean())


def test_rare_classes_and_missing_labels_are_counted() -> None:
    y = ["a", "b"] * 30 + ["rare"] * 2 + [""] * 3
    result = probe(states_of(noise(65, 4, 2), {"y": y}), "classify", "y", quick=True, mixes=[])
    assert result.rows == 60
    assert any("3 rows without a label" in note for note in result.notes)
    assert any("'rare' (2)" in note for note in result.notes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 30, "needs at least two classes with enough texts, and has only 'a'"),
        ([""] * 30, "no row has a label in column 'y'"),
        (
            [str(n) for n in range(30)],
            "column 'y' has 30 classes for 30 rows.*for numbers use task='regress'",
        ),
        ([str(n // 2) for n in range(30)], r"and has none \(Classes with fewer texts than the 5 folds"),
    ],
)
def test_labels_that_answer_nothing_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(lw.RequestError, match=message):
        probe(states_of(noise(30, 4, 2), {"y": labels}), "classify", "y", quick=True)


def test_groups_too_few_to_cut_are_named_as_the_fault() -> None:
    columns = {"y": ["a", "b"] * 30, "team": ["x", "y", "z"] * 20}
    with pytest.raises(lw.RequestError, match="3 groups of texts can't be split into 5 folds.*groups stay"):
        probe(states_of(noise(60, 4, 1), columns), "classify", "y", groups="team")
    same = states_of(noise(60, 4, 1), columns, ["the same text"] * 60)
    with pytest.raises(lw.RequestError, match="1 groups of texts can't be split.*identical texts"):
        probe(same, "classify", "y")


@pytest.mark.parametrize("seed", [-1, 1.5, "x", 1 << 32])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(lw.RequestError, match="give a whole number from 0"):
        probe(states_of(noise(20, 4, 1), {"y": ["a", "b"] * 10}), "classify", "y", seed=seed)


def test_one_mix_may_be_a_string_and_another_name_is_told() -> None:
    states = states_of(noise(60, 4, 2), {"y": ["a", "b"] * 30})
    result = probe(states, "classify", "y", mixes="concat(0:2)", quick=True)
    assert [candidate.mix for candidate in result.candidates] == ["emb", "1", "concat(0:2)"]
    with pytest.raises(lw.RequestError, match="'7'; there are emb, 1, concat"):
        result["7"]


def test_an_online_code_by_hand() -> None:
    # Two classes, 4 labels in the first block at 1 bit each; then blocks at the C cheapest so far.
    table = np.array([[0, 0, 0.0], [5, 4, 3.0], [9, 7, 8.0], [2, 6, 1.0]])
    assert code_bits(table, 4.0) == 4 + 3 + 8 + 6, (
        "second block by the third C, then by sums 3, 4: 5+9, 4+7, 3+8"
    )
    logp = np.log(np.array([[0.5, 0.9], [0.5, 0.1]], np.float32))
    expected = -np.log2((3 * 0.9 + 0.5) / 4) - np.log2((3 * 0.5 + 0.5) / 4)
    assert block_bits(logp, np.array([0, 1]), CodeBlock(np.array([1, 0]), 0, 3)) == pytest.approx(
        expected, abs=1e-5
    )


def test_blocks_are_whole_groups_and_large_enough() -> None:
    groups = np.random.default_rng(0).integers(0, 500, 2000)
    blocks = online_blocks(groups, np.ones(2000, bool), 6, 0)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(2000))
    assert all(len(block) >= 16 for block in blocks)
    for a, b in itertools.pairwise(blocks):
        assert not set(groups[a]) & set(groups[b])
    assert len(blocks[-1]) > 900, "the last block is the second half"


def test_control_labels_go_by_word_type() -> None:
    words = ["a", "b", "a", "c"] * 100
    labels = control_labels(words, np.array([0, 1, 2, 1] * 100), 3, 0)
    assert all(len({labels[n] for n, w in enumerate(words) if w == word}) == 1 for word in "abc")


def test_control_labels_are_as_frequent_as_the_tasks_own_and_drawn_anew_per_seed() -> None:
    classes = np.repeat([0, 1, 2], [600, 300, 100])
    words = [f"w{number}" for number in range(1000)]
    drawn = [control_labels(words, classes, 3, seed) for seed in range(3)]
    for labels in drawn:
        # Three standard errors of a share of 1,000 types are at most 0.047.
        np.testing.assert_allclose(np.bincount(labels) / 1000, [0.6, 0.3, 0.1], atol=0.05)
        assert 0.4 < np.mean(labels == classes) < 0.52, "a type's own class says nothing of it: 0.46"
    assert (control_labels(words, classes, 3, 0) == drawn[0]).all()
    for a, b in itertools.combinations(drawn, 2):
        assert (a != b).mean() > 0.4, "another seed, other labels"


def test_selectivity_is_the_tasks_score_less_that_of_scikit_learn_on_the_control_task() -> None:
    rng = np.random.default_rng(6)
    kinds = rng.integers(0, 40, (80, 5))
    sentences = [[f"w{kind}" for kind in row] for row in kinds]
    y, words = kinds.reshape(-1) % 3, [word for sentence in sentences for word in sentence]
    layers = noise(400, 12, 2)
    layers[1][:, :3] += 5 * np.eye(3)[y]
    layers[1][:, 3:] += 8 * rng.normal(size=(40, 9))[kinds.reshape(-1)]
    states = words_of(layers, sentences, {"pos": y.astype(str)})
    result = probe(states, "classify", "pos", mixes=[], quick=True)["1"]
    problem = gather(states, "classify", "pos", groups=None, split=None, folds=5, max_rows=400, seed=0)
    labels = control_labels(words, y, 3, 0)
    design = crossed(DesignBuilder(problem.groups, y, 3, spread=True), 1, 5, 0, [])
    expected = []
    for outer, C in zip(design.outers, result.C or (), strict=True):
        train = design.fits.train[outer.fit]
        steps = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=5000, tol=1e-7))
        model = steps.fit(layers[1][train], labels[train])
        expected.append(model.score(layers[1][outer.test], labels[outer.test]))
    assert result.control is not None
    assert result.control == pytest.approx(np.mean(expected), abs=1 / 400), "with the Cs of the task"
    assert result.control > np.bincount(labels).max() / 400 + 0.05, "words are remembered"
    assert result.selectivity == pytest.approx(result.score - result.control)


def test_the_command_writes_its_files(
    tmp_path: Path,
    encoder_of: Callable[[str], Any],
    model_folder: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "reviews.csv"
    lines = [
        f"{'good fine' if n % 2 else 'bad poor'} thing number {n},{'pos' if n % 2 else 'neg'}"
        for n in range(60)
    ]
    source.write_text("text,label\n" + "\n".join(lines) + "\n")
    lw.extract(source, tmp_path / "d", model=encoder_of("bert"))
    out = tmp_path / "probe"
    command = [
        "probe",
        str(tmp_path / "d"),
        "--task",
        "classify",
        "--label",
        "label",
        "--quick",
        "--out",
        str(out),
    ]
    assert main([*command, "--mix", "mean:1:", "--mix", "learned:all"]) == 0
    captured = capsys.readouterr()
    shown = captured.out
    assert "bag of words" in shown
    notes = [line for line in captured.err.splitlines() if "usually tells candidates apart" in line]
    assert len(notes) == 1, "the note that progress told isn't printed again"
    when, _, command_named = shown.splitlines()[-1].partition(": layerwise ")
    assert when == "next, if you need the model's vectors", "a bag of words is as good"
    advised = command_named.replace("HEAD", str(tmp_path / "head"))
    assert main(shlex.split(advised)) == 0, "the command that is named next works"
    assert "as probe " in capsys.readouterr().err
    result = json.loads((out / "probe.json").read_text(encoding="utf-8"))
    assert [candidate["mix"] for candidate in result["candidates"]] == [
        *("emb", "1", "2", "3", "mean(1:)", "learned(all)")
    ]
    for name in ("task", "label", "metric", "rows", "chosen", "baselines", "advice"):
        assert name in result
    assert (result["advice"]["recommended"], result["advice"]["needs_model"]) == (True, False)
    assert {"probe.md", "probe.svg", "probe.png", "weights.svg", "weights.png"} <= {
        path.name for path in out.iterdir()
    }
    assert main(command) == 2
    assert "already exists; give a new name" in capsys.readouterr().err
    command[-1] = str(tmp_path / "chinese")
    assert main([*command, "--mix", "mean:1:", "--lang", "zh"]) == 0
    assert "能区分" in capsys.readouterr().err, "notes before the work are in the language of the results"
    command[-1] = str(tmp_path / "other")
    assert main([*command, "--mix", "mean(9:)"]) == 2
    assert "layer 9 doesn't exist" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("mix", [None, "learned(all)", "mean(all; norm=layer)"])
@pytest.mark.parametrize("task", ["classify", "regress"])
@pytest.mark.parametrize("largest", [3e38, 1e38])
def test_numbers_that_cannot_be_standardised_are_refused(largest: float, task: str, mix: str | None) -> None:
    layers = [np.random.default_rng(n).random((40, 4), np.float32) for n in range(3)]
    layers[1] *= np.float32(largest)
    states = states_of(layers, {"y": [n % 2 for n in range(40)]})
    with pytest.raises(lw.RequestError, match="numbers so large that mixing or standardising them exceeds"):
        probe(states, task, "y", mixes=[mix] if mix else [], quick=True)


def test_large_numbers_that_can_be_standardised_change_nothing() -> None:
    layers = [np.random.default_rng(n).standard_normal((40, 4)).astype(np.float32) for n in range(3)]
    large = [layers[0], layers[1] * np.float32(2.0**99), layers[2]]
    results = [
        probe(states_of(some, {"y": [n % 2 for n in range(40)]}), "classify", "y", mixes=[], quick=True)
        for some in (layers, large)
    ]
    first, second = ([c.score for c in result.candidates] for result in results)
    assert first == second


def test_labels_beyond_float32_are_refused() -> None:
    states = states_of(noise(40, 4, 2), {"y": [1e300 * (n % 5) for n in range(40)]})
    with pytest.raises(lw.RequestError, match=r"holds 1e\+300, which is beyond float32 \(3.4e\+38\)"):
        probe(states, "regress", "y", mixes=[], quick=True)
    large = states_of(noise(40, 4, 2), {"y": [3e38 * (n % 2) for n in range(40)]})
    assert np.isfinite(probe(large, "regress", "y", mixes=[], quick=True).candidates[0].score)
