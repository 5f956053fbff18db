"""train --private: what a private head records and leaves out, where its statistics come from, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import RequestError
from layerwise.heads import private_loop
from layerwise.heads.accounting import noise_multiplier
from layerwise.heads.private_units import find_units
from layerwise.mixes import layer_stats

WORDS = ["good", "fine", "film", "plot", "cast", "music", "scene", "end"]
BUDGET: dict[str, Any] = {"private": 1.0, "delta": 1e-6}


def records(count: int, seed: int, **columns: str) -> list[dict[str, Any]]:
    chance = np.random.default_rng(seed)
    out = []
    for number in range(count):
        words = chance.choice(WORDS, size=int(chance.integers(3, 9))).tolist()
        label = "pos" if {"good", "fine"} & set(words) else "neg"
        row = {"text": " ".join(words) + f" {number}", "label": label, "author": f"a{number % 7}"}
        out.append(row | {"own": "train" if number % 4 else "test", "twin": f"{number // 2}"})
    return out


@pytest.fixture(scope="module")
def made(encoder_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    folder = tmp_path_factory.mktemp("private")

    def make(name: str, rows: list[dict[str, Any]], **options: Any) -> Any:
        if not (folder / f"{name}.lw").exists():
            source = folder / f"{name}.jsonl"
            source.write_text("".join(json.dumps(row) + "\n" for row in rows))
            lw.extract(source, folder / f"{name}.lw", model=encoder_of("bert"), dtype="float32", **options)
        return lw.open_dataset(folder / f"{name}.lw")

    return make


@pytest.fixture
def letters(made: Callable[..., Any]) -> Any:
    return made("letters", records(60, 0))


@pytest.fixture
def public(made: Callable[..., Any]) -> Any:
    return made("public", records(40, 1))


def train(dataset: Any, **options: Any) -> lw.Head:
    return lw.train(dataset, **({"task": "classify", "label": "label", "mix": "2"} | BUDGET | options))


def test_the_record_says_what_is_protected_and_how(letters: Any, tmp_path: Path) -> None:
    head = train(letters, out=tmp_path / "p.head")
    record = head.training["private"]
    noise = 2 * noise_multiplier(1.0, 1e-6, record["steps"])
    assert record == {
        "epsilon": 1.0,
        "delta": 1e-6,
        "relation": "replace one",
        "unit": "text",
        "groups": None,
        "units": 60,
        "clip": 1.0,
        "steps": 60,
        "noise": pytest.approx(noise),
        "mechanism": record["mechanism"],
        "standardised_by": "fixed numbers",
        "classes_from": "private rows",
    }
    assert lw.load_head(tmp_path / "p.head").training["private"] == record


def test_nothing_else_of_the_rows_is_in_the_head(letters: Any, public: Any, tmp_path: Path) -> None:
    """The files of heads from neighbouring rows differ in the weights alone."""
    train(letters, public=public, out=tmp_path / "a.head")
    content = json.loads((tmp_path / "a.head" / "head.json").read_text())
    assert set(content["training"]["tasks"]["label"]) == set()
    said = json.dumps(content)
    assert "letters" not in said
    assert letters.sha256 not in said
    stats = layer_stats([public.layer("2")])
    (task,) = lw.load_head(tmp_path / "a.head").task_heads
    assert task.stats[0].mean == pytest.approx(stats.mean)
    assert task.stats[0].std == pytest.approx(stats.std)


def test_without_public_rows_nothing_is_standardised(letters: Any) -> None:
    (task,) = train(letters).task_heads
    assert not task.stats[0].mean.any()
    assert set(task.stats[0].std) == {1.0}


def test_two_trainings_differ_and_a_large_budget_learns(
    letters: Any, public: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (train(letters, public=public).task_heads[0].fitted.weight for _ in range(2))
    assert not np.array_equal(first, second)
    head = train(letters, public=public, private=1e6)
    answers = [row["label"] for row in head.predict(letters.texts["text"].to_pylist())]
    right = np.mean([a == b for a, b in zip(answers, letters.texts["label"].to_pylist(), strict=True)])
    majority = max(letters.texts["label"].to_pylist().count(name) for name in ("pos", "neg")) / 60
    assert right > majority


def test_labels_without_a_public_class_have_no_gradient(
    made: Callable[..., Any], letters: Any, public: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_loop, "system_noise", lambda rows, columns: np.zeros((rows, columns)))
    rows = records(60, 0)
    odd = made("odd", [row | ({"label": "secret name"} if n < 3 else {}) for n, row in enumerate(rows)])
    empty = made("empty", [row | ({"label": ""} if n < 3 else {}) for n, row in enumerate(rows)])
    heads = [train(dataset, public=public) for dataset in (odd, empty)]
    assert [head.classes["label"] for head in heads] == [("neg", "pos")] * 2
    first, second = (head.task_heads[0].fitted.weight for head in heads)
    assert np.array_equal(first, second)
    assert [head.training["private"]["units"] for head in heads] == [60, 60]
    assert heads[0].training["private"]["classes_from"] == "public rows"


def test_units_are_texts_groups_or_the_training_rows_of_a_split(
    letters: Any, made: Callable[..., Any]
) -> None:
    assert find_units(letters, None, None).count == 60
    groups = find_units(letters, "author", None)
    assert (groups.count, groups.kind, groups.column) == (7, "group", "author")
    assert groups.of_row.tolist() == [number % 7 for number in range(60)]
    split = find_units(letters, None, "own")
    assert split.count == 45
    assert (split.of_row == -1).sum() == 15
    words = made("words", records(12, 3), level="word")
    units = find_units(words, None, None)
    assert units.count == 12
    assert np.array_equal(units.of_row, words.index["doc"].to_numpy())
    rows = [row | {"author": None if n == 5 else "x"} for n, row in enumerate(records(12, 4))]
    assert find_units(made("gaps", rows), "author", None).count == 2


def test_groups_are_clipped_together(letters: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two texts of an author move the head no more than one text of another does."""
    monkeypatch.setattr(private_loop, "system_noise", lambda rows, columns: np.zeros((rows, columns)))
    head = train(letters, groups="twin")
    assert head.training["private"]["units"] == 30
    assert head.training["private"]["groups"] == "twin"
    assert not np.array_equal(head.task_heads[0].fitted.weight, train(letters).task_heads[0].fitted.weight)


