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


NO_PATHS: list[Any] = [None, 3, 1.5, [], {}, Thing(), np.array([1, 2]), b"x", "a\0b"]
VERBS_OF_A_DATASET: list[Callable[..., Any]] = [
    *(lw.open_dataset, lw.load_head, lw.info, lw.finish, lw.verify, lw.repair),
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
    "seed": ["0", None, 1.5],
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
