"""Wrong arguments of `cut`: one line, exit 2, nothing half written."""

import inspect
import json
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

import layerwise as lw
from layerwise.cli.main import main

CASES = [
    (["--at", "9"], "--at '9': layer 9 doesn't exist; there are emb, 1, 2, 3"),
    (["--at", "1:"], "--at '1:': these are 3 layers where one is needed"),
    (["--at", "attention.2"], "--at attention.2 is a site inside of block 2"),
    (["--at", "x"], "--at 'x': 'x' isn't a layer"),
    ([], "cut needs the layer that the model ends at; give --at 4"),
    (["--drop", "4"], "--drop '4': layer 4 doesn't exist"),
    (["--drop", "emb"], "--drop 'emb': emb is no block; give blocks, 1 to 3"),
    (["--at", "1", "--drop", "2"], "--drop '2': block 2 is not part of a model that ends at layer 1"),
    (["--at", "emb", "--drop", "1"], "--drop 1 leaves out blocks, and the embeddings alone have none"),
    (["--at", "2", "--to", "tflite"], "--to 'tflite' doesn't exist; choose one of folder, onnx"),
    (["--at", "2", "--mix", "mean(1:)"], "--mix mean(1:) needs --to onnx"),
    (["--at", "2", "--head", "x.head"], "--head x.head needs --to onnx"),
    (["--at", "2", "--precision", "int8"], "--precision int8 needs --to onnx"),
    (["--at", "2", "--to", "onnx", "--mix", "2", "--head", "x"], "--mix 2 and --head x exclude each other"),
    (["--at", "2", "--static", "--drop", "1"], "--drop 1 has no effect on it, leave it out"),
    (["--at", "2", "--static", "--to", "onnx"], "--to onnx has no effect on it, leave it out"),
    (["--at", "2", "--probe", "x"], "--probe says what --drop costs"),
    (["--table", "--at", "2"], "--at 2 has no effect on it, leave it out"),
    (["--table", "--static"], "--static has no effect on it"),
    (["--drop", "2", "--to", "onnx", "--probe", "x"], "--to onnx has none, leave one of them out"),
    (["--at", "2", "--threads", "0"], "--threads 0 is out of range"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_wrong_request_is_one_line(
    arguments: list[str],
    message: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["cut", str(model_folder("bert")), "--out", str(tmp_path / "out"), "--device", "cpu"]
    capsys.readouterr()  # what transformers prints while the model is made
    assert main([*command, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_the_output_must_be_new_and_named(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(model_folder("bert"))
    assert main(["cut", model, "--at", "2"]) == 2
    assert "name it in --out" in capsys.readouterr().err
    (tmp_path / "there").mkdir()
    assert main(["cut", model, "--at", "2", "--out", str(tmp_path / "there")]) == 2
    assert "already exists; give a new name" in capsys.readouterr().err
    assert main(["cut", str(tmp_path / "no"), "--at", "2", "--out", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


def test_the_command_says_what_it_wrote(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["cut", str(model_folder("bert")), "--at", "-2", "--out", str(out), "--device", "cpu"]
    assert main(command) == 0
    first, *parities = capsys.readouterr().out.splitlines()
    assert f"{out}: {model_folder('bert')} up to layer 2: 2 of 3 blocks" in first
    assert [line.split(":")[0].strip() for line in parities] == ["hidden_states", "last_hidden_state"]
    assert main([*command[:-3], str(tmp_path / "json"), "--device", "cpu", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["at"] == "2"
    assert content["parity"] == {"hidden_states": 0.0, "last_hidden_state": 0.0}
    assert set(content["source"]) >= {"id", "revision", "family", "blocks", "weights", "tokenizer", "config"}


def test_the_type_of_the_result_depends_on_table_alone() -> None:
    """Each overload has all parameters, with their defaults."""
    whole = inspect.signature(lw.cut).parameters
    variants = typing.get_overloads(lw.cut)
    assert len(variants) == 2
    for variant in variants:
        parameters = inspect.signature(variant).parameters
        assert list(parameters) == list(whole)
        for name in whole.keys() - {"table"}:
            assert parameters[name] == whole[name]