def test_words_and_pairs_can_be_private(made: Callable[..., Any], tmp_path: Path) -> None:
    words = made("words", records(12, 3), level="word")
    assert train(words).training["private"]["units"] == 12
    rows = [{"a": row["text"], "b": row["text"][::-1], "label": row["label"]} for row in records(20, 5)]
    pairs = made("pairs", rows, text=("a", "b"))
    head = train(pairs)
    assert head.training["private"]["units"] == 20
    assert head.predict([("good film", "fine plot")])[0]["label"] in ("pos", "neg")


def test_large_delta_is_warned_of(letters: Any) -> None:
    notes = " ".join(train(letters, delta=0.02).training["notes"])
    assert "delta=0.02 is at least 1 / 60 texts" in notes
    assert "1 / 60" not in " ".join(train(letters, delta=0.01).training["notes"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"private": 0.0}, "private=0.0 is no ε"),
        ({"private": -1.0}, "private=-1.0 is no ε"),
        ({"private": float("nan")}, "private=nan is no ε"),
        ({"private": float("inf")}, "private=inf is no ε"),
        ({"delta": None}, "private needs delta"),
        ({"delta": 0.0}, "delta=0.0 is no probability"),
        ({"delta": 1.0}, "delta=1.0 is no probability"),
        ({"private": None}, "delta=1e-06 only applies to private"),
        ({"seed": 0}, "seed=0 can't be used with private: the noise must come"),
        ({"mix": "learned(all)"}, "its weights would be fitted to the private rows"),
        ({"mix": "mean(1:; norm=layer)"}, "standardises its layers"),
        ({"head_type": "mlp"}, "head_type='mlp' can't be used"),
        ({"class_weight": "balanced"}, "it counts the private rows"),
        ({"epochs": 3}, "epochs=3 can't be used"),
        ({"draws": 3}, "draws=3 can't be used"),
        ({"label_separator": " "}, "a row has one class"),
        ({"task": "regress", "label": "author"}, "can't be trained with private"),
        ({"groups": "nowhere"}, "nowhere"),
    ],
)
def test_what_would_break_the_promise_is_refused(letters: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=".") as error:
        train(letters, **options)
    assert said in str(error.value)


