"""The command line, called as a function: what it prints where, and how it refuses in one line."""

import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import layerwise as lw
from conftest import SMALL, make_tokenizer
from layerwise.cli import main as cli
from layerwise.cli.main import main
from layerwise.encode import linear

COMMANDS = (
    "show",
    "extract",
    "info",
    "verify",
    "pool",
    "train",
    "predict",
    "evaluate",
    "probe",
    "export",
    "bench",
    "env",
    "finish",
    "merge",
    "repair",
)
REVIEWS = "text,label\nA fine film.,pos\nA dull one,neg\n,neg\nNot bad at all!,pos\n"


@dataclass(frozen=True)
class Outcome:
    """What one command gave: its exit code, its data and its messages."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, "JSON is one line"
        return json.loads(self.out)


Run = Callable[..., Outcome]
Refused = Callable[..., str]


@pytest.fixture
def fast_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with instructions for bf16: on others a note says that fp32 is faster."""
    monkeypatch.setattr(linear, "has_fast_bf16", lambda: True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run tiny models on one thread: several spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs one command."""

    def call(*argv: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(run: Run) -> Refused:
    """A function that runs a command which must be refused with exit code 2, and returns its one line."""

    def call(*argv: str | Path) -> str:
        got = run(*argv)
        assert got.code == 2, f"{got.code}, not 2; stdout {got.out!r}, stderr {got.err!r}"
        assert got.out == "", "nothing on stdout"
        assert got.err.startswith("layerwise: ")
        assert got.err.splitlines(keepends=True) == [got.err], "one line, ended"
        assert "Traceback" not in got.err
        return got.err

    return call


@pytest.fixture
def tiny(model_folder: Callable[[str], Path]) -> list[str]:
    """The options that choose a tiny BERT of 3 blocks, width 32 and 80 positions."""
    return ["--model", str(model_folder("bert")), "--device", "cpu"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where the command is run; `out` is where datasets go in these tests."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reviews(here: Path) -> Path:
    path = here / "reviews.csv"
    path.write_text(REVIEWS, encoding="utf-8")
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def text_set(reviews: Path, run: Run, tiny: list[str]) -> Path:
    """A finished dataset of level text, `out`, made from `reviews.csv`."""
    assert run("extract", "reviews.csv", "--out", "out", *tiny).code == 0
    return reviews.parent / "out"


@pytest.fixture
def token_set(reviews: Path, run: Run, tiny: list[str]) -> Path:
    """A finished dataset of level token in two shards, `tokens`, made from `reviews.csv`."""
    argv = ["extract", "reviews.csv", "--out", "tokens", "--level", "token", "--shard-texts", "2", *tiny]
    assert run(*argv).code == 0
    return reviews.parent / "tokens"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the lock and what says how long it took, by its path in it."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.match(".lock")]
    files = [path for path in files if not path.match("shards-*.parquet")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# --- the face ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_in_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "-h"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    *_, examples = out.split("\nexamples:\n")
    lines = examples.rstrip("\n").split("\n")
    assert lines
    assert all(line.startswith("  ") and "layerwise " in line for line in lines)
    assert f"layerwise {command}" in lines[-1], "others may lead up to it"


def test_help_of_the_whole_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["-h"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(f"\n    {command} " in out for command in COMMANDS)
    assert "\nexamples:\n" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_is_a_command_that_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "-h"])
    examples = capsys.readouterr().out.split("\nexamples:\n")[1]
    parts = [part.strip() for line in examples.splitlines() for part in line.split("|")]
    for part in parts:
        name, *argv = shlex.split(part) or [""]
        if name == "layerwise":
            assert cli._parse(argv).command == argv[0]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"layerwise {lw.__version__}\n"


@pytest.mark.parametrize("code", ["import layerwise", "import layerwise.cli.main as c; c.main(['-h'])"])
def test_torch_is_not_needed_for(code: str) -> None:
    script = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "COMMAND; see layerwise -h"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["show"], "TEXT; see layerwise show -h"),
        (["extract", "a.txt"], "--out; see layerwise extract -h"),
        (["show", "hi", "--modle", "x"], "--modle x; see layerwise show -h"),
        (["show", "hi", "--mod", "x"], "--mod x; see layerwise show -h"),
        (["extract", "a.txt", "--out", "d", "--limit", "many"], "'many' is not a whole number"),
        (["show", "hi", "--numbers", "-3"], "'-3' is not a whole number of 0 or more"),
        (["verify", "d", "--sample", "-1"], "'-1' is not a whole number of 0 or more"),
        (["extract", "a.txt", "--out", ""], "--out: '' is empty"),
        (["show", "hi", "--word-split", "letters"], "--word-split 'letters' doesn't exist; choose one of"),
        (["show", "hi", "--model", ""], "--model: '' is empty"),
        (["info", ""], "'' is empty"),
    ],
)
def test_a_command_line_that_makes_no_sense(argv: list[str], says: str, refused: Refused) -> None:
    assert says in refused(*argv)


def test_messages_hold_no_control_characters(refused: Refused, here: Path) -> None:
    message = refused("info", "evil\x1b[31m\nname")
    assert "\x1b" not in message


# --- show -------------------------------------------------------------------------------------------------


def test_show_gives_a_line_per_layer(run: Run, tiny: list[str]) -> None:
    got = run("show", "Hello, world!", *tiny)
    assert (got.code, got.err) == (0, "")
    head, titles, *rows = got.out.splitlines()
    assert "4 layers of width 32" in head
    assert titles.split() == ["layer", "norm", "first", "numbers"]
    assert [row.split()[0] for row in rows] == ["emb", "1", "2", "3"]


def test_show_json_holds_whole_vectors(run: Run, tiny: list[str], encoder_of: Callable[[str], Any]) -> None:
    got = run("show", "Hello, world!", "--json", *tiny)
    assert (got.code, got.err) == (0, "")
    assert set(got.json) == {"model", "layers", "width", "tokens", "unknown", "rows"}
    states = encoder_of("bert").encode(["Hello, world!"])
    for row, layer in zip(got.json["rows"], states.layers, strict=True):
        assert (row["layer"], row["text"]) == (layer, "Hello, world!")
        assert row["vector"] == pytest.approx(states.layer(layer)[0].tolist(), abs=1e-5)
        assert row["norm"] == pytest.approx(np.linalg.norm(row["vector"]))


def test_show_goes_by_tokens(run: Run, tiny: list[str]) -> None:
    got = run("show", "a word", "--level", "token", "--layers", "emb,-1", "--json", *tiny)
    tokens = [row["text"] for row in got.json["rows"] if row["layer"] == "emb"]
    assert (tokens[0], tokens[-1]) == ("(special)", "(special)")
    assert "".join(tokens[1:-1]) == "aword"
    assert {row["layer"] for row in got.json["rows"]} == {"emb", "3"}


def test_show_goes_by_letters(run: Run, tiny: list[str], encoder_of: Callable[[str], Any]) -> None:
    options = ["--level", "word", "--layers", "2", "--word-split", "chars", "--json"]
    rows = json.loads(run("show", "MKW VT", *options, *tiny).out)["rows"]
    assert [row["text"] for row in rows] == [*"MKWVT"]
    states = encoder_of("bert").encode(["MKW VT"], "2", "word", word_split="chars")
    assert np.allclose([row["vector"] for row in rows], states.layer("2"), atol=1e-6)


def test_show_with_the_real_model(run: Run) -> None:
    got = run("show", "The bank of the river", "--level", "word", "--layers", "-1", "--device", "cpu")
    assert got.code == 0
    assert [row.split()[1] for row in got.out.splitlines()[2:]] == ["The", "bank", "of", "the", "river"]


def test_show_marks_only_what_is_left_out(run: Run, tiny: list[str]) -> None:
    assert "…" in run("show", "hi", "--numbers", "31", *tiny).out
    assert "…" not in run("show", "hi", "--numbers", "32", *tiny).out


@pytest.mark.parametrize("layers", ["-4:", "-2:-1", "-1", "-2,-1"])
def test_layers_that_begin_with_a_minus_need_no_equals_sign(layers: str, run: Run, tiny: list[str]) -> None:
    apart = run("show", "hi", "--layers", layers, *tiny)
    assert apart.code == 0
    assert apart == run("show", "hi", f"--layers={layers}", *tiny)


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.mark.parametrize(
    "data", [b"naive caf\xc3\xa9", b"naive caf\xc3\xa9\r\n", b"\xef\xbb\xbfnaive caf\xc3\xa9\n"]
)
def test_show_reads_stdin(data: bytes, run: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, data)
    assert run("show", "-", "--json", *tiny).json["rows"][0]["text"] == "naive café"


def test_show_refuses_bytes_that_are_not_text(
    refused: Refused, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, b"caf\xe9")
    assert "byte 4 (0xe9) isn't utf-8" in refused("show", "-", *tiny)


def test_show_says_that_stdin_is_closed(
    refused: Refused, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "stdin is closed" in refused("show", "-", *tiny)


# --- extract and info -------------------------------------------------------------------------------------


def test_extract_writes_a_dataset_and_says_what(reviews: Path, run: Run, tiny: list[str]) -> None:
    got = run("extract", "reviews.csv", "--out", "out", *tiny)
    assert (got.code, got.err) == (0, "")
    assert "4 rows × 4 layers × 32 (float16" in got.out
    assert "next: layerwise info out" in got.out
    dataset = lw.open_dataset("out")
    assert dataset.texts["label"].to_pylist() == ["pos", "neg", "neg", "pos"]


def test_extract_with_the_real_model(reviews: Path, run: Run) -> None:
    got = run("extract", "reviews.csv", "--out", "out", "--layers", "-2:", "--device", "cpu", "--json")
    assert (got.code, got.json["layers"], got.json["width"]) == (0, ["5", "6"], 384)


def test_extract_json(reviews: Path, run: Run, tiny: list[str]) -> None:
    got = run("extract", "reviews.csv", "--out", "out", "--json", *tiny)
    assert (got.code, got.err) == (0, "")
    expected = {
        "out": "out",
        "already_finished": False,
        "level": "text",
        "pool": "mean",
        "rows": 4,
        "texts": 4,
    }
    assert got.json.items() >= expected.items()
    assert got.json["layers"] == ["emb", "1", "2", "3"]


def test_the_same_command_again_does_nothing_and_says_so(text_set: Path, run: Run, tiny: list[str]) -> None:
    before = contents(text_set)
    got = run("extract", "reviews.csv", "--out", "out", *tiny)
    assert (got.code, got.err) == (0, "")
    assert "out is already finished" in got.out
    assert "nothing to do" in got.out
    assert run("extract", "reviews.csv", "--out", "out", "--json", *tiny).json["already_finished"] is True
    assert contents(text_set) == before


def test_extract_reads_stdin(here: Path, run: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"one line\r\n\nanother")
    assert run("extract", "-", "--out", "out", *tiny).code == 0
    assert lw.open_dataset("out").texts["text"].to_pylist() == ["one line", "", "another"]


def test_messages_go_to_stderr_and_data_to_stdout(here: Path, run: Run, tiny: list[str]) -> None:
    Path("a.jsonl").write_text('{"text": "a", "start": 1}\n{"text": 2}\n', encoding="utf-8")
    got = run("extract", "a.jsonl", "--out", "out", "--skip-bad", "--json", *tiny)
    assert got.code == 0
    assert got.json["skipped"] == 1
    renamed, skipped = got.err.splitlines()
    assert "'start' is carried as 'source.start'" in renamed
    assert "skipped a.jsonl, line 2" in skipped


def test_what_does_not_go_through_whole_is_said(here: Path, run: Run, tiny: list[str]) -> None:
    Path("long.txt").write_text("word " * 100 + "\nshort\n", encoding="utf-8")
    assert (
        "long texts, encoded in overlapping windows: 1 ("
        in run("extract", "long.txt", "--out", "w", *tiny).out
    )
    cut = run("extract", "long.txt", "--out", "t", "--long", "truncate", *tiny).out
    assert "truncated texts: 1 (22 tokens are not stored)" in cut


def test_the_next_command_can_be_pasted(reviews: Path, run: Run, tiny: list[str]) -> None:
    assert "layerwise info 'my set'" in run("extract", "reviews.csv", "--out", "my set", *tiny).out


def test_info_of_a_dataset(text_set: Path, run: Run) -> None:
    got = run("info", "out")
    assert (got.code, got.err) == (0, "")
    shown = {line.split()[0]: line for line in got.out.splitlines()}
    assert "emb, 1, 2, 3" in shown["layers"]
    assert "4 of level text, pool mean" in shown["rows"]
    facts = run("info", "out", "--json").json
    assert (facts["kind"], facts["level"], facts["dtype"], facts["shards"]) == (
        "dataset",
        "text",
        "float16",
        1,
    )
    assert facts["totals"]["rows"] == 4


def test_info_of_a_model(run: Run, tiny: list[str]) -> None:
    assert "emb, 1 … 3, width 32" in run("info", tiny[1]).out
    facts = run("info", "minilm", "--json").json
    assert (facts["kind"], facts["blocks"], facts["width"]) == ("model", 6, 384)
    assert facts["not_applied"] == ["Normalize"]


def test_info_of_neither(here: Path, refused: Refused, offline: None) -> None:
    (here / "folder").mkdir()
    (here / "file").touch()
    assert "folder is no dataset: it has no manifest.json" in refused("info", "folder")
    assert "file is a file; info takes" in refused("info", "file")
    assert "'nobody/nothing' is not a folder of a dataset or head; as a model" in refused(
        "info", "nobody/nothing"
    )


def test_info_takes_no_revision_of_a_dataset(text_set: Path, refused: Refused) -> None:
    assert "--revision main only applies to a model on the hub, not to 'out'" in refused(
        "info", "out", "--revision", "main"
    )


# --- verify -----------------------------------------------------------------------------------------------


def test_verify_a_sound_dataset(text_set: Path, run: Run) -> None:
    got = run("verify", "out", "--device", "cpu")
    assert (got.code, got.err) == (0, "")
    assert got.out.endswith("\nok\n")
    check = run("verify", "out", "--device", "cpu", "--json").json
    assert (check["ok"], check["problems"]) == (True, [])
    assert list(check["parity"]) == ["emb", "1", "2", "3"]
    assert all(set(parity) == {"max_abs", "max_rel", "cosine"} for parity in check["parity"].values())


def test_verify_without_texts_needs_the_source(reviews: Path, run: Run, tiny: list[str]) -> None:
    assert run("extract", "reviews.csv", "--out", "out", "--no-text", *tiny).code == 0
    got = run("verify", "out", "--json")
    assert (got.code, got.json["parity"]) == (0, None)
    assert "--source" in got.json["note"]
    got = run("verify", "out", "--source", "reviews.csv", "--device", "cpu", "--json")
    assert (got.code, list(got.json["parity"])) == (0, ["emb", "1", "2", "3"])


def test_verify_finds_a_changed_byte(text_set: Path, run: Run) -> None:
    change_byte(text_set / "shards/00000.safetensors")
    got = run("verify", "out")
    assert got.code == 1
    assert got.out.splitlines()[0].startswith("shards/00000.safetensors: has changed")
    assert got.out.endswith("not ok: 1 problems\n")
    check = run("verify", "out", "--json")
    assert (check.code, check.json["ok"], check.json["parity"]) == (1, False, None)
    assert [set(problem) for problem in check.json["problems"]] == [{"file", "what"}]


def test_verify_finds_a_missing_file(text_set: Path, run: Run) -> None:
    (text_set / "shards/00000.texts.parquet").unlink()
    got = run("verify", "out", "--json")
    assert got.code == 1
    assert got.json["problems"] == [{"file": "shards/00000.texts.parquet", "what": "is missing"}]


def test_verify_finds_rows_of_another_source(reviews: Path, run: Run, tiny: list[str]) -> None:
    assert run("extract", "reviews.csv", "--out", "out", "--no-text", *tiny).code == 0
    reviews.write_text(REVIEWS.replace("fine", "poor"), encoding="utf-8")
    got = run("verify", "out", "--source", "reviews.csv", "--device", "cpu", "--json")
    assert got.code == 1
    assert {problem["file"] for problem in got.json["problems"]} == {f"layer {n}" for n in ("emb", 1, 2, 3)}


def test_verify_refuses_what_is_no_dataset(here: Path, refused: Refused) -> None:
    assert "nowhere doesn't exist" in refused("verify", "nowhere")
    assert "is no dataset" in refused("verify", ".")


# --- pool and export --------------------------------------------------------------------------------------


def test_pool_derives_a_coarser_dataset(token_set: Path, run: Run) -> None:
    got = run("pool", "tokens", "--level", "word", "--pool", "first", "--out", "words")
    assert (got.code, got.err) == (0, "")
    assert "rows of level word, pool first" in got.out
    texts = lw.open_dataset("words").index["text"].to_pylist()
    assert texts[:4] == ["A", "fine", "film", "."]


def test_pool_json_and_the_same_command_again(token_set: Path, run: Run) -> None:
    got = run("pool", "tokens", "--out", "out", "--json").json
    assert set(got) == {"out", "already_finished", "level", "pool", "rows", "bytes"}
    assert (got["already_finished"], got["rows"]) == (False, 4)
    before = contents(Path("out"))
    again = run("pool", "tokens", "--out", "out")
    assert again.code == 0
    assert "already finished" in again.out
    assert contents(Path("out")) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--level", "token"], "--level 'token' doesn't exist; choose one of word, text"),
        (["--level", "word", "--pool", "cls"], "--pool 'cls' doesn't fit level 'word'"),
        (["--pool", "median"], "--pool 'median' doesn't exist; choose one of mean,"),
        (["--pool", ""], "pool '' doesn't exist"),
        (["--dtype", "float64"], "--dtype 'float64' doesn't exist; choose one of float32,"),
        (["--level", "word", "--no-special-tokens"], "--no-special-tokens only applies to level 'text'"),
    ],
)
def test_pools_that_cannot_be(options: list[str], says: str, token_set: Path, refused: Refused) -> None:
    assert says in refused("pool", "tokens", "--out", "out", *options)
    assert not Path("out").exists()


def test_pool_goes_to_coarser_levels_only(text_set: Path, refused: Refused) -> None:
    assert "level 'text' can't be made from level 'text'" in refused("pool", "out", "--out", "again")


def test_export_to_parquet(token_set: Path, run: Run) -> None:
    got = run("export", "tokens", "--out", "rows.parquet", "--layers", "-2:")
    assert (got.code, got.out, got.err) == (0, "wrote rows.parquet\n", "")
    table = pq.read_table("rows.parquet")
    dataset = lw.open_dataset("tokens")
    vectors = np.stack(table["layer_3"].to_numpy())
    assert np.array_equal(vectors, dataset.layer("3"))
    assert "layer_1" not in table.column_names
    assert table["text"].equals(dataset.index["text"])


def test_export_to_npy(token_set: Path, run: Run) -> None:
    got = run("export", "tokens", "--to", "npy", "--out", "rows", "--json")
    assert (got.code, got.json, got.err) == (0, {"out": "rows"}, "")
    assert np.array_equal(np.load("rows/emb.npy"), lw.open_dataset("tokens").layer("emb"))


def test_export_a_mix(token_set: Path, run: Run) -> None:
    assert run("export", "tokens", "--mix", "mean(-2:)", "--out", "mix.parquet").code == 0
    vectors = np.stack(pq.read_table("mix.parquet")["mix"].to_numpy())
    assert np.array_equal(vectors, lw.open_dataset("tokens").mix("mean(-2:)"))


def test_export_small_vectors(token_set: Path, run: Run) -> None:
    got = run("export", "tokens", "--to", "binary", "--mix", "2", "--out", "bits")
    rows = lw.open_dataset("tokens").rows
    assert (got.code, got.err) == (0, "")
    wrote, size, recall, queries = got.out.splitlines()
    assert (
        queries
        == "  for queries: bits/transform.safetensors (lw.load_transform, layerwise serve --transform)"
    )
    assert wrote == "wrote bits"
    assert re.fullmatch(rf"  {rows} rows of \d+ bytes \(as float32: 128\)", size)
    assert re.fullmatch(
        rf"  recall@10 [01]\.\d{{4}} against exact search; {rows} queries, {rows} rows", recall
    )
    content = run("export", "tokens", "--to", "pca:4", "--layers", "-1", "--out", "pca", "--json").json
    assert (content["out"], content["to"], content["mix"], content["numbers"]) == ("pca", "pca:4", "3", 4)
    assert 0 <= content["recall"]["score"] <= 1
    assert content["recall"] == json.loads(Path("pca/export.json").read_text())["recall"]
    transform = lw.load_transform("pca/transform.safetensors")
    vectors = transform(lw.open_dataset("tokens").layer("3"))
    np.testing.assert_allclose(vectors, np.load("pca/vectors.npy"), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "csv"], "--to 'csv' doesn't exist; choose one of parquet, npy"),
        (
            ["--to", "binary"],
            "--to binary writes one layer or mix, and --layers all are 4; give --mix 3 or another mix",
        ),
        (
            ["--to", "pca:0", "--mix", "1"],
            "--to 'pca:0' has no number of dimensions; give a whole number of 1 or more",
        ),
        (["--to", "pca:99", "--mix", "1"], "--to pca:99 asks for 99 dimensions, the vectors have 32"),
        (
            ["--to", "int8", "--mix", "1", "--split", "x"],
            "--split x: there is no such column; there are doc, ",
        ),
        (
            ["--to", "npy", "--split", "x"],
            "--split x is for small vectors, and --to npy fits nothing; leave it out",
        ),
        (["--to", "int8", "--mix", "1", "--out", "reviews.csv"], "reviews.csv already exists"),
        (["--layers", "4"], "layer 4 doesn't exist; there are emb, 1, 2, 3"),
        (["--mix", "median(all)"], "no mix is called 'median'"),
        (["--mix", "learned(all)"], "fitted with a head"),
        (["--mix", "mean(all)", "--layers", "1"], "--layers 1 and --mix mean(all) exclude each other"),
        (["--out", "reviews.csv"], "reviews.csv already exists"),
        (["--out", "reviews.csv/rows"], "reviews.csv"),
    ],
)
def test_exports_that_cannot_be(options: list[str], says: str, token_set: Path, refused: Refused) -> None:
    before = contents(token_set.parent)
    assert says in refused("export", "tokens", "--out", "rows", *options)
    assert contents(token_set.parent) == before


# --- env and bench ----------------------------------------------------------------------------------------


def test_env(run: Run) -> None:
    got = run("env")
    assert (got.code, got.err) == (0, "")
    versions = run("env", "--json").json
    assert {"layerwise", "python", "torch", "transformers", "devices"} <= set(versions)
    assert all(name in got.out for name in versions)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_ceilings", "fast_bf16")
def test_bench_json(run: Run, tiny: list[str]) -> None:
    got = run("bench", "--texts", "2", "--rounds", "1", "--json", "--quiet", *tiny)  # it may take a minute
    assert (got.code, got.err) == (0, "")
    assert {"ways", "ceilings"} <= set(got.json)
    for speed in got.json["ways"].values():
        assert set(speed) == {"tokens_per_s", "against_loop", "of_ceiling"}
    assert any(name.startswith("layerwise fp32") for name in got.json["ways"])


@pytest.mark.usefixtures("quick_ceilings")
def test_bench_of_a_source(reviews: Path, run: Run, tiny: list[str]) -> None:
    got = run("bench", "--texts", "2", "--rounds", "1", "--no-bf16", "--source", "reviews.csv", *tiny)
    assert got.code == 0
    assert "2 texts" in got.out
    assert "bf16" not in got.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--texts", "0"], "--texts 0"),
        (["--rounds", "-1"], "--rounds -1"),
        (["--shape", "huge"], "--shape huge isn't known; there is bert-base, llama-base, qwen3-base"),
        (["--source", "nowhere.txt"], "nowhere.txt doesn't exist"),
    ],
)
def test_benches_that_cannot_be(options: list[str], says: str, reviews: Path, refused: Refused) -> None:
    assert says in refused("bench", "--texts", "2", "--rounds", "1", "--source", "reviews.csv", *options)


# --- bad sources ------------------------------------------------------------------------------------------

BAD_SOURCES: dict[str, tuple[str, bytes | None, list[str], list[str]]] = {
    "no such file": ("a.txt", None, [], ["a.txt doesn't exist", "--format docs"]),
    "no file of the glob": ("*.txt", None, [], ["'*.txt' matches no file"]),
    "an ending that says nothing": ("a.html", b"a", [], ["'.html' names no format", "--format", "jsonl"]),
    "an empty text file": ("a.txt", b"", [], ["no text in 'a.txt'"]),
    "an empty csv": ("a.csv", b"", [], ["a.csv is empty", "--columns"]),
    "a csv of a header": ("a.csv", b"text,label\n", [], ["no text in 'a.csv'"]),
    "an empty jsonl": ("a.jsonl", b"\n\n", [], ["no text in 'a.jsonl'"]),
    "no text column": ("a.csv", b"body,label\na,b\n", [], ["'text'", "only 'body', 'label'", "--text"]),
    "a missing column": ("a.csv", b"text\na\n", ["--text", "body"], ["'body'", "only 'text'", "--text"]),
    "a missing words column": ("a.csv", b"text\na\n", ["--words", "w"], ["'w'", "only 'text'", "--words"]),
    "a missing id column": ("a.csv", b"text\na\n", ["--id", "key"], ["'key'", "only 'text'", "--id"]),
    "an empty column name": ("a.csv", b"text\na\n", ["--columns", ""], ["--columns ''", "empty name"]),
    "a broken JSON line": ("a.jsonl", b'{"text": "a"}\n{"text": \n', [], ["a.jsonl, line 2", "no JSON"]),
    "a JSON line that is no object": ("a.jsonl", b"[1, 2]\n", [], ["a.jsonl, line 1", "[1, 2]", "object"]),
    "mixed types": ("a.jsonl", b'{"text": "a"}\n{"text": 3}\n', [], ["a.jsonl, line 2", "'text'", "int 3"]),
    "a null text": ("a.jsonl", b'{"text": "a"}\n{"text": null}\n', [], ["a.jsonl, line 2", "'text' holds null"]),
    "no UTF-8": ("a.txt", b"good\nbad \xff!\n", [], ["a.txt, line 2", "byte 5", "0xff", "--encoding"]),
    "no UTF-8 in a csv": ("a.csv", b"text\na\ncaf\xe9\n", [], ["a.csv, line 3", "byte 4", "--encoding"]),
    "an unknown encoding": ("a.txt", b"a\n", ["--encoding", "utf-9"], ["--encoding utf-9 is", "latin-1"]),
    "an uneven row": ("a.csv", b"text,label\na,b,c\n", [], ["a.csv, line 2", "3"]),
    "no Parquet": ("a.parquet", b"PAR0", [], ["a.parquet", "Parquet"]),
    "an unknown format": ("a.txt", b"a\n", ["--format", "xml"], ["'xml'", "jsonl"]),
    "an uneven sentence": ("a.conll", b"a X\nb\n", [], ["a.conll, line 2"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_a_bad_source_is_refused(name: str, here: Path, refused: Refused, tiny: list[str]) -> None:
    file, data, options, says = BAD_SOURCES[name]
    if data is not None:
        Path(file).write_bytes(data)
    message = refused("extract", file, "--out", "out", *tiny, *options)
    for part in says:
        assert part in message
    assert not Path("out").exists(), "nothing is left behind"


def test_a_null_text_in_parquet_is_refused(here: Path, refused: Refused, tiny: list[str]) -> None:
    pq.write_table(pa.table({"text": ["a", None]}), "a.parquet")
    message = refused("extract", "a.parquet", "--out", "out", *tiny)
    assert "a.parquet, row 2" in message
    assert "null" in message


def test_a_folder_needs_a_format(here: Path, run: Run, refused: Refused, tiny: list[str]) -> None:
    (here / "books").mkdir()
    (here / "books/one.txt").write_text("One.\nTwo.\n")
    assert "--format docs" in refused("extract", "books", "--out", "out", *tiny)
    assert not Path("out").exists()
    assert run("extract", "books", "--format", "docs", "--out", "out", *tiny).code == 0
    assert lw.open_dataset("out").texts["id"].to_pylist() == ["one.txt"]


def test_files_of_other_columns_or_formats_are_refused(
    reviews: Path, refused: Refused, tiny: list[str]
) -> None:
    Path("other.csv").write_text("text,stars\na,5\n")
    Path("other.txt").write_text("a\n")
    message = refused("extract", "reviews.csv", "other.csv", "--out", "out", *tiny)
    assert "other.csv has other columns than reviews.csv" in message
    assert "different formats" in refused("extract", "reviews.csv", "other.txt", "--out", "out", *tiny)
    assert not Path("out").exists()


def test_bad_records_can_be_skipped_but_not_all(
    here: Path, run: Run, refused: Refused, tiny: list[str]
) -> None:
    Path("a.jsonl").write_text('{"text": "a"}\nnonsense\n')
    assert run("extract", "a.jsonl", "--out", "out", "--skip-bad", "--json", *tiny).json["skipped"] == 1
    Path("b.jsonl").write_text("nonsense\n")
    assert "all 1 records" in refused("extract", "b.jsonl", "--out", "out2", "--skip-bad", *tiny)


def test_what_was_done_before_a_bad_record_is_kept(
    here: Path, run: Run, refused: Refused, tiny: list[str]
) -> None:
    argv = ["extract", "a.jsonl", "--out", "out", "--shard-texts", "1", *tiny]
    Path("a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": 3}\n')
    assert "a.jsonl, line 3" in refused(*argv)
    kept = {name: data for name, data in contents(here / "out").items() if "shards/00000" in name}
    assert len(kept) == 3
    Path("a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "3"}\n')
    assert run(*argv).code == 0
    assert contents(here / "out").items() >= kept.items()


# --- bad models and requests ------------------------------------------------------------------------------


def test_an_unknown_model_without_a_network(reviews: Path, refused: Refused, offline: None) -> None:
    message = refused("extract", "reviews.csv", "--out", "out", "--model", "nobody/nothing")
    assert "'nobody/nothing'" in message
    assert "--model minilm" in message
    assert "local folder" in message
    assert not Path("out").exists()


def test_a_hub_that_does_not_answer(here: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    message = refused("show", "hi", "--model", "nobody/nothing")
    assert "the hub can't be reached (http://127.0.0.1:9)" in message
    assert "name a mirror of the hub in the variable HF_ENDPOINT, or use --model minilm (offline)" in message
    assert "or a local folder of a downloaded model" in message
    # `info` has no --model.
    assert "or use minilm (offline) or a local folder" in refused("info", "nobody/nothing")


def test_a_name_that_no_model_can_have(refused: Refused, here: Path) -> None:
    assert "no Hugging Face id" in refused("show", "hi", "--model", "not a name")
    (here / "model.bin").touch()
    assert "is a file" in refused("show", "hi", "--model", "model.bin")


OTHER_KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "vit": ({**SMALL, "image_size": 32, "patch_size": 16}, "takes pixel_values, not text"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_model_that_is_no_text_encoder(kind: str, reviews: Path, refused: Refused) -> None:
    from transformers import AutoConfig, AutoModel

    settings, says = OTHER_KINDS[kind]
    tokenizer = make_tokenizer("bytes")
    words = {} if kind == "vit" else {"vocab_size": len(tokenizer)}
    AutoModel.from_config(AutoConfig.for_model(kind, **settings, **words)).save_pretrained("model")
    tokenizer.save_pretrained("model")
    assert says in refused("extract", "reviews.csv", "--out", "out", "--model", "model")
    assert not Path("out").exists()


BAD_REQUESTS = [
    ("--layers 4", "layer 4 doesn't exist; there are emb, 1, 2, 3"),
    ("--layers -5", "layer -5 doesn't exist"),
    ("--layers -5:", "layer -5 doesn't exist"),
    ("--layers ''", "--layers '': '' isn't a layer; there are emb, 1, 2, 3"),
    ("--layers last", "--layers 'last': 'last' isn't a layer"),
    ("--layers 2,2", "named twice"),
    ("--level sentence", "--level 'sentence' doesn't exist; choose one of token, word, text"),
    ("--level span", "--level 'span' doesn't exist; choose one of token, word, text"),
    ("--pool median", "--pool 'median' doesn't exist; choose one of mean,"),
    ("--level token --pool mean", "--pool 'mean' doesn't fit level 'token'"),
    ("--level word --pool cls", "--pool 'cls' doesn't fit level 'word'"),
    ("--level word --no-special-tokens", "--no-special-tokens only applies to level 'text'"),
    ("--pool first --no-special-tokens", "--no-special-tokens only applies to level 'text' with pool mean"),
    ("--precision fp16", "--precision 'fp16' doesn't exist; choose one of fp32, bf16"),
    ("--dtype float64", "--dtype 'float64' doesn't exist; choose one of float32,"),
    ("--device tpu", "--device 'tpu' isn't on this machine; there is"),
    ("--device cpu:x", "'cpu:x'"),
    ("--long cut", "--long 'cut' doesn't exist; choose one of window, truncate, error"),
    ("--max-length 2", "--max-length 2 doesn't fit this model; give 3 to 80"),
    ("--max-length 81", "--max-length 81 doesn't fit this model; give 3 to 80"),
    ("--overlap 78", "--overlap 78 doesn't fit: windows hold 78 tokens; give 0 to 77"),
    ("--overlap -1", "--overlap -1 is too small; give at least 0"),
    ("--overlap 5 --long truncate", "--overlap 5 only applies to --long window, not to --long truncate"),
    ("--batch-tokens 0", "--batch-tokens 0 is too small; give at least 1"),
    ("--shard-texts 0", "--shard-texts 0 is too small; give at least 1"),
    ("--limit 0", "--limit 0 is too small; give at least 1"),
    ("--text text --words label", "--text text and --words label exclude each other"),
    ("--keep label", "--keep label goes with --no-text"),
    ("--no-text --keep stars", "--keep stars: no such column"),
    ("--columns a,a", "--columns names 'a' twice"),
    ("--revision main", "--revision 'main' doesn't fit the local folder"),
    ("--model minilm --revision main", "--revision 'main' doesn't fit 'minilm'"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "says"), BAD_REQUESTS, ids=[options for options, _ in BAD_REQUESTS])
def test_a_request_that_cannot_be_carried_out(
    options: str, says: str, reviews: Path, refused: Refused, model_folder: Callable[[str], Path]
) -> None:
    argv = ["extract", "reviews.csv", "--out", "out", "--model", str(model_folder("bert"))]
    assert says in refused(*argv, *shlex.split(options))
    assert not Path("out").exists(), "nothing is left behind"


def test_pool_cls_needs_a_classification_token(
    reviews: Path, refused: Refused, model_folder: Callable[[str], Path]
) -> None:
    argv = ["extract", "reviews.csv", "--out", "out", "--model", str(model_folder("t5")), "--pool", "cls"]
    assert "--pool 'cls' needs a classification token" in refused(*argv)
    assert not Path("out").exists()


@pytest.fixture
def long_text(here: Path) -> list[str]:
    """The arguments that extract a short and a long text to `out`."""
    Path("long.txt").write_text("short\n" + "word " * 100 + "\n", encoding="utf-8")
    return ["extract", "long.txt", "--out", "out"]


def test_long_error_names_the_text(long_text: list[str], refused: Refused, tiny: list[str]) -> None:
    message = refused(*long_text, *tiny, "--long", "error")
    assert "long.txt, line 2" in message
    assert "102 tokens" in message
    assert "limit is 80" in message
    assert "--long window" in message


def test_long_error_leaves_nothing_in_the_way_of_its_own_advice(
    long_text: list[str], run: Run, refused: Refused, tiny: list[str]
) -> None:
    refused(*long_text, *tiny, "--long", "error")
    got = run(*long_text, *tiny, "--long", "window")
    assert (got.code, got.err) == (0, "")


# --- bad outputs and datasets -----------------------------------------------------------------------------


def test_out_that_is_a_file(reviews: Path, refused: Refused, tiny: list[str]) -> None:
    assert "reviews.csv is a file" in refused("extract", "reviews.csv", "--out", "reviews.csv", *tiny)
    assert reviews.read_text() == REVIEWS


def test_out_that_is_not_empty(reviews: Path, refused: Refused, tiny: list[str]) -> None:
    message = refused("extract", "reviews.csv", "--out", ".", *tiny)
    assert "holds reviews.csv and is no dataset" in message
    assert set(contents(reviews.parent)) == {"reviews.csv"}


def test_out_that_cannot_be_made(reviews: Path, refused: Refused, tiny: list[str]) -> None:
    message = refused("extract", "reviews.csv", "--out", "reviews.csv/out", *tiny)
    assert "can't write reviews.csv/out" in message


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_out_in_a_folder_that_is_read_only(reviews: Path, refused: Refused, tiny: list[str]) -> None:
    locked = reviews.parent / "locked"
    locked.mkdir(mode=0o555)
    message = refused("extract", "reviews.csv", "--out", "locked/out", *tiny)
    assert "can't write locked/out" in message


# What can change a stored byte -> what the refusal says.
OTHER_SETTINGS = [
    ("--layers 1:", "layers"),
    ("--level word", "level"),
    ("--pool max", "pool"),
    ("--no-special-tokens", "special_tokens"),
    ("--precision bf16", "precision"),
    ("--dtype float32", "dtype"),
    ("--long truncate", "long"),
    ("--max-length 40", "max_length"),
    ("--overlap 3", "overlap"),
    ("--batch-tokens 99", "batch_tokens"),
    ("--shard-texts 3", "texts"),
    ("--text label", "text"),
    ("--id label", "id"),
    ("--encoding cp1252", "encoding"),
    ("--columns text,label", "columns"),
    ("--no-text", "no_text"),
    ("--no-text --keep label", "keep"),
]


@pytest.mark.usefixtures("fast_bf16")
@pytest.mark.parametrize(("options", "says"), OTHER_SETTINGS, ids=[options for options, _ in OTHER_SETTINGS])
def test_a_dataset_of_other_settings_is_left_alone(
    options: str, says: str, text_set: Path, refused: Refused, tiny: list[str]
) -> None:
    before = contents(text_set)
    message = refused("extract", "reviews.csv", "--out", "out", *tiny, *shlex.split(options))
    assert says in message
    assert " in it and " in message
    assert "another output folder" in message
    assert contents(text_set) == before


@pytest.mark.parametrize("family", ["electra", "roberta"])
def test_a_dataset_of_another_model_is_left_alone(
    family: str, text_set: Path, refused: Refused, model_folder: Callable[[str], Path]
) -> None:
    before = contents(text_set)
    argv = ["extract", "reviews.csv", "--out", "out", "--model", str(model_folder(family)), "--device", "cpu"]
    assert "out holds a dataset made with other settings" in refused(*argv)
    assert contents(text_set) == before


def test_a_source_that_changed_or_grew_is_refused(
    text_set: Path, reviews: Path, refused: Refused, tiny: list[str]
) -> None:
    before = contents(text_set)
    reviews.write_text(REVIEWS.replace("dull", "DULL"), encoding="utf-8")
    message = refused("extract", "reviews.csv", "--out", "out", *tiny)
    assert "reviews.csv, line 3 has changed since" in message
    reviews.write_text(REVIEWS + "one more,pos\n", encoding="utf-8")
    message = refused("extract", "reviews.csv", "--out", "out", *tiny)
    assert "has grown" in message
    assert "reviews.csv, line 6 is new" in message
    assert contents(text_set) == before


def test_two_writers_at_once(reviews: Path, run: Run, refused: Refused, tiny: list[str]) -> None:
    Path("out").mkdir()
    with filelock.FileLock("out/.lock"):
        message = refused("extract", "reviews.csv", "--out", "out", *tiny)
    assert "out is in use" in message
    assert run("extract", "reviews.csv", "--out", "out", *tiny).code == 0


READERS = {
    "info": ["info", "out"],
    "verify": ["verify", "out"],
    "pool": ["pool", "out", "--out", "new"],
    "export": ["export", "out", "--out", "new"],
    "extract": ["extract", "reviews.csv", "--out", "out"],
    "finish": ["finish", "out"],
    "merge": ["merge", "out", "out", "--out", "new"],
    "repair": ["repair", "out", "--device", "cpu"],
}


@pytest.mark.parametrize("command", READERS)
def test_a_newer_format_is_refused(command: str, text_set: Path, refused: Refused, tiny: list[str]) -> None:
    data = json.dumps(json.loads((text_set / "manifest.json").read_text()) | {"version": 99}).encode()
    (text_set / "manifest.json").write_bytes(data)
    line = f"{hashlib.sha256(data).hexdigest()}  manifest.json\n"
    (text_set / "manifest.json.sha256").write_text(line)
    before = contents(text_set)
    message = refused(*READERS[command], *(tiny if command == "extract" else []))
    assert "format version 99, this layerwise reads 2" in message
    assert "update layerwise" in message
    assert contents(text_set) == before
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["pool", "tokens", "--out", "new"],
        ["export", "tokens", "--to", "npy", "--out", "new"],
        ["extract", "reviews.csv", "--out", "tokens", "--level", "token", "--shard-texts", "2"],
    ],
    ids=lambda argv: argv[0],
)
@pytest.mark.parametrize("kind", ["safetensors", "index.parquet", "texts.parquet"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_shard_that_is_missing_or_cut(
    argv: list[str], kind: str, damage: str, token_set: Path, refused: Refused, tiny: list[str]
) -> None:
    path = token_set / "shards" / f"00001.{kind}"
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 9)
    else:
        path.unlink()
    before = contents(token_set)
    message = refused(*argv, *(tiny if argv[0] == "extract" else []))
    assert f"00001.{kind}" in message
    assert contents(token_set) == before


def test_an_unfinished_dataset_is_no_dataset_yet(here: Path, refused: Refused, tiny: list[str]) -> None:
    Path("a.jsonl").write_text('{"text": "a"}\n{"text": 3}\n')
    refused("extract", "a.jsonl", "--out", "out", "--shard-texts", "1", *tiny)
    for command in ("info", "verify", "pool", "export"):
        message = refused(*READERS[command])
        assert "out is unfinished" in message
        assert "same `layerwise extract` command again" in message


# --- many workers, more texts, several datasets ------------------------------------------------------------


def of_worker(index: int | str, count: int | str = 2) -> list[str]:
    argv = ["extract", "reviews.csv", "--out", "out", "--shard-texts", "1"]
    return [*argv, "--num-workers", str(count), "--worker-index", str(index)]


def test_workers_say_what_they_did_and_what_comes_next(reviews: Path, run: Run, tiny: list[str]) -> None:
    got = run(*of_worker(1), *tiny)
    assert (got.code, got.err) == (0, "")
    assert got.out == (
        "out: worker 1 of 2 is done: 2 of 4 shards, 2 of 4 texts\n"
        "next, when all workers are done: layerwise finish out\n"
    )
    got = run(*of_worker(0), "--json", *tiny)
    counts = {"shards": 2, "texts": 2, "of_shards": 4, "of_texts": 4}
    assert (got.code, got.json) == (0, {"out": "out", "worker_index": 0, "num_workers": 2, **counts})
    got = run("finish", "out")
    assert (got.code, got.err) == (0, "")
    assert got.out.startswith("out: finished, 4 rows of 4 texts (")
    assert run("verify", "out", "--device", "cpu").code == 0


def test_finish_json_and_the_same_command_again(reviews: Path, run: Run, tiny: list[str]) -> None:
    for index in (0, 1):
        assert run(*of_worker(index), *tiny).code == 0
    got = run("finish", "out", "--json")
    assert (got.code, got.json["dataset"], got.json["already_finished"]) == (0, "out", False)
    assert (got.json["texts"], got.json["rows"]) == (4, 4)
    before = contents(Path("out"))
    assert run("finish", "out", "--json").json["already_finished"] is True
    assert run("finish", "out").out == "out is already finished; nothing to do.\n"
    assert run(*of_worker(0), *tiny).code == 0, "a late worker finds nothing to do"
    assert contents(Path("out")) == before


def test_finish_before_all_workers_are_through(
    reviews: Path, run: Run, refused: Refused, tiny: list[str]
) -> None:
    assert "out doesn't exist; give the folder" in refused("finish", "out")
    assert run(*of_worker(1), *tiny).code == 0
    assert "2 of 4 shards are missing (0, 2); run again worker 0 of 2" in refused("finish", "out")
    assert "unfinished" in refused("info", "out")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--num-workers", "2"], "--num-workers and --worker-index need each other"),
        (["--worker-index", "0"], "--num-workers and --worker-index need each other"),
        ([*of_worker(2)[6:]], "--worker-index 2 doesn't fit --num-workers 2; it must be 0 to 1"),
        ([*of_worker(-1)[6:]], "--worker-index -1 doesn't fit --num-workers 2; it must be 0 to 1"),
        ([*of_worker(0, 0)[6:]], "--num-workers 0"),
        ([*of_worker(0)[6:], "--append"], "--append can't be used with --num-workers"),
        ([*of_worker(0)[6:], "--workers", "2"], "--workers 2 can't be used with --num-workers"),
        (["--workers", "0"], "--workers 0 is too small"),
        (["--workers", "two"], "two"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_workers_that_cannot_be(
    argv: list[str], says: str, reviews: Path, refused: Refused, tiny: list[str]
) -> None:
    assert says in refused("extract", "reviews.csv", "--out", "out", *tiny, *argv)
    assert not Path("out").exists()


@pytest.mark.usefixtures("quick_workers")
def test_two_processes_from_the_command_line(text_set: Path, run: Run, tiny: list[str]) -> None:
    got = run("extract", "reviews.csv", "--out", "by two", "--workers", "2", *tiny)
    assert (got.code, got.err) == (0, "")
    assert "next: layerwise info 'by two'" in got.out
    divided, whole = (
        {name: data for name, data in contents(path).items() if name.startswith("shards/")}
        for path in (Path("by two"), text_set)
    )
    assert divided == whole


def test_append_says_what_the_dataset_is_now(text_set: Path, run: Run, tiny: list[str]) -> None:
    Path("more.csv").write_text("text,label\nEven more.,pos\n", encoding="utf-8")
    append = ["extract", "more.csv", "--out", "out", "--append", *tiny]
    got = run(*append)
    assert (got.code, got.err) == (0, "")
    assert "out: 5 rows × 4 layers" in got.out
    assert lw.open_dataset("out").texts["label"].to_pylist() == ["pos", "neg", "neg", "pos", "pos"]
    before = contents(text_set)
    got = run(*append, "--json")
    assert (got.code, got.json["already_finished"], got.json["texts"]) == (0, True, 5)
    assert "nothing to do" in run(*append).out
    assert contents(text_set) == before
    assert run("verify", "out", "--device", "cpu").code == 0


@pytest.mark.filterwarnings("default")
def test_append_to_nothing_is_told_of(reviews: Path, run: Run, refused: Refused, tiny: list[str]) -> None:
    append = ["extract", "reviews.csv", "--out", "typo", "--append", *tiny]
    got = run(*append)
    assert (got.code, got.err) == (
        0,
        "layerwise: note: there is no dataset at typo, so --append makes a new one; if --out is mistyped, remove the "
        "new dataset and give the right path\n",
    )
    assert (run(*append).code, run(*append).err) == (0, "")
    assert "nowhere.csv doesn't exist" in refused("extract", "nowhere.csv", "--out", "new", "--append", *tiny)
    assert not Path("new").exists()


def test_what_cannot_be_appended(text_set: Path, reviews: Path, refused: Refused, tiny: list[str]) -> None:
    before = contents(text_set)
    append = ["extract", "reviews.csv", "--out", "out", "--append", *tiny]
    assert "made with other settings: pool" in refused(*append, "--pool", "max")
    reviews.write_text(REVIEWS.replace("dull", "DULL"), encoding="utf-8")
    assert "reviews.csv, line 3 has changed since" in refused(*append)
    Path("more.tsv").write_text("text\nnew\n", encoding="utf-8")
    message = refused("extract", "more.tsv", "--out", "out", *tiny)
    assert 'reading.format is "csv" in it and "tsv" here' in message
    assert contents(text_set) == before


def test_what_is_appended_with_other_columns_is_told_of(text_set: Path, run: Run, tiny: list[str]) -> None:
    Path("more.tsv").write_text("text\nnew\n", encoding="utf-8")
    got = run("extract", "more.tsv", "--out", "out", "--append", *tiny)
    assert (got.code, got.err) == (
        0,
        "layerwise: note: more.tsv was added without the column 'label'; it is null there\n",
    )


def test_merge_says_what_it_made(text_set: Path, run: Run) -> None:
    got = run("merge", "out", "out", "--out", "all")
    assert (got.code, got.err) == (0, "")
    assert got.out.startswith("all: 8 rows of 8 texts (")
    before = contents(Path("all"))
    got = run("merge", "out", "out", "--out", "all", "--json")
    assert (got.code, got.json["out"], got.json["already_finished"]) == (0, "all", True)
    assert (
        "all is already finished: the same datasets; nothing to do."
        in run("merge", "out", "out", "--out", "all").out
    )
    assert contents(Path("all")) == before
    assert run("merge", "all", "out", "--out", "new", "--json").json["texts"] == 12
    assert run("verify", "new", "--device", "cpu").code == 0


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["out", "--out", "new"], "at least two datasets; got 1"),
        (["out", "tokens", "--out", "new"], "different settings: "),
        (["out", "nowhere", "--out", "new"], "nowhere doesn't exist"),
        (["out", "reviews.csv", "--out", "new"], "reviews.csv is a file"),
        (["out", "out", "--out", "reviews.csv"], "reviews.csv is a file"),
        (["out", "out", "--out", "tokens"], "made with other settings: level is"),
        (["out", "out"], "--out"),
        (["--out", "new"], "DATASET"),
        (["out", "", "--out", "new"], "is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_merges_that_cannot_be(
    argv: list[str], says: str, text_set: Path, token_set: Path, refused: Refused
) -> None:
    assert says in refused("merge", *argv)
    assert not Path("new").exists()


def test_repair_says_what_it_made_again(token_set: Path, run: Run) -> None:
    got = run("repair", "tokens")
    assert (got.code, got.out, got.err) == (
        0,
        "tokens: every shard is unchanged; nothing to do.\n",
        "",
    )
    before = contents(token_set)
    change_byte(token_set / "shards" / "00001.safetensors")
    assert run("verify", "tokens", "--sample", "0").code == 1
    got = run("repair", "tokens")
    assert (got.code, got.out, got.err) == (0, "tokens: written again: shard 1\n", "")
    assert run("verify", "tokens", "--sample", "0").code == 0
    for number in (0, 1):
        (token_set / "shards" / f"{number:05d}.texts.parquet").unlink()
    got = run("repair", "tokens", "--json", "--device", "cpu")
    assert (got.code, got.json) == (0, {"dataset": "tokens", "shards": [0, 1], "changed": [], "foreign": []})
    assert contents(token_set) == before


def test_what_cannot_be_repaired(
    token_set: Path, reviews: Path, refused: Refused, run: Run, model_folder: Callable[[str], Path]
) -> None:
    change_byte(token_set / "shards" / "00001.safetensors")
    damaged = contents(token_set)
    other = ["--model", str(model_folder("electra"))]
    assert "can't be repaired here: model" in refused("repair", "tokens", *other)
    assert "nowhere" in refused("repair", "tokens", "--model", "./nowhere")
    reviews.rename("moved.csv")
    assert "reviews.csv doesn't exist" in refused("repair", "tokens")
    Path("other.csv").write_text(REVIEWS.replace("Not", "Never"), encoding="utf-8")
    assert "have changed since shard 1 was written" in refused("repair", "tokens", "--source", "other.csv")
    assert contents(token_set) == damaged
    assert run("repair", "tokens", "--source", "moved.csv").code == 0
    assert "nowhere doesn't exist" in refused("repair", "nowhere")
    change_byte(token_set / "manifest.json.sha256")
    assert "it can't be made again, restore it from a copy" in refused("repair", "tokens")


# --- hostile text -----------------------------------------------------------------------------------------

HOSTILE = [
    "\ud800 a lone surrogate \udfff here\ud83d",
    "NUL \x00 in\x00side \x00",
    "\u202eright to left\u202c \u200fשלום\u200e עולם \u2067עברית\u2069",
    "zero\u200dwidth \u200djoiner\u200d क्\u200dष 👩\u200d👩\u200d👧",
    "e\u0301\u0301\u0301 a\u20dd \ufeffmark",
    "\u2028line\u2029 sep\x85arators\x0b\x0c\x1c.",
    "",
    " \t ",
]


def misaligned(out: str) -> list[dict[str, Any]]:
    """The rows of a dataset whose text isn't what stands at their offsets."""
    dataset = lw.open_dataset(out)
    texts = dataset.texts["text"].to_pylist()
    rows = dataset.index.select(["doc", "start", "end", "text"]).to_pylist()
    return [row for row in rows if texts[row["doc"]][row["start"] : row["end"]] != row["text"]]


def without_unknown(err: str) -> str:
    """Messages other than the note that the small vocabulary of a tiny model lacks many tokens."""
    return "".join(line for line in err.splitlines(keepends=True) if "are unknown to the model" not in line)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("level", ["token", "word"])
def test_hostile_text_keeps_its_alignment(
    family: str, level: str, here: Path, run: Run, model_folder: Callable[[str], Path]
) -> None:
    lines = [json.dumps({"text": text}) + "\n" for text in HOSTILE]
    Path("hostile.jsonl").write_text("".join(lines), encoding="ascii")
    argv = ["extract", "hostile.jsonl", "--out", "out", "--level", level, "--device", "cpu"]
    got = run(*argv, "--model", model_folder(family))
    assert (got.code, without_unknown(got.err)) == (0, "")
    dataset = lw.open_dataset("out")
    assert dataset.texts["text"].to_pylist() == [
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in HOSTILE
    ]
    assert misaligned("out") == []
    assert len(dataset.layer("3")) == dataset.index.num_rows
    if level == "word":
        words = [row["text"] for row in dataset.index.to_pylist() if row["doc"] == 2]
        assert {"right", "to", "left", "שלום", "עולם", "עברית"} <= set(words)


@pytest.mark.parametrize("level", ["token", "word"])
@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "🙂" * 10_000, "\x00" * 10_000], ids=["1 MB", "emoji", "NUL"]
)
def test_one_huge_word_keeps_its_alignment(
    text: str, level: str, here: Path, run: Run, tiny: list[str]
) -> None:
    Path("huge.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": "a b"}) + "\n")
    got = run("extract", "huge.jsonl", "--out", "out", "--level", level, *tiny)
    assert (got.code, without_unknown(got.err)) == (0, "")
    assert lw.open_dataset("out").texts["text"].to_pylist() == [text, "a b"]
    assert misaligned("out") == []


