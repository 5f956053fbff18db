"""Run the commands and code of README and of the pages of docs, and the reader in docs/reference/format.md."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS
from layerwise._util.silence import silenced
from layerwise.cli.main import _parser, main
from layerwise.encode import int8
from serving_client import serving
from warm import Python

ROOT = Path(__file__).parents[2]
README, OVERVIEW = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/reference/overview.md")
)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# Commands that load no model start as fast as Python does.
LAYERWISE = """#!/bin/sh
case "$1" in
    info|export|finish|merge|repair) exec {real} "$@" ;;
    *) exec {warm} "$@" ;;
esac
"""


@pytest.fixture
def run_commands(
    python: Python, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], str]:
    """A function that runs commands in an empty folder with the examples, and returns what they print."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    script = tmp_path / "bin" / "layerwise"
    script.parent.mkdir()
    real, warm = shlex.quote(str(Path(sys.executable).parent / "layerwise")), python("-m", "layerwise")
    script.write_text(LAYERWISE.format(real=real, warm=shlex.join(warm)))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{Path(sys.executable).parent}:/usr/bin:/bin")

    def run(commands: list[str]) -> str:
        printed = []
        for command in commands:
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
            if "--precision int8" in command and not int8.available():
                assert "needs a processor with VNNI" in done.stderr
                continue
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            printed.append(done.stdout)
        return "".join(printed)

    return run


