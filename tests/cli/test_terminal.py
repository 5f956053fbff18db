"""What is printed for people is fit for a terminal, whatever files, columns, labels and texts are called."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerwise._util import display
from layerwise.cli import output
from layerwise.cli.main import main

EVIL = "\x1b[2J\x07 ok\nnot ok\r\u202e\u2028\x9b31m\u200b"
FOLDER = f"data {EVIL}"
LABELS = (f"good {EVIL}", f"bad {EVIL}")


def fit(printed: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in printed)


@pytest.fixture
def run(
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[str]]:
    """Runs a command in a folder of hostile files; returns the lines that it prints."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    monkeypatch.chdir(folder)
    model_folder("bert")
    Path(f"model {EVIL}").symlink_to(model_folder("bert"))
    rows = [
        {"text": f"text {n} {EVIL}", f"label {EVIL}": LABELS[n % 2], "kind": "ab"[n % 2], f"more {EVIL}": n}
        for n in range(40)
    ]
    Path(f"rows {EVIL}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"text": 3}\n')

    def run(*arguments: str, code: int = 0) -> list[str]:
        capsys.readouterr()
        assert main(list(arguments)) == code, capsys.readouterr()
        out, err = capsys.readouterr()
        assert fit(out), ascii(out)
        assert fit(err), ascii(err)
        assert "not ok" not in out.splitlines(), "a name makes no line of its own"
        return (out + err).splitlines()

    return run


def test_names_and_labels(run: Callable[..., list[str]]) -> None:
    model, source, label, out = f"model {EVIL}", f"rows {EVIL}.jsonl", f"label {EVIL}", f"rows {EVIL}.lw"
    extract = ["extract", source, "--model", model, "--device", "cpu", "--skip-bad", "--out"]
    run(*extract, out)
    run(*extract, out)
    run("info", out)
    run("info", model)
    run("verify", out)
    run("repair", out)
    run(*extract, "tokens.lw", "--level", "token")
    run("pool", "tokens.lw", "--level", "text", "--out", f"pooled {EVIL}.lw")
    run("merge", out, out, "--out", f"both {EVIL}.lw")
    run("finish", out)
    run("export", out, "--to", "parquet", "--out", f"rows {EVIL}.parquet")
    run(
        "train",
        out,
        "--task",
        "classify",
        "--label",
        label,
        "--mix",
        "2",
        "--out",
        f"head {EVIL}",
        "--eval",
        out,
    )
    run(
        "train",
        out,
        "--task",
        f"a {EVIL}=classify:{label}",
        "--task",
        "b=classify:kind",
        "--out",
        f"two {EVIL}",
    )
    run("info", f"head {EVIL}")
    run("predict", f"head {EVIL}", source, "--skip-bad")
    run("evaluate", f"head {EVIL}", source, "--skip-bad")
    run("evaluate", f"two {EVIL}", out)
    run("probe", out, "--task", "classify", "--label", label, "--quick", "--out", f"probe {EVIL}")
    run("analyze", out, "--label", label, "--measure", "norm", "--out", f"analysis {EVIL}")
    run("report", out, "--probe", f"probe {EVIL}", "--texts", "0", "--out", f"page {EVIL}.html")
    run("show", EVIL, "--model", model, "--level", "token")
    (Path(out) / "shards" / f"more {EVIL}").write_text("")
    run("verify", out, code=1)
    run("repair", out)


def test_errors(run: Callable[..., list[str]]) -> None:
    source = f"rows {EVIL}.jsonl"
    for arguments in (
        ("extract", source, "--out", f"out {EVIL}"),
        ("extract", f"missing {EVIL}.jsonl", "--out", "out"),
        ("extract", source, "--out", "out", "--text", f"column {EVIL}"),
        ("info", f"missing {EVIL}"),
        ("predict", f"missing {EVIL}", source),
        (f"command {EVIL}",),
        ("info", "x", f"--{EVIL}"),
    ):
        assert len(run(*arguments, code=2)) == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_data_is_as_it_is_but_on_a_terminal(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    output.print_data("wor\x1b[31md\tO")
    assert capsys.readouterr().out == ("wor\\x1b[31md\tO\n" if terminal else "wor\x1b[31md\tO\n")


def test_a_table_stays_one(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_lines(*output.table([("name", "number"), ("a\nb\x1b", "1")], right=(1,)))
    assert capsys.readouterr().out == "name     number\na b\\x1b       1\n"


def test_a_name_that_is_no_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_lines(os.fsdecode(b"caf\xe9"))
    output.print_note(os.fsdecode(b"caf\xe9"))
    printed: Any = capsys.readouterr()
    assert (printed.out, printed.err) == ("caf\\udce9\n", "layerwise: note: caf\\udce9\n")


@pytest.mark.parametrize("right", [(), (0,), (1,)])
def test_tables_line_up_wide_characters(right: tuple[int, ...]) -> None:
    words = ["plain", "天气", "nai\u0308ve", "🙂", "한국어 text", "ｆｕｌｌ"]
    rows = [(word, f"{number}", "end") for number, word in enumerate(words, 95)]
    lines = output.table(rows, right=right)
    assert [line.split()[0] for line in lines] == [word.split()[0] for word in words]
    # Where the last cell begins, by a table of the widths of these words.
    columns = dict(zip(words, (5, 4, 5, 2, 11, 8), strict=True))
    for (word, _, _), line in zip(rows, lines, strict=True):
        before = line.removesuffix("end")
        assert len(before) - len(word) + columns[word] == 11 + 2 + 3 + 2, line


def test_show_lines_up_chinese(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = "天气很好 the word 🙂 e\u0301"
    command = ["show", text, "--model", model, "--layers", "1", "--level", "word", "--numbers", "1"]
    assert main(command) == 0
    _, header, *lines = capsys.readouterr().out.splitlines()
    places = set()
    for line in lines:
        number = re.search(r"\d+\.\d{3}  [+-]", line)
        assert number is not None
        places.add(display.width(line[: number.end()]))
    assert len(lines) == 8
    assert places == {header.index("first numbers") + 1}


def test_long_cells_are_cut_to_columns() -> None:
    assert output.visible("天" * 30, 20) == "天" * 9 + "…"
    assert output.visible("a" * 21, 20) == "a" * 19 + "…"
    assert output.visible("e\u0301" * 20, 20) == "e\u0301" * 20
