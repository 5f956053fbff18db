"""Where somebody who doesn't know layerwise yet goes wrong: each message says what was given and what to do."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise.cli.main import _COMMANDS, main

Refused = Callable[..., str]
Printed = Callable[..., tuple[str, str]]
ROWS = [f"{'good' if n % 2 else 'bad'} film number {n}" for n in range(40)]


@pytest.fixture(scope="module")
def folder(encoder_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source whose text is in the column `review`, its dataset, a head and a probe."""
    folder = tmp_path_factory.mktemp("newcomer")
    lines = [f'{text},{"yes" if n % 2 else "no"},"{n},5"' for n, text in enumerate(ROWS)]
    (folder / "reviews.csv").write_text("review,liked,stars\n" + "\n".join(lines) + "\n")
    dataset = lw.extract(
        folder / "reviews.csv", folder / "reviews.lw", model=encoder_of("bert"), text="review"
    )
    lw.train(dataset, task="classify", label="liked", mix="2", out=folder / "liked.head")
    (folder / "reviews.probe").mkdir()
    (folder / "reviews.probe" / "probe.json").write_text("{}")
    return folder


@pytest.fixture
def printed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """A function that runs a command in the folder, and returns what it printed on stdout and stderr."""
    monkeypatch.chdir(folder)

    def call(*argv: str) -> tuple[str, str]:
        capsys.readouterr()
        assert main([*argv]) == 0, capsys.readouterr().err
        return capsys.readouterr()

    return call


@pytest.fixture
def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """A function that runs a command in the folder, which must be refused, and returns its line."""
    monkeypatch.chdir(folder)

    def call(*argv: str) -> str:
        capsys.readouterr()
        assert main([*argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return call


def tiny(folder: Path) -> list[str]:
    """The options that choose the model of the dataset."""
    return ["--model", str(lw.open_dataset(folder / "reviews.lw").manifest.model.id), "--device", "cpu"]


TRAIN = "train reviews.lw --task classify --label liked --out x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A charming film.", "'A charming film.'"),
        ("Great!", "'Great!'"),
        ("Is it good?", "'Is it good?'"),
        ("word " * 80, '"TEXT"'),
    ],
)
def test_a_text_where_a_file_is_expected(text: str, shown: str, refused: Refused) -> None:
    message = refused("predict", "liked.head", text)
    assert (
        f"a text itself comes from stdin: echo {shown} | layerwise …, with - where the file would stand"
        in message
    )


def test_a_mistyped_file_is_no_text(refused: Refused) -> None:
    assert "a text itself" not in refused("predict", "liked.head", "my reviews.csv")
    message = refused(
        "train", "reviews.lw", "--task", "classify", "--labels-from", "gold labels", "--out", "h"
    )
    assert "a text itself" not in message


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (
            f"{TRAIN} --mix-from reviews.lw",
            "--mix-from reviews.lw: this is a dataset; give the folder that `probe` wrote: `layerwise probe reviews.lw "
            "--task TASK --label COL --out DIR` makes one",
        ),
        (
            f"{TRAIN} --mix-from liked.head",
            "--mix-from liked.head: this is a head; give the folder that `probe` wrote",
        ),
        (
            "predict reviews.lw reviews.csv",
            "reviews.lw is a dataset; a head is a folder that `layerwise train`",
        ),
        ("analyze liked.head --out x", "liked.head is a head; give the folder of a dataset"),
        ("verify reviews.probe", "reviews.probe is the result of `probe`; give the folder of a dataset"),
        ("show hi --model reviews.lw", "reviews.lw is a dataset; give the folder of a model"),
    ],
)
def test_a_folder_of_another_kind_is_named(command: str, shown: str, refused: Refused) -> None:
    assert shown in refused(*command.split())