@pytest.mark.parametrize("level", ["token", "word"])
@pytest.mark.parametrize("text", ["xy" * 50_000, "🙂" * 10_000], ids=["100 KB", "emoji"])
def test_every_character_of_a_huge_word_is_in_a_token(
    text: str, level: str, here: Path, run: Run, model_folder: Callable[[str], Path]
) -> None:
    Path("huge.jsonl").write_text(json.dumps({"text": text}) + "\n")
    argv = ["extract", "huge.jsonl", "--out", "out", "--level", level, "--layers", "emb", "--device", "cpu"]
    assert run(*argv, "--model", model_folder("roberta")).code == 0
    assert misaligned("out") == []
    covered = np.zeros(len(text), dtype=bool)
    for row in lw.open_dataset("out").index.to_pylist():
        covered[row["start"] : row["end"]] = True
    assert covered.all()


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes there")
def test_names_that_are_no_utf8(here: Path, run: Run, tiny: list[str]) -> None:
    source, out = os.fsdecode(b"caf\xe9.txt"), os.fsdecode(b"out\xff")
    Path(source).write_text("One text.\n")
    got = run("extract", source, "--out", out, "--json", *tiny)
    assert (got.code, got.json["out"]) == (0, out)
    assert run("info", out).code == 0
    assert run("verify", out, "--device", "cpu").code == 0


