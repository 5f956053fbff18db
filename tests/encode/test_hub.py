"""Sources and datasets on the Hugging Face hub: a small hub on loopback that answers what huggingface_hub asks."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import OutputError, SourceError
from layerwise.tolerance import COMPUTED, STORED

pytest.importorskip("upath", reason="needs universal-pathlib, as of layerwise[s3]")
HUB = "hf://datasets/user/name"
TEXTS = [f"text number {n} " + "word " * (n % 5) for n in range(9)]
JSONL = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()


class Hub(ThreadingHTTPServer):
    """Holds the dataset repository `user/name` with one revision, `main`.

    Attributes:
        files: the bytes of each file by its path in the repository.
        got: path and range of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.got: list[tuple[str, str | None]] = []


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, byte_range = unquote(url.path), self.headers.get("Range")
        self.server.got.append((path, byte_range))
        match path.strip("/").split("/"):
            case ["api", "datasets", "user", "name"] | [
                "api",
                "datasets",
                "user",
                "name",
                "revision",
                "main",
            ]:
                self.answer(json.dumps({"id": "user/name", "sha": "0" * 40, "siblings": []}).encode())
            case ["api", "datasets", "user", "name", "revision", *_]:
                self.nothing("RevisionNotFound")
            case ["api", "datasets", "user", "name", "tree", "main", *parts]:
                listing = self.inside("/".join(parts), parse_qs(url.query)["recursive"] == ["true"])
                self.answer(json.dumps(listing).encode()) if listing else self.nothing("EntryNotFound")
            case ["datasets", "user", "name", "resolve", "main", *parts]:
                data = self.server.files.get("/".join(parts))
                self.nothing("EntryNotFound") if data is None else self.answer(data, byte_range)
            case _:
                self.nothing("RepoNotFound")

    def inside(self, folder: str, recursive: bool) -> list[dict[str, object]]:
        files, top = self.server.files, f"{folder}/" if folder else ""
        names = {str(p) for file in files for p in (PurePosixPath(file), *PurePosixPath(file).parents)} - {
            "."
        }
        return [
            {
                "type": "file" if name in files else "directory",
                "path": name,
                "oid": "0" * 40,
                "size": len(files.get(name, b"")),
            }
            for name in sorted(names)
            if name.startswith(top) and (recursive or "/" not in name.removeprefix(top))
        ]

    def answer(self, data: bytes, byte_range: str | None = None) -> None:
        if byte_range:
            start, _, end = byte_range.removeprefix("bytes=").partition("-")
            data = data[int(start) : int(end) + 1 if end else None]
        self.send_response(206 if byte_range else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def nothing(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        point(monkeypatch, running.server_port)
        yield running
        running.shutdown()
        thread.join()


def point(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    file = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", file)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def model(model_folder: Callable[[str], Path]) -> str:
    return str(model_folder("bert"))


def test_files_globs_and_folders_are_sources(hub: Hub, model: str, tmp_path: Path) -> None:
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": TEXTS}), table)
    hub.files = {
        "texts.jsonl": JSONL,
        "parts/1.jsonl": JSONL,
        "parts/2.jsonl": JSONL,
        "texts.parquet": table.getvalue().to_pybytes(),
        "docs/a.txt": b"the first",
        "docs/b/two.txt": b"the second",
    }
    (tmp_path / "texts.jsonl").write_bytes(JSONL)
    local = lw.extract(tmp_path / "texts.jsonl", tmp_path / "local", model=model)
    for number, (name, times) in enumerate(
        [
            ("/texts.jsonl", 1),
            ("@main/texts.jsonl", 1),
            ("/texts.parquet", 1),
            ("/parts/*.jsonl", 2),
            ("/parts/[12].jsonl", 2),
        ]
    ):
        dataset = lw.extract(HUB + name, tmp_path / str(number), model=model)
        assert dataset.texts["text"].to_pylist() == TEXTS * times, name
        expected = np.tile(local.layer("2"), (times, 1))
        # Texts that are there twice make larger batches, whose sums may come in another order; both sides are rounded
        # to float16 then.
        apart = (
            0.0
            if times == 1
            else 2 * (COMPUTED["fp32"] + STORED["float16"]) * max(1.0, np.abs(expected).max())
        )
        assert np.abs(dataset.layer("2") - expected).max() <= apart, name
    dataset = lw.extract(f"{HUB}/docs", tmp_path / "docs", model=model, format="docs")
    assert dataset.texts["id"].to_pylist() == ["a.txt", "b/two.txt"]
    dataset = lw.extract(f"{HUB}/docs/*", tmp_path / "glob", model=model)
    assert dataset.texts["text"].to_pylist() == ["the first"], "a folder is no file"


def test_a_file_that_has_grown_is_read_whole(hub: Hub, model: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="doesn't exist"):
        lw.extract(f"{HUB}/texts.jsonl", tmp_path / "out", model=model)
    for count in (3, 9):
        hub.files["texts.jsonl"] = b"".join(JSONL.splitlines(keepends=True)[:count])
        dataset = lw.extract(f"{HUB}/texts.jsonl", tmp_path / "out", model=model, append=count > 3)
        assert dataset.text_count == count


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("datasets/user/name/nothing.jsonl", "doesn't exist; name a file"),
        ("datasets/user/name/no/folder.jsonl", "doesn't exist; name a file"),
        ("datasets/user/name/*.csv", "doesn't exist; name a file"),
        ("datasets/user/name", "is a folder; --format docs reads"),
        ("datasets/user/name@other/texts.jsonl", "(revision not found); name another file"),
        ("datasets/user/none/texts.jsonl", "(repository not found)"),
        ("datasets/user", "can't be read: "),
    ],
)
def test_what_is_missing_is_told_in_a_line(
    hub: Hub, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    hub.files = {"texts.jsonl": JSONL}
    assert main(["extract", f"hf://{name}", "--out", str(tmp_path / "out"), "--model", model]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"layerwise: hf://{name} ")
    assert says in error
    assert error.count("\n") == 1


def test_without_a_network_it_says_so(
    monkeypatch: pytest.MonkeyPatch, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    point(monkeypatch, port)
    for arguments in (
        ["extract", f"{HUB}/texts.jsonl", "--out", str(tmp_path / "out"), "--model", model],
        ["extract", f"{HUB}/*.jsonl", "--out", str(tmp_path / "out"), "--model", model],
        ["info", f"{HUB}/out"],
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert "Connection refused" in error
        assert error.count("\n") == 1


def test_a_dataset_is_read_there_and_not_written(hub: Hub, model: str, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_bytes(JSONL)
    local = lw.extract(tmp_path / "texts.jsonl", tmp_path / "local", model=model, dtype="float32")
    for path in local.path.rglob("*"):
        if path.is_file():
            hub.files[f"rows.lw/{path.relative_to(local.path).as_posix()}"] = path.read_bytes()
    dataset = lw.open_dataset(f"{HUB}/rows.lw")
    hub.got.clear()
    layer = dataset.layer("2")
    assert np.array_equal(layer, local.layer("2"))
    ranges = [byte_range for path, byte_range in hub.got if path.endswith(".safetensors")]
    assert len(ranges) == 2, "a header and a layer"
    assert all(ranges), "never the whole file"
    assert lw.verify(f"{HUB}/rows.lw", device="cpu").ok
    with pytest.raises(
        OutputError, match="hf://.*/new can't be written to; write to a disk, then `hf upload`"
    ):
        lw.extract(tmp_path / "texts.jsonl", f"{HUB}/new", model=model)
