"""train: heads against scikit-learn on the same rows, what is held out, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import LayerwiseError, OutputError, RequestError
from layerwise.heads.head import apply
from layerwise.heads.mixing import read_planes
from layerwise.heads.solve import fit_classes, fit_labels, fit_values
from layerwise.labels.plan import TaskSpec, make_plan
from layerwise.mixes import apply_mix, layer_stats, parse_mix

WORDS = ["good", "fine", "bad", "dull", "film", "plot", "cast", "music", "scene", "end"]


def rows_of(count: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    """Texts of random words, with labels that follow from the words."""
    chance = np.random.default_rng(seed)
    out = []
    for number in range(count):
        words = chance.choice(WORDS, size=int(chance.integers(3, 9))).tolist()
        mood = sum(word in ("good", "fine") for word in words) - sum(
            word in ("bad", "dull") for word in words
        )
        out.append(
            {
                "text": " ".join(words) + f" {number}",
                "label": "pos" if mood > 0 else "neg" if mood < 0 else "none",
                "score": mood + 0.5,
                "tags": [word for word in ("film", "plot", "cast") if word in words],
                "joined": ";".join(word for word in ("film", "plot") if word in words),
                "part": ["train", "train", "train", "dev", "test"][number % 5],
                "author": f"a{number % 7}",
            }
        )
    return out


@pytest.fixture(scope="module")
def reviews(encoder_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("train")
    source = folder / "rows.jsonl"
    rows = [{("own" if key == "part" else key): value for key, value in row.items()} for row in rows_of()]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lw.extract(source, folder / "rows.lw", model=encoder_of("bert"), dtype="float32", shard_texts=25)


def labels(dataset: Any, column: str) -> np.ndarray[Any, Any]:
    return np.array(dataset.texts[column].to_pylist())


# --- the solvers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("balance", [None, "balanced"])
def test_classes_are_scikit_learns(classes: int, balance: str | None) -> None:
    chance = np.random.default_rng(1)
    x = chance.standard_normal((80, 6)).astype(np.float32)
    y = (x[:, 0] * 2 + chance.standard_normal(80) > 0.8).astype(np.int64)
    y = y + (x[:, 1] > 0.9) if classes == 3 else y
    result = fit_classes(x, y, classes, 0.3, balance)
    expected = LogisticRegression(C=0.3, class_weight=balance, max_iter=2000).fit(x, y)
    shares = np.exp(apply(result, x[None])) / np.exp(apply(result, x[None])).sum(axis=1, keepdims=True)
    assert shares == pytest.approx(expected.predict_proba(x), abs=1e-5)


def test_a_class_without_rows_is_never_predicted() -> None:
    x = np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32)
    result = fit_classes(x, np.where(x[:, 0] > 0, 3, 1), 4, 1.0)
    assert set(apply(result, x[None]).argmax(axis=1)) == {1, 3}


def test_labels_are_one_against_the_rest() -> None:
    chance = np.random.default_rng(2)
    x = chance.standard_normal((70, 5)).astype(np.float32)
    y = (x[:, :3] + chance.standard_normal((70, 3)) > 0).astype(np.float32)
    expected = OneVsRestClassifier(LogisticRegression(C=0.5, max_iter=2000)).fit(x, y)
    shares = 1 / (1 + np.exp(-apply(fit_labels(x, y, 0.5), x[None])))
    assert shares == pytest.approx(expected.predict_proba(x), abs=1e-5)


def test_a_label_that_all_or_none_have_keeps_its_odds() -> None:
    x = np.zeros((9, 2), np.float32)
    result = fit_labels(x, np.repeat([[1, 0]], 9, axis=0).astype(np.float32), 1.0)
    assert result.bias == pytest.approx([np.log(19), -np.log(19)], abs=1e-5)


def test_numbers_are_ridge() -> None:
    chance = np.random.default_rng(3)
    x = chance.standard_normal((50, 4)).astype(np.float32)
    y = x @ [1.0, -2, 0, 3] + chance.standard_normal(50)
    expected = Ridge(alpha=20.0).fit(x.astype(np.float64), y).predict(x)
    assert apply(fit_values(x, y, 0.05), x[None])[:, 0] == pytest.approx(expected, abs=1e-4)


# --- what a head is fitted on -----------------------------------------------------------------------------

MIXES = [
    "2",
    "sum(1:)",
    "mean(all)",
    "max(-2:)",
    "concat(3,1)",
    "weighted(1,3; 2,-0.5)",
    "mean(1:; norm=layer)",
]


def test_mixes_come_from_one_reading(reviews: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mixes = [parse_mix(text, reviews.blocks) for text in (*MIXES, "learned(3,emb)")]
    rows = np.array([1, 4, 5, 30, 59])
    known = np.array([True, True, False, True, False])
    seen: list[str] = []
    layer = type(reviews).layer

    def watched(self: Any, name: str, **options: Any) -> Any:
        seen.append(name)
        return layer(self, name, **options)

    monkeypatch.setattr(type(reviews), "layer", watched)
    result = read_planes(reviews, rows, mixes, [known] * len(mixes))
    assert seen == ["emb", "1", "2", "3"]
    stats = {name: layer_stats([layer(reviews, name, rows=rows[known])]) for name in reviews.layers}
    for mix, planes in zip(mixes[:-1], result, strict=False):
        expected = apply_mix(mix, lambda name: layer(reviews, name, rows=rows), stats)
        assert planes.arrays[0] == pytest.approx(expected, abs=1e-5), str(mix)
    assert np.array_equal(result[-1].arrays[0], layer(reviews, "3", rows=rows))
    assert np.array_equal(result[-1].arrays[1], layer(reviews, "emb", rows=rows))


@pytest.mark.parametrize("mix", MIXES)
def test_a_linear_head_is_scikit_learns(reviews: Any, mix: str) -> None:
    head = lw.train(reviews, task="classify", label="label", mix=mix)
    report = head.training["tasks"]["label"]
    stats = {name: layer_stats([reviews.layer(name)]) for name in reviews.layers}
    x = apply_mix(parse_mix(mix, reviews.blocks), reviews.layer, stats)
    x = StandardScaler().fit_transform(x.astype(np.float64))
    expected = LogisticRegression(C=report["C"], max_iter=5000, tol=1e-6).fit(x, labels(reviews, "label"))
    shares = np.array([list(one["probabilities"].values()) for one in head.predict_rows(reviews)])
    assert list(head.classes["label"]) == list(expected.classes_)
    assert shares == pytest.approx(expected.predict_proba(x), abs=3e-3)


def test_ridge_is_scikit_learns(reviews: Any) -> None:
    head = lw.train(reviews, task="regress", label="score", mix="2")
    x = StandardScaler().fit_transform(reviews.layer("2").astype(np.float64))
    report = head.training["tasks"]["score"]
    assert report["C"] is None
    expected = Ridge(alpha=report["alpha"]).fit(x, labels(reviews, "score")).predict(x)
    assert [one["value"] for one in head.predict_rows(reviews)] == pytest.approx(expected, abs=1e-4)


def test_C_is_the_best_on_held_out_rows(reviews: Any) -> None:
    """With the user's own split: trained on train, chosen on dev, scored on test, dev never fitted."""
    head = lw.train(reviews, task="classify", label="label", mix="2", split="own")
    report, parts, y = head.training["tasks"]["label"], labels(reviews, "own"), labels(reviews, "label")
    assert (report["rows"], report["held_out_rows"], report["test_rows"]) == (36, 12, 12)
    scaler = StandardScaler().fit(reviews.layer("2")[parts == "train"].astype(np.float64))
    x = scaler.transform(reviews.layer("2").astype(np.float64))
    fits = {
        c: LogisticRegression(C=c, max_iter=5000).fit(x[parts == "train"], y[parts == "train"])
        for c in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    }
    dev = {c: log_loss(y[parts == "dev"], fit.predict_proba(x[parts == "dev"])) for c, fit in fits.items()}
    assert report["chosen_by"] == "log_likelihood"
    assert dev[report["C"]] == min(dev.values())
    accuracy = fits[report["C"]].score(x[parts == "dev"], y[parts == "dev"])
    assert accuracy == report["held_out"]["scores"]["accuracy"]
    test = fits[report["C"]].score(x[parts == "test"], y[parts == "test"])
    assert report["test"]["scores"]["accuracy"] == pytest.approx(test)
    shares = np.array([list(one["probabilities"].values()) for one in head.predict_rows(reviews)])
    assert shares == pytest.approx(fits[report["C"]].predict_proba(x), abs=3e-3)


