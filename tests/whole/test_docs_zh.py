"""The documents in Chinese: their commands and code are run, or are those of the English ones, which are."""

import ast
import io
import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from conftest import SHARED
from layerwise.cli.main import main

ROOT = Path(__file__).parents[2]
ENGLISH, ENGLISH_OVERVIEW, README, OVERVIEW, TUTORIAL = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "docs/reference/overview.md",
        "README.zh.md",
        "docs/zh/overview.md",
        "docs/zh/tutorial.md",
    )
)
WITH_JIEBA = "--word-split jieba"


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, also those within a list."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    lines = [line.strip() for block in blocks(text, "console") for line in block.splitlines()]
    return [line[2:] for line in lines if line[:2] == "$ "]


def statements(text: str) -> list[str]:
    return [ast.dump(node) for block in blocks(text, "python") for node in ast.parse(block).body]


@pytest.mark.parametrize(
    ("chinese", "english", "least"),
    [(README, ENGLISH, 8), (OVERVIEW, ENGLISH_OVERVIEW, 15)],
    ids=["readme", "overview"],
)
def test_commands_and_code_are_those_of_the_english_page(chinese: str, english: str, least: int) -> None:
    run = {*commands(english), *commands(TUTORIAL)}
    assert len(commands(chinese)) >= least
    assert [command for command in commands(chinese) if command not in run] == []
    assert [node for node in statements(chinese) if node not in statements(english)] == []
    assert len(statements(chinese)) >= 5


def test_both_readmes_show_the_same_numbers() -> None:
    assert blocks(README, "text") == blocks(ENGLISH, "text")
    for number in ("98.5%", "7.4%", "17.1%", "0.62", "0.48"):
        assert ENGLISH.count(number) == README.count(number) > 0


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        (README, ROOT),
        (OVERVIEW, ROOT / "docs/zh"),
        (TUTORIAL, ROOT / "docs/zh"),
        (ENGLISH, ROOT),
        (ENGLISH_OVERVIEW, ROOT / "docs/reference"),
    ],
    ids=["zh", "overview-zh", "tutorial", "en", "overview"],
)
def test_links_lead_to_files_and_headings(text: str, folder: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert links
    for link in links:
        path, _, heading = link.partition("#")
        assert (folder / path).exists(), f"there is no {path}"
        if heading:
            page = (folder / path).read_text(encoding="utf-8") if path else text
            names = [anchor(line) for line in page.splitlines() if line.startswith("#")]
            assert heading in names, f"{link}: there are {names}"


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading: lower case, blanks as hyphens, no punctuation."""
    kept = re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower())
    return kept.replace(" ", "-")


def test_both_readmes_name_the_tutorial() -> None:
    assert "docs/zh/tutorial.md" in README
    assert "README.zh.md" in ENGLISH


def test_the_corpus_is_as_the_tutorial_says() -> None:
    folder = ROOT / "examples/zh"
    for name, rows, sentences in (("", 120, 75), ("_test", 40, 32)):
        lines = (folder / f"reviews{name}.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert len(lines) == len(set(lines)) == rows
        assert sum(line.endswith(",正面") for line in lines) == rows // 2
        names = (folder / f"names{name}.conll").read_text(encoding="utf-8").strip()
        assert len(names.split("\n\n")) == sentences
        tags = [line.partition("\t")[2] for line in names.splitlines() if line]
        assert set(tags) == {"O", *(f"{part}-{kind}" for part in "BI" for kind in ("PER", "LOC", "ORG"))}
    train, test = (
        (folder / f"reviews{name}.csv").read_text(encoding="utf-8").splitlines() for name in ("", "_test")
    )
    assert set(train) & set(test) == {"text,label"}, "no review is in both parts"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def run(command: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command of the tutorial in this process: `echo` and a pipe are all of the shell that it uses."""
    before, _, piped = command.rpartition(" | ")
    if before:
        (words,) = shlex.split(before)[1:]
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{words}\n".encode()), encoding="utf-8")
        )
    arguments = [model if word == "$MODEL" else word for word in shlex.split(piped)]
    assert arguments[0] == "layerwise"
    assert main(arguments[1:]) == 0, command


def tutorial(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = commands(TUTORIAL)
    assert first.startswith("export MODEL=")
    for command in rest:
        if WITH_JIEBA not in command or has_jieba():
            run(command, model, monkeypatch)


def has_jieba() -> bool:
    try:
        import jieba  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.slow
def test_the_tutorial_works(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way, with minilm; its scores of Chinese say nothing."""
    tutorial("minilm", monkeypatch)
    shown = capsys.readouterr()
    noted = " ".join(blocks(TUTORIAL, "text")[0].split())
    assert noted in " ".join(shown.err.split()), "the note is what the tutorial shows"
    assert '"spans"' in shown.out
    assert '"names"' in shown.out, "two heads answer"
    assert 'lang="zh' in Path("page.html").read_text(encoding="utf-8")


def table_of_layers() -> dict[str, float]:
    rows = re.findall(r"^\| (\S+) \| (0\.\d+) \| 0\.\d+ 至", TUTORIAL, re.MULTILINE)
    return {mix: float(score) for mix, score in rows}


@pytest.fixture(scope="module")
def e5(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of multilingual-e5-small: one that is made already, or made by the tool."""
    made = os.environ.get("LAYERWISE_TEST_E5")
    script = SHARED / "tools/e5_small.py"
    if made is None:
        if not script.exists():
            pytest.skip("needs ../shared")
        made = str(tmp_path_factory.mktemp("e5") / "e5")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(script), made])
            runpy.run_path(str(script), run_name="__main__")
    return made


@pytest.mark.slow
def test_the_tutorial_has_the_scores_that_it_tells(
    e5: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tutorial(e5, monkeypatch)
    probe: dict[str, Any] = lw.probe(
        "reviews.lw", task="classify", label="label", quick=True, mix=["mean(1:)"], no_codelength=True
    ).to_json()
    scores = {candidate["mix"]: candidate["score"] for candidate in probe["candidates"]}
    told = table_of_layers()
    assert len(told) == 6
    for mix, score in told.items():
        # Two digits are told, and other processors round a review of 120 the other way.
        assert abs(scores[mix] - score) <= 0.005 + 1 / 120, mix
    assert probe["advice"]["best"] == "10"
    assert (
        lw.load_head("reviews.head")
        .evaluate("examples/zh/reviews_test.csv")["label"]
        .scores["accuracy"]
        .score
        >= 0.95
    )
    names = lw.load_head("names.head").evaluate("examples/zh/names_test.conll", words="token")["tag"]
    assert names.scores["span_f1"].score == pytest.approx(0.67, abs=0.03)