def test_another_source_is_told_before_its_settings(folder: Path, refused: Refused) -> None:
    (folder / "other.csv").write_text("review,liked,stars\nüber,yes,1\n", encoding="latin-1")
    command = ["extract", "other.csv", "--out", "reviews.lw", "--text", "review", *tiny(folder)]
    message = refused(*command, "--encoding", "latin-1")
    assert "reviews.lw holds the texts of" in message
    assert "reviews.csv', and 'other.csv' isn't among them (reading.encoding is" in message
    assert "to add it to the dataset, give --append, or extract it to another --out" in message
    message = refused(*command, "--encoding", "latin-1", "--dtype", "float32")
    assert "to add it to the dataset, give the same settings and --append" in message
    (folder / "other.csv").write_text("review,liked,stars\nbad film,yes,1\n")
    message = refused(*command)
    assert "reviews.lw holds the texts of" in message
    assert "and other.csv isn't among them; to add it to the dataset, give --append" in message


def test_workers_that_are_missing_are_named(folder: Path, printed: Printed, refused: Refused) -> None:
    options = ["--out", "array.lw", "--text", "review", "--shard-texts", "10"]
    command = ["extract", "reviews.csv", *options, *tiny(folder)]
    for index in ("0", "2"):
        printed(*command, "--num-workers", "4", "--worker-index", index)
    message = refused("info", "array.lw")
    assert "array.lw is unfinished: it has no manifest yet; workers 1, 3 of 4 have not ended" in message
    assert "when all have, run `layerwise finish array.lw`" in message
    printed(*command, "--num-workers", "4", "--worker-index", "1")
    assert "worker 3 of 4 has not ended" in refused(
        "probe", "array.lw", "--task", "classify", "--label", "liked", "--out", "x"
    )
    printed(*command, "--num-workers", "4", "--worker-index", "3")
    assert "all 4 workers have ended, so run `layerwise finish array.lw`" in refused("info", "array.lw")
    printed("finish", "array.lw")


def test_a_header_without_records(folder: Path, refused: Refused) -> None:
    (folder / "empty.csv").write_text("review,liked\n\n")
    message = refused("extract", "empty.csv", "--out", "none.lw", "--text", "review", *tiny(folder))
    assert (
        "there is no text in 'empty.csv', which has a header ('review', 'liked') and no record below it"
        in message
    )
    message = refused(
        "extract", "empty.csv", "--out", "none.lw", "--text", "review", "--no-text", *tiny(folder)
    )
    assert "liked" not in message


def test_a_decimal_comma(refused: Refused) -> None:
    message = refused("train", "reviews.lw", "--task", "regress", "--label", "stars", "--out", "x")
    assert "column 'stars' of the text in" in message
    assert (
        "reviews.csv, line 2, holds '0,5', a number with a comma, and numbers need a point; write 0.5, in the source, or in a "
        "file for --labels-from (such values: 40 of 40)" in message
    )


def test_models_that_are_here_are_named(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--intfloat--e5-small").mkdir()
    message = refused("show", "hi", "--model", "minlm")
    assert "use --model minilm (offline) or a local folder of a downloaded model" in message
    assert message.endswith("; on this machine: minilm, intfloat/e5-small\n")
    assert "on this machine: intfloat/e5-small, minilm" in refused(
        "show", "hi", "--model", "intfloat/e5-smal"
    )


def test_the_next_commands_have_the_label_and_what_they_need(folder: Path, printed: Printed) -> None:
    command = ["extract", "reviews.csv", "--text", "review", *tiny(folder), "--trust-remote-code"]
    out, _ = printed(*command, "--out", "next one.lw", "--no-text", "--keep", "liked")
    verify, probe = out.splitlines()[-2:]
    assert verify == (
        "next: layerwise info 'next one.lw'   ·   layerwise verify 'next one.lw' --device cpu --trust-remote-code --source "
        "reviews.csv"
    )
    assert probe == (
        "      layerwise probe 'next one.lw' --task classify --label liked --out 'next one.probe'"
    )
    printed("verify", "next one.lw", "--device", "cpu", "--trust-remote-code", "--source", "reviews.csv")
    out, err = printed(*command, "--out", "silent.lw", "--no-text")
    assert "layerwise probe" not in out, "the label isn't stored"
    assert (
        "--no-text leaves out the columns that may hold text: liked, stars; --keep stores those that" in err
    )
    lines = [
        "She is ill,good food,NA",
        "He is well,bad food,NA",
    ]  # no header: the first text is taken for a name
    (folder / "headless.csv").write_text("\n".join(lines))
    command = ["extract", "headless.csv", "--text", "She is ill", *tiny(folder)]
    _, err = printed(*command, "--out", "headless.lw", "--no-text")
    assert "the columns that may hold text: column 2, column 3; --keep" in err
    assert "1 in column 3; R, pandas" in err
    assert "food" not in err


@pytest.mark.parametrize("command", ["", *_COMMANDS])
def test_help_names_no_file_of_the_project(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*filter(None, [command]), "-h"])
    assert "docs/" not in capsys.readouterr().out


