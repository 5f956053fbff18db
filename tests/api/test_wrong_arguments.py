"""Arguments of a wrong type: an error of layerwise that names the argument, whatever the type."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from planted import noise, states_of


class Thing:
    """A value of a type that no argument has."""

    def __repr__(self) -> str:
        return "Thing()"  # without an address, which differs between processes


NO_PATHS: list[Any] = [None, 3, 1.5, [], {}, Thing(), np.array([1, 2]), b"x", "a\0b"]
VERBS_OF_A_DATASET: list[Callable[..., Any]] = [
    *(lw.open_dataset, lw.load_head, lw.load_transform, lw.info, lw.finish, lw.verify, lw.repair),
    lambda value: lw.pool(value, "out"),
    lambda value: lw.export(value, "out"),
    lambda value: lw.report(value, "out"),
    lambda value: lw.analyze(value),
    lambda value: lw.probe(value, task="classify", label="label"),
    lambda value: lw.train(value, task="classify", label="label"),
    lambda value: lw.merge([value, value], "out"),
]


@pytest.mark.parametrize("value", NO_PATHS, ids=repr)
def test_what_is_no_path_of_a_dataset_or_head(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in VERBS_OF_A_DATASET:
        with pytest.raises(
            lw.RequestError, match="is no path|which no path has|takes a dataset or its folder"
        ):
            verb(value)


@pytest.mark.parametrize("value", [3, [], Thing(), "a\0b", "s3://bucket/out"], ids=repr)
def test_what_is_no_path_of_a_result(value: Any) -> None:
    states = states_of(noise(8, 4, 2), {"label": list("ab") * 4})
    verbs: list[Callable[[], Any]] = [
        lambda: lw.probe(states, task="classify", label="label", out=value),
        lambda: lw.analyze(states, out=value),
        lambda: lw.report(states, value),
    ]
    for verb in verbs:
        with pytest.raises(lw.RequestError, match="is no path|which no path has|is a URL"):
            verb()


@pytest.mark.parametrize("value", ["a.lw", 3, None])
def test_one_dataset_is_no_list_of_datasets(value: Any) -> None:
    with pytest.raises(lw.RequestError, match="^datasets .* is no list; give at least two datasets"):
        lw.merge(value, "out")


@pytest.mark.parametrize("value", [3, "bar", True, []])
def test_a_callback_must_be_a_function(value: Any) -> None:
    with pytest.raises(
        lw.RequestError, match="^progress=.* can't be called; give a function of one lw.Progress"
    ):
        lw.analyze(states_of(noise(8, 4, 2), {"label": list("ab") * 4}), measure=["norm"], progress=value)


@pytest.mark.parametrize("value", ["128", 1.5, [], np.array([1, 2]), True])
def test_a_number_of_another_type(value: Any, encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    for name in ("max_length", "overlap", "batch_tokens"):
        with pytest.raises(lw.RequestError, match=f"^{name}=.* is not a whole number"):
            encoder.encode(["text"], **{name: value})
    for name in ("level", "pool", "long"):
        with pytest.raises(lw.RequestError, match=f"^{name} .* doesn't exist; choose one of"):
            encoder.encode(["text"], **{name: value})
    with pytest.raises(lw.RequestError, match="^device .* isn't on this machine"):
        lw.load_encoder("minilm", device=value)


def test_numbers_of_numpy_are_numbers(encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode(["a longer text"], max_length=np.int64(8), batch_tokens=np.int64(64))
    assert states.rows == 1
    numbers: dict[str, Any] = {"max_rows": np.int64(6), "seed": np.int64(1)}
    lw.analyze(states_of(noise(8, 4, 2), {"label": list("ab") * 4}), measure=["norm"], **numbers)


WRONG_READING = {
    "words": [3, []],
    "id": [3],
    "columns": [3, [None], 1.5],
    "encoding": [None, 3, []],
    "separator": [3, []],
    "na": [3, [3]],
    "sentence_id": [[], {}],
    "join": [3],
    "classes": [3, [None]],
    "limit": ["3", 1.5],
    "skip_bad": [3, "no", None],
}
WRONG_TRAINING = {
    "groups": [3, np.array(["a", "b"])],
    "split": [3],
    "label_separator": [3, []],
    "hidden": ["3", 1.5],
    "shared_hidden": ["3"],
    "layer_dropout": ["0.1", None],
    "epochs": ["3", True],
    "patience": [2.5],
    "draws": ["20", None],
    "seed": ["0", 1.5],
}


@pytest.mark.parametrize(("name", "values"), WRONG_READING.items(), ids=WRONG_READING)
def test_options_of_reading_of_another_type(
    name: str, values: list[Any], encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    source = tmp_path / "texts.csv"
    source.write_text("text\na\nb\n", encoding="utf-8")
    for value in values:
        with pytest.raises(lw.RequestError, match=f"^{name}"):
            lw.extract(source, tmp_path / "out", model=encoder_of("bert"), **{name: value})


@pytest.mark.parametrize(("name", "values"), WRONG_TRAINING.items(), ids=WRONG_TRAINING)
def test_options_of_training_of_another_type(name: str, values: list[Any], tmp_path: Path) -> None:
    for value in values:
        with pytest.raises(
            lw.RequestError, match=f"^{name} is .*, no (string|whole number|number); give one$"
        ):
            lw.train(tmp_path, task="classify", label="label", **{name: value})


@pytest.mark.parametrize(
    ("spans", "says"),
    [
        (5, "^spans is 5, no list; give a list with the spans of each text"),
        ("ab", "^spans is 'ab', no list"),
        ({0: [(0, 1)]}, "^spans is .*, no list"),
        ([], "^spans has the spans of 0 texts and there are 1; give a list for each text"),
        ([[(0, 1)], [(0, 1)]], "^spans has the spans of 2 texts and there are 1"),
        ([5], "^spans of text 0 is 5, no list; give its .start, end. pairs"),
        ([None], "^spans of text 0 is None, no list"),
        ([(0, 1)], "^a span of text 0 is 0, no list; give a .start, end. pair of whole numbers"),
        ([[None]], "^a span of text 0 is None, no list"),
        ([[(0, 1, 2)]], r"^a span of text 0 is \(0, 1, 2\); give a .start, end. pair"),
        ([[(0, "1")]], "^a span of text 0 is .*; give a"),
        ([[(0.0, 1.5)]], "^a span of text 0 is .*; give a"),
        ([[(False, True)]], "^a span of text 0 is .*; give a"),
    ],
)
def test_spans_of_another_type(spans: Any, says: str, encoder_of: Callable[[str], Any]) -> None:
    with pytest.raises(lw.RequestError, match=says):
        encoder_of("bert").encode(["ab cd"], level="span", spans=spans)


def test_spans_of_any_kind_of_list(encoder_of: Callable[[str], Any]) -> None:
    pairs: list[Any] = [np.array([[[0, 2], [3, 5]]]), [[[0, 2], [3, 5]]], iter([iter([(0, 2), (3, 5)])])]
    for spans in pairs:
        states = encoder_of("bert").encode(["ab cd"], level="span", spans=spans)
        assert states.index["text"].to_pylist() == ["ab", "cd"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("measure", 5), ("measure", [5]), ("intervals", 5), ("max_rows", "9"), ("seed", "a"), ("label", 5)],
)
def test_options_of_analyze_of_another_type(name: str, value: Any) -> None:
    states = states_of(noise(8, 4, 2), {"label": list("ab") * 4})
    with pytest.raises(lw.RequestError, match=f"^{name} is .*, no .*; give "):
        lw.analyze(states, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("mix", 5), ("mix", [5]), ("quick", "no"), ("max_rows", "9"), ("seed", "a"), ("groups", 5)],
)
def test_options_of_probe_of_another_type(name: str, value: Any) -> None:
    states = states_of(noise(8, 4, 2), {"label": list("ab") * 4})
    with pytest.raises(lw.RequestError, match=f"^{name} is .*, no .*; give "):
        lw.probe(states, task="classify", label="label", **{name: value})


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        (["classify:label"], "^tasks is .*, no dictionary; give a name and TASK:COL for each task"),
        ({5: "classify:label"}, "^a task can't be called 5"),
        ({"a": 5}, "^task 'a' is 5; give TASK:COL"),
        ({"a": ("classify", 5)}, "^task 'a' is .*; give TASK:COL"),
    ],
)
def test_tasks_of_another_type(
    tasks: Any, says: str, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    dataset = lw.extract(["a", "b"], tmp_path / "d.lw", model=encoder_of("bert"), layers="1")
    with pytest.raises(lw.RequestError, match=says):
        lw.train(dataset, tasks=tasks)


@pytest.mark.parametrize("heads", [5, 1.5, True])
def test_heads_of_another_type(heads: Any, encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    records = [{"text": f"a {n}", "label": "ab"[n % 2]} for n in range(8)]
    dataset = lw.extract(records, tmp_path / "d.lw", model=encoder_of("bert"), layers="1")
    head = lw.train(dataset, task="classify", label="label", mix="1")
    with pytest.raises(lw.RequestError, match="^heads is .*, no list; give heads or their folders"):
        head.predict(["a"], heads=heads)
    with pytest.raises(lw.RequestError, match="^heads is .*, no list; give heads or their folders"):
        lw.predict(head, ["a"], heads=heads)
