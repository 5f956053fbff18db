"""Sources and datasets on Google Cloud Storage: an emulator on loopback (`pip install gcsfs gcp-storage-emulator`)."""

import importlib.util
import threading
from collections.abc import Callable, Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise._util.paths import place, put_new
from layerwise.api.extract import extract_share
from layerwise.cli.main import main
from layerwise.errors import DatasetError, OutputError, SourceError
from layerwise.options import ExtractOptions
from layerwise.store import check_files

if importlib.util.find_spec("gcsfs") is None:  # imported later, as it looks at the environment then
    pytest.skip("needs layerwise[gs]", allow_module_level=True)
emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator")
TEXTS = [f"text number {n} " + "word " * (n % 13) for n in range(26)]
OPTIONS: dict[str, Any] = {"shard_texts": 5, "device": "cpu"}


class Objects(emulator.Storage):  # type: ignore[misc, name-defined]
    """Refuses a put of what is there when it is asked to, as the emulator doesn't."""

    only_new = False

    def create_file(self, bucket: str, name: str, *others: Any) -> None:
        if self.only_new and name in self.objects.get(bucket, {}):
            raise FileExistsError(name)
        super().create_file(bucket, name, *others)


class Requests(emulator.RequestHandler):  # type: ignore[misc, name-defined]
    """Answers no request at all when it is `closed`."""

    closed = False

    def do_GET(self) -> None:
        if self.closed:
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"error": {"code": 401, "message": "who is there?"}}')
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.storage.only_new = "ifGenerationMatch=0" in self.path
        try:
            super().do_POST()
        except FileExistsError:
            self.send_error(412)


class Server(HTTPServer):
    def handle_error(self, *_: Any) -> None:
        """gcsfs asks in two ways at once, and hangs up on the slower."""


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """A server with the bucket `bucket`, to which the environment points."""
    objects = Objects(use_memory_fs=True)
    with (
        pytest.MonkeyPatch.context() as patch,
        Server(("127.0.0.1", 0), lambda *a: Requests(objects, *a)) as running,
    ):
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{running.server_port}")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks Google what kind of bucket it is
        objects.create_bucket("bucket", {"name": "bucket"})
        yield
        running.shutdown()
        thread.join()


@pytest.fixture
def bucket(server: None, request: pytest.FixtureRequest) -> str:
    """A part of the bucket for one test, with the corpus in it."""
    folder = f"gs://bucket/{request.node.name}"
    place(f"{folder}/texts.txt").write_text("".join(text + "\n" for text in TEXTS))
    return folder


@pytest.fixture
def model(model_folder: Callable[[str], Path]) -> str:
    return str(model_folder("bert"))


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "shards").iterdir(), key=str)}


@pytest.mark.slow
def test_it_holds_what_a_disk_holds(bucket: str, model: str, tmp_path: Path) -> None:
    local = lw.extract(f"{bucket}/texts.txt", tmp_path / "local", model=model, **OPTIONS)
    dataset = lw.extract(f"{bucket}/*.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert contents(dataset.path) == contents(local.path)
    assert str(dataset.path) == f"{bucket}/out"
    assert np.array_equal(lw.open_dataset(f"{bucket}/out").layer("2"), local.layer("2"))
    assert check_files(f"{bucket}/out") == []
    assert lw.verify(f"{bucket}/out", device="cpu").ok
    place(f"{bucket}/docs/b/two.txt").write_text("the second")
    place(f"{bucket}/docs/a.txt").write_text("the first")
    docs = lw.extract(f"{bucket}/docs", f"{bucket}/d", model=model, format="docs")
    assert docs.texts["id"].to_pylist() == ["a.txt", "b/two.txt"]
    assert lw.extract(f"{bucket}/docs/*", f"{bucket}/g", model=model).text_count == 1, "a folder is no file"


@pytest.mark.slow
def test_workers_and_a_duplicate_of_one_are_harmless(
    bucket: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    for share in ((1, 2), (0, 2)):
        extract_share(source, out, share, ExtractOptions(model=model, **OPTIONS))
    with monkeypatch.context() as patch:  # another job that saw the folder before the first had committed
        patch.setattr("layerwise.store.staging.take_up", lambda *_: {})
        extract_share(source, out, (1, 2), ExtractOptions(model=model, **OPTIONS))
    local = lw.extract(source, tmp_path / "local", model=model, **OPTIONS)
    assert contents(lw.finish(out).path) == contents(local.path)


def test_a_record_is_put_once(bucket: str) -> None:
    record = place(f"{bucket}/record.json")
    assert put_new(record, b"the first")
    assert not put_new(record, b"the second")
    assert record.read_bytes() == b"the first"


def test_what_others_put_is_seen(bucket: str) -> None:
    folder = place(bucket)
    others: Any = type(folder.fs)(skip_instance_cache=True)  # type: ignore[attr-defined]
    assert [path.name for path in folder.iterdir()] == ["texts.txt"]
    others.pipe_file(f"{bucket}/other.txt", b"more")
    assert sorted(path.name for path in folder.iterdir()) == ["other.txt", "texts.txt"]
    assert (folder / "other.txt").is_file()


def test_what_is_missing_or_refused_is_told_in_a_line(
    bucket: str,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    local = tmp_path / "texts.txt"
    local.write_text("a text\n")
    with pytest.raises(SourceError, match="gs://.*/nothing.txt doesn't exist; name a file"):
        lw.extract(f"{bucket}/nothing.txt", f"{bucket}/out", model=model)
    with pytest.raises(DatasetError, match=r"gs://.*/nothing doesn't exist; a dataset is the folder"):
        lw.open_dataset(f"{bucket}/nothing")
    monkeypatch.setattr(Requests, "closed", True)
    with pytest.raises(
        SourceError, match="gs://.*/texts.txt can't be read: who is there.*; name another file"
    ):
        lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model)
    with pytest.raises(DatasetError, match="can't read gs://.*who is there"):
        lw.open_dataset(f"{bucket}/nothing")
    with pytest.raises(OutputError, match="can't write gs://.*who is there"):
        lw.extract(local, f"{bucket}/out", model=model)
    assert main(["info", f"{bucket}/out"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
