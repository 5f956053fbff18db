"""The reference: its examples run, and what it says of names, commands, JSON and errors is what the code has."""

import argparse
import itertools
import json
import re
import shlex
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise import heads
from layerwise.cli.main import _COMMANDS, _parser, main
from layerwise.layers import resolve_layers
from layerwise.store import layout, transform_file
from layerwise_docs.errors import KINDS, ROOMS, in_markdown, markdown, of_kind
from layerwise_docs.messages import ErrorMessage, messages
from page_steps import assert_shown, checked

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
API = sorted(path for path in (REFERENCE / "api").glob("*.md") if path.stem != "index")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)


# These take seconds.
SLOW = {
    "Alignment",
    "Benchmark",
    "CutModel",
    "CutTable",
    "LayerFeatures",
    "ProbeResult",
    "bench",
    "cut",
    "probe",
}
EXAMPLES = (*API, REFERENCE / "layers.md", ROOT / "docs" / "index.md")


def _marks(name: str) -> Sequence[pytest.MarkDecorator]:
    return [pytest.mark.slow] if name in SLOW else []


def _page(page: Path) -> Any:
    return pytest.param(page, marks=_marks(page.stem), id=page.stem)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the first page of the Python reference makes, and the examples."""
    folder = tmp_path_factory.mktemp("reference")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (code,) = blocks(REFERENCE / "api" / "index.md", "python")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code, "index.md", "exec"), {})
    return folder


@pytest.fixture
def here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the prepared folder, and the current one."""
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("page", [_page(page) for page in EXAMPLES])
def test_the_examples_of_a_page_run(page: Path, here: Path) -> None:
    codes = blocks(page, "python")
    assert codes, "a page has an example"
    code = checked("\n".join(codes))
    if page.stem != "plots":  # it draws
        assert code.values, "an example shows what comes out"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries
        exec(compile(code.text, page.name, "exec"), {"assert_shown": assert_shown})


def test_each_public_name_has_a_page() -> None:
    errors = {name for name in lw.__all__ if name.endswith("Error")}
    assert {page.stem for page in API} == {*lw.__all__} - errors | {"exceptions"}
    named = set(re.findall(r"autoexception:: layerwise\.(\w+)", text_of(REFERENCE / "api" / "exceptions.md")))
    assert named == errors
    listed = re.findall(r"^(\w+)$", text_of(REFERENCE / "api" / "index.md"), re.MULTILINE)
    assert sorted(listed) == sorted(page.stem for page in API)
    for page in API:
        if page.stem not in ("exceptions", "plots"):
            assert f":: layerwise.{page.stem}\n" in text_of(page)
            assert re.search(rf"lw\.{page.stem}\b", text_of(page)) or page.stem[0].isupper()


def test_each_command_has_a_page() -> None:
    pages = {path.stem: path for path in (REFERENCE / "commands").glob("*.md") if path.stem != "index"}
    assert set(pages) == set(_COMMANDS)
    for name, page in pages.items():
        assert f"```{{command}} {name}\n" in text_of(page)
    listed = re.findall(r"^(\w+)$", text_of(REFERENCE / "commands" / "index.md"), re.MULTILINE)
    assert listed == list(_COMMANDS)


def test_help_groups_the_flags_by_what_they_are_about() -> None:
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    groups = {
        group.title: [flag for action in group._group_actions for flag in action.option_strings]
        for group in commands.choices["extract"]._action_groups
    }
    assert groups["How a model is loaded"][:2] == ["--revision", "--device"]
    assert groups["Which processes do the work of extract"] == ["--append", "--workers", "--cluster"]
    assert "--level" in groups["What a row stands for"]
    assert "--out" in groups["options"]


def test_the_table_of_layer_strings_is_right() -> None:
    rows = re.findall(r"^\| (`.*?`) \|.*\| `([^`]*)` \|$", text_of(REFERENCE / "layers.md"), re.MULTILINE)
    assert len(rows) == 12
    for strings, names in rows:
        for string in re.findall("`(.*?)`", strings):
            shown = ",".join(resolve_layers(string, 6))
            first, dots, last = names.partition(",…,")
            assert shown == names or (dots and shown.startswith(first) and shown.endswith(last)), string


