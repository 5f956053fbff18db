"""How C is chosen, what is said beside the scores, and what is said of a head that gives one answer only."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import accuracy_score, f1_score, r2_score
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from conftest import SHARED
from layerwise.heads.fit import fit_heads
from layerwise.heads.held_out import Ranking, best, selection_metric
from layerwise.heads.solve import CS
from layerwise.labels.plan import SplitPlan, TaskSpec, make_plan
from layerwise.mixes import parse_mix
from layerwise.options import TrainOptions
from layerwise.states import LayerStates
from planted import noise, states_of, words_of

UNEVEN = (0.8, 0.05, 0.05, 0.05, 0.05)


def planted(rows: int, shares: Sequence[float], signal: float, seed: int = 0) -> tuple[Any, Any]:
    """Rows of classes whose means differ by little."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(len(shares), 60)) * signal
    classes = rng.choice(len(shares), rows, p=shares)
    return (rng.normal(size=(rows, 60)) + means[classes]).astype(np.float32), classes


def train(
    states: LayerStates, task: str = "classify", column: str = "y", mix: str = "1", **options: Any
) -> tuple[Any, dict[str, Any], list[str], SplitPlan]:
    plan = make_plan(states, [TaskSpec("y", task, column, parse_mix(mix, states.blocks))])
    heads, records, notes = fit_heads(states, plan, TrainOptions(**options))
    return heads[0], records["y"], notes, plan


def classes_of(x: NDArray[Any], y: Sequence[Any] | NDArray[Any]) -> LayerStates:
    return states_of([x, x], {"y": [str(label) for label in y]})


def by_scikit_learn(x: NDArray[Any], y: NDArray[Any], plan: SplitPlan, scoring: str, **options: Any) -> Any:
    """The score of each C on the rows held out, by LogisticRegressionCV."""
    fold = (np.flatnonzero(plan.train), np.flatnonzero(plan.held_out))
    scaled = StandardScaler().fit(x[plan.train].astype(np.float64)).transform(x.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the names of its attributes
        search = LogisticRegressionCV(Cs=CS, cv=[fold], scoring=scoring, max_iter=5000, tol=1e-6, **options)
        scores = search.fit(scaled, y).scores_
    values = next(iter(scores.values())) if isinstance(scores, Mapping) else scores
    return np.asarray(values).reshape(len(CS))


# --- the choice of C --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_even_classes_choose_C_by_likelihood(seed: int) -> None:
    x, y = planted(400, (0.25, 0.25, 0.25, 0.25), 0.15, seed)
    _, record, _, plan = train(classes_of(x, y))
    likelihoods = by_scikit_learn(x, y, plan, "neg_log_loss")
    assert record["chosen_by"] == "log_likelihood"
    assert record["C"] == CS[likelihoods.argmax()]


@pytest.mark.parametrize("balance", [None, "balanced"])
@pytest.mark.parametrize("seed", range(3))
def test_uneven_classes_choose_C_by_macro_f1(seed: int, balance: str | None) -> None:
    x, y = planted(500, UNEVEN, 0.2, seed)
    _, record, _, plan = train(classes_of(x, y), class_weight=balance)
    f1 = by_scikit_learn(x, y, plan, "f1_macro", class_weight=balance)
    assert record["chosen_by"] == "macro_f1"
    near = [C for C, score in zip(CS, f1, strict=True) if score >= 0.95 * f1.max()]
    if balance is None:
        likelihood = dict(zip(CS, by_scikit_learn(x, y, plan, "neg_log_loss"), strict=True))
        assert record["C"] == max(near, key=likelihood.__getitem__)
    assert record["C"] in near
    assert record["held_out"]["scores"]["macro_f1"] == pytest.approx(f1[CS.index(record["C"])], abs=0.02)


def test_macro_f1_finds_rare_classes_that_accuracy_misses() -> None:
    """Scores on 4,000 new rows, against the C that has the highest accuracy on the same held-out rows."""
    new_x, new_y = planted(4000, UNEVEN, 0.2, 1000)
    ours: list[float] = []
    by_accuracy: list[float] = []
    for seed in range(4):
        x, y = planted(500, UNEVEN, 0.2, seed)
        _, record, _, plan = train(classes_of(x, y))
        accuracies = by_scikit_learn(x, y, plan, "accuracy")
        scaler = StandardScaler().fit(x)
        for scores, C in ((ours, record["C"]), (by_accuracy, CS[accuracies.argmax()])):
            model = LogisticRegression(C=C, max_iter=5000).fit(scaler.transform(x), y)
            scores.append(f1_score(new_y, model.predict(scaler.transform(new_x)), average="macro"))
    assert np.mean(ours) > np.mean(by_accuracy) + 0.03


def test_even_and_uneven() -> None:
    def metric(counts: Sequence[int], **options: Any) -> str:
        y = np.repeat(np.arange(len(counts)), counts)
        states = classes_of(noise(len(y), 2, 1)[0], y)
        plan = make_plan(states, [TaskSpec("y", "classify", "y", parse_mix("1", 1))])
        return selection_metric(plan.targets[0], np.ones(len(y), bool), options.get("class_weight"))

    assert metric([50, 50]) == metric([40, 20]) == metric([20, 20, 20, 2]) == "log_likelihood"
    assert metric([41, 20]) == metric([60, 20, 20, 20]) == "macro_f1"
    assert metric([50, 50], class_weight="balanced") == "macro_f1"


def test_a_class_that_only_held_out_rows_have_does_not_choose_C() -> None:
    x, y = planted(200, (0.5, 0.5), 0.6)
    part = np.where(np.arange(200) % 4 == 0, "dev", "train")
    y[(part == "dev") & (np.arange(200) < 60)] = 2
    columns = {"y": [str(label) for label in y], "part": part.tolist()}
    states = states_of([x, x], columns)
    spec = TaskSpec("y", "classify", "y", parse_mix("1", 1))
    plan = make_plan(states, [spec], split="part")
    record = fit_heads(states, plan, TrainOptions())[1]["y"]
    known = y < 2
    fewer = states_of([x[known], x[known]], {name: np.array(v)[known] for name, v in columns.items()})
    expected = fit_heads(fewer, make_plan(fewer, [spec], split="part"), TrainOptions())[1]["y"]
    assert record["C"] == expected["C"] > CS[0]


def test_other_tasks_keep_their_metric() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 4)).astype(np.float32)
    tags = [[name for name, on in zip("ab", row[:2] > 0.5, strict=True) if on] for row in x]
    _, record, _, _ = train(states_of([x, x], {"y": tags}))
    assert record["chosen_by"] == "micro_f1"
    _, record, _, _ = train(states_of([x, x], {"y": x[:, 0].tolist()}), task="regress")
    assert record["chosen_by"] == "r2"
    _, record, _, _ = train(classes_of(x, x[:, 0] > 0), head_type="mlp", epochs=2)
    assert (record["chosen_by"], record["C"]) == ("loss", None)
    _, record, _, _ = train(classes_of(x[:2], ["a", "b"]))
    assert record["chosen_by"] is None


