"""What is told once in a process, and by each command."""

from collections.abc import Callable
from pathlib import Path

import pytest

import layerwise as lw
from layerwise._util import told
from layerwise.encode.load import log_notes


def test_a_note_is_told_once_in_a_process(caplog: pytest.LogCaptureFixture) -> None:
    log_notes(["one", "two"])
    log_notes(["two", "three"])
    assert caplog.messages == ["one", "two", "three"]
    told.forget()
    log_notes(["two"])
    assert caplog.messages[3:] == ["two"]


def test_a_model_that_is_loaded_twice_is_told_of_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    model = str(model_folder("bert"))
    folder = tmp_path / "st"
    folder.mkdir()
    for file in Path(model).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, '
        '{"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}]'
    )
    for _ in range(2):
        lw.load_encoder(str(folder))
    assert sum("not applied: Normalize" in message for message in caplog.messages) == 1