def test_test_rows_change_nothing(reviews: Any, encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    rows = [{("own" if k == "part" else k): v for k, v in row.items()} for row in rows_of()]
    for row in rows:
        if row["own"] == "test":
            row["label"] = "never seen"
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = lw.extract(source, tmp_path / "o.lw", model=encoder_of("bert"), dtype="float32")
    a, b = (lw.train(d, task="classify", label="label", split="own") for d in (reviews, other))
    assert a.predict_rows(reviews) == b.predict_rows(reviews)
    assert b.training["tasks"]["label"]["test"]["scores"]["accuracy"] == 0


def test_groups_stay_together(reviews: Any) -> None:
    plan = make_plan(reviews, [TaskSpec("label", "classify", "label", parse_mix("1", 3))], groups="author")
    authors = labels(reviews, "author")
    assert not set(authors[plan.held_out]) & set(authors[plan.train])
    assert 0 < plan.held_out.sum() < 30
    assert plan.refit
    assert not (plan.held_out & plan.train).any()


def test_the_same_seed_gives_the_same_head(reviews: Any) -> None:
    heads = [
        lw.train(reviews, task="classify", label="label", head_type="mlp", epochs=3, seed=s)
        for s in (1, 1, 2)
    ]
    first, again, other = (head.predict_rows(reviews) for head in heads)
    assert first == again
    assert first != other


# --- kinds of labels and heads ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("mix", ["concat(all)", "learned(all)"])
def test_heads_learn(reviews: Any, kind: str, mix: str) -> None:
    head = lw.train(reviews, task="classify", label="label", mix=mix, head_type=kind, draws=2)
    right = np.array([one["label"] for one in head.predict_rows(reviews)]) == labels(reviews, "label")
    assert right.mean() > 0.7  # the largest class has less than half of the rows
    report = head.training["tasks"]["label"]
    assert (report["learned"] is None) == (mix != "learned(all)")
    if mix == "learned(all)":
        assert sum(report["mix_weights"].values()) == pytest.approx(1, abs=1e-5)
        assert list(report["learned"]["weights"]) == ["emb", "1", "2", "3"]


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_several_labels_per_row(reviews: Any, kind: str) -> None:
    head = lw.train(reviews, task="classify", label="tags", mix="concat(all)", head_type=kind)
    assert head.classes["tags"] == ("cast", "film", "plot")
    result = [set(one["labels"]) for one in head.predict_rows(reviews)]
    expected = [set(row["tags"]) for row in rows_of()]
    assert np.mean([a == b for a, b in zip(result, expected, strict=True)]) > 0.6
    assert list(head.training["tasks"]["tags"]["held_out"]["scores"]) == ["micro_f1", "macro_f1", "accuracy"]


def test_a_separator_cuts_labels(reviews: Any) -> None:
    head = lw.train(reviews, task="classify", label="joined", label_separator=";")
    assert head.classes["joined"] == ("film", "plot")
    empty = sum(not row["joined"] for row in rows_of())
    assert head.training["tasks"]["joined"]["dropped"] == empty
    assert head.training["tasks"]["joined"]["rows"] == 60 - empty


@pytest.mark.parametrize("mix", ["concat(all)", "learned(all)"])
def test_an_mlp_gives_numbers(reviews: Any, mix: str) -> None:
    head = lw.train(reviews, task="regress", label="score", mix=mix, head_type="mlp", draws=0)
    values = [one["value"] for one in head.predict_rows(reviews)]
    # When it stops depends on the last digits of sums, which differ from machine to machine.
    assert np.corrcoef(values, labels(reviews, "score"))[0, 1] > 0.4


def test_balance_favours_what_is_rare(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    source = tmp_path / "r.jsonl"
    lines = [{"text": f"{'a' if n % 8 else 'b'} {'xyz'[n % 3]} {n}", "label": "no" if n % 8 else "yes"}
             for n in range(64)]  # fmt: skip
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = lw.extract(source, tmp_path / "r.lw", model=encoder_of("bert"), dtype="float32")
    for mix in ("2", "learned(all)"):
        plain, even = (
            lw.train(dataset, task="classify", label="label", mix=mix, class_weight=w, draws=0, epochs=5)
            for w in (None, "balanced")
        )
        p, e = (
            np.mean([one["probabilities"]["yes"] for one in head.predict_rows(dataset)])
            for head in (plain, even)
        )
        assert e > p


def test_several_tasks_alone_are_what_they_are_together(reviews: Any) -> None:
    both = lw.train(reviews, tasks={"mood": "classify:label", "n": ("regress", "score")}, mix={"mood": "2"})
    assert both.mixes == {"mood": "2", "n": "mean(1,2,3)"}
    one = lw.train(reviews, task="regress", label="score")
    alone = [
        {key: value for key, value in result.items() if key != "doc"} for result in one.predict_rows(reviews)
    ]
    assert [result["n"] for result in both.predict_rows(reviews)] == alone
    assert both.training["tasks"]["mood"]["alone"] is None


def test_a_shared_hidden_layer_is_shared(reviews: Any) -> None:
    head = lw.train(reviews, tasks={"mood": "classify:label", "n": "regress:score"}, shared_hidden=16)
    one, two = (task.fitted.hidden for task in head.task_heads)
    assert one is not None
    assert two is not None
    assert one[0].shape == (32, 16)
    assert np.array_equal(one[0], two[0])
    for made_task in head.training["tasks"].values():
        assert made_task["alone"]["rows"] == made_task["held_out"]["rows"] > 0
    assert set(head.predict_rows(reviews)[0]) == {"doc", "mood", "n"}


def test_alone_is_what_training_that_task_alone_scores(reviews: Any) -> None:
    tasks = {"mood": "classify:label", "n": "regress:score"}
    both = lw.train(reviews, tasks=tasks, shared_hidden=16, split="own").training["tasks"]
    for name, task in tasks.items():
        kind, label = task.split(":")
        one = lw.train(reviews, task=kind, label=label, head_type="mlp", hidden=16, split="own").training[
            "tasks"
        ][label]
        assert both[name]["alone"] == one["held_out"]
    assert both["n"]["alone"] != both["n"]["held_out"], "together it is another head"


def test_missing_labels_are_dropped_and_counted(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    source = tmp_path / "r.csv"
    source.write_text(
        "text,label\n" + "".join(f"text {n} {n % 2},{['a', 'b', ''][n % 3]}\n" for n in range(30))
    )
    dataset = lw.extract(source, tmp_path / "r.lw", model=encoder_of("bert"))
    report = lw.train(dataset, task="classify", label="label").training["tasks"]["label"]
    assert (report["rows"], report["dropped"]) == (20, 10)


def test_few_texts_are_trained_on_without_holding_out(
    encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    source = tmp_path / "r.csv"
    source.write_text("text,label\ngood,a\nbad,b\n")
    dataset = lw.extract(source, tmp_path / "r.lw", model=encoder_of("bert"))
    head = lw.train(dataset, task="classify", label="label")
    assert [one["label"] for one in head.predict_rows(dataset)] == ["a", "b"]
    assert "Too few texts" in head.training["notes"][0]
    assert head.training["tasks"]["label"]["held_out"] is None
    lw.train(dataset, task="classify", label="label", mix="learned(all)", head_type="mlp", epochs=3)


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"task": "classify", "label": "nope"}, "there is no column 'nope' in the dataset; there are"),
        ({"task": "guess", "label": "label"}, "task 'guess' doesn't exist; choose one of classify"),
        ({"task": "classify"}, "needs the column of its labels; name it in label"),
        ({}, "give one task with its label column, or several in tasks; got neither"),
        ({"task": "classify", "label": "label", "tasks": {}}, "got both"),
        ({"tasks": {}}, "no task is named"),
        ({"tasks": {"a": "classify"}}, "task 'a' is 'classify'; give TASK:COL"),
        ({"tasks": {"doc": "classify:label"}}, "a task can't be called 'doc'"),
        (
            {"tasks": {"a": "classify:label"}, "mix": {"b": "1"}},
            "a mix is given for task 'b' and there is no",
        ),
        ({"tasks": {"a": "classify:label"}, "label": "label"}, "label='label' only applies to a single task"),
        ({"task": "tag", "label": "label"}, "task='tag' needs rows that are words"),
        ({"task": "regress", "label": "label"}, "which isn't a finite number"),
        ({"task": "classify", "label": "label", "mix": "mean(9)"}, "layer 9 doesn't exist"),
        ({"task": "classify", "label": "label", "head_type": "deep"}, "head_type 'deep' doesn't exist"),
        ({"task": "classify", "label": "label", "class_weight": "even"}, "class_weight 'even' doesn't exist"),
        ({"task": "classify", "label": "label", "hidden": 0}, "hidden=0 is too small"),
        ({"task": "classify", "label": "label", "shared_hidden": 8}, "only applies to several tasks"),
        (
            {"task": "classify", "label": "label", "layer_dropout": 0.1},
            "needs a learned mix; use a mix such as learned",
        ),
        ({"task": "classify", "label": "label", "epochs": 0}, "epochs=0 is out of range"),
        ({"task": "classify", "label": "label", "seed": -1}, "seed=-1 is out of range"),
        ({"task": "classify", "label": "label", "split": "label"}, "isn't a part; the values are train, dev"),
        ({"task": "classify", "label": "label", "groups": "nope"}, "there is no column 'nope'"),
        (
            {"task": "regress", "label": "score", "class_weight": "balanced"},
            "can't be used with task='regress'",
        ),
        (
            {"task": "regress", "label": "score", "label_separator": ";"},
            "label_separator=';' only applies to task='classify'",
        ),
        ({"task": "classify", "label": "level"}, "there is no column 'level'"),
    ],
)
def test_what_cannot_be_trained(reviews: Any, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError) as caught:
        lw.train(reviews, **arguments)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "task", "says"),
    [
        (
            "good,a\nfine,a\n",
            "classify",
            "all 2 training rows have the label 'a'; classify needs two or more",
        ),
        ("good,\nfine,\n", "classify", "no row has a label in column 'label'"),
        ("good,1\nfine,nan\n", "regress", "holds 'nan', which isn't a finite number"),
        ("good,1\nfine,inf\n", "regress", "holds 'inf', which isn't a finite number"),
        ("good,1\nfine,4e38\n", "regress", "holds '4e38', which is beyond float32"),
    ],
)
def test_labels_that_teach_nothing(
    encoder_of: Callable[[str], Any], tmp_path: Path, lines: str, task: str, says: str
) -> None:
    (tmp_path / "r.csv").write_text(f"text,label\n{lines}")
    dataset = lw.extract(tmp_path / "r.csv", tmp_path / "r.lw", model=encoder_of("bert"))
    with pytest.raises(LayerwiseError) as caught:
        lw.train(dataset, task=task, label="label")
    assert says in str(caught.value)


