"""Transfer: train on one language, test on another, with the mean of each language subtracted or not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from probes import probe

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import RequestError
from layerwise.probing.centred_rows import CentredRows
from planted import noise, states_of

Array = np.ndarray[Any, Any]


def two_languages(shift: float) -> Any:
    """Layer 1 tells the label in English only, layer 2 in both languages a little less well.

    Chinese rows are moved by `shift` along the direction of the label, so that a classifier of English calls all of them
    positive.
    """
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    is_test = np.repeat([False, True], 200)
    layers = noise(400, 6, 3)
    layers[1] = rng.normal(size=(400, 6)).astype(np.float32)
    layers[2] = rng.normal(size=(400, 6)).astype(np.float32)
    layers[1][:, 0] += np.where(is_test, 0, 6 * y)
    layers[2][:, 0] += 3 * y + shift * is_test
    columns = {
        "y": y.astype(str),
        "language": np.where(is_test, "zh", "en"),
        "part": np.where(is_test, "test", "train"),
    }
    return states_of(layers, columns)


def test_rows_are_centred_by_the_values_of_a_column() -> None:
    states = two_languages(5)
    centred = CentredRows(states, "language")
    assert centred.groups.tolist() == ["en", "zh"]
    for layer in states.layers:
        vectors = states.layer(layer).astype(np.float64)
        for rows in (slice(0, 200), slice(200, 400)):
            expected = vectors[rows] - vectors[rows].mean(axis=0)
            # float32 numbers of size 10.
            np.testing.assert_allclose(centred.layer(layer, rows=rows), expected, atol=1e-5)
        some = np.array([3, 399, 7])
        np.testing.assert_array_equal(centred.layer(layer, rows=some), centred.layer(layer)[some])
    assert (centred.rows, centred.width, centred.level) == (400, 6, "text")
    blanks = states_of(noise(4, 3, 2), {"language": ["en", "en ", "zh", " zh"]})
    assert CentredRows(blanks, "language").groups.tolist() == ["en", "zh"]


def test_columns_that_cannot_be_centred_are_refused() -> None:
    states = states_of(noise(4, 3, 2), {"language": ["en", None, "de", ""]})
    with pytest.raises(
        RequestError, match="2 of 4 rows have no value in column 'language' of centre='language'"
    ):
        CentredRows(states, "language")
    with pytest.raises(
        RequestError, match="there is no column 'tongue' in the dataset; there are doc, text, language"
    ):
        CentredRows(states, "tongue")
    unique = states_of(noise(4, 3, 2), {"id": list("abcd"), "y": list("uvuv")})
    with pytest.raises(RequestError, match="has another value in each row, so that nothing would be left of"):
        CentredRows(unique, "id")
    with pytest.raises(
        RequestError, match="centre='y' is the column of the labels, .*; name another column, such as the"
    ):
        probe(two_languages(0), "classify", "y", split="part", centre="y")
    with pytest.raises(
        RequestError, match="can't be combined with random_model=True, whose rows aren't centred"
    ):
        probe(
            two_languages(0),
            "classify",
            "y",
            split="part",
            centre="language",
            random_models=[lambda *_: states],
        )


def test_the_best_layer_at_home_is_not_the_best_abroad() -> None:
    result = probe(two_languages(0), "classify", "y", split="part", mixes=[], quick=True)
    transfer = result.transfer
    assert transfer is not None
    assert (transfer.home, transfer.abroad) == ("1", "2")
    assert transfer.home_score > 0.97
    assert transfer.home_abroad < 0.6
    assert transfer.home_abroad == result["1"].score
    assert transfer.abroad_score == result["2"].score > 0.85
    assert transfer.low is not None
    assert 0 < transfer.low < transfer.abroad_score - transfer.home_abroad < transfer.high  # type: ignore[operator]
    assert transfer.text.startswith(
        "The layer that is best for rows like those of training isn't best for the test rows: layer 1"
    )
    content = json.loads(json.dumps(result.to_json()))
    assert content["transfer"]["abroad"] == "2"
    assert content["transfer"]["messages"]["text"]["key"] == "transfer.differs"
    assert content["centre"] is None


def test_the_score_at_home_is_that_of_the_folds_that_choose() -> None:
    """With dev rows it is the score on dev, which a fit by itself gives."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    states = two_languages(0)
    part = np.array(["train"] * 120 + ["dev"] * 80 + ["test"] * 200)
    y = np.array(states.texts["y"].to_pylist())
    columns = {"y": y, "part": part}
    split = states_of([states.layer(layer) for layer in states.layers], columns)
    result = probe(split, "classify", "y", split="part", mixes=[], quick=True)
    assert result.transfer is not None
    C = result["1"].C
    assert C is not None
    scaler = StandardScaler().fit(split.layer(1)[part == "train"])
    x = scaler.transform(split.layer(1))
    # The probe's C is that of a mean loss per row, as docs/explanation/probe.md says: scikit-learn's own, on these rows.
    model = LogisticRegression(C=C[0], max_iter=1000).fit(x[part == "train"], y[part == "train"])
    score = model.score(x[part == "dev"], y[part == "dev"])
    assert result.transfer.home_score == pytest.approx(score, abs=1 / 80)