@pytest.mark.skipif(not (SHARED / "data/trec6").is_dir(), reason="needs shared/data")
@pytest.mark.parametrize(("column", "metric"), [("coarse", "log_likelihood"), ("fine", "macro_f1")])
def test_questions_choose_as_scikit_learn(column: str, metric: str) -> None:
    """TREC: six even classes, and 50 uneven ones, on features of their letters."""
    pd = pytest.importorskip("pandas")
    table = pd.read_csv(SHARED / "data/trec6/train.csv").drop_duplicates("text").head(900)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit_transform(table["text"])
    x = TruncatedSVD(40, random_state=0).fit_transform(letters).astype(np.float32)
    y = table[column].where(table.groupby(column)[column].transform("size") >= 10, "other").to_numpy(str)
    _, record, _, plan = train(classes_of(x, y))
    scores = by_scikit_learn(x, y, plan, {"log_likelihood": "neg_log_loss"}.get(metric, "f1_macro"))
    assert record["chosen_by"] == metric
    if metric == "log_likelihood":
        assert record["C"] == CS[scores.argmax()]
    else:
        assert scores[CS.index(record["C"])] >= 0.95 * scores.max()


# --- the majority -----------------------------------------------------------------------------------------


def test_majority_is_a_dummy_of_scikit_learn() -> None:
    x, y = planted(300, (0.3, 0.5, 0.2), 0.4)
    _, record, _, plan = train(classes_of(x, y))
    dummy = DummyClassifier().fit(x[plan.train], y[plan.train])
    gold, expected = y[plan.held_out], dummy.predict(x[plan.held_out])
    assert record["held_out"]["majority"] == pytest.approx(
        {"accuracy": accuracy_score(gold, expected), "macro_f1": f1_score(gold, expected, average="macro")}
    )
    values = y + np.random.default_rng(0).normal(size=300)
    _, record, _, plan = train(states_of([x, x], {"y": values.tolist()}), task="regress")
    mean = DummyRegressor().fit(x[plan.train], values[plan.train]).predict(x[plan.held_out])
    assert record["held_out"]["majority"]["r2"] == pytest.approx(r2_score(values[plan.held_out], mean))


def test_majority_of_a_test_part_is_of_all_rows_that_the_head_knows() -> None:
    x, _ = planted(100, (0.5, 0.5), 0.4)
    part = ["train"] * 50 + ["dev"] * 25 + ["test"] * 25
    y = ["a"] * 30 + ["b"] * 20 + ["b"] * 25 + ["a"] * 5 + ["b"] * 20
    states = states_of([x, x], {"y": y, "part": part})
    plan = make_plan(states, [TaskSpec("y", "classify", "y", parse_mix("1", 1))], split="part")
    record = fit_heads(states, plan, TrainOptions())[1]["y"]
    assert record["held_out"]["majority"]["accuracy"] == 0
    assert record["test"]["majority"]["accuracy"] == 0.2, "dev rows are never fitted"