def test_docstrings_name_no_file_of_the_project() -> None:
    for name in lw.__all__:
        public = getattr(lw, name)
        methods = vars(public).values() if isinstance(public, type) else ()
        for text in (public.__doc__, *(getattr(method, "__doc__", None) for method in methods)):
            assert "docs/" not in (text or ""), name


def test_a_head_remembers_the_column_of_texts(folder: Path, printed: Printed) -> None:
    out, err = printed("predict", "liked.head", "reviews.csv")
    expected, without_note = printed("predict", "liked.head", "reviews.csv", "--text", "review")
    assert [json.loads(line)["label"] for line in out.splitlines()] == [
        json.loads(line)["label"] for line in expected.splitlines()
    ]
    note = "the texts are read as those of the head's training, with --text review; give --text to read another column"
    assert note in err
    assert note not in without_note
    assert "read with --text review, unless another column is named" in printed("info", "liked.head")[0]
    assert "accuracy" in printed("evaluate", "liked.head", "reviews.csv")[0]
    (folder / "new.csv").write_text("text\na good film\n")
    assert note not in printed("predict", "liked.head", "new.csv")[1], "it has no such column"
    (folder / "new.txt").write_text("a good film\n")
    assert note not in printed("predict", "liked.head", "new.txt")[1], "it has no columns"


def test_a_limit_within_a_document_is_told(folder: Path, printed: Printed) -> None:
    records = [{"text": f"text {n}", "document": str(n // 2)} for n in range(4)]
    (folder / "parts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    note = "ends within a document (column 'document'): its later texts are left out"
    for limit, is_cut in (("1", True), ("2", False), ("3", True), ("4", False)):
        _, err = printed(
            "extract", "parts.jsonl", "--out", f"limit{limit}.lw", "--limit", limit, *tiny(folder)
        )
        assert (note in err) == is_cut


def test_bench_refuses_an_unknown_model_first(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("layerwise.extraction.speed._texts", lambda *_: pytest.fail("texts were read first"))
    assert "'nobody/nothing' isn't on this machine" in refused("bench", "--model", "nobody/nothing")


def test_no_row_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    states = lw.open_dataset(folder / "reviews.lw")
    with caplog.at_level(logging.WARNING, "layerwise"):
        assert len(states.where(liked="Yes")) == 0
        assert len(states.where(text="film")) == 0
        assert len(states.where(liked="maybe")) == 0
        assert len(states.where(liked="yes", text=ROWS[0])) == 0
        assert len(states.where(liked="yes")) == 20
    assert [record.getMessage() for record in caplog.records] == [
        "no row has 'Yes' in column 'liked'; there is 'yes'",
        "no row has 'film' in column 'text'; a row is a whole text here, words are rows of level 'word'",
        "no row has 'maybe' in column 'liked'",
        "no row fulfils all of these at once: liked, text",
    ]