def test_the_table_of_mix_strings_is_right(here: Path) -> None:
    table = text_of(REFERENCE / "layers.md").partition("## Mixes")[2]
    mixes = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    assert len(mixes) == 7
    dataset = lw.open_dataset("reviews.lw")
    for mix in mixes:
        if mix.startswith("learned"):
            with pytest.raises(lw.RequestError, match="head"):
                dataset.mix(mix)
        else:
            assert dataset.mix(mix).shape == (160, 768 if mix.startswith("concat") else 384)


def test_the_versions_are_those_of_the_code() -> None:
    text = text_of(REFERENCE / "versions.md")
    table = dict(re.findall(r"^\| the format of (\w+) \| (\d+) \|", text, re.MULTILINE))
    assert table == {
        "datasets": str(layout.VERSION),
        "heads": str(heads.storage.VERSION),
        "transforms": str(transform_file.VERSION),
    }


# The commands whose JSON the page describes, and what they are run on.
JSON_COMMANDS = {
    "show": "'Hello, world!'",
    "extract": "examples/reviews_test.csv --out test.lw",
    "info": "reviews.lw",
    "verify": "reviews.lw --sample 1",
    "finish": "reviews.lw",
    "merge": "reviews.lw reviews.lw --out twice.lw",
    "repair": "reviews.lw",
    "pool": "names.lw --out sentences.lw",
    "train": "reviews.lw --task classify --label label --mix 4 --out new.head --eval examples/reviews_test.csv",
    "evaluate": "sentiment.head examples/reviews_test.csv",
    "probe": "reviews.lw --task classify --label label --quick --no-codelength --mix 4 --out probe",
    "analyze": "reviews.lw --measure norm --out analysis",
    "align": "examples/pairs.txt --out links.jsonl --layers 4",
    "report": "reviews.lw --out reviews.html",
    "cut": "minilm --at 2 --out minilm-2",
    "export": "reviews.lw --to binary --mix 4 --out bits",
    "bench": "--texts 4 --rounds 1 --no-bf16 --no-int8",
    "env": "",
}