# --- nearly one answer ------------------------------------------------------------------------------------


def test_a_head_that_gives_one_class_is_told() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    y = np.where(rng.random(300) < 0.9, "no", "yes")
    _, record, notes, plan = train(classes_of(x, y))
    rows = int(plan.held_out.sum())
    assert record["held_out"]["scores"]["accuracy"] == pytest.approx((y[plan.held_out] == "no").mean())
    (note,) = notes
    assert f"of {rows} held-out rows {rows} are predicted as 'no'" in note
    assert f"{int((y[plan.held_out] == 'no').sum())} are it" in note
    assert note.endswith("try class_weight='balanced', another mix, or more texts")
    _, _, notes, _ = train(classes_of(x, y), class_weight="balanced")
    assert not any("class_weight" in note for note in notes)


def test_a_head_that_finds_the_rare_class_is_not() -> None:
    rng = np.random.default_rng(6)
    y = np.where(rng.random(300) < 0.9, "no", "yes")
    x = rng.normal(size=(300, 5)).astype(np.float32)
    x[:, 0] += 5 * (y == "yes")
    assert train(classes_of(x, y))[2] == []


def test_nearly_the_mean_nearly_only_O_and_nearly_no_label() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    (note,) = train(states_of([x, x], {"y": rng.normal(size=400).tolist()}), task="regress")[2]
    assert "held-out rows nearly the mean is predicted" in note
    assert "class_weight" not in note
    rare = [["x"] if hit else ["y"][: int(other)] for hit, other in rng.random((400, 2)) < (0.05, 0.06)]
    (note,) = train(states_of([x, x], {"y": rare}))[2]
    assert "nearly none gets a label" in note
    assert "class_weight='balanced'" in note
    sentences = [["word"] * 5 for _ in range(80)]
    tags = ["B-X" if hit else "O" for hit in rng.random(400) < 0.1]
    (note,) = train(words_of([x, x], sentences, {"y": tags}), task="tag")[2]
    assert "are predicted as 'O'" in note


def test_train_prints_all_of_it(tmp_path: Any, capsys: pytest.CaptureFixture[str], encoder_of: Any) -> None:
    from layerwise.cli.main import main

    source = tmp_path / "rows.csv"
    rng = np.random.default_rng(0)
    rows = [f"{'abcdefgh'[rng.integers(8)]} {n},{'yes' if rng.random() < 0.1 else 'no'}" for n in range(200)]
    source.write_text("text,label\n" + "\n".join(rows) + "\n")
    folder = str(tmp_path / "rows.lw")
    lw.extract(source, folder, model=encoder_of("bert"), dtype="float32")
    command = ["train", folder, "--task", "classify", "--label", "label", "--mix", "2"]
    assert main([*command, "--out", str(tmp_path / "a.head")]) == 0
    shown = capsys.readouterr()
    assert "(chosen by macro-F1 on held-out rows)" in shown.out
    assert (
        "always the most frequent answer of the training rows: accuracy 0.8750  macro-F1 0.4667" in shown.out
    )
    assert "try --class-weight balanced, another --mix, or more texts" in shown.err
    assert lw.load_head(tmp_path / "a.head").training["tasks"]["label"]["chosen_by"] == "macro_f1"


def test_a_librarys_note_comes_once(encoder_of: Any, tmp_path: Any) -> None:
    """25 classes for 40 training rows: scikit-learn warns of that in every fit."""
    source = tmp_path / "rows.csv"
    part = ["train"] * 40 + ["dev"] * 10 + ["test"] * 10
    source.write_text("text,label,role\n" + "".join(f"text {n},c{n % 25},{part[n]}\n" for n in range(60)))
    dataset = lw.extract(source, tmp_path / "rows.lw", model=encoder_of("bert"), dtype="float32")
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("default")
        lw.train(dataset, task="classify", label="label", mix="2", split="role")
        lw.probe(dataset, task="classify", label="label", mix=[], split="role", quick=True)
    texts = [str(warning.message) for warning in record]
    assert len(texts) == len(set(texts)) <= 1


def test_where_macro_f1_is_the_same_for_all_values_c_is_that_of_scikit_learn() -> None:
    """The likeliest of them would be the one that predicts nothing but the largest class."""
    values = (0.01, 0.1, 1.0, 10.0)
    same = [Ranking(0.16, loss) for loss in (0.2, 0.3, 0.4, 0.5)]
    assert values[best(same, "macro_f1", values)] == 1.0
    assert best([Ranking(1.0, loss) for loss in (0.2, 0.1, 0.4, 0.5)], "macro_f1", values) == 1
    assert best([*same[:3], Ranking(0.5, 0.5)], "macro_f1", values) == 3
    assert best(same, "log_likelihood", values) == 0