# --- interruptions and outputs that fail ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "goes_on"),
    [
        ("extract", True),
        ("pool", True),
        ("finish", True),
        ("merge", True),
        ("repair", True),
        ("verify", False),
    ],
)
def test_an_interruption_is_130(
    command: str, goes_on: bool, text_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"layerwise.api.{command}.{command}", interrupt)
    got = run(*READERS[command])
    assert (got.code, got.out) == (130, "")
    assert got.err.startswith("layerwise: interrupted")
    assert ("run the same command again to continue" in got.err) == goes_on


def test_an_interrupted_extraction_goes_on(
    reviews: Path, run: Run, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.encode.encoder import Encoder

    argv = ["extract", "reviews.csv", "--shard-texts", "1", *tiny]
    assert run(*argv, "--out", "whole").code == 0
    plan, calls = Encoder.plan, 0

    def interrupt(self: Encoder, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return plan(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "plan", interrupt)
        assert run(*argv, "--out", "out").code == 130
    assert run(*argv, "--out", "out").code == 0
    files, whole = contents(Path("out")), contents(Path("whole"))
    assert {name: data for name, data in files.items() if name.startswith("shards")} == {
        name: data for name, data in whole.items() if name.startswith("shards")
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_stdout(
    tiny: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["info", tiny[1]]) == 2
    assert capsys.readouterr().err == (
        "layerwise: the output: No space left on device; correct this and run the command again\n"
    )


def test_a_reader_that_goes_away_is_no_error(
    tiny: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["info", tiny[1]]) == 141
    assert capsys.readouterr().err == ""


def test_a_closed_stdout_is_no_error(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["info", tiny[1]]) == 0


def test_what_stdout_cannot_encode_is_escaped(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["show", "é🙂", "--level", "token", "--layers", "emb", *tiny]) == 0
    assert rb"\xe9" in raw.getvalue()


def test_json_is_json_in_any_encoding(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["show", "é🙂", "--layers", "emb", "--json", *tiny]) == 0
    assert json.loads(raw.getvalue())["rows"][0]["text"] == "é🙂"


def test_a_short_command_shows_no_progress_in_a_log(reviews: Path, run: Run, tiny: list[str]) -> None:
    assert run("extract", "reviews.csv", "--out", "out", *tiny).err == ""