def keys(value: Any) -> Iterator[str]:
    """The names of objects in a JSON value, but not those that are the user's: of layers, labels, columns and hashes."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "values" and "key" in value:
                continue  # those of a sentence
            if re.fullmatch(r"[a-z_A-Z]\w*", name):
                yield name
            yield from keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


@pytest.mark.parametrize("command", [pytest.param(name, marks=_marks(name)) for name in JSON_COMMANDS])
def test_the_page_names_every_entry_of_json(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "examples" / "pairs.txt").write_text("the red house ||| the house is red\n")
    argv = [command, *shlex.split(JSON_COMMANDS[command]), "--json"]
    assert main(argv) == 0, capsys.readouterr().err
    value = json.loads(capsys.readouterr().out)
    _, _, section = text_of(REFERENCE / "json.md").partition(f"## {command}\n")
    section = section.partition("\n## ")[0]
    shared = (
        text_of(REFERENCE / "json.md").partition("## Parts of several outputs\n")[2].partition("\n## ")[0]
    )
    assert section, f"docs/reference/json.md has no section {command}"
    for linked in re.findall(r"\]\(((?:\.\./explanation/)?\w+\.md)", section):
        section += text_of(REFERENCE / linked)
    section += shared
    missing = sorted({name for name in keys(value) if f"`{name}`" not in section} - USERS)
    assert not missing, (
        f"{command} --json has entries that docs/reference/json.md doesn't describe: {missing}"
    )


# Names that are the user's or those of a machine: of layers, labels, ways and libraries.
USERS = {"emb", "label", "negative", "positive"}


def test_every_json_command_is_tested() -> None:
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    with_json = {
        name
        for name, parser in commands.choices.items()
        if any("--json" in action.option_strings for action in parser._actions)
    }
    assert with_json == set(JSON_COMMANDS)


def test_the_glossary_is_in_order() -> None:
    terms = re.findall(r"^(\w[^\n]*)\n  \w", text_of(REFERENCE / "glossary.md"), re.MULTILINE)
    assert len(terms) > 30
    assert [term.lower() for term in terms] == sorted({term.lower() for term in terms})


def test_errors_are_of_kinds_with_pages() -> None:
    pages = {path.stem for path in (REFERENCE / "errors").glob("*.md")} - {"index"}
    assert pages == set(KINDS)
    for kind in pages:
        assert len(of_kind(kind)) >= 10, kind
        assert f"```{{errors}} {kind}\n" in text_of(REFERENCE / "errors" / f"{kind}.md")
    assert {message.room for message in messages()} <= set(ROOMS)


def test_each_error_of_the_code_is_listed() -> None:
    """Found by the words of the code alone: lines in which an error of layerwise begins, or is returned."""
    listed = {(message.file, message.line) for message in messages(quotes=True)}
    names = "|".join(
        sorted({name for name in lw.__all__ if name.endswith("Error")} | {"FieldError", "BadRecordError"})
    )
    begins = re.compile(rf"(?:raise|return) (?:\w+\.)*(?:{names})\(")
    root = Path(lw.__file__).parent
    unlisted, count = [], 0
    for path in sorted(root.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if begins.search(line):
                count += 1
                place = (path.relative_to(root).as_posix(), number)
                unlisted += [place] if place not in listed else []
    assert not unlisted
    assert count > 600


def test_each_error_says_what_to_do() -> None:
    """Unless it ends with the message of another error, which does."""
    without = [message for message in messages() if not message.halves()[1] and not message.quotes_cause]
    assert not without, "\n".join(
        f"{message.file}:{message.line}: {in_markdown(message.parts)}" for message in without
    )


def test_messages_are_in_the_order_of_the_words_that_a_terminal_shows() -> None:
    lines = list(markdown("source"))
    problems = [line for line, after in itertools.pairwise(lines) if after.startswith(": ")]
    reading = problems[problems.index("*file* can be read only once") :][:3]
    assert reading[1:] == [
        "*file* can't be read as Arrow: *reason*",
        "*file* can't be read as Parquet: *reason*",
    ]
    assert not any(
        name in line for line in problems for name in ("*error*", "*why*", "*strerror*", "*label*")
    )


def pattern(message: ErrorMessage) -> str:
    """A regular expression for what a message may become."""
    return "".join(re.escape(part) if isinstance(part, str) else "(?s:.*)" for part in message.parts)


REFUSED = {
    "source": ["extract missing.csv --out x.lw", "extract examples/reviews.csv --out x.lw --text body"],
    "model": ["show hi --model no/such/model/here", "show hi --model examples/reviews.csv"],
    "dataset": ["info examples", "verify missing.lw"],
    "head": ["predict examples examples/reviews.csv", "evaluate missing.head examples/reviews.csv"],
    "output": ["probe reviews.lw --task classify --label label --out examples"],
    "labels": [
        "train reviews.lw --task regress --label label --out x.head",
        "train reviews.lw --task classify --label nothing --out x.head",
    ],
    "request": [
        "show hi --layers 9",
        "show hi --layers 3:2",
        "train reviews.lw --task classify --label label --mix 'median(1:)' --out x.head",
        "show hi --level word --no-special-tokens",
        "extract examples/reviews.csv --out x.lw --num-workers 2",
        "export reviews.lw --to pca:0 --out x",
    ],
}


@pytest.mark.parametrize(
    ("kind", "command"), [(kind, line) for kind, lines in REFUSED.items() for line in lines]
)
def test_what_a_command_says_is_listed(
    kind: str, command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(command)) == 2
    *_, line = (line for line in capsys.readouterr().err.splitlines() if line.startswith("layerwise: "))
    said = line.removeprefix("layerwise: ")
    fitting = [message for message in of_kind(kind) if re.fullmatch(f"(?:.*: )?{pattern(message)}", said)]
    assert fitting, f"{said} isn't on docs/reference/errors/{kind}.md"
