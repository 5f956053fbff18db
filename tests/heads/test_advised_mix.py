"""train --mix-from: the mix that a probe advised, and what is said where the probe is of something else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import RequestError


@pytest.fixture(scope="module")
def folder(encoder_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("advice")
    source = folder / "rows.csv"
    lines = [f"{'good' if n % 3 else 'bad'} film {n},{n % 3 > 0},{n / 2}" for n in range(60)]
    source.write_text("text,label,score\n" + "\n".join(lines) + "\n")
    dataset = lw.extract(source, folder / "rows.lw", model=encoder_of("bert"), dtype="float32")
    lw.probe(dataset, task="classify", label="label", mix=["mean(1:)"], quick=True, out=folder / "probe")
    return folder


def advised(folder: Path, **changes: Any) -> dict[str, Any]:
    """The content of the probe, changed."""
    return {**json.loads((folder / "probe" / "probe.json").read_text()), **changes}


def notes_of(folder: Path, probe: Any, **options: Any) -> list[str]:
    options = {"task": "classify", "label": "label", **options}
    return [*lw.train(folder / "rows.lw", mix_from=probe, **options).training["notes"]]


def test_the_best_mix_of_a_probe_is_trained(folder: Path) -> None:
    stored = folder / "probe" / "probe.json"
    content = json.loads(stored.read_text())
    expected = lw.train(folder / "rows.lw", task="classify", label="label", mix=content["advice"]["best"])
    states = lw.open_dataset(folder / "rows.lw")
    for probe in (folder / "probe", str(stored), content):
        head = lw.train(states, task="classify", label="label", mix_from=probe)
        assert head.mixes == expected.mixes
        assert head.predict_rows(states) == expected.predict_rows(states)


def test_the_result_of_probe_is_taken(folder: Path) -> None:
    result = lw.probe(folder / "rows.lw", task="regress", label="score", mix=[], quick=True)
    head = lw.train(folder / "rows.lw", task="regress", label="score", mix_from=result)
    assert head.mixes == {"score": result.advice.best}


def test_the_mix_and_the_reason_are_told(folder: Path) -> None:
    same = {"best": "2", "cheapest": "2"}
    (note,) = notes_of(folder, advised(folder, advice=same))[:1]
    assert note == "the mix is 2, as the probe advised (the best one)"
    cheaper = {"best": "mean(1,2,3)", "cheapest": "1"}
    (note,) = notes_of(folder, advised(folder, advice=cheaper))[:1]
    assert "the mix is mean(1:4), as" in note
    assert "(the best one; mix='1' takes the cheapest within one standard error of it)" in note


def test_a_probe_of_something_else_is_told(
    folder: Path, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    content = advised(folder)
    assert not any("may not hold" in note for note in notes_of(folder, content))
    other_data = {**content["dataset"], "sha256": "0" * 64, "path": "other.lw"}
    model = {**content["dataset"]["model"], "weights": "0" * 64, "id": "another"}
    other_model = {**content["dataset"], "model": model}
    cases = {
        "of another dataset (other.lw, or one since changed)": advised(folder, dataset=other_data),
        "of another model (another, not ": advised(folder, dataset=other_model),
        "for classify of stars, not classify of label": advised(folder, label="stars"),
        "for tag of label, not classify of label": advised(folder, task="tag"),
        "of level word with pool first, not text with mean": advised(folder, level="word", pool="first"),
        "of rows centred by column 'language', and a head centres none": advised(folder, centre="language"),
    }
    for text, probe in cases.items():
        (note,) = (note for note in notes_of(folder, probe) if "may not hold here" in note)
        assert text in note
    tasks = {"a": "classify:label", "b": "regress:score"}
    notes = notes_of(folder, content, task=None, label=None, tasks=tasks)
    assert any("for classify of label, not regress of score" in note for note in notes)


def test_what_is_no_advice_is_refused(folder: Path, tmp_path: Path) -> None:
    for advice in (None, {}, {"best": "1"}, {"best": 1, "cheapest": 1}, {"best": "1", "cheapest": ""}):
        with pytest.raises(RequestError, match="the probe has no advice with 'best' and 'cheapest'"):
            notes_of(folder, advised(folder, advice=advice))
    with pytest.raises(RequestError, match="mix_from='.*nothing': .*; give the folder that `probe` wrote"):
        notes_of(folder, tmp_path / "nothing")
    (tmp_path / "probe.json").write_text("[1]")
    with pytest.raises(RequestError, match="contains no probe, or a damaged one"):
        notes_of(folder, tmp_path)
    with pytest.raises(RequestError, match="mix and mix_from are both given"):
        notes_of(folder, folder / "probe", mix="2")
    with pytest.raises(RequestError, match="9"):
        notes_of(folder, advised(folder, advice={"best": "9", "cheapest": "9"}))


def test_the_command_takes_it_and_prints_the_default(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(folder / "rows.lw"), "--task", "classify", "--label", "label"]
    both = [*command, "--mix", "2", "--mix-from", str(folder / "probe"), "--out", str(tmp_path / "x")]
    assert main(both) == 2
    assert "--mix and --mix-from are both given" in capsys.readouterr().err
    assert main([*command, "--mix-from", str(folder / "probe"), "--out", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr()
    best = advised(folder)["advice"]["best"]
    assert f"the mix is {best}, as probe {folder / 'probe'} advised" in shown.err
    assert f"label: classify on {best}," in shown.out
    assert main([*command, "--out", str(tmp_path / "b")]) == 0
    shown = capsys.readouterr()
    assert "the mix is mean(1,2,3), the default; --mix names another" in shown.err
    assert main([*command, "--mix", "2", "--out", str(tmp_path / "c")]) == 0
    assert "the mix is" not in capsys.readouterr().err


def test_several_tasks_say_which_have_the_default(folder: Path) -> None:
    tasks = {"a": "classify:label", "b": "regress:score"}
    head = lw.train(folder / "rows.lw", tasks=tasks, mix={"a": "2"})
    assert any(
        note.startswith("the mix for b is mean(1,2,3), the default") for note in head.training["notes"]
    )


def test_a_mix_that_the_dataset_has_not_is_refused_with_its_origin(
    folder: Path, encoder_of: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = lw.extract(folder / "rows.csv", tmp_path / "one.lw", model=encoder_of("bert"), layers="1")
    best = advised(folder)["advice"]["best"]
    assert best != "1"
    command = [
        "train",
        str(dataset.path),
        "--task",
        "classify",
        "--label",
        "label",
        "--out",
        str(tmp_path / "h"),
    ]
    capsys.readouterr()
    assert main([*command, "--mix-from", str(folder / "probe")]) == 2
    says = f"probe {folder / 'probe'} advised the mix {best} and the dataset has the layers 1; extract those of the mix too, "
    assert f"{says}or name another in --mix" in capsys.readouterr().err