def test_public_rows_must_be_others_of_the_same_kind(letters: Any, made: Callable[..., Any]) -> None:
    with pytest.raises(RequestError, match="is the private dataset itself"):
        train(letters, public=letters)
    with pytest.raises(RequestError, match="another level of the rows"):
        train(letters, public=made("words", records(12, 3), level="word"))


def test_private_texts_among_the_public_ones_are_told_of(
    letters: Any, public: Any, made: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """To the user alone: the number depends on the private rows."""
    both = made("both", [*records(60, 0)[:3], *records(40, 1)])
    head = train(letters, public=both)
    assert "3 of the private texts are among those of public too" in caplog.text
    assert "among those of" not in json.dumps(head.training)
    caplog.clear()
    train(letters, public=public)
    assert "among those of" not in caplog.text
    train(letters, public=made("silent", records(40, 1), no_text=True, keep=["label"]))
    assert "isn't known whether private texts are among those of public" in caplog.text


@pytest.mark.slow
def test_a_probe_of_the_private_rows_is_refused(letters: Any, public: Any) -> None:
    probe: dict[str, Any] = {"task": "classify", "label": "label", "quick": True, "no_codelength": True}
    with pytest.raises(RequestError, match="would have to be charged to ε"):
        train(letters, mix=None, mix_from=lw.probe(letters, **probe), public=public)
    of_public = lw.probe(public, **probe)
    with pytest.raises(RequestError, match="would have to be charged to ε"):
        train(letters, mix=None, mix_from=of_public)
    head = train(letters, mix=None, mix_from=of_public, public=public)
    assert head.mixes["label"] == of_public.advice.best


def test_norms_of_layers_are_those_of_the_public_rows(letters: Any, public: Any) -> None:
    (task,) = train(letters, public=public, mix="mean(1:; norm=layer)").task_heads
    assert task.norms is not None
    for name in ("1", "2"):
        assert task.norms[name].mean == pytest.approx(layer_stats([public.layer(name)]).mean)


def test_the_command(letters: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "p.head")
    command = [
        "train",
        str(letters.path),
        "--task",
        "classify",
        "--label",
        "label",
        "--mix",
        "2",
        "--out",
        out,
    ]
    assert main([*command, "--private", "0"]) == 2
    assert "--private 0.0 is no ε" in capsys.readouterr().err
    assert main([*command, "--private", "1", "--delta", "1e-6", "--seed", "0"]) == 2
    assert "--seed 0 can't be used with --private" in capsys.readouterr().err
    assert main([*command, "--private", "1", "--delta", "1e-6", "--eval", str(letters.path)]) == 2
    assert "is the private dataset" in capsys.readouterr().err
    texts = str(letters.path.with_suffix(".jsonl"))
    assert main([*command, "--private", "1", "--delta", "1e-6", "--eval", texts]) == 2
    assert "letters.jsonl holds texts of the private dataset" in capsys.readouterr().err
    assert main([*command, "--private", "1", "--delta", "1e-6", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "ε 1, δ 1e-06, replacing one of 60 texts" in captured.out
    assert "has no scores" in captured.err
    assert main(["info", out]) == 0
    assert "ε 1, δ 1e-06" in capsys.readouterr().out


def test_rows_with_context_are_protected_by_documents_only(made: Callable[..., Any]) -> None:
    """One text changes the rows of its neighbours."""
    texts = [{**record, "document": f"d{n // 4}"} for n, record in enumerate(records(40, 5))]
    dataset = made("context", texts, context=8)
    with pytest.raises(lw.RequestError, match="neighbours in their documents"):
        train(dataset)
    head = train(dataset, groups="document")
    assert head.training["private"]["groups"] == "document"
