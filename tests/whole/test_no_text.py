"""--no-text: nothing of the user's texts is stored or said, whatever is wrong with them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import SourceError
from layerwise.read import open_corpus
from layerwise.schema import Carried

CANARY = "Kanarienvogel"
NUMBER = 773077307730773077307730
SECRETS = (CANARY.lower(), str(NUMBER)[:12])

GOOD: list[Any] = [
    {
        "text": f"a good {CANARY} flies",
        "id": "one",
        "label": CANARY,
        "stars": 3,
        "tags": [CANARY],
        "deep": {CANARY: 1},
        "mixed": 1,
    },
    {"text": f"{CANARY} again", "id": "two", "label": "no", "stars": 4, "tags": [], "deep": None, "mixed": 2},
]
BAD: list[Any] = [
    CANARY,
    [CANARY],
    {CANARY: "no text at all"},
    {"text": [CANARY]},
    {"text": {CANARY: 1}},
    {"text": NUMBER},
    {"text": "x", "id": [CANARY]},
    {"text": "x", "mixed": CANARY},
    {"text": "x", CANARY: NUMBER},
    {"text": "x", "tags": [CANARY, 1]},
]
GOOD_WORDS: list[Any] = [{"words": ["good", CANARY], "tag": [CANARY, "O"], "number": [1, 2]}]
BAD_WORDS: list[Any] = [
    {"words": f"{CANARY} in a string"},
    {"words": [CANARY, {CANARY: 1}]},
    {"words": ["a", "b"], "tag": [CANARY]},
    {"words": ["a"], "tag": CANARY},
    {"words": ["a"], "tag": [[CANARY]]},
]
FILES: dict[str, tuple[str, list[str]]] = {
    "records.jsonl": (
        "".join(json.dumps(one) + "\n" for one in (*GOOD, *BAD)) + f'{{"text": "{CANARY}\n{CANARY}\n',
        ["--id", "id"],
    ),
    "words.jsonl": (
        "".join(json.dumps(one) + "\n" for one in (*GOOD_WORDS, *BAD_WORDS)),
        ["--words", "words"],
    ),
    "rows.csv": (
        f"text,label\n{CANARY},{CANARY}\n{CANARY},a,b\n{CANARY}\nfine,{CANARY}\n\"{CANARY} isn't closed\n",
        [],
    ),
    "rows.tsv": (f"text\tlabel\n{CANARY}\t{CANARY}\n{CANARY}\ta\tb\n", []),
    "words.conll": (f"good O\n{CANARY} B-{CANARY}\n\n{CANARY} a {CANARY}\n\n{CANARY}\n", []),
    "lines.txt": (f"{CANARY}\n\xff {CANARY}\n", []),
}


@pytest.fixture
def run(
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:
    """Runs a command, and returns what it prints; no secret may be in it, or in what it writes to `out`."""
    monkeypatch.chdir(tmp_path)
    model = str(model_folder("bert"))
    capfd.readouterr()  # what making the model printed

    def run(*arguments: str, code: int = 0) -> str:
        taken = ["--model", model, "--device", "cpu"] if arguments[0] == "extract" else []
        assert main([*arguments, *taken]) == code, capfd.readouterr()
        printed = "".join(capfd.readouterr())
        assert code == 0 or printed.count("\n") == 1
        found = [
            name for name, said in {"what is printed": printed, **stored(Path("out"))}.items() if told(said)
        ]
        assert not found, f"{arguments}: {found}\n{printed}"
        return printed

    return run


def told(said: str) -> bool:
    return any(secret in said.lower() for secret in SECRETS)


def stored(folder: Path) -> dict[str, str]:
    """What stands in all files of a folder, as it is, and of tables also their content."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {str(path): path.read_bytes().decode("latin-1") for path in files}
    tables = {path: pq.read_table(path) for path in files if path.suffix == ".parquet"}
    return found | {f"{path}, read": f"{table.schema}{table.to_pylist()}" for path, table in tables.items()}


def write(name: str) -> list[str]:
    text, options = FILES[name]
    Path(name).write_bytes(text.encode("latin-1") if name == "lines.txt" else text.encode())
    return options


