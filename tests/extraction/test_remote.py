"""Sources and datasets on an object store: a real S3 server on loopback (moto's), with faults of its own."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise._util import paths as placing
from layerwise._util.paths import place, put_new
from layerwise.api.extract import extract_share
from layerwise.errors import DatasetError, OutputError, RequestError, SourceError
from layerwise.extraction import shard_maker
from layerwise.options import ExtractOptions
from layerwise.read import open_corpus
from layerwise.store import DatasetWriter, check_files, disk
from layerwise.store.tensors import TensorWriter
from waiting import SECONDS

pytest.importorskip("s3fs", reason="needs layerwise[s3]")
pytest.importorskip("moto", reason="needs moto[server]")
TEXTS = [f"text number {n} " + "word " * (n % 13) for n in range(26)]
OPTIONS: dict[str, Any] = {"shard_texts": 5, "device": "cpu"}


class Faulty:
    """Passes requests on to a server, counts what is got, and can answer with faults instead.

    Attributes:
        faults: what is done with the requests to come: `403`, `500`, `503`, `cut` (half of the body), `slow`,
            `never` (no answer till `given_up` is set), `late` (it is done, and said to have failed), `pass`.
        aim: those that take one of them, as a pattern of method and path; others pass.
        came: fault, and method and path, of every one that was made.
        got: method, path and bytes of the body of every answer.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.given_up = threading.Event()
        self.reset()

    def reset(self) -> None:
        self.faults: Iterator[str] = iter(())
        self.aim = "*"
        self.came: list[tuple[str, str]] = []
        self.got: list[tuple[str, str, int]] = []

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        fault = next(self.faults, "pass") if fnmatchcase(f"{method} {path}", self.aim) else "pass"
        if fault not in ("pass", "cut"):
            self.came.append((fault, f"{method} {path}"))
        if fault == "never":
            self.given_up.wait(SECONDS)
            fault = "500"
        if fault in ("500", "503", "403"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return self._failed(fault, start)
        if fault == "slow":
            time.sleep(0.1)
        body = b"".join(self.app(environ, (lambda *_: None) if fault == "late" else start))
        self.got.append((method, path, len(body)))
        if fault == "late":
            return self._failed("500", start)
        if fault == "cut" and body:
            self.came.append((fault, f"{method} {path}"))
            return [body[: len(body) // 2]]
        return [body]

    def _failed(self, status: str, start: Any) -> Iterable[bytes]:
        start(f"{status} Fault", [("Content-Type", "application/xml"), ("Content-Length", "0")])
        return [b""]


@pytest.fixture(scope="module")
def server() -> Iterator[Faulty]:
    """A server with the bucket `bucket`, to which the environment points."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None:
            pass

    app = Faulty(DomainDispatcherApplication(create_backend_app))
    running = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running.server_port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        place("s3://bucket/x").fs.mkdir("bucket")  # type: ignore[attr-defined]
        yield app
        # fsspec would give later tests the file system of this server.
        type(place("s3://bucket/x").fs).clear_instance_cache()  # type: ignore[attr-defined]
    running.shutdown()
    thread.join()


@pytest.fixture
def bucket(server: Faulty, request: pytest.FixtureRequest) -> str:
    """A part of the bucket for one test, with the corpus in it."""
    server.reset()
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    place(f"s3://bucket/{name}/texts.txt").write_text("".join(text + "\n" for text in TEXTS))
    server.got = []
    return f"s3://bucket/{name}"


@pytest.fixture
def model(model_folder: Callable[[str], Path]) -> str:
    return str(model_folder("bert"))


@pytest.fixture
def whole(bucket: str, model: str, tmp_path: Path) -> dict[str, bytes]:
    """What is written to a disk."""
    return contents(lw.extract(f"{bucket}/texts.txt", tmp_path / "whole", model=model, **OPTIONS).path)


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "shards").iterdir(), key=str)}


def test_it_holds_what_a_disk_holds(bucket: str, model: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    dataset = lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert contents(dataset.path) == whole
    assert str(dataset.path) == f"{bucket}/out"
    assert check_files(f"{bucket}/out") == []
    local = lw.open_dataset(tmp_path / "whole")
    assert np.array_equal(dataset.layer("2"), local.layer("2"))
    assert np.array_equal(dataset.layer("emb", rows=[20, 3, 11]), local.layer("emb", rows=[20, 3, 11]))
    assert dataset.texts.equals(local.texts)
    assert [part.layer("1").shape for part in dataset.parts()] == [
        part.layer("1").shape for part in local.parts()
    ]
    again = lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert again.sha256 == dataset.sha256
    assert lw.verify(f"{bucket}/out", device="cpu").ok
    with pytest.raises(DatasetError, match="made with other settings: dtype"):
        lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, dtype="int8", **OPTIONS)


def test_a_layer_is_read_without_the_others(bucket: str, model: str, server: Faulty) -> None:
    lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, dtype="float32", **OPTIONS)
    dataset = lw.open_dataset(f"{bucket}/out")
    server.got = []
    sizes = [part.layer("1").nbytes for part in dataset.parts()]
    fetched = [size for method, path, size in server.got if method == "GET" and path.endswith(".safetensors")]
    assert set(sizes) <= set(fetched), f"each shard's layer takes {sizes} bytes, and {fetched} were fetched"
    headers = [size for size in fetched if size not in sizes]
    assert len(fetched) == 2 * len(sizes), "a header and a layer of each shard"
    assert max(headers) <= 1 << 14, f"headers of {headers} bytes"


def test_globs_and_folders_are_sources(bucket: str, model: str) -> None:
    place(f"{bucket}/docs/b/two.txt").write_text("the second")
    place(f"{bucket}/docs/a.txt").write_text("the first")
    dataset = lw.extract(f"{bucket}/docs", f"{bucket}/d", model=model, format="docs")
    assert dataset.texts.select(["id", "text"]).to_pylist() == [
        {"id": "a.txt", "text": "the first"},
        {"id": "b/two.txt", "text": "the second"},
    ]
    dataset = lw.extract(f"{bucket}/docs/*.txt", f"{bucket}/g", model=model)
    assert dataset.texts["text"].to_pylist() == ["the first"]
    for name, says in (
        ("docs", "is a folder; format='docs' reads"),
        ("nothing", "doesn't exist; name a file"),
        ("docs/*.csv", "doesn't exist; name a file"),
    ):
        with pytest.raises(SourceError, match=says):
            lw.extract(f"{bucket}/{name}", f"{bucket}/x", model=model)


def test_a_source_is_streamed(
    bucket: str, model: str, server: Faulty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, block = place(f"{bucket}/long.jsonl"), 1 << 18
    source.write_text("".join(json.dumps({"text": text}) + " " * block + "\n" for text in TEXTS))
    with source.open("rb") as opened:
        usual = opened.blocksize  # type: ignore[attr-defined]
    assert usual <= 50 << 20, f"of any source two blocks of {usual} bytes are held"
    given = placing._options("s3")  # a source of more than two such blocks is too long for a test
    monkeypatch.setattr(placing, "_options", lambda kind: {**given, "default_block_size": block})
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "room"))
    here = []

    def reached(*_: Any) -> None:
        here.append(sum(file.stat().st_size for file in (tmp_path / "room").rglob("*") if file.is_file()))

    monkeypatch.setattr(disk, "reached", reached)
    server.got.clear()
    dataset = lw.extract(str(source), f"{bucket}/out", model=model, device="cpu", shard_texts=2)
    assert dataset.texts["text"].to_pylist() == TEXTS
    size, paths = source.stat().st_size, [f"{method} {path}" for method, path, _ in server.got]
    first = next(n for n, path in enumerate(paths) if fnmatchcase(path, "PUT */work/00000.json"))
    gets = {n: server.got[n][2] for n, path in enumerate(paths) if fnmatchcase(path, "GET */long.jsonl")}
    fetched, before = list(gets.values()), sum(got for n, got in gets.items() if n < first)
    assert sum(fetched) >= size, f"{size} bytes were read, and the test sees only {fetched}"
    assert max(fetched) <= 2 * block, f"of {size} bytes more than two blocks of {block} at once: {fetched}"
    assert before < size // 2, f"{before} of {size} bytes were fetched before a shard was committed"
    assert 0 < max(here) < size // 10, f"{max(here)} bytes stand here, of a source of {size}"


class Killed(BaseException):
    """Stands for whatever ends a process."""


@pytest.mark.slow
def test_killed_before_every_put_it_goes_on_to_the_same_bytes(
    bucket: str, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = lw.load_encoder(model, device="cpu")
    whole = contents(
        lw.extract(f"{bucket}/texts.txt", tmp_path / "whole", model=encoder, shard_texts=13).path
    )
    puts = 0

    def reached(event: str, path: Path) -> None:
        nonlocal puts
        puts += event == "rename"
        if puts == die_at:
            raise Killed

    for die_at in range(1, 60):
        puts = 0
        with monkeypatch.context() as patch:
            patch.setattr(disk, "reached", reached)
            try:
                lw.extract(f"{bucket}/texts.txt", f"{bucket}/{die_at}", model=encoder, shard_texts=13)
            except Killed:
                pass
            else:
                break
        with pytest.raises(DatasetError):
            lw.open_dataset(f"{bucket}/{die_at}")
        dataset = lw.extract(f"{bucket}/texts.txt", f"{bucket}/{die_at}", model=encoder, shard_texts=13)
        assert contents(dataset.path) == whole, f"killed at put {die_at}"
        assert check_files(str(dataset.path)) == []
    assert die_at > 10, "killed at many points"


@pytest.mark.slow
def test_workers_and_a_duplicate_of_one_are_harmless(
    bucket: str, model: str, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    for share in ((1, 2), (0, 2)):
        extract_share(source, out, share, ExtractOptions(model=model, **OPTIONS))
    # Marked, as two may take the same milliseconds, which is all that their records differ in.
    for name, record in records_of(out).items():
        place(f"{out}/work/{name}").write_bytes(record + b"\n")
    before = records_of(out)
    with monkeypatch.context() as patch:  # another job that saw the folder before the first had committed
        patch.setattr("layerwise.store.staging.take_up", lambda *_: {})
        extract_share(source, out, (1, 2), ExtractOptions(model=model, **OPTIONS))
    after = records_of(out)
    again = sorted(name for name in before if after.get(name) != before[name])
    assert len(before) == 6, f"records of six shards, and these were there: {sorted(before)}"
    assert after.keys() == before.keys(), "the duplicate took records away, or added some"
    assert again == [], "records are put once, and these were put again"
    assert contents(lw.finish(out).path) == whole
    assert check_files(out) == []


def test_a_record_is_put_once(bucket: str, server: Faulty) -> None:
    record = place(f"{bucket}/record.json")
    assert put_new(record, b"the first"), "nothing stood there, and put_new says that something did"
    assert not put_new(record, b"the second"), "put_new says that nothing stood where the first one does"
    assert record.read_bytes() == b"the first", "the second one was put over the first"
    assert [method for method, path, _ in server.got if path.endswith("record.json")].count("PUT") == 2, (
        "whether something stands there is for the store to say: looked at beforehand, two may both see nothing"
    )


@pytest.mark.slow
def test_a_duplicate_that_starts_or_fails_in_between_takes_nothing_away(
    bucket: str, model: str, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    encoder = lw.load_encoder(model, device="cpu")

    def reached(event: str, path: Path) -> None:
        if path.name != "00005.json":
            return
        monkeypatch.setattr(disk, "reached", dies)  # the files of the last shard are put, its record isn't
        with pytest.raises(Killed):
            extract_share(source, out, (1, 2), ExtractOptions(model=encoder, shard_texts=5))
        monkeypatch.setattr(disk, "reached", lambda *_: None)

    def dies(event: str, path: Path) -> None:
        if event == "rename" and path.name == "00005.texts.parquet":
            raise Killed

    monkeypatch.setattr(disk, "reached", reached)
    extract_share(source, out, (1, 2), ExtractOptions(model=encoder, shard_texts=5))
    extract_share(source, out, (0, 2), ExtractOptions(model=encoder, shard_texts=5))
    assert contents(lw.finish(out).path) == whole
    assert check_files(out) == []


@pytest.mark.slow
def test_of_a_duplicate_with_other_bytes_files_and_record_stand_together(
    bucket: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    extract_share(source, out, (0, 2), ExtractOptions(model=model, **OPTIONS))
    first = records_of(out)
    extract_share(source, out, (1, 2), ExtractOptions(model=model, **OPTIONS))
    with monkeypatch.context() as patch:  # as if it had begun before the first one was through
        patch.setattr("layerwise.store.staging.take_up", lambda *_: {})
        patch.setattr("layerwise.store.staging.check_settings", lambda *_: None)
        put = TensorWriter.put  # what another kind of machine gives

        def shifted(self: TensorWriter, layer: str, rows: Any, values: Any) -> None:
            put(self, layer, rows, values * np.float32(1.01))

        patch.setattr(TensorWriter, "put", shifted)
        extract_share(source, out, (0, 2), ExtractOptions(model=model, **OPTIONS))
    assert all(records_of(out)[name] != record for name, record in first.items()), "the last one's stand"
    assert check_files(lw.finish(out).path) == []


@pytest.mark.slow
def test_files_of_two_that_are_mixed_up_are_told(
    bucket: str, model: str, model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    extract_share(source, out, (0, 2), ExtractOptions(model=model, **OPTIONS))
    rename = disk.rename

    def late(source: Path, target: Path) -> None:
        rename(source, target)
        if target.name == "00000.index.parquet":
            target.write_bytes(b"of a third one")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "rename", late)
        patch.setattr("layerwise.store.staging.take_up", lambda *_: {})
        patch.setattr("layerwise.store.staging.check_settings", lambda *_: None)
        says = "shard 0 of .* was written twice at the same time, in different ways; remove .*work/00000.json and"
        with pytest.raises(DatasetError, match=says):
            extract_share(source, out, (0, 2), ExtractOptions(model=model_folder("electra"), **OPTIONS))
    place(f"{out}/work/00000.json").unlink()
    for index in (0, 1):
        extract_share(source, out, (index, 2), ExtractOptions(model=model, **OPTIONS))
    assert check_files(lw.finish(out).path) == []


def records_of(out: str) -> dict[str, bytes]:
    """The commit records of unfinished work."""
    return {path.name: path.read_bytes() for path in place(f"{out}/work").glob("0*[0-9].json")}


@pytest.mark.slow
def test_two_appends_at_a_time(
    bucket: str, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = f"{bucket}/out"
    given: dict[str, Any] = {"model": model, "shard_texts": 20, "device": "cpu"}
    lw.extract(f"{bucket}/texts.txt", out, **given)
    for name in "bc":
        (tmp_path / f"{name}.txt").write_text(f"{name} one\n{name} two\n")
    b, c = tmp_path / "b.txt", tmp_path / "c.txt"
    make = shard_maker.ShardMaker.make

    def meanwhile(self: Any, *args: Any) -> Any:
        monkeypatch.setattr(shard_maker.ShardMaker, "make", make)
        with pytest.raises(DatasetError, match=f"out holds an unfinished append of {b}; give"):
            lw.extract(c, out, append=True, **given)
        lw.extract(b, out, append=True, **given)
        raise KeyboardInterrupt

    monkeypatch.setattr(shard_maker.ShardMaker, "make", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        lw.extract(b, out, append=True, **given)
    assert check_files(out) == [], "what another finished stays whole when this one ends"
    assert lw.open_dataset(out).texts["text"].to_pylist() == [*TEXTS, "b one", "b two"]
    lw.extract(b, out, append=True, **given)
    assert lw.extract(c, out, append=True, **given).text_count == len(TEXTS) + 4


@pytest.mark.slow
def test_a_finish_that_another_was_faster_with_is_refused(
    bucket: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{bucket}/out"
    given: dict[str, Any] = {"model": model, "shard_texts": 10, "device": "cpu"}
    lw.extract(f"{bucket}/texts.txt", out, limit=20, **given)
    finish = DatasetWriter.finish

    def late(self: DatasetWriter, manifest: Any) -> Any:
        monkeypatch.setattr(DatasetWriter, "finish", finish)
        lw.extract(f"{bucket}/texts.txt", out, append=True, **given)
        return finish(self, manifest)

    monkeypatch.setattr(DatasetWriter, "finish", late)
    with pytest.raises(DatasetError, match="was changed by another process; start the same command again"):
        lw.extract(f"{bucket}/texts.txt", out, append=True, **given)
    assert lw.extract(f"{bucket}/texts.txt", out, append=True, **given).text_count == len(TEXTS)
    assert check_files(out) == []


@pytest.mark.slow
@pytest.mark.usefixtures("quick_workers")
def test_processes_write_what_one_writes_and_leave_nothing_here(
    bucket: str, model: str, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "room"))
    out = place(f"{bucket}/out")
    dataset = lw.extract(f"{bucket}/texts.txt", str(out), model=model, workers=2, **OPTIONS)
    assert contents(dataset.path) == whole
    assert check_files(str(out)) == []
    marks = (".lock", ".layerwise")
    here = [path for path in (tmp_path / "room").rglob("*") if path.is_file() and path.name not in marks]
    assert here == [], "parts of shards"


def test_at_most_two_shards_stand_here_at_a_time(
    bucket: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "room"))
    seen: list[set[str]] = []

    def reached(event: str, path: Path) -> None:
        names = (file.name for file in (tmp_path / "room").rglob(".0*.part"))
        seen.append({name[1:6] for name in names})

    monkeypatch.setattr(disk, "reached", reached)
    lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert set().union(*seen) == {f"{shard:05d}" for shard in range(6)}, "shards pass through here"
    assert max(map(len, seen)) <= 2, "one that is made, and one that is put"


@pytest.mark.slow
def test_actors_of_ray_write_the_same(bucket: str, model: str, whole: dict[str, bytes]) -> None:
    pytest.importorskip("ray", reason="needs layerwise[ray]")
    # In a process of its own: its cluster is started, and gone, with it.
    command = f"-m layerwise extract {bucket}/texts.txt --out {bucket}/out --model {model} --cluster ray --workers 2"
    how = ["--device", "cpu", "--shard-texts", "5"]
    made = subprocess.run([sys.executable, *command.split(), *how], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert contents(lw.open_dataset(f"{bucket}/out").path) == whole
    assert check_files(f"{bucket}/out") == []


EACH = ("HEAD *", "GET *", "PUT *")
STUMBLES = {  # fault, the requests that take it, one in how many, and which ones it must have come to
    "500": ("500", "*", 4, EACH),
    "503": ("503", "*", 4, EACH),
    "slow": ("slow", "*", 4, EACH),
    "cut": ("cut", "GET /bucket/*", 2, ("GET */texts.txt", "GET */manifest.json", "GET *.safetensors")),
    "cut-listing": ("cut", "GET /bucket", 4, ("GET /bucket",)),
    "late": ("late", "PUT *", 4, ("PUT */shards/*", "PUT */work/*.json")),
    "late-record": ("late", "PUT */work/0*.json", 2, [f"PUT */work/0000{n}.json" for n in range(6)]),
}


@pytest.mark.parametrize(
    ("fault", "aim", "every", "hit"),
    [
        pytest.param(*values, id=name, marks=() if name in ("cut", "late-record") else pytest.mark.slow)
        for name, values in STUMBLES.items()
    ],
)
def test_a_store_that_stumbles_is_asked_again(
    bucket: str,
    model: str,
    whole: dict[str, bytes],
    server: Faulty,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    aim: str,
    every: int,
    hit: Iterable[str],
) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    # First more often in a row than boto asks by itself; for a body that is cut s3fs alone asks again, up to 5 times.
    row = [fault] * (3 if fault == "cut" else 5)
    server.faults, server.aim = chain(row, cycle([fault, *["pass"] * (every - 1)])), aim
    dataset = lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    layer = dataset.layer("3")
    server.faults = iter(())
    requests = [request for _, request in server.came]
    missed = [pattern for pattern in hit if not any(fnmatchcase(request, pattern) for request in requests)]
    assert missed == [], f"requests that {fault} never came to; it came to {requests}"
    stored = contents(dataset.path)
    others = [name for name in whole.keys() | stored.keys() if whole.get(name) != stored.get(name)]
    assert others == [], f"files that are others where {fault} came to {requests}"
    assert np.array_equal(layer, lw.open_dataset(f"{bucket}/out").layer("3")), f"a layer read through {fault}"
    assert check_files(f"{bucket}/out") == []


def test_a_source_of_which_only_halves_come_is_told(bucket: str, model: str, server: Faulty) -> None:
    server.faults, server.aim = cycle(["cut"]), "GET */texts.txt"
    with pytest.raises(SourceError, match=r"s3://.*/texts.txt can't be read: .*; name another file"):
        lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert len(server.came) > 1, f"it wasn't asked again: {server.came}"
    assert records_of(f"{bucket}/out") == {}, "shards of half a source were committed"
    assert not place(f"{bucket}/out/manifest.json").exists(), "half a source became a dataset"


def test_a_store_that_is_down_for_a_moment_is_not_one_without_the_source(
    bucket: str, model: str, server: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = placing._options("s3")
    hasty = {**given, "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}}}
    monkeypatch.setattr(placing, "_options", lambda kind: hasty)
    server.faults, server.aim = iter(["503"]), "HEAD */texts.txt"
    with pytest.raises(SourceError, match=r"s3://.*/texts.txt can't be read: .*; name another file"):
        lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert len(server.came) == 1


def test_what_a_store_hides_where_it_is_not_there_is_a_glob_all_the_same(
    bucket: str, model: str, server: Faulty
) -> None:
    server.faults, server.aim = cycle(["403"]), "HEAD */[*].tx[?]"
    found = lw.extract(f"{bucket}/*.tx?", f"{bucket}/out", model=model, **OPTIONS)
    assert found.text_count == len(TEXTS)
    assert server.came, "it wasn't asked whether the glob is a file"


def test_lines_are_cut_from_what_was_fetched_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = place(f"{bucket}/lines.txt")
    source.write_text("".join(f"line {n}\n" for n in range(20_000)))
    kind, handed = pytest.importorskip("fsspec.spec").AbstractBufferedFile, 0
    read = kind.read

    def counted(self: Any, length: int = -1) -> bytes:
        nonlocal handed
        data: bytes = read(self, length)
        handed += len(data)
        return data

    monkeypatch.setattr(kind, "read", counted)
    texts = [example.text for example in open_corpus(str(source), format="txt")]
    assert texts == [f"line {n}" for n in range(20_000)]
    # The beginning is looked at once more, for a compression or another encoding.
    most = source.stat().st_size + (1 << 16)
    assert handed <= most, f"{handed:,} bytes were handed out of {source.stat().st_size:,}"


@pytest.mark.slow
def test_a_store_that_never_answers_is_asked_again(
    bucket: str, model: str, whole: dict[str, bytes], server: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = placing._options("s3")
    patience = {**given, "config_kwargs": {**given["config_kwargs"], "read_timeout": 2.0}}
    monkeypatch.setattr(placing, "_options", lambda kind: patience)
    server.faults = iter([*["pass"] * 7, "never"] * 4)
    try:
        dataset = lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
        assert len(server.came) == 4, f"four requests get no answer, and these got none: {server.came}"
    finally:
        server.given_up.set()
    server.faults = iter(())
    assert contents(dataset.path) == whole
    assert check_files(f"{bucket}/out") == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["403", "503"])
def test_a_store_that_stays_down_is_told_and_nothing_is_half_committed(
    bucket: str,
    model: str,
    whole: dict[str, bytes],
    server: Faulty,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    puts = 0

    def reached(event: str, path: Path) -> None:
        nonlocal puts
        puts += event == "rename"
        if puts == 7:
            server.faults = cycle([fault])

    given = placing._options("s3")
    hasty = {**given, "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 2}}}
    monkeypatch.setattr(placing, "_options", lambda kind: hasty)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "reached", reached)
        with pytest.raises(OutputError, match=r"can't write s3://.*; what was committed is kept"):
            lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    server.faults = iter(())
    records = sorted(path.name for path in place(f"{bucket}/out/work").iterdir() if path.stem.isdigit())
    assert records == ["00000.json"], "one shard was whole"
    assert contents(lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS).path) == whole


@pytest.mark.slow
def test_shards_are_added_merged_and_mended(bucket: str, model: str, server: Faulty) -> None:
    source, more = place(f"{bucket}/texts.txt"), f"{bucket}/more.txt"
    place(more).write_text("one more\nand another\n")
    first = lw.extract(str(source), f"{bucket}/a", model=model, **OPTIONS)
    added = lw.extract(more, f"{bucket}/a", model=model, append=True, **OPTIONS)
    assert (first.text_count, added.text_count) == (26, 28)
    other = lw.extract(more, f"{bucket}/b", model=model, **OPTIONS)
    merged = lw.merge([f"{bucket}/a", other], f"{bucket}/c")
    assert merged.texts["text"].to_pylist() == [*TEXTS, *["one more", "and another"] * 2]
    damaged = merged.path / "shards" / "00002.safetensors"
    good = damaged.read_bytes()
    damaged.write_bytes(good[:-1] + b"x")
    assert [problem.file for problem in check_files(f"{bucket}/c")] == ["shards/00002.safetensors"]
    assert lw.repair(f"{bucket}/c").shards == (2,)
    assert damaged.read_bytes() == good
    assert check_files(f"{bucket}/c") == []
    place(f"{bucket}/last.txt").write_text("the last\n")
    tables = sum(path.stat().st_size for path in (merged.path / "shards").glob("*.texts.parquet"))
    server.got.clear()
    grown = lw.extract(f"{bucket}/last.txt", f"{bucket}/c", model=model, append=True, **OPTIONS)
    fetched = [
        size for method, path, size in server.got if method == "GET" and path.endswith(".texts.parquet")
    ]
    assert 0 < sum(fetched) < tables, "the types of columns, and no rows"
    assert grown.texts["text"].to_pylist() == [*merged.texts["text"].to_pylist(), "the last"]


def test_what_is_missing_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match=r"s3://.*/nothing doesn't exist; a dataset is the folder"):
        lw.open_dataset(f"{bucket}/nothing")
    with pytest.raises(RequestError, match="foo://x/y can't be used: .*; give a path, or s3://"):
        lw.open_dataset("foo://x/y")
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(RequestError, match=r"run: pip install 'layerwise\[s3\]'"):
        lw.open_dataset(f"{bucket}/out")
