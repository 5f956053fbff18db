"""Do what the tutorial, the how-to pages and the explanations say, each in an empty folder, and compare what comes out."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from causal_models import make_causal
from conftest import make_model
from layerwise._util.paths import place
from layerwise._util.silence import silenced
from layerwise.cli.main import _parser, main
from page_steps import Code, Command, File, assert_shown, missing, read_only, steps
from proteins import make_esm
from serving_client import serving

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXPLANATIONS = ("exactness", "faq", "reading-list", "what-misleads")
PAGES = [
    *sorted(DOCS.glob("tutorial/*.md")),
    *sorted(DOCS.glob("howto/*.md")),
    *(DOCS / f"explanation/{name}.md" for name in EXPLANATIONS),
]
PAGES = [page for page in PAGES if page.name != "index.md"]
NAMES = [page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES]
# What stands in for a model of the hub: the way is the same, and its numbers aren't shown.
STAND_INS = {"intfloat/multilingual-e5-small": "minilm"}
ADDRESS = "http://localhost:8000/"  # of a server that is running


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which a reader works, with the examples of the project."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


class Reader:
    """Somebody who types what a page says, in the current folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd
        self._scope: dict[str, Any] = {"assert_shown": assert_shown}

    def follow(self, page: str) -> None:
        """Do all steps of a page."""
        for name, stand_in in STAND_INS.items():
            page = page.replace(f"MODEL={name}", f"MODEL={stand_in}")
        for step in steps(page):
            if isinstance(step, Code):
                self._run(step)
            elif isinstance(step, File):
                Path(step.name).write_text(step.text, encoding="utf-8")
            else:
                self._type(step)

    def _run(self, code: Code) -> None:
        with silenced():  # warnings of other libraries
            exec(compile(code.text, "page", "exec"), self._scope)

    def _type(self, command: Command) -> None:
        self._capfd.readouterr()
        code = self._execute(command.text)
        printed = self._capfd.readouterr()
        assert code == 0, f"{command.text}\n{printed.out}{printed.err}"
        words = missing(command.shown, printed.err + printed.out)
        assert words is None, f"{command.text}\nshows: {words}\nprinted: {printed.err}{printed.out}"

    def _execute(self, command: str) -> int:
        """Run a command: those of layerwise in this process, others by the shell."""
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self._monkeypatch.setenv(name, value)
            return 0
        before, _, last = command.removeprefix("nice -n 10 ").rpartition(" | ")
        if not last.startswith("layerwise ") or "\n" in last:
            return subprocess.run(["bash", "-c", command], check=False).returncode
        given = subprocess.run(["bash", "-c", before], capture_output=True, check=True).stdout
        self._monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(given), encoding="utf-8"))
        last, _, target = last.partition(" > ")
        code = main([os.path.expandvars(word) for word in shlex.split(last)][1:])
        if target:
            Path(target).write_text(self._capfd.readouterr().out, encoding="utf-8")
        return code


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Reader:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return Reader(monkeypatch, capfd)


def put_qwen(folder: Path) -> None:
    """A small causal model."""
    make_causal("qwen3", folder / "models" / "qwen3")


def put_adapter(folder: Path) -> None:
    """A base, and an adapter for it."""
    pytest.importorskip("peft", reason="needs layerwise[peft]")
    from peft_adapters import Tuned

    base = make_model("bert", folder / "models" / "bert")
    Tuned(base, folder / "models" / "bert-lora", r=4, target_modules=["query", "value"])


def put_checkpoint(folder: Path) -> None:
    """A checkpoint of TensorFlow, in a folder that has the name of one of Google's."""
    source = ROOT / "tests" / "encode" / "tensorflow" / "tf1_bert"
    shutil.copytree(source, folder / "uncased_L-12_H-768_A-12")


def put_esm(folder: Path) -> None:
    """A small model of proteins."""
    make_esm(folder / "models" / "esm2")


def put_tuned(folder: Path) -> None:
    """Two versions of a model: the second has other weights in its last block."""
    from safetensors.numpy import load_file, save_file

    before = make_model("bert", folder / "models" / "bert")
    after = folder / "models" / "bert-tuned"
    shutil.copytree(before, after)
    weights = load_file(after / "model.safetensors")
    random = np.random.default_rng(0)
    for name, values in weights.items():
        if "layer.2." in name:
            weights[name] = values + random.normal(0, 0.2, values.shape).astype(values.dtype)
    save_file(weights, after / "model.safetensors", metadata={"format": "pt"})