def commands(text: str) -> list[str]:
    """The commands of the console blocks, also of those within a list."""
    found = re.findall(r"^ *```console\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [command for block in found for command in re.findall(r"^ *\$ (.*)$", block, re.MULTILINE)]


def run_code(code: str) -> str:
    """Run code in a process of its own, with warnings as errors, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_overview_works_from_top_to_bottom(run_commands: Callable[[list[str]], str]) -> None:
    run_commands(commands(OVERVIEW)[1:])
    code = "\n".join(blocks(OVERVIEW, "python"))
    shown = r"\(2, 384\)|\['Angela Merkel'\]|\('emb', .*?\)"
    checked = re.sub(rf"^(\S.*?) {{2,}}# ({shown}).*$", r"assert (\1) == \2", code, flags=re.MULTILINE)
    assert checked.count("assert") == 3, "the comments with results are checked"
    run_code(checked)


def test_the_readme_works_from_top_to_bottom(run_commands: Callable[[list[str]], str]) -> None:
    five_promises = commands(README)
    assert len(five_promises) == 8
    printed = run_commands(five_promises)
    assert '"label": "positive"' in printed, "the wonderful evening"
    assert Path("page.html").stat().st_size < 1_000_000


def test_the_ten_lines_of_the_readme_print_what_it_shows() -> None:
    (code,), (shown,) = blocks(README, "python"), blocks(README, "text")
    assert code.count("\n") <= 10
    expected, printed = shown.split(), run_code(code).split()
    assert len(expected) == len(printed) == 14
    for a, b in zip(expected, printed, strict=True):
        # Another processor may round the last digit the other way.
        assert a == b or abs(float(a) - float(b)) < 0.015, f"README says {a}, and {b} came out"


def test_the_readme_is_short() -> None:
    words = re.sub(
        r"^ *```.*?^ *```$|\]\([^)]*\)|[|#*>-]", " ", README, flags=re.MULTILINE | re.DOTALL
    ).split()
    assert 500 < len(words) < 850


def test_the_example_of_sources_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [code] = blocks((ROOT / "docs" / "reference" / "sources.md").read_text(encoding="utf-8"), "python")
    checked = re.sub(r"^(\S.*?) {2,}# (\[.*\])$", r"assert (\1) == \2", code, flags=re.MULTILINE)
    assert checked.count("assert") == 2
    exec(compile(checked, "sources.md", "exec"), {})


def test_the_layers_in_the_overview_are_what_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    shown = blocks(OVERVIEW, "console")[0].partition("\n")
    assert shown[0] == '$ layerwise show "Hello, world!"'
    assert main(["show", "Hello, world!", "--device", "cpu"]) == 0
    expected, got = shown[2].split(), capsys.readouterr().out.split()
    assert len(expected) == len(got)
    for a, b in zip(expected, got, strict=True):
        # Another processor may round the last digit the other way.
        assert a == b or abs(float(a) - float(b)) < 0.0015, f"the overview says {a}, and {b} came out"


def test_the_readme_names_every_document_and_family() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        if not link.startswith("http"):
            assert (ROOT / link.partition("#")[0]).exists(), f"README links to {link}"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_the_reader_in_the_format_document_reads(
    dtype: str, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    (code,) = blocks((ROOT / "docs/reference/format.md").read_text(encoding="utf-8"), "python")
    reader: dict[str, Any] = {}
    exec(compile(code, "format.md", "exec"), reader)
    source = tmp_path / "texts.txt"
    source.write_text("".join(text.replace("\n", " ") + "\n" for text in CORPUS), encoding="utf-8")
    dataset = lw.extract(source, tmp_path / "out", model=encoder_of("bert"), dtype=dtype, shard_texts=5)
    for name in dataset.layers:
        assert np.array_equal(reader["layer"](tmp_path / "out", name), dataset.layer(name))


def test_the_format_document_names_every_entry(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    text = (ROOT / "docs/reference/format.md").read_text(encoding="utf-8")
    source = tmp_path / "texts.conll"
    source.write_text("a\tX\n\u200d\tY\n")
    for level in ("token", "word", "text"):
        dataset = lw.extract(source, tmp_path / level, model=encoder_of("bert"), level=level)
        shard, manifest = next(dataset.shards).to_json(), dataset.manifest.to_json()
        names = {
            *manifest,
            *manifest["settings"],
            *manifest["model"],
            *manifest["shards"],
            *manifest["totals"],
            *json.loads((dataset.path / "run.json").read_text()),
            *manifest["sources"][0],
            *shard,
            *shard["counts"],
        }
        names |= {*dataset.index.column_names, *dataset.texts.column_names} - {"tag"}
        for name in names:
            assert f"`{name}`" in text, f"docs/reference/format.md doesn't say what {name} is"
    assert f"version {dataset.manifest.version}" in text


def test_the_analysis_document_names_every_measure(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    text = (ROOT / "docs/reference/analysis.md").read_text(encoding="utf-8")
    lines = [{"words": ["Every", "layer", str(n)], "tag": ["a", "b", "a"]} for n in range(9)]
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = lw.extract(
        tmp_path / "words.jsonl", tmp_path / "words.lw", model=encoder_of("bert"), words="words", level="word"
    )
    result = lw.analyze(dataset, label="tag", max_rows=20).to_json()
    for name in {
        *result,
        *result["measures"],
        *(key for measure in result["measures"].values() for key in measure),
    }:
        assert f"`{name}`" in text, f"docs/reference/analysis.md doesn't say what {name} is"


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = sorted(set(re.findall(r"`([\w/]+\.(?:py|md))`", text)))
    missing = [
        name
        for name in names
        if not any((folder / name).exists() for folder in (ROOT, ROOT / "src" / "layerwise"))
    ]
    assert len(names) > 30
    assert not missing, f"CONTRIBUTING.md names files that don't exist: {missing}"


def test_the_code_of_the_models_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    sites, words, context, vectors = blocks(
        (ROOT / "docs/reference/models.md").read_text(encoding="utf-8"), "python"
    )
    code = words + context
    shown = re.sub(r"^((?:states|dataset)\S+)  # (\[.*\])$", r"assert \1 == \2", code, flags=re.MULTILINE)
    assert shown.count("assert") == 4, "the comments with results are checked"
    shapes = re.sub(r"^(states\S+)\s+# (\(.*\))$", r"assert \1.shape == \2", sites, flags=re.MULTILINE)
    assert shapes.count("assert") == 2
    exec(shapes, {})
    exec(shown + vectors, scope)
    assert np.abs(np.linalg.norm(scope["vectors"], axis=1) - 1).max() <= 1e-6


def test_the_code_of_the_alignment_page_works() -> None:
    (code,) = blocks((ROOT / "docs/reference/alignment.md").read_text(encoding="utf-8"), "python")
    checked = re.sub(r"^(alignment\S+)  +# (\[.*\])$", r"assert \1 == \2", code, flags=re.MULTILINE)
    assert checked.count("assert") == 1, "the comment with a result is checked"
    scope: dict[str, Any] = {}
    exec(checked, scope)
    assert 0 <= scope["alignment"]["argmax"]["6"].aer < 0.5


def test_the_commands_and_the_code_of_the_export_page_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs/reference/export.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (commands,) = blocks(text, "sh")
    for command in commands.splitlines():
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    scope: dict[str, Any] = {}
    bits, index = blocks(text, "python")
    exec(bits, scope)
    with silenced():  # types of SWIG
        exec(index, scope)
    rows = lw.open_dataset("reviews.lw").rows
    assert len(scope["nearest"]) == scope["rows"].shape[1] == 10
    assert len(set(scope["nearest"]) & set(scope["rows"][0])) >= 5, "bits and the index find the same reviews"
    assert 0 <= scope["rows"].min() <= scope["rows"].max() < rows
    facts = json.loads(Path("reviews-pca/export.json").read_text())
    for name in (*facts, *facts["recall"]):
        assert f"`{name}`" in text, f"docs/reference/export.md doesn't say what {name} is"
    files = {path.name for folder in ("bits", "pca", "index") for path in Path(f"reviews-{folder}").iterdir()}
    for name in files:
        assert f"`{name}`" in text, f"docs/reference/export.md doesn't say what {name} is"


def test_the_code_and_the_commands_of_the_cut_page_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs/reference/cut.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(text, "python")
    checked = re.sub(r"^(cut\S+ \S+)  # (\(.*\))$", r"assert (\1) == \2", code, flags=re.MULTILINE)
    assert checked.count("assert") == 2, "the comment with a result is checked"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sentence-transformers
        exec(checked, {})
    # Each command is run on a tiny model in tests/cutting; here only that it can be read.
    commands = re.findall(r"^\$ layerwise (.*)$", "".join(blocks(text, "console")), re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        assert _parser().parse_args(shlex.split(command)).command == "cut"


def test_the_code_of_the_serve_page_works(minilm: Any) -> None:
    text = (ROOT / "docs/reference/serve.md").read_text(encoding="utf-8")
    with serving([minilm]) as served:
        for code in blocks(text, "python"):
            assert "localhost:8000" in code
            exec(code.replace("http://localhost:8000/", served.http.url), {})


def test_the_serve_page_names_every_route_and_metric(minilm: Any) -> None:
    text = (ROOT / "docs/reference/serve.md").read_text(encoding="utf-8")
    with serving([minilm]) as served:
        served.post("/embed", inputs="a")
        served.post("/embed", inputs=1)
        metrics = served.client.get("/metrics").text
    for name in re.findall(r"^# HELP (\S+)", metrics, re.MULTILINE):
        assert name in text, f"docs/reference/serve.md doesn't name {name}"
    for route in (
        "/v1/embeddings",
        "/v1/models",
        "/embed",
        "/embed_all",
        "/predict",
        "/tokenize",
        "/info",
        "/layers",
    ):
        assert f"{route}`" in text