@pytest.mark.parametrize("name", FILES)
def test_bad_records_that_are_skipped(name: str, run: Callable[..., str]) -> None:
    options = write(name)
    printed = run("extract", name, "--out", "out", "--no-text", "--skip-bad", *options)
    manifest = lw.open_dataset("out").manifest.to_json()
    assert manifest["skipped"]
    assert f"skipped {name}, line {manifest['skipped'][0]['line']}: " in printed
    run("info", "out", "--json")
    run("info", "out")
    run("verify", "out", "--source", name)


@pytest.mark.parametrize("name", FILES)
def test_bad_records_that_are_refused(name: str, run: Callable[..., str]) -> None:
    options = write(name)
    assert f"{name}, line " in run("extract", name, "--out", "out", "--no-text", *options, code=2)


CASES = [("records.jsonl", n) for n in range(len(BAD))] + [("words.jsonl", n) for n in range(len(BAD_WORDS))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_each_bad_record_alone(name: str, number: int, run: Callable[..., str]) -> None:
    good, bad = (GOOD, BAD) if name == "records.jsonl" else (GOOD_WORDS, BAD_WORDS)
    options = write(name)
    Path(name).write_text("".join(json.dumps(one) + "\n" for one in (*good, bad[number])))
    printed = run("extract", name, "--out", "out", "--no-text", *options, code=2)
    assert f"{name}, line {len(good) + 1}: " in printed
    Path(name).write_text(json.dumps(bad[number]) + "\n")  # where it decides what columns there are
    if number not in (7, 8) and name == "records.jsonl":
        run("extract", name, "--out", "out", "--no-text", *options, code=2)


WRONG_FILES: dict[str, tuple[str, list[str]]] = {
    "no header.csv": (f"{CANARY} is a text,1\nanother,2\n", []),
    "no header.tsv": (f"{CANARY} is a text\t1\nanother\t2\n", []),
    "twice.csv": (f"{CANARY},{CANARY}\na,b\n", []),
    "three.conll": (f"{CANARY} a b\n", []),
    "given.conll": (f"{CANARY} a b\n", ["--columns", "token,tag"]),
    "other names.jsonl": (json.dumps({"body": CANARY, CANARY: 1}) + "\n", []),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_files_that_are_refused(name: str, run: Callable[..., str]) -> None:
    text, options = WRONG_FILES[name]
    Path(name).write_text(text)
    assert "…" in run("extract", name, "--out", "out", "--no-text", *options, code=2)


def test_a_column_to_keep_that_is_not_there(run: Callable[..., str]) -> None:
    Path("records.jsonl").write_text(json.dumps({"text": "a", CANARY: "b"}) + "\n")
    printed = run("extract", "records.jsonl", "--out", "out", "--no-text", "--keep", "label", code=2)
    assert "--keep label: no such column is carried; carried columns: 1, give" in printed


TABLES: dict[str, Mapping[str, Any]] = {
    "no column of that name": {CANARY: [CANARY]},
    "a text of another type": {"text": [{CANARY: 1}]},
}


@pytest.mark.parametrize("name", TABLES)
def test_parquet(name: str, run: Callable[..., str]) -> None:
    pq.write_table(pa.table(dict(TABLES[name])), "rows.parquet")
    assert "…" in run("extract", "rows.parquet", "--out", "out", "--no-text", code=2)


def test_files_that_differ(run: Callable[..., str]) -> None:
    Path("a.csv").write_text("text,label\na,b\n")
    Path("b.csv").write_text(f"text,{CANARY}\na,b\n")
    assert "missing: …" in run("extract", "a.csv", "b.csv", "--out", "out", "--no-text", code=2)
    pq.write_table(pa.table({"text": ["a"], "deep": [{"a": 1}]}), "a.parquet")
    pq.write_table(pa.table({"text": ["a"], "deep": [{CANARY: 1}]}), "b.parquet")
    assert "is … where" in run("extract", "a.parquet", "b.parquet", "--out", "out", "--no-text", code=2)


VALUES: dict[str, Sequence[Any]] = {
    "strings": [CANARY],
    "lists": [[CANARY]],
    "keys": [{CANARY: 1}],
    "mapping": pa.array([[(CANARY, 1)]], pa.map_(pa.string(), pa.int32())),
    "fixed": pa.array([[CANARY]], pa.list_(pa.string(), 1)),
    "bytes": [CANARY.encode()],
    "large": pa.array([CANARY], pa.large_string()),
    "kinds": pa.array([CANARY]).dictionary_encode(),
    "view": pa.array([CANARY], pa.string_view()),
}


def test_columns_of_every_type_that_can_hold_text(run: Callable[..., str]) -> None:
    plain = {
        "whole": [1],
        "part": [0.5],
        "yes": [True],
        "when": pa.array([0], pa.timestamp("ms")),
        "numbers": [[1, 2]],
        "nothing": pa.nulls(1),
    }
    pq.write_table(pa.table({"text": [CANARY], **VALUES, **plain}), "rows.parquet")
    run("extract", "rows.parquet", "--out", "out", "--no-text")
    dataset = lw.open_dataset("out")
    assert {*plain} <= {*dataset.texts.column_names}
    assert not {*VALUES} & {*dataset.texts.column_names}
    assert not {*VALUES} & {*dataset.manifest.to_json()["columns"]["text"]}
    run("extract", "rows.parquet", "--out", "kept", "--no-text", "--keep", "kinds")
    assert lw.open_dataset("kept").texts["kinds"].to_pylist() == [CANARY], "what is asked for is kept"


def test_a_column_that_cannot_be_carried() -> None:
    with pytest.raises(SourceError) as caught:
        Carried(no_text=True).array("stars", [1, CANARY])
    assert not told(str(caught.value))
    assert caught.value.__suppress_context__


def test_what_comes_after(run: Callable[..., str]) -> None:
    """Growing, mending, joining and finishing a dataset says and stores as little."""
    how = ["--no-text", "--skip-bad", "--id", "id", "--shard-texts", "1"]
    write("records.jsonl")
    run("extract", "records.jsonl", "--out", "out", *how)
    assert "already finished" in run("extract", "records.jsonl", "--out", "out", *how)
    Path("more.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (*BAD, *GOOD)))
    run("extract", "more.jsonl", "--out", "out", "--append", *how)
    Path("out/shards/00001.index.parquet").unlink()
    run("repair", "out")
    Path("out/shards/00000.index.parquet").unlink()
    source = Path("records.jsonl").read_text()
    Path("records.jsonl").write_text(source.replace("flies", f"flew, {CANARY}"))
    run("repair", "out", code=2)
    Path("records.jsonl").write_text(source)
    run("repair", "out")
    for index in "01":
        run(
            "extract", "records.jsonl", "--out", "shared", *how, "--num-workers", "2", "--worker-index", index
        )
    run("finish", "shared")
    Path("out").rename("first")
    run("merge", "first", "shared", "--out", "out")
    assert len(lw.open_dataset("out").manifest.to_json()["skipped"]) > 20


def test_in_python_the_cause_says_no_more(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({"text": "x", "tags": [CANARY, 1]}) + "\n")
    with pytest.raises(SourceError) as caught:
        list(open_corpus(path, quote=False))
    error: BaseException | None = caught.value
    assert error is not None
    assert not told(str(error))
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_without_the_option_bad_records_are_quoted(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({"text": [CANARY]}) + "\n")
    with pytest.raises(SourceError, match=rf"holds the list \['{CANARY}'\] where a text is needed"):
        list(open_corpus(path))
    path.write_text(json.dumps({"body": "a"}) + "\n")
    with pytest.raises(SourceError, match="there is no column 'text', only 'body'; name"):
        open_corpus(path)


@pytest.mark.parametrize(("level", "warned"), [("token", True), ("word", True), ("text", False)])
def test_what_the_vectors_still_give_away_is_told_once(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str, warned: bool
) -> None:
    """On stderr and in the manifest, with the command that measures it."""
    source, out = tmp_path / "rows.txt", tmp_path / "d.lw"
    source.write_text("an old ship\n")
    command = ["extract", str(source), "--out", str(out), "--model", model, "--level", level, "--quiet"]
    assert main([*command, "--no-text"]) == 0
    said = capsys.readouterr().err
    measure = f"layerwise analyze {out} --measure leakage --source SOURCE"
    assert said.count(measure) == int(warned)
    assert sum(measure in notice for notice in lw.open_dataset(out).manifest.notices) == int(warned)
    source.write_text("an old ship\nand another\n")
    assert main([*command, "--no-text", "--append"]) == 0
    assert capsys.readouterr().err.count(measure) == int(warned)
    assert sum(measure in notice for notice in lw.open_dataset(out).manifest.notices) == int(warned)
    assert main([*command[:-3], "--level", level, "--quiet", "--out", str(tmp_path / "with.lw")]) == 0
    assert "measure leakage" not in capsys.readouterr().err