def test_rows_in_memory_belong_to_no_dataset(encoder_of: Callable[[str], Any]) -> None:
    with pytest.raises(RequestError, match="train takes a dataset or its folder, not LayerStates"):
        lw.train(encoder_of("bert").encode(["a"]), task="classify", label="label")


def test_a_class_of_one_row(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    rows = "".join(f"text {n},{'abc'[n % 2 if n else 2]}\n" for n in range(21))
    (tmp_path / "r.csv").write_text(f"text,label\n{rows}")
    dataset = lw.extract(tmp_path / "r.csv", tmp_path / "r.lw", model=encoder_of("bert"))
    for seed in range(4):
        head = lw.train(dataset, task="classify", label="label", seed=seed)
        assert head.classes["label"] == ("a", "b", "c")


def test_nothing_is_overwritten(reviews: Any, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputError, match="already exists; give a new name"):
        lw.train(reviews, task="classify", label="label", out=tmp_path / "there")
    head = lw.train(reviews, task="classify", label="label", out=tmp_path / "new")
    with pytest.raises(OutputError, match="already exists"):
        head.save(tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "there"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["head.json", "head.safetensors"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--eval", "nofile.csv"], "nofile.csv"),
        (["--eval", "other.csv"], "the source has no column 'label', which holds the labels"),
        (["--eval", "other.lw"], "the source has no column 'label', which holds the labels"),
        (["--hidden", "8"], "--hidden 8 needs --head-type mlp"),
        (["--label-separator", ""], "separates nothing"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_trained(
    reviews: Any,
    encoder_of: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.csv").write_text("text,kind\nfilm,a\n")
    lw.extract("other.csv", "other.lw", model=encoder_of("bert"))
    command = ["train", str(reviews.path), "--task", "classify", "--label", "label", "--out", "head"]
    assert main([*command, *options]) == 2
    caught = capsys.readouterr()
    assert says in caught.err
    assert caught.err.count("\n") == 1, caught.err
    assert not caught.out
    assert not Path("head").exists()


@pytest.mark.parametrize(
    ("column", "task", "says"),
    [("uniq", "classify", "60 classes for 60 rows"), ("same", "regress", "all 60 numbers are 3")],
)
def test_labels_without_anything_to_learn_are_refused(
    encoder_of: Callable[[str], Any], tmp_path: Path, column: str, task: str, says: str
) -> None:
    lines = "".join(f"text {n},u{n},3\n" for n in range(60))
    (tmp_path / "r.csv").write_text(f"text,uniq,same\n{lines}")
    dataset = lw.extract(tmp_path / "r.csv", tmp_path / "r.lw", model=encoder_of("bert"))
    with pytest.raises(RequestError, match=says):
        lw.train(dataset, task=task, label=column)


def test_groups_on_both_sides_of_a_split_are_told(reviews: Any) -> None:
    head = lw.train(reviews, task="classify", label="label", mix="1", split="own", groups="author")
    assert any("12 test rows are in the training part as well" in note for note in head.training["notes"])


@pytest.mark.parametrize(
    "option",
    [["--limit", "0"], ["--text", "x"], ["--model", "nope"], ["--format", "csv"], ["--device", "cpu"]],
)
def test_options_of_texts_that_there_are_not_are_refused(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "none.lw", "--task", "classify", "--label", "y", "--out", "h", *option]) == 2
    assert f"{' '.join(option)} is for the texts of --eval, and there are none" in capsys.readouterr().err


def test_training_without_sources_needs_none_of_their_options(
    reviews: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(reviews.path), "--task", "classify", "--label", "label", "--mix", "1"]
    assert main([*command, "--out", str(tmp_path / "plain.head")]) == 0
    assert main([*command, "--na", "NA", "--out", str(tmp_path / "other.head")]) == 2
    assert "--na NA is for the texts of --eval" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["doc", "id", "empty"])
def test_a_task_has_no_name_that_predictions_use(reviews: Any, name: str) -> None:
    with pytest.raises(RequestError, match=f"a task can't be called '{name}'"):
        lw.train(reviews, tasks={name: "classify:label"}, mix="1")


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"draws": 3, "epochs": 5, "patience": 2}, {"draws", "epochs", "patience"}),
        ({"draws": 3, "epochs": 5, "patience": 2, "head_type": "mlp"}, {"draws"}),
        ({"draws": 3, "epochs": 5, "patience": 2, "mix": "learned(1,2)"}, set()),
        ({}, set()),
    ],
)
def test_options_of_training_without_effect_are_told(
    reviews: Any, options: dict[str, Any], idle: set[str]
) -> None:
    head = lw.train(reviews, task="classify", label="label", **{"mix": "1", **options})
    notes = [note for note in head.training["notes"] if "has no effect" in note]
    assert {note.partition("=")[0] for note in notes} == idle