PREPARED: dict[str, Callable[[Path], None]] = {
    "howto/causal-models": put_qwen,
    "howto/adapter": put_adapter,
    "howto/tensorflow-checkpoint": put_checkpoint,
    "howto/proteins": put_esm,
    "howto/fine-tuned": put_tuned,
}


@contextmanager
def bucket() -> Iterator[None]:
    """An S3 server on this machine with a bucket of this name, to which the environment points."""
    pytest.importorskip("s3fs", reason="needs layerwise[s3]")
    server = pytest.importorskip("moto.server", reason="needs moto[server]").ThreadedMotoServer(
        "127.0.0.1", 0, verbose=False
    )
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        place("s3://bucket/x").fs.mkdir("bucket")  # type: ignore[attr-defined]
        yield
        # fsspec would give later tests the file system of this server.
        type(place("s3://bucket/x").fs).clear_instance_cache()  # type: ignore[attr-defined]
    server.stop()


@contextmanager
def cluster() -> Iterator[None]:
    """A Ray cluster of this machine."""
    ray: Any = pytest.importorskip("ray", reason="needs layerwise[ray]")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)  # Ray leaves it alone where it is set
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


AROUND = {"howto/object-stores": bucket, "howto/ray": cluster}
QUICK = {
    "tutorial/first-layers",
    "tutorial/your-own-model",
    "howto/which-layer",
    "howto/one-word",
    "howto/slurm",
    "explanation/faq",
}
RUN = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")  # of Ray
@pytest.mark.parametrize("name", RUN)
def test_what_a_page_says_works(
    name: str, folder: Path, reader: Reader, request: pytest.FixtureRequest
) -> None:
    page = text_of(DOCS / f"{name}.md")
    if name in PREPARED:
        PREPARED[name](folder)
    with AROUND.get(name, nullcontext)():
        if ADDRESS not in page:
            reader.follow(page)
            return
        with serving([request.getfixturevalue("minilm")]) as served:
            reader.follow(page.replace(ADDRESS, served.http.url))


@pytest.mark.parametrize("name", NAMES)
def test_commands_that_no_test_runs_can_be_read(name: str) -> None:
    for command in read_only(text_of(DOCS / f"{name}.md")):
        words = shlex.split(command)
        assert _parser().parse_args(words[1:]).command == words[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_one_title_and_its_links_lead_somewhere(name: str) -> None:
    path = DOCS / f"{name}.md"
    text = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert text.startswith("# ")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        target, _, heading = link.partition("#")
        if target.startswith("http"):
            continue
        page = path.parent / target if target else path
        assert page.exists(), f"{name} links to {link}"
        if heading:
            assert heading in anchors(text_of(page)), f"{name} links to {link}"


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_can_be_pasted(name: str) -> None:
    """A here-document can't: the marks of its lines would become part of the file."""
    commands = [step.text for step in steps(text_of(DOCS / f"{name}.md")) if isinstance(step, Command)]
    assert [command for command in commands if "<<" in command] == []


def test_every_how_to_page_is_short() -> None:
    """A how-to page is for somebody with one problem."""
    for page in PAGES:
        if page.parent.name == "howto":
            prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
            assert len(prose.split()) <= 420, f"{page.name}: {len(prose.split())} words"


def test_what_is_shown_is_compared() -> None:
    assert missing(("6", "4.892", "…", "end"), "1 2.0\n6 4.893 +0.1 end") is None
    assert missing(("6", "4.892", "…", "end"), "6 4.70 end") == "6 4.892"
    assert missing(("rows:", "160"), "rows: 161") == "rows: 160"
    assert missing(("b", "…", "a"), "a b") == "a"
    block = "$ one\n1 2\n$ two <<E\n> text\n>\n> E\n"
    (first, second) = steps(f"```console\n{block}```\n")
    assert first == Command("one", ("1", "2"))
    assert second == Command("two <<E\ntext\n\nE", ())
    (file,) = steps("First. Save this as `a.csv`:\n\n```text\ntext\nb\n```\n")
    assert file == File("a.csv", "text\nb\n")
    (code,) = steps("```python\nx = 2\nx + 1  # 3\nx  # a name\n```\n")
    assert code == Code("x = 2\nassert_shown((x + 1), 3)\nx  # a name", 1)


def test_the_code_of_the_chinese_tutorial_is_that_of_the_english_one() -> None:
    english, chinese = (
        [
            ast.dump(node)
            for step in steps(text_of(DOCS / name))
            if isinstance(step, Code)
            for node in ast.parse(step.text).body
        ]
        for name in ("tutorial/first-layers.md", "zh/tutorial.md")
    )
    assert len(chinese) > 10
    assert [node for node in chinese if node not in english] == []