def test_centring_finds_what_a_shift_of_the_language_hides() -> None:
    states = two_languages(8)
    raw = probe(states, "classify", "y", split="part", mixes=[], quick=True)
    centred = probe(states, "classify", "y", split="part", mixes=[], quick=True, centre="language")
    assert raw["2"].score < 0.6
    assert centred["2"].score > 0.85
    assert centred.centre == "language"
    note = next(note for note in centred.notes if "was subtracted from each layer" in note)
    assert "(2 values)" in note
    assert "use the test rows, without their labels" in note


def test_rows_of_which_centring_leaves_nothing_are_counted() -> None:
    states = two_languages(0)
    columns = {name: states.texts[name].to_pylist() for name in ("y", "language", "part")}
    columns["language"][:3] = ["de", "fr", "it"]
    few = states_of([states.layer(layer) for layer in states.layers], columns)
    result = probe(few, "classify", "y", split="part", mixes=[], quick=True, centre="language")
    assert any(
        note.startswith("3 rows have a value of column 'language' that no other row has")
        for note in result.notes
    )


@pytest.mark.parametrize("several", [False, True])
def test_labels_that_two_languages_spell_in_two_ways_are_refused(several: bool) -> None:
    states = two_languages(0)
    columns = {name: states.texts[name].to_pylist() for name in ("y", "part")}
    columns["y"] = [
        y if part == "train" else "no" if y == "0" else "yes"
        for y, part in zip(columns["y"], columns["part"], strict=True)
    ]
    if several:
        columns["y"] = [[y] for y in columns["y"]]
    named_apart = states_of([states.layer(layer) for layer in states.layers], columns)
    with pytest.raises(
        RequestError,
        match="no test row of split='part' has a label of a training row: test rows have 'no', 'yes', training rows have "
        "'0', '1'; name the labels alike in both parts",
    ):
        probe(named_apart, "classify", "y", split="part")


def test_the_same_layer_at_home_and_abroad() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    layers = noise(200, 4, 2)
    layers[1][:, 0] += 60 * y
    part = ["train"] * 120 + ["test"] * 80
    states = states_of(layers, {"y": y.astype(str), "part": part})
    transfer = probe(states, "classify", "y", split="part", mixes=[], quick=True).transfer
    assert transfer is not None
    assert (transfer.home, transfer.abroad, transfer.low) == ("1", "1", None)
    assert transfer.text.startswith("Layer 1 scores highest on held-out rows of training")
    assert probe(states, "classify", "y", mixes=[], quick=True).transfer is None


def test_the_command_and_its_files_say_it(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["good", "bad"]
    lines = [
        {"text": f"{words[n % 2]} {n} {lang}", "y": n % 2, "lang": lang, "part": part}
        for lang, part in (("en", "train"), ("zh", "test"))
        for n in range(30)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lw.extract(tmp_path / "t.jsonl", tmp_path / "t.lw", model=model)
    command = [
        "probe",
        str(tmp_path / "t.lw"),
        "--task",
        "classify",
        "--label",
        "y",
        "--split",
        "part",
        "--quick",
    ]
    assert main([*command, "--centre", "lang", "--quiet", "--out", str(tmp_path / "out")]) == 0
    text = json.loads((tmp_path / "out/probe.json").read_text())["transfer"]["text"]
    assert text in capsys.readouterr().out
    assert "held-out rows of training" in (tmp_path / "out/probe.md").read_text()
    assert main([*command, "--lang", "zh", "--quiet", "--out", str(tmp_path / "zh")]) == 0
    assert "在训练部分的留出行上得分最高" in (tmp_path / "zh/probe.md").read_text("utf-8")