def test_a_separator_is_for_the_tasks_whose_cells_it_divides(reviews: Any) -> None:
    tasks = {"mood": "classify:label", "topics": "classify:joined"}
    head = lw.train(reviews, tasks=tasks, mix="1", label_separator=";")
    assert [task.multi for task in head.task_heads] == [False, True]
    assert [task.label_separator for task in head.task_heads] == [None, ";"]
    assert (
        "Task 'mood': no cell is divided by the separator, so a row has one label." in head.training["notes"]
    )
    answer = head.predict_rows(reviews)[0]
    assert answer["mood"]["label"] in ("pos", "neg", "none")
    assert sum(answer["mood"]["probabilities"].values()) == pytest.approx(1)
    assert set(answer["topics"]["labels"]) <= {"film", "plot"}
    none = lw.train(reviews, tasks={"mood": "classify:label"}, mix="1", label_separator="|")
    assert none.task_heads[0].multi, "as the only one says that it has no effect"
    assert any("No cell of column 'label' is divided by" in note for note in none.training["notes"])


def test_classes_that_no_held_out_row_has_are_told(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    records = [{"text": f"text {n}", "label": "rare" if n == 7 else "ab"[n % 2]} for n in range(60)]
    dataset = lw.extract(records, tmp_path / "d.lw", model=encoder_of("bert"), layers="1")
    notes = []
    for seed in range(3):
        head = lw.train(dataset, task="classify", label="label", mix="1", seed=seed)
        scored = {entry["label"] for entry in head.training["tasks"]["label"]["held_out"]["classes"]}
        absent = [note for note in head.training["notes"] if "no held-out row has" in note]
        notes.append(absent)
        assert bool(absent) == ("rare" not in scored)
    assert [
        "task 'label': no held-out row has 'rare', so the scores say nothing about this class; give more texts of it"
    ] in notes
